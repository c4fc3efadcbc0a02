//! Special tokens in template text, and their text in what people write.
//!
//! Templates write special tokens as text. What a user writes must never become one: every place
//! where a user's text spells a special token is marked with a private-use character, the template
//! is filled in, and only unmarked places become tokens.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use tokenizers::AddedToken;

/// A piece of a template's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text for the tokenizer, without marks.
    Text(Cow<'a, str>),
    /// One special token.
    Special(u32),
}

/// The special tokens of a tokenizer, longest text first.
#[derive(Debug)]
pub(crate) struct Specials {
    tokens: Vec<(u32, AddedToken)>,
    ids: HashSet<u32>,
    /// Whether a special token begins with this byte: most positions are ruled out by it.
    first_bytes: [bool; 256],
}

impl Specials {
    pub(crate) fn new(added: impl IntoIterator<Item = (u32, AddedToken)>) -> Self {
        let mut tokens: Vec<_> = added
            .into_iter()
            .filter(|(_, token)| token.special && !token.content.is_empty())
            .collect();
        tokens.sort_by_key(|(id, token)| (std::cmp::Reverse(token.content.len()), *id));
        let mut first_bytes = [false; 256];
        for (_, token) in &tokens {
            first_bytes[usize::from(token.content.as_bytes()[0])] = true;
        }
        Self {
            ids: tokens.iter().map(|(id, _)| *id).collect(),
            tokens,
            first_bytes,
        }
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.ids.contains(&id)
    }

    /// The longest special token at the beginning of `text`.
    fn at(&self, text: &str) -> Option<&(u32, AddedToken)> {
        let first = *text.as_bytes().first()?;
        if !self.first_bytes[usize::from(first)] {
            return None;
        }
        self.tokens
            .iter()
            .find(|(_, token)| text.starts_with(&token.content))
    }

    /// Puts `mark` before each place where `text` spells a special token.
    pub(crate) fn guard<'a>(&self, text: &'a str, mark: char) -> Cow<'a, str> {
        let mut guarded = String::new();
        let mut copied = 0;
        for (place, _) in text.char_indices() {
            if self.at(&text[place..]).is_some() {
                guarded.push_str(&text[copied..place]);
                guarded.push(mark);
                copied = place;
            }
        }
        if copied == 0 && guarded.is_empty() {
            return Cow::Borrowed(text);
        }
        guarded.push_str(&text[copied..]);
        Cow::Owned(guarded)
    }

    /// Cuts template text at the special tokens that are not marked, longest first from the left,
    /// with the tokens' own rules about the white space and the words beside them.
    pub(crate) fn pieces<'a>(&self, text: &'a str, mark: char) -> Vec<Piece<'a>> {
        let piece = |(range, special): (Range<usize>, Option<u32>)| match special {
            Some(id) => Some(Piece::Special(id)),
            None => Some(Piece::Text(without_mark(&text[range], mark)))
                .filter(|piece| *piece != Piece::Text("".into())),
        };
        self.spans(text, mark)
            .into_iter()
            .filter_map(piece)
            .collect()
    }

    /// Where the pieces stand in the text, and which of them are special tokens.
    pub(crate) fn spans(&self, text: &str, mark: char) -> Vec<(Range<usize>, Option<u32>)> {
        let mut spans = Vec::new();
        let (mut begin, mut place) = (0, 0);
        while let Some(c) = text[place..].chars().next() {
            let Some((id, token)) = self.token_at(text, begin, place, mark) else {
                place += c.len_utf8();
                continue;
            };
            let (before, after) = (&text[begin..place], &text[place + token.content.len()..]);
            let before = if token.lstrip {
                before.trim_end()
            } else {
                before
            };
            let after = if token.rstrip {
                after.trim_start()
            } else {
                after
            };
            spans.push((begin..begin + before.len(), None));
            begin = text.len() - after.len();
            spans.push((place..begin, Some(*id)));
            place = begin;
        }
        spans.push((begin..text.len(), None));
        spans
    }

    /// The special token at `place`, unless it is marked or has to be a word of its own and is not.
    fn token_at(
        &self,
        text: &str,
        begin: usize,
        place: usize,
        mark: char,
    ) -> Option<&(u32, AddedToken)> {
        let found = self.at(&text[place..])?;
        let (before, after) = (&text[begin..place], &text[place + found.1.content.len()..]);
        let in_word = before.ends_with(is_word) || after.starts_with(is_word);
        let text = before.ends_with(mark) || (found.1.single_word && in_word);
        (!text).then_some(found)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_mark(text: &str, mark: char) -> Cow<'_, str> {
    if text.contains(mark) {
        Cow::Owned(text.replace(mark, ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// A private-use character that occurs in none of `texts`.
///
/// There are 6400 to choose from; a text that uses all of them gets the last one, and loses it.
pub(crate) fn unused_mark<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> char {
    let mut candidates = '\u{E000}'..='\u{F8FF}';
    candidates
        .find(|&mark| !texts.clone().any(|text| text.contains(mark)))
        .unwrap_or('\u{F8FF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: char = '\u{E000}';

    fn specials() -> Specials {
        let token = |text: &str| AddedToken::from(text, true);
        Specials::new([
            (1, token("<s>")),
            (2, token("</s>")),
            (3, token("<s>>")),
            (4, token("<l>").lstrip(true).rstrip(true)),
            (5, token("word").single_word(true)),
            (6, AddedToken::from("<plain>", false)),
        ])
    }

    #[test]
    fn template_text_is_cut_at_special_tokens_longest_first() {
        let specials = specials();
        let text = |text: &'static str| Piece::Text(text.into());
        assert_eq!(
            specials.pieces("a<s>> b</s></s>c<plain>", MARK),
            [
                text("a"),
                Piece::Special(3),
                text(" b"),
                Piece::Special(2),
                Piece::Special(2),
                text("c<plain>")
            ]
        );
        assert_eq!(
            specials.pieces("a  <l> \n b", MARK),
            [text("a"), Piece::Special(4), text("b")]
        );
        assert_eq!(
            specials.pieces("swords word", MARK),
            [text("swords "), Piece::Special(5)]
        );
        assert_eq!(specials.pieces("", MARK), []);
    }

    #[test]
    fn guarded_text_comes_back_whole_and_without_special_tokens() {
        let specials = specials();
        for text in ["</s>", "<s><s>>x<l>", "a </s", "<<s>", "no tokens"] {
            let guarded = specials.guard(text, MARK);
            assert_eq!(specials.pieces(&guarded, MARK), [Piece::Text(text.into())]);
        }
        assert!(matches!(
            specials.guard("no tokens", MARK),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn the_mark_is_a_character_nobody_uses() {
        assert_eq!(unused_mark(["a", "b"].into_iter()), '\u{E000}');
        assert_eq!(
            unused_mark(["a\u{E000}", "\u{E001}"].into_iter()),
            '\u{E002}'
        );
    }
}
