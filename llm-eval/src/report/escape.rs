//! Texts of others, made harmless.

use std::fmt::{self, Write};

/// A text as HTML has it, between tags or in an attribute between double quotes. Control characters,
/// which HTML cannot hold, are shown as `U+FFFD`.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(place) = rest.find(is_special) {
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
}

fn is_special(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\'') || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A text as Markdown has it, in one line.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                    write!(f, "\\{c}")?;
                }
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
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
}
