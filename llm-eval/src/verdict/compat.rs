//! What other systems' own parsers make of a reply, mistakes included, to replay their files.

use regex::Regex;

use super::{Preference, Reason, Verdict, python};
use crate::pattern::pattern;

/// Another system's parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    /// FastChat's single grading (`run_judge_single`): the first `[[7]]`, or else the first `[7]`, in
    /// no range.
    FastchatSingle,
    /// FastChat's pairwise grading (`run_judge_pair`): whether the reply has `[[A]]` anywhere, or
    /// else `[[B]]`, or else `[[C]]`.
    FastchatPair,
    /// Vicuna's `eval_gpt_review.py`: a first line of two numbers.
    VicunaReview,
    /// AlpacaEval's `regex_parser` with the patterns of `Output (a)` at a line's start: exactly one
    /// match.
    AlpacaEvalRegex,
    /// AlpacaEval's `ranking_parser`: the rank of `model_1` in a literal that is the whole reply.
    AlpacaEvalRanking,
    /// Arena-Hard v0.1's `get_score`: the only label, however often; none where labels differ.
    ArenaHardV01,
    /// Arena-Hard v2.0's `get_score`: the last label, in single brackets where none is in double
    /// ones.
    ArenaHardV20,
}

pattern!(ONE_SCORE, r"\[\[([0-9]+\.?[0-9]*)\]\]");
pattern!(ONE_SCORE_BACKUP, r"\[([0-9]+\.?[0-9]*)\]");
pattern!(LABEL, r"\[\[([AB<>=]+)\]\]");
pattern!(LABEL_BACKUP, r"\[([AB<>=]+)\]");
pattern!(OUTPUT, r"(?:^|\n) ?Output \((a|b)\)");

impl Compat {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::FastchatSingle,
        Self::FastchatPair,
        Self::VicunaReview,
        Self::AlpacaEvalRegex,
        Self::AlpacaEvalRanking,
        Self::ArenaHardV01,
        Self::ArenaHardV20,
    ];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::FastchatSingle => "fastchat-single",
            Self::FastchatPair => "fastchat-pair",
            Self::VicunaReview => "vicuna-review",
            Self::AlpacaEvalRegex => "alpaca-eval-regex",
            Self::AlpacaEvalRanking => "alpaca-eval-ranking",
            Self::ArenaHardV01 => "arena-hard-v0.1",
            Self::ArenaHardV20 => "arena-hard-v2.0",
        }
    }

    pub(super) fn parse(self, reply: &str) -> Result<Verdict, Reason> {
        match self {
            Self::FastchatSingle => fastchat_single(reply),
            Self::FastchatPair => fastchat_pair(reply),
            Self::VicunaReview => vicuna(reply),
            Self::AlpacaEvalRegex => alpaca_regex(reply),
            Self::AlpacaEvalRanking => alpaca_ranking(reply),
            Self::ArenaHardV01 => arena_v01(reply),
            Self::ArenaHardV20 => arena_v20(reply),
        }
    }
}

fn fastchat_single(reply: &str) -> Result<Verdict, Reason> {
    let captures = ONE_SCORE
        .captures(reply)
        .or_else(|| ONE_SCORE_BACKUP.captures(reply))
        .ok_or(Reason::NoVerdict)?;
    let digits = &captures[1];
    // `ast.literal_eval` refuses an integer that begins with a zero.
    if !digits.contains('.') && digits.starts_with('0') && digits.bytes().any(|b| b != b'0') {
        return Err(Reason::NotANumber);
    }
    let score: f64 = digits.parse().map_err(|_| Reason::NotANumber)?;
    if score.is_finite() {
        Ok(Verdict::Score(score))
    } else {
        Err(Reason::NotANumber)
    }
}

fn fastchat_pair(reply: &str) -> Result<Verdict, Reason> {
    let winners = [
        ("[[A]]", Preference::A),
        ("[[B]]", Preference::B),
        ("[[C]]", Preference::Tie),
    ];
    let winner = winners.into_iter().find(|(tag, _)| reply.contains(tag));
    winner
        .map(|(_, winner)| Verdict::Preference(winner))
        .ok_or(Reason::NoVerdict)
}

