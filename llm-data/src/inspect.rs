//! Samples made visible: a page that marks the supervised tokens.

use std::fmt::Write as _;

use crate::encode::{IGNORE_INDEX, Sample};
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// A token as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownToken {
    /// The token.
    pub id: u32,
    /// Its text; empty where a character is finished only by a later token.
    pub text: String,
    /// Whether it carries loss.
    pub supervised: bool,
}

/// The tokens of a sample with their texts. A character of several tokens stands with the last of
/// them; a special token is spelled out.
///
/// # Errors
/// What the tokenizer fails with.
pub fn shown_tokens(tokenizer: &Tokenizer, sample: &Sample) -> Result<Vec<ShownToken>> {
    let mut shown: Vec<ShownToken> = Vec::with_capacity(sample.input_ids.len());
    let mut stream = tokenizer.decode_stream();
    for (&id, &label) in sample.input_ids.iter().zip(&sample.labels) {
        let text = match tokenizer.is_special(id) {
            true => {
                let rest = std::mem::replace(&mut stream, tokenizer.decode_stream()).finish()?;
                if let Some(last) = shown.last_mut() {
                    last.text.extend(rest);
                }
                tokenizer.token(id).unwrap_or_default()
            }
            false => stream.push(id)?.unwrap_or_default(),
        };
        shown.push(ShownToken {
            id,
            text,
            supervised: label != IGNORE_INDEX,
        });
    }
    if let Some(last) = shown.last_mut() {
        last.text.extend(stream.finish()?);
    }
    Ok(shown)
}

const STYLE: &str = "body{font:15px/1.6 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
    pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:1em}\
    i{font-style:normal;border-radius:2px;box-shadow:0 0 0 1px #ddd}\
    i.s{background:#b9e8b9;box-shadow:0 0 0 1px #7cc07c}\
    b{font-weight:normal;color:#a33}small{color:#666}";

/// A page of HTML that needs nothing else: each sample under its heading, supervised tokens green,
/// the id of each token in its tooltip. Line ends and characters without a look of their own are
/// spelled out, and nothing of the texts is HTML.
///
/// ```
/// use llm_data::{ShownToken, html};
///
/// let token = ShownToken { id: 7, text: "<b>".into(), supervised: true };
/// let page = html("Sample", &[("record 1".into(), vec![token])]);
/// assert!(page.contains("<i class=s title=7>&lt;b&gt;</i>"));
/// ```
pub fn html(title: &str, samples: &[(String, Vec<ShownToken>)]) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>\n"
    );
    for (heading, tokens) in samples {
        let supervised = tokens.iter().filter(|token| token.supervised).count();
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<h2>{}</h2><small>{} tokens, {supervised} supervised</small>\n<pre>",
            escaped(heading),
            tokens.len()
        );
        for token in tokens {
            let class = if token.supervised { " class=s" } else { "" };
            let text = escaped(&token.text);
            let _ = write!(page, "<i{class} title={}>{text}</i>", token.id);
        }
        page.push_str("</pre>\n");
    }
    page + "</body></html>\n"
}

/// The text as HTML. What a browser would not show, or would let reorder the text around it, is
/// named.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("<b>⏎</b>\n"),
            '\t' => out.push_str("<b>⇥</b>\t"),
            c if c.is_control() || is_format(c) => {
                let _ = write!(out, "<b>U+{:04X}</b>", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Characters that only steer how others are shown: bidirectional marks, line separators and the
/// byte-order mark. Joiners are left alone: scripts and emoji need them.
pub(crate) fn is_format(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        let token = |text: &str, supervised| ShownToken {
            id: 3,
            text: text.to_owned(),
            supervised,
        };
        let tokens = vec![
            token("</pre><script>", false),
            token("\"'&\n\u{202E}\0", true),
        ];
        let page = html("<t>", &[("<h>&".to_owned(), tokens)]);
        assert!(!page.contains("<script>") && !page.contains('\u{202E}') && !page.contains('\0'));
        assert!(
            page.contains("<title>&lt;t&gt;</title>") && page.contains("<h2>&lt;h&gt;&amp;</h2>")
        );
        assert!(page.contains("<i title=3>&lt;/pre&gt;&lt;script&gt;</i>"));
        let shown = "<i class=s title=3>&quot;&#39;&amp;<b>⏎</b>\n<b>U+202E</b><b>U+0000</b></i>";
        assert!(page.contains(shown), "{page}");
        assert!(page.contains("2 tokens, 1 supervised"));
    }
}
