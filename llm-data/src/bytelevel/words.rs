//! A cache of encoded words.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::bytelevel::bpe::{Bpe, Scratch};

/// Words that are kept at most: with their ids some ten megabytes.
const SLOTS: usize = 1 << 16;

/// The longest word, in bytes, that is kept: longer ones hardly come again.
const MAX_KEPT: usize = 32;

/// The ids of words, each in the one slot that its hash names. A slot is filled once and for all, by
/// the first word that comes twice without another between: threads only read, and never wait.
#[derive(Debug)]
pub(super) struct Words(Vec<Slot>);

#[derive(Debug, Default)]
struct Slot {
    kept: OnceLock<Kept>,
    /// Of the word that came last.
    hash: AtomicU32,
}

#[derive(Debug)]
struct Kept {
    word: Box<str>,
    ids: Box<[u32]>,
}

impl Words {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| Slot::default()).collect())
    }

    /// Appends the ids of a word.
    pub(super) fn encode(&self, bpe: &Bpe, word: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        if word.len() > MAX_KEPT {
            return bpe.encode(word, scratch, out);
        }
        let hash = xxh3_64(word.as_bytes());
        let slot = &self.0[hash as usize % SLOTS];
        let kept = slot.kept.get();
        if let Some(kept) = kept
            && *kept.word == *word
        {
            out.extend_from_slice(&kept.ids);
            return;
        }
        let begin = out.len();
        bpe.encode(word, scratch, out);
        let tag = (hash >> 32) as u32;
        if kept.is_none() && slot.hash.swap(tag, Ordering::Relaxed) == tag {
            slot.kept.get_or_init(|| Kept {
                word: word.into(),
                ids: out[begin..].into(),
            });
        }
    }
}
