//! Bounds on what a template's expressions can build.
//!
//! The engine counts steps, but one step can double a string, and forty of them fill any memory.
//! So the source is rewritten before it is compiled: each operand of `+` and `~` goes through a
//! filter that adds its size to what the rendering has used, and each operand of `*` through one
//! that lets only numbers pass. One step can also compare two long lists: what `in`, `==` and their
//! like compare goes through a filter that counts it. None of them changes a value.
//!
//! `{% generation %}` blocks, by which transformers marks the assistant's words, become a filter over
//! their text, in a scope of its own as there.

use std::ops::Range;

use super::generation;

/// The filter for operands of `+`.
pub(super) const TERM: &str = "bounded_term";
/// The filter for operands of `~`, which writes its operands as text.
pub(super) const TEXT: &str = "bounded_text";
/// The filter for operands of `*`.
pub(super) const FACTOR: &str = "number_factor";
/// The filter for what is compared.
pub(super) const COMPARED: &str = "bounded_compared";

const KEYWORDS: [&str; 12] = [
    "and", "or", "not", "in", "is", "if", "else", "elif", "set", "for", "return", "do",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A name, a number or a string.
    Atom,
    Keyword,
    Open,
    Close,
    Operator,
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// Rewrites a template's source; what it cannot make sense of stays as it is, for the compiler to
/// complain about.
pub(super) fn rewrite(source: &str) -> String {
    let mut out = String::with_capacity(source.len() * 2);
    let mut rest = source;
    while let Some(begin) = rest
        .find("{{")
        .into_iter()
        .chain(rest.find("{%"))
        .chain(rest.find("{#"))
        .min()
    {
        let (text, tag) = rest.split_at(begin);
        out.push_str(text);
        if tag.starts_with("{#") {
            let end = tag.find("#}").map_or(tag.len(), |end| end + 2);
            out.push_str(&tag[..end]);
            rest = &tag[end..];
            continue;
        }
        let (tokens, end) = scan(tag);
        out.push_str(&rewrite_tag(&tag[..end], &tokens));
        rest = &tag[end..];
        if first_name(tag, &tokens) == Some("raw") {
            let end = rest
                .find("endraw")
                .map_or(rest.len(), |end| end + "endraw".len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

fn first_name<'a>(tag: &'a str, tokens: &[Token]) -> Option<&'a str> {
    let first = tokens.first().filter(|_| tag.starts_with("{%"))?;
    Some(&tag[first.range.clone()])
}

/// The tokens of a tag, and where it ends.
fn scan(tag: &str) -> (Vec<Token>, usize) {
    let close = if tag.starts_with("{{") { "}}" } else { "%}" };
    let bytes = tag.as_bytes();
    let mut tokens: Vec<Token> = Vec::new();
    let mut depth = 0_usize;
    // A sign right after the opening or before the closing is about white space.
    let mut place = 2 + usize::from(matches!(bytes.get(2), Some(b'-' | b'+')));
    while place < tag.len() {
        let rest = &tag[place..];
        if depth == 0 && rest.starts_with(close) {
            return (tokens, place + 2);
        }
        if depth == 0 && rest.starts_with(['-', '+']) && rest[1..].starts_with(close) {
            return (tokens, place + 3);
        }
        let (kind, length) = match bytes[place] {
            byte if byte.is_ascii_whitespace() => {
                place += 1;
                continue;
            }
            b'"' | b'\'' => (Kind::Atom, string_length(rest)),
            byte if byte.is_ascii_digit() => (Kind::Atom, number_length(rest)),
            byte if byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii() => {
                let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let length = length.unwrap_or(rest.len()).max(1);
                let keyword = KEYWORDS.contains(&rest.get(..length).unwrap_or_default());
                (if keyword { Kind::Keyword } else { Kind::Atom }, length)
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                (Kind::Open, 1)
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                (Kind::Close, 1)
            }
            _ if ["**", "//", "==", "!=", "<=", ">="]
                .iter()
                .any(|two| rest.starts_with(two)) =>
            {
                (Kind::Operator, 2)
            }
            _ => (Kind::Operator, 1),
        };
        let mut end = place + length;
        while !tag.is_char_boundary(end) {
            end += 1;
        }
        tokens.push(Token {
            kind,
            range: place..end,
        });
        place = end;
    }
    (tokens, tag.len())
}

fn string_length(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return place + 1,
            _ => {}
        }
    }
    text.len()
}

fn number_length(text: &str) -> usize {
    let digits = |text: &str| {
        text.bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count()
    };
    let whole = digits(text);
    match text[whole..].strip_prefix('.').map(digits) {
        Some(fraction) if fraction > 0 => whole + 1 + fraction,
        _ => whole,
    }
}

fn rewrite_tag(tag: &str, tokens: &[Token]) -> String {
    match first_name(tag, tokens) {
        Some("generation") => {
            let opened = format!("with %}}{{% filter {}", generation::FILTER);
            return tag.replacen("generation", &opened, 1);
        }
        Some("endgeneration") => return tag.replacen("endgeneration", "endfilter %}{% endwith", 1),
        _ => {}
    }
    let text = |index: usize| &tag[tokens[index].range.clone()];
    // What a loop runs over is no operand.
    let mut loop_in = first_name(tag, tokens) == Some("for");
    let mut filters: Vec<(usize, &str)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let filter = match (text(index), token.kind) {
            ("+", Kind::Operator) => TERM,
            ("~", Kind::Operator) => TEXT,
            ("*", Kind::Operator) => FACTOR,
            ("in", Kind::Keyword) if std::mem::take(&mut loop_in) => continue,
            ("in", Kind::Keyword) => COMPARED,
            ("==" | "!=" | "<" | ">" | "<=" | ">=", Kind::Operator) => COMPARED,
            _ => continue,
        };
        let before = |index: usize| index.checked_sub(1);
        let left = match before(index) {
            Some(left) if text(index) == "in" && text(left) == "not" => before(left),
            left => left,
        };
        // Without a left operand it is a sign or the star of an argument list, or the test `in`.
        let left = left.map(|left| &tokens[left]);
        let Some(left) = left.filter(|left| matches!(left.kind, Kind::Atom | Kind::Close)) else {
            continue;
        };
        filters.push((left.range.end, filter));
        if let Some(end) = operand_end(tag, tokens, index + 1) {
            filters.push((end, filter));
        }
    }
    // Of two filters at one place the one of the tighter operator has to come first; both are
    // the identity, so any order will do.
    filters.sort_by_key(|&(place, _)| place);
    let mut out = String::with_capacity(tag.len() + 24 * filters.len());
    let mut copied = 0;
    for (place, filter) in filters {
        out.push_str(&tag[copied..place]);
        out.push('|');
        out.push_str(filter);
        copied = place;
    }
    out.push_str(&tag[copied..]);
    out
}

