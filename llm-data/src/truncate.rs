//! Making a conversation fit into `max_seq_len`.

use serde::Serialize;

use crate::encode::Tokens;
use crate::error::{Error, Result};
use crate::record::{Dialogue, Turn, said};

/// What was cut from one sample; all zero where nothing was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Truncation {
    /// Turns of the history that were left out, the oldest first.
    pub history_turns: usize,
    /// Characters cut from the end of the last user text: the input's, then the instruction's.
    pub user_chars: usize,
    /// Tokens cut from the end of the answer and the calls of functions before it, the end token among
    /// them.
    pub answer_tokens: usize,
}

/// Shortens `dialogue` until its tokens fit, in this order: what the template writes after the last
/// answer; the oldest turns of the history; the last user text from its end and the answer from its
/// end, each by LLaMA-Factory's rule. `longest_token` is in characters.
pub(crate) fn fit<'a>(
    mut dialogue: Dialogue<'a>,
    limit: usize,
    longest_token: usize,
    encode: impl Fn(&Dialogue<'a>) -> Result<Tokens>,
) -> Result<(Tokens, Truncation)> {
    let mut cut = Truncation::default();
    let mut tokens = encode(&dialogue)?;
    if tokens.answer.end > limit && dialogue.turns.len() > 1 {
        (tokens, cut.history_turns) = drop_history(&dialogue, limit, &encode)?;
        dialogue.turns.drain(..cut.history_turns);
    }
    if tokens.answer.end > limit && !tokens.answer.is_empty() {
        tokens = shorten(dialogue, limit, longest_token, tokens, &encode, &mut cut)?;
    }
    tokens.ids.truncate(limit);
    tokens.spoken.truncate(limit);
    Ok((tokens, cut))
}

/// The tokens without as few of the oldest turns as possible, and how many those are; all but the
/// last turn where that is not enough.
fn drop_history<'a>(
    dialogue: &Dialogue<'a>,
    limit: usize,
    encode: &impl Fn(&Dialogue<'a>) -> Result<Tokens>,
) -> Result<(Tokens, usize)> {
    let without = |dropped: usize| {
        encode(&Dialogue {
            system: dialogue.system,
            tools: dialogue.tools,
            turns: dialogue.turns[dropped..].to_vec(),
        })
    };
    let (mut too_few, mut enough) = (0, dialogue.turns.len() - 1);
    let mut tokens = without(enough)?;
    if tokens.answer.end > limit {
        return Ok((tokens, enough));
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        let longer = without(middle)?;
        if longer.answer.end <= limit {
            (tokens, enough) = (longer, middle);
        } else {
            too_few = middle;
        }
    }
    Ok((tokens, enough))
}

/// Shortens the one turn that is left, and the answer if that is not enough.
fn shorten<'a>(
    mut dialogue: Dialogue<'a>,
    limit: usize,
    longest_token: usize,
    mut tokens: Tokens,
    encode: &impl Fn(&Dialogue<'a>) -> Result<Tokens>,
    cut: &mut Truncation,
) -> Result<Tokens> {
    let whole = dialogue.turns[0];
    let prompt = |kept| {
        let turn = first_chars(whole, kept);
        let dialogue = Dialogue {
            system: dialogue.system,
            tools: dialogue.tools,
            turns: vec![turn],
        };
        encode(&dialogue.unanswered()).map(|tokens| tokens.ids.len())
    };
    let template = prompt(0)?;
    let does_not_fit = Error::DoesNotFit {
        needed: template + 2,
        max_seq_len: limit,
    };
    let Some(room) = limit.checked_sub(template).filter(|&room| room >= 2) else {
        return Err(does_not_fit);
    };
    let source = tokens.answer.start.saturating_sub(template);
    let source = source_budget(source, tokens.answer.len(), room);
    if tokens.answer.start > template + source {
        let chars = whole.instruction.chars().count() + whole.input.chars().count();
        let fits = |kept| prompt(kept).map(|length| length <= template + source);
        let kept = most(chars, source.saturating_mul(longest_token), fits)?;
        if kept == 0 {
            return Err(does_not_fit);
        }
        cut.user_chars = chars - kept;
        dialogue.turns[0] = first_chars(whole, kept);
        tokens = encode(&dialogue)?;
    }
    cut.answer_tokens = tokens.answer.end.saturating_sub(limit);
    tokens.answer.end = tokens.answer.end.min(limit);
    Ok(tokens)
}

/// The largest count below `too_many` that `fits`, where 0 does and `too_many` does not. Nothing
/// much above `likely` is tried unless that fits.
fn most(mut too_many: usize, likely: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut enough, mut next) = (0, likely.max(1));
    while next < too_many {
        if fits(next)? {
            (enough, next) = (next, next.saturating_mul(2));
        } else {
            too_many = next;
        }
    }
    while too_many - enough > 1 {
        let middle = enough + (too_many - enough) / 2;
        if fits(middle)? {
            enough = middle;
        } else {
            too_many = middle;
        }
    }
    Ok(enough)
}

