//! Byte-level BPE (GPT-2, Llama 3, Qwen 2, SmolLM) without `tokenizers`: the same ids, several times
//! as fast, because where a token stands in the text is not kept.

mod bpe;
mod classes;
mod file;
mod split;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;

use regex::Regex;
use serde_json::Value;
use tokenizers::AddedToken;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::bytelevel::bpe::{Bpe, Scratch};
use crate::bytelevel::split::Splitter;
use crate::bytelevel::words::Words;
use crate::place::Place;

/// The longest word, in bytes, that is merged here: merging takes quadratic time.
const MAX_WORD: usize = 1024;

/// Encodes texts in which special tokens are text.
#[derive(Debug)]
pub(crate) struct ByteLevel {
    /// Whether texts are brought into normal form C. Here they have to be in it already.
    nfc: bool,
    /// Whether a text that continues no other gets a space in front.
    prefix_space: bool,
    splitter: Splitter,
    bpe: Bpe,
    words: Words,
    /// The texts of added tokens that are not special, which `tokenizers` finds first of all.
    added: Option<Regex>,
}

impl ByteLevel {
    /// The tokenizer of a `tokenizer.json`; none where a part of it is not known exactly, or where
    /// its model may make a special token of text.
    pub(crate) fn new<'a>(
        json: &Value,
        added: impl Iterator<Item = &'a AddedToken>,
        is_special: impl Fn(u32) -> bool,
    ) -> Option<Self> {
        let nfc = file::normalizer(&json["normalizer"])?;
        let (steps, prefix_space) = file::pre_tokenizer(&json["pre_tokenizer"])?;
        file::post_processor(&json["post_processor"])?;
        let bpe = file::model(&json["model"])?;
        if bpe.ids().any(is_special) {
            return None;
        }
        Some(Self {
            nfc,
            prefix_space,
            splitter: Splitter::new(steps)?,
            bpe,
            words: Words::new(),
            added: texts(added).ok()?,
        })
    }

    /// Appends the ids of a text; false, with `ids` as they were, for a text that `tokenizers` has
    /// to encode.
    pub(crate) fn encode(&self, text: &str, place: Place, ids: &mut Vec<u32>) -> bool {
        let normal = !self.nfc || is_nfc_quick(text.chars()) == IsNormalized::Yes;
        if !normal || self.added.as_ref().is_some_and(|it| it.is_match(text)) {
            return false;
        }
        let bare = text.is_empty() || text.starts_with(' ');
        let text = match self.prefix_space && place != Place::Middle && !bare {
            true => Cow::Owned(format!(" {text}")),
            false => Cow::Borrowed(text),
        };
        let begin = ids.len();
        let mut scratch = Scratch::default();
        let done = self.splitter.words(&text, &mut |word| {
            let fits = word.len() <= MAX_WORD;
            if fits {
                self.words.encode(&self.bpe, word, &mut scratch, ids);
            }
            fits
        });
        if !done {
            ids.truncate(begin);
        }
        done
    }
}

/// Finds the added tokens that are not special, as they are written or in normal form.
fn texts<'a>(added: impl Iterator<Item = &'a AddedToken>) -> Result<Option<Regex>, regex::Error> {
    let texts: Vec<String> = added
        .filter(|token| !token.special && !token.content.is_empty())
        .flat_map(|token| [token.content.clone(), token.content.nfc().collect()])
        .map(|text| regex::escape(&text))
        .collect();
    match texts.is_empty() {
        true => Ok(None),
        false => Regex::new(&texts.join("|")).map(Some),
    }
}
