//! Making a conversation fit into `max_seq_len`.

use serde::Serialize;

use crate::encode::Tokens;
use crate::error::{Error, Result};
use crate::record::{Dialogue, Turn};

/// What was cut from one sample; all zero where nothing was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Truncation {
    /// Turns of the history that were left out, the oldest first.
    pub history_turns: usize,
    /// Characters cut from the end of the last user text: the input's, then the instruction's.
    pub user_chars: usize,
    /// Tokens cut from the end of the answer, its end token among them.
    pub answer_tokens: usize,
}

/// Shortens `dialogue` until its tokens fit, in this order: what the template writes after the last
/// answer; the oldest turns of the history; the last user text from its end and the answer from its
/// end, each by LLaMA-Factory's rule.
pub(crate) fn fit<'a>(
    mut dialogue: Dialogue<'a>,
    limit: usize,
    encode: impl Fn(&Dialogue<'a>) -> Result<Tokens>,
) -> Result<(Tokens, Truncation)> {
    let mut cut = Truncation::default();
    let mut tokens = encode(&dialogue)?;
    while tokens.answer.end > limit && dialogue.turns.len() > 1 {
        dialogue.turns.remove(0);
        cut.history_turns += 1;
        tokens = encode(&dialogue)?;
    }
    if tokens.answer.end > limit && !tokens.answer.is_empty() {
        tokens = shorten(dialogue, limit, tokens, &encode, &mut cut)?;
    }
    tokens.ids.truncate(limit);
    tokens.spoken.truncate(limit);
    Ok((tokens, cut))
}

/// Shortens the one turn that is left, and the answer if that is not enough.
fn shorten<'a>(
    mut dialogue: Dialogue<'a>,
    limit: usize,
    mut tokens: Tokens,
    encode: &impl Fn(&Dialogue<'a>) -> Result<Tokens>,
    cut: &mut Truncation,
) -> Result<Tokens> {
    let whole = dialogue.turns[0];
    let chars = |turn: Turn<'_>| turn.instruction.chars().count() + turn.input.chars().count();
    let mut keep = |kept| {
        dialogue.turns[0] = first_chars(whole, kept);
        encode(&dialogue)
    };
    let template = keep(0)?.answer.start;
    let does_not_fit = Error::DoesNotFit {
        needed: template + 2,
        max_seq_len: limit,
    };
    let Some(room) = limit.checked_sub(template).filter(|&room| room >= 2) else {
        return Err(does_not_fit);
    };
    let budget =
        template + source_budget(tokens.answer.start - template, tokens.answer.len(), room);
    if tokens.answer.start > budget {
        // `fits` characters are known to fit, `too_many` are known not to.
        let (mut fits, mut too_many) = (0, chars(whole));
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if keep(middle)?.answer.start <= budget {
                fits = middle
            } else {
                too_many = middle
            }
        }
        if fits == 0 {
            return Err(does_not_fit);
        }
        cut.user_chars = chars(whole) - fits;
        tokens = keep(fits)?;
    }
    cut.answer_tokens = tokens.answer.end.saturating_sub(limit);
    tokens.answer.end = tokens.answer.end.min(limit);
    Ok(tokens)
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

/// The turn with only the first `kept` characters of its instruction and input.
fn first_chars(turn: Turn<'_>, kept: usize) -> Turn<'_> {
    let instruction = prefix(turn.instruction, kept);
    let left = kept.saturating_sub(turn.instruction.chars().count());
    Turn {
        instruction,
        input: prefix(turn.input, left),
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
            answer: None,
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
    }
}
