//! Literals as Python writes them, which judges print in place of JSON.

use serde_json::Value;

/// How many brackets are tried as a list's beginning or end.
const TRIED: usize = 8;

/// The last list of objects in a text, in JSON's or in Python's spelling.
pub(super) fn last_list(text: &str) -> Option<Value> {
    let opens = text
        .rmatch_indices('[')
        .map(|(at, _)| at)
        .filter(|&at| text[at + 1..].trim_start().starts_with('{'));
    for at in opens.take(TRIED) {
        for (to, _) in text[at..].match_indices(']').take(TRIED) {
            if let Some(value @ Value::Array(_)) = literal(&text[at..=at + to]) {
                return Some(value);
            }
        }
    }
    None
}

/// `ast.literal_eval` for what JSON can hold: strings, numbers, `True`, `False`, `None`, lists,
/// tuples and dictionaries with strings as keys.
pub(super) fn literal(text: &str) -> Option<Value> {
    let mut json = String::with_capacity(text.len());
    let mut chars = text.trim_matches([' ', '\t']).char_indices().peekable();
    let text = text.trim_matches([' ', '\t']);
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' | '"' => {
                let mut string = String::new();
                loop {
                    match chars.next()?.1 {
                        '\\' => string.push(escaped(chars.next()?.1)?),
                        '\n' => return None,
                        end if end == c => break,
                        other => string.push(other),
                    }
                }
                json.push_str(&Value::String(string).to_string());
            }
            '(' => json.push('['),
            ')' | ']' | '}' => {
                // Python allows a comma before the closing bracket.
                let kept = json.trim_end().strip_suffix(',').map(str::len);
                json.truncate(kept.unwrap_or(json.len()));
                json.push(if c == ')' { ']' } else { c });
            }
            c if c.is_alphabetic() => {
                let word = text[at..]
                    .split(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap_or_default();
                json.push_str(match word {
                    "True" => "true",
                    "False" => "false",
                    "None" => "null",
                    _ => return None,
                });
                while chars
                    .peek()
                    .is_some_and(|&(next, _)| next < at + word.len())
                {
                    chars.next();
                }
            }
            c => json.push(c),
        }
    }
    serde_json::from_str(&json).ok()
}

/// The character that a backslash and `c` stand for.
fn escaped(c: char) -> Option<char> {
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '\\' | '\'' | '"' => c,
        _ => return None,
    })
}
