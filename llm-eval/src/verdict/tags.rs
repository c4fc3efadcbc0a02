//! Verdicts in double brackets: ratings, preferences, and Arena-Hard's five labels.

use regex::{Captures, Regex};

use super::decide::{Found, decide, only_verdict_words};
use super::text::line_around;
use super::{Preference, Range, Reason, Verdict};
use crate::pattern::pattern;

/// How far from the end an opened tag counts as cut off, in bytes.
const TAIL: usize = 40;

pattern!(
    RATING,
    r"(?i)\[\[[\s*]*(?:(?:rating|score|评分|得分)\s*:\s*)?([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?nan|[+-]?inf(?:inity)?)\s*分?\s*(?:/\s*([0-9]+(?:\.[0-9]+)?))?[\s*]*\]\]"
);
pattern!(
    SINGLE_RATING,
    r"\[\s*([+-]?[0-9]+(?:\.[0-9]*)?)\s*(?:/\s*([0-9]+(?:\.[0-9]+)?))?\s*\]"
);
pattern!(
    RATING_WORD,
    r"(?i)(?:rating|score|verdict|grade|评分|得分|分数|打分)[^\n\[\]]{0,20}\[?$"
);
pattern!(
    PAIR,
    r"(?i)\[\[[\s*]*(?:assistant\s+)?(a|b|c|tie)[\s*]*\]\]"
);
pattern!(
    ARENA,
    r"(?i)\[\[[\s*]*([ab])\s*(>>|>|=|<<|<)\s*([ab])[\s*]*\]\]"
);
pattern!(
    SINGLE_ARENA,
    r"(?i)\[\s*([ab])\s*(>>|>|=|<<|<)\s*([ab])\s*\]"
);

/// `[[7]]`.
pub(super) fn rating(text: &str, range: Range) -> Result<Verdict, Reason> {
    let score = |captures: &Captures<'_>| Some(number(captures, range));
    let mut found = find(&RATING, text, score);
    if found.is_empty() {
        found = find(&SINGLE_RATING, text, score);
        found.retain(|one| {
            let (before, after) = line_around(text, one.start, one.end);
            RATING_WORD.is_match(before)
                || (only_verdict_words(before.trim_end_matches('['))
                    && only_verdict_words(after.trim_start_matches(']')))
        });
    }
    last(text, &found)?.map(Verdict::Score)
}

/// `[[A]]`, `[[B]]`, `[[C]]`.
pub(super) fn pair(text: &str) -> Result<Verdict, Reason> {
    let found = find(&PAIR, text, |captures| {
        Some(match captures[1].to_ascii_lowercase().as_str() {
            "a" => Preference::A,
            "b" => Preference::B,
            _ => Preference::Tie,
        })
    });
    last(text, &found).map(Verdict::Preference)
}

/// `[[A>>B]]` and the like.
pub(super) fn arena_hard(text: &str) -> Result<Verdict, Reason> {
    let label = |captures: &Captures<'_>| label(&captures[1], &captures[2], &captures[3]);
    let mut found = find(&ARENA, text, label);
    if found.is_empty() {
        found = find(&SINGLE_ARENA, text, label);
    }
    last(text, &found).map(Verdict::Preference)
}

/// The preference that `left` `sign` `right` states; `None` when both sides are the same.
fn label(left: &str, sign: &str, right: &str) -> Option<Preference> {
    if left.eq_ignore_ascii_case(right) {
        return None;
    }
    let stated = match sign {
        ">>" => Preference::MuchA,
        ">" => Preference::A,
        "=" => Preference::Tie,
        "<" => Preference::B,
        _ => Preference::MuchB,
    };
    Some(if left.eq_ignore_ascii_case("a") {
        stated
    } else {
        stated.swapped()
    })
}

/// A score, with the highest one as its only possible denominator.
fn number(captures: &Captures<'_>, range: Range) -> Result<f64, Reason> {
    let score: f64 = captures[1].parse().map_err(|_| Reason::NotANumber)?;
    match captures.get(2).map(|max| max.as_str().parse::<f64>()) {
        Some(Ok(max)) if max == range.max() => range.check(score),
        Some(_) => Err(Reason::NotANumber),
        None => range.check(score),
    }
}

fn find<T>(
    pattern: &Regex,
    text: &str,
    value: impl Fn(&Captures<'_>) -> Option<T>,
) -> Vec<Found<T>> {
    let found = |captures: Captures<'_>| {
        let place = captures.get_match();
        Some(Found {
            start: place.start(),
            end: place.end(),
            value: value(&captures)?,
        })
    };
    pattern.captures_iter(text).filter_map(found).collect()
}

/// The deciding tag, unless the text ends inside one.
fn last<T: PartialEq + Clone>(text: &str, found: &[Found<T>]) -> Result<T, Reason> {
    let rest = found.last().map_or(text, |one| &text[one.end..]);
    match rest.rfind("[[") {
        Some(at) if !rest[at..].contains("]]") && rest.len() - at <= TAIL => Err(Reason::Truncated),
        _ => decide(text, found),
    }
}
