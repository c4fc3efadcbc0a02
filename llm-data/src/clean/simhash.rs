//! Near-duplicates by SimHash, with RedPajama's parameters for books.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

use super::clusters::{Clusters, Key, cluster, narrow, part};
use super::shingles::{Confirmer, ShingleSource, Texts, similarity};

/// How near-duplicates are searched by SimHash.
///
/// The defaults are what RedPajama removes near-duplicate books with
/// ([`data_prep/book/dedup.py`](https://github.com/togethercomputer/RedPajama-Data/blob/rp_v1/data_prep/book/dedup.py):
/// "w" and "k"). SimHash judges a long text as a whole; a short one has few features, and wrong
/// hits come by chance: set `jaccard` for those.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimHash {
    /// Characters of a feature (RedPajama's w). Default 6.
    pub width: usize,
    /// Bits of 64 in which the hashes of the same text may differ (RedPajama's k), 0 to 16.
    /// Default 5.
    pub distance: u32,
    /// If set, the Jaccard similarity of 3-word shingles that a pair must have as well, above 0
    /// to 1. Default none.
    pub jaccard: Option<f64>,
}

impl Default for SimHash {
    fn default() -> Self {
        Self {
            width: 6,
            distance: 5,
            jaccard: None,
        }
    }
}

/// Words in a shingle, where pairs are confirmed.
pub(super) const SHINGLE: usize = 3;

impl SimHash {
    pub(super) fn validate(&self) -> Result<()> {
        if self.width == 0 {
            return Err(Error::option("width", "at least 1", 0));
        }
        if self.distance > 16 {
            return Err(Error::option("distance", "0 to 16", self.distance));
        }
        match self.jaccard {
            Some(least) if !(least > 0.0 && least <= 1.0) => {
                Err(Error::option("jaccard", "above 0, at most 1", least))
            }
            _ => Ok(()),
        }
    }
}

/// The SimHashes of texts: 8 bytes for each.
#[derive(Default)]
pub(super) struct Hashes {
    /// 0 where there is none.
    hashes: Vec<u64>,
    /// The texts without one.
    silent: HashSet<u32>,
}

impl Hashes {
    pub(super) fn push(&mut self, hash: Option<u64>) -> Result<()> {
        if hash.is_none() {
            self.silent.insert(narrow(self.hashes.len())?);
        }
        self.hashes.push(hash.unwrap_or_default());
        Ok(())
    }

    /// The clusters; at most about `limit` keys are sorted at a time, and shingle sets of `room`
    /// bytes held.
    pub(super) fn clusters(
        &self,
        options: &SimHash,
        source: &impl ShingleSource,
        limit: usize,
        room: usize,
    ) -> Result<Clusters> {
        let texts = self.hashes.len();
        let (blocks, parts) = (options.distance + 1, texts.div_ceil(limit.max(1)).max(1));
        let keys = |round| Ok(self.keys((round / parts) as u32, blocks, round % parts, parts));
        let mut confirmer = Confirmer::new(source, room);
        cluster(texts, blocks as usize * parts, keys, |pairs| {
            let near = |&(a, b): &(u32, u32)| {
                let bits = self.hashes[a as usize] ^ self.hashes[b as usize];
                bits.count_ones() <= options.distance
            };
            let found: Vec<bool> = pairs.iter().map(near).collect();
            let Some(least) = options.jaccard else {
                return Ok(found);
            };
            let pairs: Vec<(u32, u32)> = pairs.iter().copied().filter(|pair| near(pair)).collect();
            let alike = confirmer.check(&pairs, |a, b| similarity(a, b) >= least)?;
            let mut alike = alike.into_iter();
            let both = |near| near && alike.next().unwrap_or_default();
            Ok(found.into_iter().map(both).collect())
        })
    }

    /// The bits of one of `blocks` blocks, of one of `parts` parts of the texts.
    fn keys(&self, block: u32, blocks: u32, number: usize, parts: usize) -> Vec<Key> {
        let (start, end) = (64 * block / blocks, 64 * (block + 1) / blocks);
        let mask = (u64::MAX >> (64 - (end - start))) << start;
        let hashes = self.hashes.iter().zip(0_u32..);
        let keys = hashes.map(|(hash, place)| (hash & mask, place));
        let keys =
            keys.filter(|(key, place)| part(*key, parts) == number && !self.silent.contains(place));
        keys.collect()
    }
}

/// Clusters of texts whose SimHashes differ in `distance` bits at most, or that a chain of such
/// texts connects.
///
/// After Charikar 2002 and Manku et al. 2007, "Detecting near-duplicates for web crawling": pairs
/// within the distance are all found, as they agree in one of `distance + 1` blocks of bits. A
/// text without a letter or digit is alone. The same texts yield the same clusters on any number of
/// threads.
///
/// # Errors
/// [`Error::Option`] for options that make no sense; [`Error::TooManyRecords`].
pub fn simhash_duplicates<T: AsRef<str> + Sync>(
    texts: &[T],
    options: &SimHash,
) -> Result<Clusters> {
    options.validate()?;
    let values: Vec<Option<u64>> = texts
        .par_iter()
        .map(|text| simhash(text.as_ref(), options.width))
        .collect();
    let mut hashes = Hashes::default();
    for hash in values {
        hashes.push(hash)?;
    }
    let source = Texts {
        texts,
        size: SHINGLE,
    };
    hashes.clusters(options, &source, usize::MAX, ROOM)
}

/// Bytes of the shingle sets that are held.
const ROOM: usize = 64 << 20;

/// The 64-bit SimHash of the text: bit by bit the majority of the hashes (XXH3; RedPajama's library
/// takes MD5) of its runs of `width` characters, which are letters, digits and `_` in lower case.
/// None where the text has none of these.
pub fn simhash(text: &str, width: usize) -> Option<u64> {
    let characters: Vec<char> = text
        .chars()
        .flat_map(char::to_lowercase)
        .filter(|character| character.is_alphanumeric() || *character == '_')
        .collect();
    if characters.is_empty() {
        return None;
    }
    let width = width.clamp(1, characters.len());
    let mut counts: HashMap<u64, i64> = HashMap::new();
    let mut feature = String::new();
    for window in characters.windows(width) {
        feature.clear();
        feature.extend(window);
        *counts.entry(xxh3_64(feature.as_bytes())).or_default() += 1;
    }
    let mut votes = [0_i64; 64];
    for (hash, count) in counts {
        for (bit, vote) in votes.iter_mut().enumerate() {
            *vote += if hash >> bit & 1 == 1 { count } else { -count };
        }
    }
    let bits = votes.iter().enumerate();
    Some(bits.fold(0, |hash, (bit, vote)| hash | u64::from(*vote > 0) << bit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn case_and_punctuation_are_no_difference_and_small_edits_a_small_one() {
        let text = "It is a truth universally acknowledged, that a single man in possession of a \
                    good fortune, must be in want of a wife. "
            .repeat(3);
        let hash = simhash(&text, 6).unwrap();
        assert_eq!(
            simhash(&text.to_uppercase().replace([',', ' '], ""), 6),
            Some(hash)
        );
        let edited = simhash(&text.replacen("wife", "dog", 1), 6).unwrap();
        assert!((hash ^ edited).count_ones() <= 12);
        let other = "Call me Ishmael. Some years ago, never mind how long precisely".repeat(3);
        assert!((hash ^ simhash(&other, 6).unwrap()).count_ones() > 12);
        assert_eq!(simhash("?! ", 6), None);
        assert!(simhash("ab", 6).is_some());
    }
}
