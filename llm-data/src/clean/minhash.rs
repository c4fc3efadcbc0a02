//! Near-duplicates by MinHash and locality-sensitive hashing, confirmed by their Jaccard similarity.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

use super::clusters::{Clusters, cluster};
use super::shingles::{Confirmer, jaccard_at_least, shingles};

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
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            return Err(Error::option(
                "threshold",
                "above 0, at most 1",
                self.threshold,
            ));
        }
        if self.shingle == 0 {
            return Err(Error::option("shingle", "at least 1", 0));
        }
        let hashes = self.bands.saturating_mul(self.rows);
        if !(1..=HASHES).contains(&hashes) {
            return Err(Error::option("bands", "1 to 4096 bands × rows", hashes));
        }
        Ok(())
    }

    pub(super) fn alike(&self, a: &[u64], b: &[u64]) -> bool {
        jaccard_at_least(a, b, self.threshold)
    }
}

/// The hash functions `x ↦ (a·x + b) mod 2^64`, `a` odd, of each band.
pub(super) struct Bands(Vec<Vec<(u64, u64)>>);

impl Bands {
    pub(super) fn new(options: &MinHash) -> Self {
        let mut random = options.seed;
        let mut band = || {
            let functions =
                (0..options.rows).map(|_| (splitmix(&mut random) | 1, splitmix(&mut random)));
            functions.collect()
        };
        Self((0..options.bands).map(|_| band()).collect())
    }

    /// The key of the set in a band: of the least hashes under each of its functions.
    pub(super) fn key(&self, band: usize, shingles: &[u64]) -> u64 {
        let least = |&(a, b): &(u64, u64)| {
            let hashes = shingles
                .iter()
                .map(|hash| hash.wrapping_mul(a).wrapping_add(b));
            hashes.min()
        };
        let least = self.0[band].iter().filter_map(least);
        let bytes: Vec<u8> = least.flat_map(u64::to_le_bytes).collect();
        xxh3_64(&bytes)
    }

    /// The keys in all bands; none of an empty set.
    pub(super) fn keys(&self, shingles: &[u64]) -> Option<Vec<u64>> {
        let bands = 0..self.0.len();
        (!shingles.is_empty()).then(|| bands.map(|band| self.key(band, shingles)).collect())
    }
}

/// Clusters of texts whose shingle sets have a Jaccard similarity of `threshold` at least, or that
/// a chain of such texts connects.
///
/// Texts are compared as [`find_leakage`](crate::find_leakage) does, word by word without case and
/// punctuation; shingles by their 64-bit hash (XXH3). One without a word is alone. The same texts
/// yield the same clusters on any number of threads. Takes 8 bytes for each word, and 16 for each
/// text and band in turn; a [`Pipeline`](super::Pipeline) has them on disk. After Broder 1997, "On
/// the resemblance and containment of documents".
///
/// # Errors
/// [`Error::Option`] for options that make no sense; [`Error::TooManyRecords`].
pub fn near_duplicates<T: AsRef<str> + Sync>(texts: &[T], options: &MinHash) -> Result<Clusters> {
    options.validate()?;
    let sets: Vec<Vec<u64>> = texts
        .par_iter()
        .map(|text| shingles(text.as_ref(), options.shingle))
        .collect();
    let bands = Bands::new(options);
    let keys = |band| {
        let sets = sets.par_iter().enumerate();
        let sets = sets.filter(|(_, set)| !set.is_empty());
        Ok(sets
            .map(|(place, set)| (bands.key(band, set), place as u32))
            .collect())
    };
    let mut confirmer = Confirmer::new(&sets, usize::MAX);
    cluster(texts.len(), options.bands, keys, |pairs| {
        confirmer.check(pairs, |a, b| options.alike(a, b))
    })
}

/// SplitMix64 (Steele et al. 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