fn vicuna(reply: &str) -> Result<Verdict, Reason> {
    let line = reply
        .split('\n')
        .next()
        .unwrap_or_default()
        .replace(',', " ");
    let [first, second] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(Reason::NoVerdict);
    };
    match (python_float(first)?, python_float(second)?) {
        // What the script writes for a failure.
        (-1.0, -1.0) => Err(Reason::NoVerdict),
        (first, second) => Ok(Verdict::Pair(first, second)),
    }
}

/// `float(text)`; NaN and infinities, which it accepts, are no scores.
fn python_float(text: &str) -> Result<f64, Reason> {
    let digit = |c: char| match c {
        '０'..='９' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    };
    let text: String = text.trim().chars().map(digit).collect();
    let bytes = text.as_bytes();
    let joins = |at: usize| {
        at > 0
            && bytes[at - 1].is_ascii_digit()
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    if text.char_indices().any(|(at, c)| c == '_' && !joins(at)) {
        return Err(Reason::NoVerdict);
    }
    let number: f64 = text
        .replace('_', "")
        .parse()
        .map_err(|_| Reason::NoVerdict)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(Reason::NotANumber)
    }
}

fn alpaca_regex(reply: &str) -> Result<Verdict, Reason> {
    // After a match, what is left of the reply is searched anew, and `^` holds at its start.
    let mut rest = reply;
    let mut letters = Vec::new();
    while let Some(captures) = OUTPUT.captures(rest) {
        letters.push(if &captures[1] == "a" {
            Preference::A
        } else {
            Preference::B
        });
        rest = &rest[captures.get_match().end()..];
    }
    match letters[..] {
        [] => Err(Reason::NoVerdict),
        [one] => Ok(Verdict::Preference(one)),
        _ => Err(Reason::Contradictory),
    }
}

fn alpaca_ranking(reply: &str) -> Result<Verdict, Reason> {
    let ranking = python::literal(reply).ok_or(Reason::NoVerdict)?;
    let rows = ranking.as_array().ok_or(Reason::NoVerdict)?;
    if rows.iter().any(|row| row.get("model").is_none()) {
        return Err(Reason::NoVerdict);
    }
    let first = rows
        .iter()
        .find(|row| row["model"] == "model_1")
        .ok_or(Reason::NoVerdict)?;
    let rank = first["rank"]
        .as_f64()
        .or_else(|| first["rank"].as_bool().map(f64::from));
    match rank {
        Some(1.0) => Ok(Verdict::Preference(Preference::A)),
        Some(2.0) => Ok(Verdict::Preference(Preference::B)),
        _ => Err(Reason::NoVerdict),
    }
}

fn arena_v01(reply: &str) -> Result<Verdict, Reason> {
    let mut labels = LABEL
        .captures_iter(reply)
        .map(|captures| captures.extract::<1>().1[0]);
    let first = labels.next().ok_or(Reason::NoVerdict)?;
    if labels.any(|label| label != first) {
        return Err(Reason::Contradictory);
    }
    let known = ["A>>B", "A>B", "A=B", "B>A", "B>>A"];
    if known.contains(&first) {
        arena_label(first)
    } else {
        Err(Reason::NoVerdict)
    }
}

fn arena_v20(reply: &str) -> Result<Verdict, Reason> {
    let upper = reply.to_uppercase();
    let last = |pattern: &Regex| {
        pattern
            .captures_iter(&upper)
            .last()
            .map(|captures| captures[1].to_owned())
    };
    arena_label(
        &last(&LABEL)
            .or_else(|| last(&LABEL_BACKUP))
            .ok_or(Reason::NoVerdict)?,
    )
}

/// The preference that one of Arena-Hard's labels names.
///
/// # Errors
///
/// [`Reason::NoVerdict`] for any other text.
pub(crate) fn arena_label(label: &str) -> Result<Verdict, Reason> {
    let preference = match label {
        "A>>B" | "B<<A" => Preference::MuchA,
        "A>B" | "B<A" => Preference::A,
        "A=B" | "B=A" => Preference::Tie,
        "B>A" | "A<B" => Preference::B,
        "B>>A" | "A<<B" => Preference::MuchB,
        _ => return Err(Reason::NoVerdict),
    };
    Ok(Verdict::Preference(preference))
}
