//! Near-duplicates by MinHash and locality-sensitive hashing, confirmed by their Jaccard similarity.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Result};
use crate::leakage::words::for_each_word;

use super::clusters::{Clusters, Union, buckets};

/// How near-duplicates are searched.
///
/// Two texts with the Jaccard similarity `s` are compared with the probability
/// `1 − (1 − s^rows)^bands`: by default 0.9996 at 0.8, 0.47 at 0.5 and 0.006 at 0.2. What is compared is
/// exact, so that `bands` and `rows` decide on what is missed and on the time, never on a wrong hit.
///
/// ```
/// use llm_data::clean::{MinHash, near_duplicates};
///
/// let texts = [
///     "The quick brown fox jumps over the lazy dog near the old river bank at noon.",
///     "Something else altogether.",
///     "The quick brown fox jumps over the lazy dog, near the old river bank, at noon today!",
/// ];
/// let clusters = near_duplicates(&texts, &MinHash::default())?;
/// assert_eq!(clusters.duplicates().collect::<Vec<_>>(), [(2, 0)]);
/// # Ok::<(), llm_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinHash {
    /// The Jaccard similarity of the shingle sets from which two texts count as the same, above 0
    /// to 1. Default 0.8.
    pub threshold: f64,
    /// Words on end in a shingle; a Chinese or Japanese character is a word. A shorter text is one
    /// shingle. Default 3.
    pub shingle: usize,
    /// Bands of the signature; texts that agree in one are compared. Default 20.
    pub bands: usize,
    /// Hashes in a band. Default 5.
    pub rows: usize,
    /// The seed of the hashes. Default 1.
    pub seed: u64,
}

impl Default for MinHash {
    fn default() -> Self {
        Self {
            threshold: 0.8,
            shingle: 3,
            bands: 20,
            rows: 5,
            seed: 1,
        }
    }
}

/// The most hashes of a signature.
const HASHES: usize = 4096;

impl MinHash {
    pub(super) fn validate(&self) -> Result<()> {
        let option = |field, expected, got: String| {
            Err(Error::Option {
                field,
                expected,
                got,
            })
        };
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            return option(
                "threshold",
                "above 0, at most 1",
                self.threshold.to_string(),
            );
        }
        if self.shingle == 0 {
            return option("shingle", "at least 1", "0".to_owned());
        }
        let hashes = self.bands.saturating_mul(self.rows);
        if !(1..=HASHES).contains(&hashes) {
            return option("bands", "1 to 4096 bands × rows", hashes.to_string());
        }
        Ok(())
    }

    /// The least hashes of the set under each of the hash functions `x ↦ (a·x + b) mod 2^64`, `a`
    /// odd. None of an empty set.
    fn signature(&self, functions: &[(u64, u64)], shingles: &[u64]) -> Vec<u64> {
        let least = |&(a, b): &(u64, u64)| {
            let hashes = shingles
                .iter()
                .map(|hash| hash.wrapping_mul(a).wrapping_add(b));
            hashes.min()
        };
        functions.iter().filter_map(least).collect()
    }
}

/// Clusters of texts whose shingle sets have a Jaccard similarity of `threshold` at least, or that
/// a chain of such texts connects.
///
/// Texts are compared as [`find_leakage`](crate::find_leakage) does, word by word without case and
/// punctuation; shingles by their 64-bit hash (XXH3). One without a word is alone. The same texts
/// yield the same clusters on any number of threads. Takes 8 bytes for each word, and 16 for each
/// text and band in turn. After Broder 1997, "On the resemblance and containment of documents".
///
/// # Errors
/// [`Error::Option`] for options that make no sense.
pub fn near_duplicates<T: AsRef<str> + Sync>(texts: &[T], options: &MinHash) -> Result<Clusters> {
    options.validate()?;
    let sets: Vec<Vec<u64>> = texts
        .par_iter()
        .map(|text| shingles(text.as_ref(), options.shingle))
        .collect();
    let mut union = Union::new(texts.len());
    let same = |a: usize, b: usize| jaccard_at_least(&sets[a], &sets[b], options.threshold);

    let mut random = options.seed;
    for _ in 0..options.bands {
        let functions: Vec<(u64, u64)> = (0..options.rows)
            .map(|_| (splitmix(&mut random) | 1, splitmix(&mut random)))
            .collect();
        let mut keys: Vec<(u64, u32)> = sets
            .par_iter()
            .enumerate()
            .filter(|(_, set)| !set.is_empty())
            .map(|(place, set)| {
                let band = options.signature(&functions, set);
                let bytes: Vec<u8> = band.iter().flat_map(|hash| hash.to_le_bytes()).collect();
                (xxh3_64(&bytes), place as u32)
            })
            .collect();
        union.unite_buckets(buckets(&mut keys), same);
    }
    Ok(union.clusters())
}

/// The Jaccard similarity of two texts' shingle sets, from 0 to 1: what [`near_duplicates`]
/// compares with its threshold. 0 where one of them has no word.
pub fn jaccard(a: &str, b: &str, shingle: usize) -> f64 {
    let (a, b) = (shingles(a, shingle.max(1)), shingles(b, shingle.max(1)));
    let common = intersection(&a, &b);
    common as f64 / (a.len() + b.len() - common).max(1) as f64
}

/// The hashes of the text's shingles, ascending, each once.
fn shingles(text: &str, size: usize) -> Vec<u64> {
    let mut words = Vec::new();
    for_each_word(text, |word| words.push(xxh3_64(word.as_bytes())));
    let hash = |shingle: &[u64]| {
        let mut hasher = Xxh3::new();
        for word in shingle {
            hasher.update(&word.to_le_bytes());
        }
        hasher.digest()
    };
    let mut set: Vec<u64> = if words.len() < size {
        words.chunks(size).map(hash).collect()
    } else {
        words.windows(size).map(hash).collect()
    };
    set.sort_unstable();
    set.dedup();
    set
}

/// `|a ∩ b| ≥ threshold · |a ∪ b|`, in the sizes first.
fn jaccard_at_least(a: &[u64], b: &[u64], threshold: f64) -> bool {
    let (small, large) = (a.len().min(b.len()), a.len().max(b.len()));
    if (small as f64) < threshold * large as f64 {
        return false;
    }
    let common = intersection(a, b);
    common as f64 >= threshold * (a.len() + b.len() - common) as f64
}

fn intersection(a: &[u64], b: &[u64]) -> usize {
    let (mut left, mut right, mut common) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(left), b.get(right)) {
        left += usize::from(x <= y);
        right += usize::from(y <= x);
        common += usize::from(x == y);
    }
    common
}

/// SplitMix64 (Steele et al. 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
