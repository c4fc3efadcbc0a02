//! Byte-pair merging.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The rank of a pair that does not merge.
const NEVER: u32 = u32::MAX;

/// A vocabulary with its merges.
#[derive(Debug)]
pub(super) struct Bpe {
    /// The token of each byte; a byte that has none is left out.
    bytes: [Option<u32>; 256],
    /// The ranks of pairs of tokens: lower ones merge first.
    ranks: HashMap<u64, u32, BuildHasherDefault<PairHasher>>,
    /// What the pair of each rank becomes.
    merged: Vec<u32>,
    /// The tokens that a whole word is taken for without merging.
    whole: HashMap<Vec<u8>, u32>,
}

/// Memory that merging uses anew for each word.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    ids: Vec<u32>,
    /// The rank of each token with the next.
    ranks: Vec<u32>,
}

impl Bpe {
    /// `merges` in the order of their ranks: left, right and both.
    pub(super) fn new(
        bytes: [Option<u32>; 256],
        merges: &[[u32; 3]],
        whole: HashMap<Vec<u8>, u32>,
    ) -> Self {
        let ranked = (0..).zip(merges);
        Self {
            bytes,
            ranks: ranked
                .map(|(rank, &[left, right, _])| (pair(left, right), rank))
                .collect(),
            merged: merges.iter().map(|&[_, _, both]| both).collect(),
            whole,
        }
    }

    /// All ids that a word can become.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        let bytes = self.bytes.iter().copied().flatten();
        let merged = self.merged.iter().copied();
        bytes.chain(merged).chain(self.whole.values().copied())
    }

    /// Appends the ids of a word. Of all pairs the one with the lowest rank merges, the leftmost
    /// of several, until none is left that does.
    pub(super) fn encode(&self, word: &str, scratch: &mut Scratch, out: &mut Vec<u32>) {
        if let Some(&id) = self.whole.get(word.as_bytes()) {
            out.push(id);
            return;
        }
        let Scratch { ids, ranks } = scratch;
        ids.clear();
        ids.extend(word.bytes().filter_map(|b| self.bytes[usize::from(b)]));
        ranks.clear();
        ranks.extend(ids.windows(2).map(|ids| self.rank(ids[0], ids[1])));
        while let Some(&lowest) = ranks.iter().min()
            && lowest != NEVER
            && let Some(place) = ranks.iter().position(|&rank| rank == lowest)
        {
            ids[place] = self.merged[lowest as usize];
            ids.remove(place + 1);
            ranks.remove(place);
            if place > 0 {
                ranks[place - 1] = self.rank(ids[place - 1], ids[place]);
            }
            if let Some(rank) = ranks.get_mut(place) {
                *rank = self.rank(ids[place], ids[place + 1]);
            }
        }
        out.extend_from_slice(ids);
    }

    fn rank(&self, left: u32, right: u32) -> u32 {
        let rank = self.ranks.get(&pair(left, right));
        rank.copied().unwrap_or(NEVER)
    }
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Multiplies and folds: the keys come from the tokenizer's file, not from people's texts.
#[derive(Debug, Default)]
pub(super) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(self.0 ^ key) * 0x9E37_79B9_7F4A_7C15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
