//! Texts of records in a page of Markdown, where nothing of them is markup.

use std::fmt::Write as _;

use crate::inspect::is_format;

/// A text as a code span of one line. Line ends and what cannot be seen, or would let the text around
/// it be reordered, are spelled out.
pub(super) fn code(text: &str) -> String {
    span(&visible(text))
}

/// The same for a cell of a table, which a pipe would end.
pub(super) fn cell(text: &str) -> String {
    span(&visible(text).replace('|', "U+007C"))
}

/// A text of several lines as a block of code.
pub(super) fn block(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(visible).collect();
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    format!("{fence}\n{}\n{fence}\n", lines.join("\n"))
}

/// In a code span no character means anything but a run of as many backticks as began it.
fn span(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(text) + 1);
    // One space on each side belongs to the fences where there is one on both.
    let ends = |end: char| text.starts_with(end) || text.ends_with(end);
    let space = if ends('`') || ends(' ') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|character| character != '`');
    runs.map(str::len).max().unwrap_or(0)
}

fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push('⏎'),
            '\t' => out.push('⇥'),
            character if hidden(character) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "U+{:04X}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out
}

/// Controls, bidirectional marks, invisible letters (tags, with which a text can be hidden in
/// another), noncharacters. Joiners are left alone: scripts and emoji need them.
fn hidden(character: char) -> bool {
    character.is_control()
        || is_format(character)
        || matches!(character, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'
            | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}' | '\u{FDD0}'..='\u{FDEF}')
        || u32::from(character) & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_one_piece_of_code() {
        assert_eq!(code(""), "");
        assert_eq!(code("a b"), "`a b`");
        assert_eq!(code("a | <b> *c* \\"), "`a | <b> *c* \\`");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a``b`"), "``` a``b` ```");
        assert_eq!(code(" a"), "`  a `");
        assert_eq!(cell("a | b"), "`a U+007C b`");
    }

    #[test]
    fn what_cannot_be_seen_is_spelled_out() {
        assert_eq!(code("a\r\nb\tc"), "`aU+000D⏎b⇥c`");
        assert_eq!(code("\u{202E}\u{2066}\u{200B}"), "`U+202EU+2066U+200B`");
        assert_eq!(code("\u{E0041}\u{FFFF}\u{85}"), "`U+E0041U+FFFFU+0085`");
        assert_eq!(code("👩\u{200D}🔬"), "`👩\u{200D}🔬`");
    }

    #[test]
    fn a_block_ends_where_it_should() {
        assert_eq!(block("a\nb"), "```\na\nb\n```\n");
        assert_eq!(
            block("```\n````\u{2028}"),
            "`````\n```\n````U+2028\n`````\n"
        );
    }
}
