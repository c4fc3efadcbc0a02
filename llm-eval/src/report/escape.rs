//! Texts of others, made harmless.

use std::fmt::{self, Write};

/// A name or a sentence as HTML has it, between tags or in an attribute between double quotes.
/// Control characters, which HTML cannot hold, and those that turn the direction of what is around
/// them are shown as `U+FFFD`.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |c| is_special(c) || turns(c))
    }
}

/// The same of a text in an element of its own, beyond which no direction goes: those characters
/// stay.
pub(super) struct EscapedText<'a>(pub(super) &'a str);

impl fmt::Display for EscapedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, is_special)
    }
}

fn escape(
    f: &mut fmt::Formatter<'_>,
    mut rest: &str,
    is_special: impl Fn(char) -> bool,
) -> fmt::Result {
    while let Some(place) = rest.find(&is_special) {
        f.write_str(&rest[..place])?;
        let mut after = rest[place..].chars();
        match after.next() {
            Some('&') => f.write_str("&amp;")?,
            Some('<') => f.write_str("&lt;")?,
            Some('>') => f.write_str("&gt;")?,
            Some('"') => f.write_str("&quot;")?,
            Some('\'') => f.write_str("&#39;")?,
            // Browsers make a line's end of it anyway.
            Some('\r') if after.as_str().starts_with('\n') => {}
            Some('\r') => f.write_str("\n")?,
            _ => f.write_char('\u{fffd}')?,
        }
        rest = after.as_str();
    }
    f.write_str(rest)
}

fn is_special(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\'') || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Whether a character is seen only by the direction that it gives to others.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A sentence as HTML has it, in which names of others that are read from right to left turn nothing
/// around them.
pub(super) struct Sentence<'a> {
    pub(super) text: &'a str,
    pub(super) names: &'a [&'a str],
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        let next = |rest: &str| {
            let places = self.names.iter().filter(|name| is_right_to_left(name));
            let places = places.filter_map(|name| Some((rest.find(name)?, *name)));
            // Of two names that begin at one place the longer one.
            places.min_by_key(|(place, name)| (*place, usize::MAX - name.len()))
        };
        while let Some((place, name)) = next(rest) {
            let before = Escaped(&rest[..place]);
            write!(f, "{before}<bdi>{}</bdi>", Escaped(name))?;
            rest = &rest[place + name.len()..];
        }
        write!(f, "{}", Escaped(rest))
    }
}

/// Whether a text has letters of Hebrew, Arabic and the other scripts that are read so.
fn is_right_to_left(text: &str) -> bool {
    text.chars().any(|c| {
        matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
    })
}

/// A text as Markdown has it, in one line, in which renderers find no address and nobody's name.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        for (place, c) in text.char_indices() {
            match c {
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                    write!(f, "\\{c}")?;
                }
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                ':' if text[place..].starts_with("://") => f.write_str("&#58;")?,
                '.' if ends_with_www(&text[..place]) => f.write_str("&#46;")?,
                // An entity alone is read as a mention or an address all the same: renderers look
                // for them when entities are characters again.
                '@' => f.write_str("&#64;&#8203;")?,
                c if c.is_control() => f.write_char(' ')?,
                c if turns(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn ends_with_www(text: &str) -> bool {
    let bytes = text.as_bytes();
    let end = &bytes[bytes.len().saturating_sub(3)..];
    end.eq_ignore_ascii_case(b"www")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        let text = "a<b & \"c\" 'd'\r\ne\rf\0\u{1b}[1m\u{85}\t中文";
        let html = "a&lt;b &amp; &quot;c&quot; &#39;d&#39;\ne\nf\u{fffd}\u{fffd}[1m\u{fffd}\t中文";
        assert_eq!(Escaped(text).to_string(), html);
        let markdown = Plain("a|b\n# *c* <i> [x](y) 中文").to_string();
        assert_eq!(markdown, r"a\|b \# \*c\* &lt;i&gt; \[x\](y) 中文");
    }
    /// cmark-gfm 0.29 makes no link of them, but of `a&#64;b.com`.
    #[test]
    fn no_name_is_an_address_or_turns_a_line() {
        for (text, markdown) in [
            ("https://e.com/x?a=b", "https&#58;//e.com/x?a=b"),
            ("www.e.com WwW.e.com", "www&#46;e.com WwW&#46;e.com"),
            ("a@b.com, @user", "a&#64;&#8203;b.com, &#64;&#8203;user"),
            ("gpt-4.1: 3:4", "gpt-4.1: 3:4"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\u{fffd}b\u{fffd}c\u{fffd}"),
        ] {
            assert_eq!(Plain(text).to_string(), markdown);
        }
        assert_eq!(Escaped("a\u{202e}b").to_string(), "a\u{fffd}b");
        assert_eq!(EscapedText("a\u{202e}b").to_string(), "a\u{202e}b");
    }

    #[test]
    fn names_from_right_to_left_stand_by_themselves() {
        let names = ["نموذج", "نموذج-2", "gpt-4"];
        let text = "gpt-4 prefers نموذج-2: 50 %, <نموذج>";
        let sentence = Sentence {
            text,
            names: &names,
        };
        assert_eq!(
            sentence.to_string(),
            "gpt-4 prefers <bdi>نموذج-2</bdi>: 50 %, &lt;<bdi>نموذج</bdi>&gt;"
        );
    }
}
