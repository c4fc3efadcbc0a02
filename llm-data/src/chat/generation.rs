//! `{% generation %}` blocks: what of a rendering the assistant says.
//!
//! A block becomes a filter over its text that puts a mark before and behind it; the marks are taken
//! out of the rendering again, and say where the block's text stands.

use std::ops::Range;

use minijinja::value::Value;
use minijinja::{Error, State};

use super::functions;

/// The filter over a block's text.
pub(super) const FILTER: &str = "generation_marks";
/// The variable with the two marks; absent where nobody asks.
pub(super) const MARKS: &str = "_generation_marks";

/// Marks that a rendering is unlikely to have: private-use characters that none of `texts` has.
pub(super) fn marks<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> [char; 2] {
    let candidates = '\u{100000}'..='\u{10FFFD}';
    let mut unused = candidates.filter(|&mark| !texts.clone().any(|text| text.contains(mark)));
    let mut next = || unused.next().unwrap_or('\u{10FFFD}');
    [next(), next()]
}

/// The filter: the text between the marks.
pub(super) fn filter(state: &mut State, text: String) -> Result<Value, Error> {
    functions::charge(state, text.len())?;
    match state.lookup(MARKS).as_ref().and_then(Value::as_str) {
        Some(marks) => {
            let mut marks = marks.chars();
            let marked = marks.next().into_iter().map(String::from);
            let marked = marked.chain([text]).chain(marks.map(String::from));
            Ok(marked.collect::<String>().into())
        }
        None => Ok(text.into()),
    }
}

/// Takes the marks out of a rendering: its text, and the ranges of bytes that stood between marks.
/// Of blocks within blocks only the outer ones count.
pub(super) fn take(marked: &str, [begin, end]: [char; 2]) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(marked.len());
    let mut ranges = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for piece in marked.split_inclusive([begin, end]) {
        let bare = piece.trim_end_matches([begin, end]);
        text.push_str(bare);
        if piece.ends_with(begin) {
            if depth == 0 {
                start = text.len();
            }
            depth += 1;
        } else if piece.ends_with(end) {
            depth = depth.saturating_sub(1);
            if depth == 0 && start < text.len() {
                ranges.push(start..text.len());
            }
        }
    }
    (text, ranges)
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn the_marks_are_taken_out_and_the_outer_blocks_are_found() {
        let taken = |text: &str| take(text, ['<', '>']);
        assert_eq!(taken("a<b>c<<d>é>"), ("abcdé".into(), vec![1..2, 3..6]));
        assert_eq!(taken("<>a"), ("a".into(), vec![]));
        assert_eq!(taken(">a<b"), ("ab".into(), vec![]));
    }
}