/// Where the operand that begins at token `index` ends: signs, a name or a literal or something in
/// brackets, then attributes, subscripts, calls and filters.
fn operand_end(tag: &str, tokens: &[Token], mut index: usize) -> Option<usize> {
    let is = |index: usize, texts: &[&str]| {
        tokens
            .get(index)
            .is_some_and(|token| texts.contains(&&tag[token.range.clone()]))
    };
    while is(index, &["-", "+", "not"]) {
        index += 1;
    }
    let mut last = match tokens.get(index)?.kind {
        Kind::Open => closing(tokens, index)?,
        Kind::Atom => index,
        _ => return None,
    };
    loop {
        if is(last + 1, &[".", "|"]) && tokens.get(last + 2).is_some() {
            last += 2;
        } else if is(last + 1, &["(", "["]) {
            last = closing(tokens, last + 1)?;
        } else {
            return Some(tokens[last].range.end);
        }
    }
}

fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> String {
        rewrite(source)
            .replace(TERM, "b")
            .replace(TEXT, "t")
            .replace(FACTOR, "f")
            .replace(COMPARED, "c")
    }

    #[test]
    fn operands_are_bounded_whatever_stands_around_them() {
        for (source, expected) in [
            ("{{ a + b }}", "{{ a|b + b|b }}"),
            (
                "{{- x['a'] ~ y.z(1)|trim ~ '}}' -}}",
                "{{- x['a']|t ~ y.z(1)|trim|t|t ~ '}}'|t -}}",
            ),
            (
                "{% set n.s = n.s ~ (a if b else c) %}",
                "{% set n.s = n.s|t ~ (a if b else c)|t %}",
            ),
            ("{{ 2 * (a + 1.5) }}", "{{ 2|f * (a|b + 1.5|b)|f }}"),
            ("{{ a ** b - -c // d }}", "{{ a ** b - -c // d }}"),
            ("{{ f(*args, x=+1) }}", "{{ f(*args, x=+1) }}"),
            (
                "{% for a in b if a.c not in d and a == e[1] %}",
                "{% for a in b if a.c|c not in d|c and a|c == e[1]|c %}",
            ),
            ("{% if a is in b %}", "{% if a is in b %}"),
            (
                "{{ {'a': {'b': c + d}} }} + {{ '\\'' + \"}}\" }}",
                "{{ {'a': {'b': c|b + d|b}} }} + {{ '\\''|b + \"}}\"|b }}",
            ),
            (
                "{# a + b #}{% raw %}{{ a + b }}{% endraw %}{{ a+b }}",
                "{# a + b #}{% raw %}{{ a + b }}{% endraw %}{{ a|b+b|b }}",
            ),
            (
                "{%- generation %}x{% endgeneration -%}",
                "{%- with %}{% filter generation_marks %}x{% endfilter %}{% endwith -%}",
            ),
            ("text {{ 你 + 好 }} {", "text {{ 你|b + 好|b }} {"),
        ] {
            assert_eq!(rewritten(source), expected);
        }
    }

    #[test]
    fn broken_source_is_left_to_the_compiler() {
        for source in [
            "{{ a + ",
            "{% set x = ( + %}",
            "{{ 'abc",
            "{{",
            "{%",
            "{#",
            "{{ + }}",
        ] {
            assert!(
                crate::ChatTemplate::new(source, "", "").is_err(),
                "{source}"
            );
        }
    }
}
