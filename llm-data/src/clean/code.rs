//! RedPajama's quality rules for code.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::{Conversation, Role};
use crate::tokenizer::Tokenizer;

use super::verdict::{Found, Verdict, beginning};

/// Options of [`Step::Code`](super::Step): bounds for the assistant's messages, each included. The
/// defaults are RedPajama's for files of GitHub
/// ([`data_prep/github`](https://github.com/togethercomputer/RedPajama-Data/tree/rp_v1/data_prep/github)).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Code {
    /// Characters of the longest line, at most. Default 1000.
    pub max_line: usize,
    /// Characters of the text, line ends included, by line, at most. Default 100.
    pub mean_line: f64,
    /// The share of letters and digits, at least, 0 to 1. Default 0.25.
    pub min_alphanumeric: f64,
    /// Letters by token, at least; 0 for no such rule, which needs a tokenizer. Default 1.5.
    pub min_letters_per_token: f64,
}

impl Default for Code {
    fn default() -> Self {
        Self {
            max_line: 1000,
            mean_line: 100.0,
            min_alphanumeric: 0.25,
            min_letters_per_token: 1.5,
        }
    }
}

/// [`Code`] with the tokenizer that it needs.
pub(super) struct CodeFilter {
    options: Code,
    tokenizer: Option<Arc<Tokenizer>>,
}

impl CodeFilter {
    pub(super) fn new(options: &Code, tokenizer: Option<&Arc<Tokenizer>>) -> Result<Self> {
        if !(0.0..=1.0).contains(&options.min_alphanumeric) {
            let got = options.min_alphanumeric;
            return Err(Error::option("min_alphanumeric", "0 to 1", got));
        }
        if options.mean_line.is_nan() || options.min_letters_per_token.is_nan() {
            return Err(Error::option("mean_line", "numbers", "NaN"));
        }
        if options.min_letters_per_token > 0.0 && tokenizer.is_none() {
            let expected = "0 where there is no tokenizer";
            let got = options.min_letters_per_token;
            return Err(Error::option("min_letters_per_token", expected, got));
        }
        Ok(Self {
            options: options.clone(),
            tokenizer: tokenizer.cloned(),
        })
    }

    pub(super) fn check(&self, conversation: &Conversation) -> Verdict {
        let messages = conversation.messages.iter();
        for message in messages.filter(|message| message.role == Role::Assistant) {
            if let Some(reason) = self.reason(&message.content) {
                return Err(Found::new(reason, beginning(&message.content)));
            }
        }
        Ok(Vec::new())
    }

    fn reason(&self, text: &str) -> Option<&'static str> {
        let lines = || lines(text).map(|line| line.chars().count());
        let characters = text.chars().count() as f64;
        if characters == 0.0 {
            return Some("empty");
        }
        if lines().max().unwrap_or(0) > self.options.max_line {
            return Some("long_line");
        }
        if characters / lines().count().max(1) as f64 > self.options.mean_line {
            return Some("long_lines");
        }
        let alphanumeric = text.chars().filter(|one| one.is_alphanumeric()).count();
        if (alphanumeric as f64) / characters < self.options.min_alphanumeric {
            return Some("few_alphanumeric");
        }
        let tokenizer = self.tokenizer.as_ref()?;
        let Ok(tokens) = tokenizer.encode(text) else {
            return Some("not_tokenizable");
        };
        let letters = text.chars().filter(|one| one.is_alphabetic()).count();
        let ratio = letters as f64 / tokens.len().max(1) as f64;
        (ratio < self.options.min_letters_per_token).then_some("few_letters_per_token")
    }
}

/// The lines as Python's `splitlines` divides them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends = [
        '\n', '\u{B}', '\u{C}', '\r', '\u{1C}', '\u{1D}', '\u{1E}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ];
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match rest.find(ends) {
            Some(end) => {
                let after = &rest[end..];
                let length = after.chars().next().map_or(0, char::len_utf8);
                let length = if after.starts_with("\r\n") { 2 } else { length };
                (&rest[..end], &after[length..])
            }
            None => (rest, ""),
        };
        rest = after;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn lines_are_pythons() {
        // >>> "a\r\nb\n\rc\x0b\u2028d\n".splitlines()
        let found: Vec<&str> = lines("a\r\nb\n\rc\u{B}\u{2028}d\n").collect();
        assert_eq!(found, ["a", "b", "", "c", "", "d"]);
        assert_eq!(lines("").count(), 0);
    }

    #[test]
    fn each_bound_has_its_reason() {
        let options = Code {
            min_letters_per_token: 0.0,
            ..Code::default()
        };
        let filter = CodeFilter::new(&options, None).unwrap();
        let line = |n| "x".repeat(n);
        assert_eq!(
            filter.reason(&format!("{}{}", line(1000), "\n".repeat(20))),
            None
        );
        assert_eq!(
            filter.reason(&format!("{}\n{}", line(1001), "a\n".repeat(30))),
            Some("long_line")
        );
        assert_eq!(filter.reason(&line(100)), None);
        assert_eq!(filter.reason(&line(101)), Some("long_lines"));
        assert_eq!(filter.reason("a..."), None);
        assert_eq!(filter.reason("a...."), Some("few_alphanumeric"));
        assert_eq!(filter.reason(""), Some("empty"));
        assert!(CodeFilter::new(&Code::default(), None).is_err());
    }
}
