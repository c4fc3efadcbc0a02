//! One spelling for what judges write in many.

use super::Reason;

/// `reply` without its reasoning (`<think>`), with ASCII for full-width characters, brackets and
/// quotation marks, without invisible characters and escapes.
pub(super) fn normalise(reply: &str) -> Result<String, Reason> {
    let answer = match reply.rsplit_once("</think>") {
        Some((_, answer)) => answer,
        None if reply.trim_start().starts_with("<think>") => return Err(Reason::Truncated),
        None => reply,
    };
    let mut text = String::with_capacity(answer.len());
    for c in answer.chars() {
        match c {
            // A full-width comma ends a number, an ASCII one may stand inside.
            '，' => text.push_str(", "),
            '\u{ff01}'..='\u{ff5e}' => text.extend(char::from_u32(u32::from(c) - 0xfee0)),
            '【' | '〖' | '〔' => text.push('['),
            '】' | '〗' | '〕' => text.push(']'),
            '⟦' => text.push_str("[["),
            '⟧' => text.push_str("]]"),
            '“' | '”' | '„' | '「' | '」' | '『' | '』' => text.push('"'),
            '‘' | '’' => text.push('\''),
            '≫' => text.push_str(">>"),
            '\u{2212}' => text.push('-'),
            '\u{3000}' | '\u{a0}' => text.push(' '),
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\r' => {}
            c => text.push(c),
        }
    }
    for (from, to) in [
        ("&gt;", ">"),
        ("&lt;", "<"),
        (r"\[\[", "[["),
        (r"\]\]", "]]"),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    if text.trim().is_empty() {
        return Err(Reason::Empty);
    }
    Ok(text)
}

/// The line around a place: what stands before it and after it.
pub(super) fn line_around(text: &str, start: usize, end: usize) -> (&str, &str) {
    let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let to = text[end..].find('\n').map_or(text.len(), |at| end + at);
    (&text[from..start], &text[end..to])
}
