//! Near-duplicates by SimHash, with RedPajama's parameters for books.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

use super::clusters::{Clusters, Union, buckets};
use super::minhash::jaccard;

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
const SHINGLE: usize = 3;

impl SimHash {
    pub(super) fn validate(&self) -> Result<()> {
        let option = |field, expected, got: String| {
            Err(Error::Option {
                field,
                expected,
                got,
            })
        };
        if self.width == 0 {
            return option("width", "at least 1", "0".to_owned());
        }
        if self.distance > 16 {
            return option("distance", "0 to 16", self.distance.to_string());
        }
        match self.jaccard {
            Some(least) if !(least > 0.0 && least <= 1.0) => {
                option("jaccard", "above 0, at most 1", least.to_string())
            }
            _ => Ok(()),
        }
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
/// [`Error::Option`] for options that make no sense.
pub fn simhash_duplicates<T: AsRef<str> + Sync>(
    texts: &[T],
    options: &SimHash,
) -> Result<Clusters> {
    options.validate()?;
    let hashes: Vec<Option<u64>> = texts
        .par_iter()
        .map(|text| simhash(text.as_ref(), options.width))
        .collect();
    let same = |a: usize, b: usize| {
        let distance = hashes[a].zip(hashes[b]).map(|(a, b)| (a ^ b).count_ones());
        distance.is_some_and(|distance| distance <= options.distance)
            && options
                .jaccard
                .is_none_or(|least| jaccard(texts[a].as_ref(), texts[b].as_ref(), SHINGLE) >= least)
    };
    let mut union = Union::new(texts.len());
    let blocks = options.distance + 1;
    for block in 0..blocks {
        let (start, end) = (64 * block / blocks, 64 * (block + 1) / blocks);
        let mask = (u64::MAX >> (64 - (end - start))) << start;
        let places = hashes.iter().enumerate();
        let mut keys: Vec<(u64, u32)> = places
            .filter_map(|(place, hash)| Some((hash.as_ref()? & mask, place as u32)))
            .collect();
        union.unite_buckets(buckets(&mut keys), same);
    }
    Ok(union.clusters())
}

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
