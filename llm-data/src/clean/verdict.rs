//! What a step says about one record.

use std::ops::Range;

/// Something that a step found in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// A short, stable name to count by.
    pub(super) reason: &'static str,
    /// The place in the text, to be read.
    pub(super) excerpt: String,
}

impl Found {
    pub(super) fn new(reason: &'static str, excerpt: impl Into<String>) -> Self {
        Self {
            reason,
            excerpt: excerpt.into(),
        }
    }

    /// Found in `text`, there.
    pub(super) fn at(reason: &'static str, text: &str, place: Range<usize>) -> Self {
        Self::new(reason, excerpt(text, place))
    }
}

/// The changes that were made; or why the record is dropped.
pub(super) type Verdict = std::result::Result<Vec<Found>, Found>;

/// Characters of context on each side of an excerpt, and at most inside.
const CONTEXT: usize = 30;

/// The place with some characters around it.
pub(super) fn excerpt(text: &str, place: Range<usize>) -> String {
    let (before, rest) = text.split_at(text.floor_char_boundary(place.start));
    let (inside, after) = rest.split_at(rest.floor_char_boundary(place.len()));
    let start = before.char_indices().rev().take(CONTEXT).last();
    let mut result = before[start.map_or(before.len(), |(at, _)| at)..].to_owned();
    result.extend(inside.chars().take(2 * CONTEXT));
    if inside.chars().nth(2 * CONTEXT).is_some() {
        result.push('…');
    }
    result.extend(after.chars().take(CONTEXT));
    result
}

/// The beginning of a text.
pub(super) fn beginning(text: &str) -> String {
    excerpt(text, 0..text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_end_between_characters() {
        assert_eq!(excerpt("ab", 0..2), "ab");
        assert_eq!(excerpt("", 0..0), "");
        let text = "语".repeat(100) + "x" + &"言".repeat(100);
        let shown = "语".repeat(30) + "x" + &"言".repeat(30);
        assert_eq!(excerpt(&text, 300..301), shown);
        assert_eq!(
            excerpt(&text, 301..302),
            "语".repeat(29) + "x" + &"言".repeat(30)
        );
        assert_eq!(beginning(&text), "语".repeat(60) + "…");
    }
}
