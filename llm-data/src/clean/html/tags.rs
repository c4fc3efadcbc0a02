//! HTML's tags, as far as Markdown has something for them: no other reaches the HTML parser.

/// Elements that say that a text is HTML.
const KNOWN: [&str; 49] = [
    "a",
    "article",
    "b",
    "blockquote",
    "body",
    "br",
    "button",
    "center",
    "code",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "i",
    "img",
    "kbd",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "s",
    "section",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];
/// Those that are dropped, their text staying: FastChat drops `div` and `span` for the sake of code
/// blocks.
const DROPPED: [&str; 9] = [
    "div", "span", "button", "html", "body", "center", "small", "u", "figure",
];
/// Those that a browser opens anew in each block until they are closed.
const FORMATTING: [&str; 7] = ["a", "b", "code", "em", "i", "s", "strong"];
/// The attributes that Markdown has something for.
const ATTRIBUTES: [&str; 5] = ["href", "src", "alt", "title", "class"];

/// Tags in a text, at most.
const TAGS: usize = 10_000;
/// Elements that the parser may make by opening formatting ones anew, at most.
const REOPENED: usize = 1_000_000;

/// A tag of a known element.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    name: &'static str,
    closes: bool,
    /// Names and values of [`ATTRIBUTES`], each once.
    attributes: Vec<(&'static str, &'a str)>,
    /// Bytes from `<` to `>`.
    length: usize,
}

/// Whether there is a tag of a known element, outside code spans.
pub(super) fn contains_element(text: &str) -> bool {
    let places = text.match_indices('<');
    places
        .filter(|(place, _)| !text[..*place].ends_with('`'))
        .any(|(place, _)| name(&text[place..]).is_some())
}

/// The text with known tags in plain form, and every other `<` as text. None where there are so
/// many that parsing would take long.
pub(super) fn simplify(text: &str) -> Option<String> {
    let mut html = String::with_capacity(text.len());
    let (mut rest, mut tags, mut formatting) = (text, 0, 0);
    let mut in_pre = false;
    while let Some(start) = rest.find('<') {
        html.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            if let Some(end) = comment.find("-->") {
                rest = &comment[end + 3..];
                continue;
            }
            // No other comment ends either.
            html.push_str(&rest.replace('<', "&lt;"));
            return Some(html);
        }
        let Some(tag) = tag(rest) else {
            html.push_str("&lt;");
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.length..];
        let opens_pre = tag.name == "pre";
        if DROPPED.contains(&tag.name)
            || (in_pre && !opens_pre)
            || (opens_pre && in_pre != tag.closes)
        {
            continue;
        }
        tags += 1;
        formatting += usize::from(!tag.closes && FORMATTING.contains(&tag.name));
        if tags > TAGS || tags * formatting > REOPENED {
            return None;
        }
        // A fence is made of `pre` with `code` inside; ShareGPT's has a bar between the two.
        match (opens_pre, tag.closes) {
            (true, false) => html.push_str("<pre><code>"),
            (true, true) => html.push_str("</code></pre>"),
            _ => write(&tag, &mut html),
        }
        in_pre = if opens_pre { !tag.closes } else { in_pre };
    }
    html.push_str(rest);
    Some(html)
}

fn write(tag: &Tag<'_>, html: &mut String) {
    html.push_str(if tag.closes { "</" } else { "<" });
    html.push_str(tag.name);
    for (name, value) in &tag.attributes {
        let value = value.replace('"', "&quot;");
        html.push_str(&format!(" {name}=\"{value}\""));
    }
    html.push('>');
}

/// The known element's name after `<` or `</`, and the bytes up to its end.
fn name(text: &str) -> Option<(&'static str, usize)> {
    let start = if text[1..].starts_with('/') { 2 } else { 1 };
    let bytes = &text.as_bytes()[start..];
    let longest = bytes.len().min(11);
    let length = bytes[..longest]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let follows = bytes.get(length)?;
    if !matches!(follows, b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r') {
        return None;
    }
    let name = &bytes[..length];
    let known = KNOWN
        .iter()
        .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
    Some((known, start + length))
}

/// The tag at the beginning of the text, if it is one of a known element and ends.
///
/// A `<` ends the search, unless it stands in quotes; those end the search after 8 KiB. So each
/// byte is looked at a bounded number of times.
fn tag(text: &str) -> Option<Tag<'_>> {
    let (name, mut at) = name(text)?;
    let bytes = text.as_bytes();
    let mut attributes = Vec::new();
    loop {
        match bytes.get(at)? {
            b'>' => break,
            b'<' => return None,
            byte if byte.is_ascii_alphabetic() => {
                let (key, value, end) = attribute(text, at)?;
                let known = ATTRIBUTES
                    .iter()
                    .find(|known| key.eq_ignore_ascii_case(known));
                if let Some(known) = known
                    && attributes.iter().all(|(name, _)| name != known)
                {
                    attributes.push((*known, value));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Some(Tag {
        name,
        closes: text[1..].starts_with('/'),
        attributes,
        length: at + 1,
    })
}

/// Bytes in quotes, at most.
const QUOTED: usize = 8192;

/// Name, value and end of the attribute at the place.
fn attribute(text: &str, start: usize) -> Option<(&str, &str, usize)> {
    let bytes = text.as_bytes();
    let run = |from: usize, inside: fn(&u8) -> bool| {
        from + bytes[from..].iter().take_while(|byte| inside(byte)).count()
    };
    let end = run(start, |byte| {
        !byte.is_ascii_whitespace() && !b"=>/<\"'".contains(byte)
    });
    let key = &text[start..end];
    let equals = run(end, u8::is_ascii_whitespace);
    if bytes.get(equals) != Some(&b'=') {
        return Some((key, "", end));
    }
    let value = run(equals + 1, u8::is_ascii_whitespace);
    match bytes.get(value)? {
        quote @ (b'"' | b'\'') => {
            let inside = &bytes[value + 1..];
            let inside = &inside[..inside.len().min(QUOTED)];
            let length = inside.iter().position(|byte| byte == quote)?;
            let end = value + 1 + length;
            Some((key, &text[value + 1..end], end + 1))
        }
        _ => {
            let end = run(value, |byte| {
                !byte.is_ascii_whitespace() && !b"><\"'".contains(byte)
            });
            Some((key, &text[value..end], end))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn tags_are_read_with_their_attributes() {
        let text = "<A\n HREF = 'x>\"y' x=1 title=t/ class disabled href=\"z\">rest";
        let found = tag(text).unwrap();
        assert_eq!(found.name, "a");
        assert_eq!(
            found.attributes,
            [("href", "x>\"y"), ("title", "t/"), ("class", "")]
        );
        assert_eq!(&text[found.length..], "rest");
        assert_eq!(tag("</p >").unwrap().length, 5);
        for none in [
            "<",
            "</",
            "<p",
            "<pq>",
            "<p <b>",
            "<p a=\"",
            "<p a=",
            "< p>",
            "<é>",
            "<p\u{301}>",
        ] {
            assert_eq!(tag(none), None, "{none}");
        }
    }

    #[test]
    fn only_known_tags_stay_tags() {
        let text = "<DIV><p onclick=\"x()\">a<script>b</script><!-- <p> --></p></DIV><x <br/>";
        assert_eq!(
            simplify(text).unwrap(),
            "<p>a&lt;script>b&lt;/script></p>&lt;x <br>"
        );
        assert_eq!(
            simplify("</pre><pre><pre><b>x</b></pre></pre>y").unwrap(),
            "<pre><code>x</code></pre>y"
        );
    }
}