/// How many of `room` tokens the source gets: LLaMA-Factory's `infer_seqlen`, with the template's
/// own tokens taken off first, and one token at least for either side.
fn source_budget(source: usize, target: usize, room: usize) -> usize {
    let share = if target * 2 < room {
        room - target
    } else if source * 2 < room {
        source
    } else {
        room - room * target / (source + target)
    };
    share.clamp(1, room - 1)
}

/// The turn with only the first `kept` characters of its instruction and input. An input of which
/// white space is left is none.
fn first_chars(turn: Turn<'_>, kept: usize) -> Turn<'_> {
    let instruction = prefix(turn.instruction, kept);
    let left = kept.saturating_sub(turn.instruction.chars().count());
    Turn {
        instruction,
        input: said(prefix(turn.input, left)).unwrap_or_default(),
        ..turn
    }
}

fn prefix(text: &str, chars: usize) -> &str {
    text.char_indices()
        .nth(chars)
        .map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_pays_and_both_share_when_both_are_long() {
        assert_eq!(source_budget(100, 10, 50), 40);
        assert_eq!(source_budget(10, 100, 50), 10);
        assert_eq!(source_budget(100, 100, 50), 25);
        assert_eq!(source_budget(0, 100, 50), 1);
        assert_eq!(source_budget(1_000, 1, 2), 1);
    }

    #[test]
    fn the_input_goes_before_the_instruction_and_characters_stay_whole() {
        let turn = Turn {
            instruction: "你好",
            input: "ab",
            ..Turn::default()
        };
        let kept = |count| {
            let turn = first_chars(turn, count);
            (turn.instruction, turn.input)
        };
        assert_eq!(
            [kept(4), kept(3), kept(2)],
            [("你好", "ab"), ("你好", "a"), ("你好", "")]
        );
        assert_eq!([kept(1), kept(0)], [("你", ""), ("", "")]);
        let blank = Turn {
            input: " \nb",
            ..turn
        };
        assert_eq!(first_chars(blank, 4).input, "");
    }

    /// Encodes each turn as a token for each of its characters, and counts how often and how much.
    fn counting<'a>(
        seen: &std::cell::RefCell<Vec<usize>>,
    ) -> impl Fn(&Dialogue<'a>) -> Result<Tokens> {
        move |dialogue| {
            let answer = dialogue.turns.last().and_then(|turn| turn.answer);
            let last = answer.map_or(0, |answer| answer.chars().count());
            let all: usize = dialogue
                .turns
                .iter()
                .flat_map(|turn| {
                    [
                        turn.instruction,
                        turn.input,
                        turn.answer.unwrap_or_default(),
                    ]
                })
                .map(|text| text.chars().count())
                .sum();
            seen.borrow_mut().push(all);
            Ok(Tokens {
                ids: vec![0; all],
                spoken: vec![false; all],
                answer: all - last..all,
                said: Vec::new(),
            })
        }
    }

    #[test]
    fn a_long_history_takes_few_encodings() {
        let turn = Turn {
            instruction: "four",
            answer: Some("more"),
            ..Turn::default()
        };
        let dialogue = Dialogue {
            system: None,
            tools: None,
            turns: vec![turn; 1_000],
        };
        let seen = Default::default();
        let (tokens, cut) = fit(dialogue, 83, 1, counting(&seen)).unwrap();
        assert_eq!((tokens.ids.len(), cut.history_turns), (80, 990));
        assert!(seen.borrow().len() < 16, "{:?}", seen.borrow());
    }

    #[test]
    fn a_long_text_is_encoded_once() {
        let long = "x".repeat(1_000_000);
        let dialogue = Dialogue {
            system: None,
            tools: None,
            turns: vec![Turn {
                instruction: &long,
                answer: Some("answer"),
                ..Turn::default()
            }],
        };
        let seen = Default::default();
        let (tokens, cut) = fit(dialogue, 100, 8, counting(&seen)).unwrap();
        assert_eq!((tokens.ids.len(), cut.user_chars), (100, 1_000_000 - 94));
        let seen = seen.into_inner();
        assert!(seen[1..].iter().all(|&chars| chars <= 8 * 94), "{seen:?}");
    }

    #[test]
    fn the_search_goes_above_the_likely_end_where_that_fits() {
        for (fitting, likely) in [(0, 1), (1, 1), (37, 4), (99, 1), (50, 1_000)] {
            let kept = most(100, likely, |kept| Ok(kept <= fitting)).unwrap();
            assert_eq!(kept, fitting);
        }
    }
}
