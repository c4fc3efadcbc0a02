//! The shingle sets of texts: their similarity, and where they are taken from.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::words::for_each_word;

/// The Jaccard similarity of two texts' shingle sets, from 0 to 1: what
/// [`near_duplicates`](super::near_duplicates) compares with its threshold. 0 where one of them has
/// no word.
pub fn jaccard(a: &str, b: &str, shingle: usize) -> f64 {
    similarity(&shingles(a, shingle.max(1)), &shingles(b, shingle.max(1)))
}

/// The Jaccard similarity of two sets.
pub(super) fn similarity(a: &[u64], b: &[u64]) -> f64 {
    let common = intersection(a, b);
    common as f64 / (a.len() + b.len() - common).max(1) as f64
}

/// The hashes of the text's shingles, ascending, each once.
pub(super) fn shingles(text: &str, size: usize) -> Vec<u64> {
    let mut words = Vec::new();
    for_each_word(text, |word| {
        words.push(xxh3_64(word.as_bytes()).to_le_bytes())
    });
    let hash = |shingle: &[[u8; 8]]| xxh3_64(shingle.as_flattened());
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
pub(super) fn jaccard_at_least(a: &[u64], b: &[u64], threshold: f64) -> bool {
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

/// Where the texts' shingle sets come from: memory, or texts on disk.
pub(super) trait ShingleSource: Sync {
    /// About the memory that it takes to have the set of the text at `place`.
    fn bytes(&self, place: u32) -> usize;

    /// The set of the text at `place`.
    fn shingles(&self, place: u32) -> Result<Cow<'_, [u64]>>;
}

/// Texts in memory.
pub(super) struct Texts<'a, T> {
    pub(super) texts: &'a [T],
    pub(super) size: usize,
}

impl<T: AsRef<str> + Sync> ShingleSource for Texts<'_, T> {
    fn bytes(&self, place: u32) -> usize {
        EXPANSION * self.texts[place as usize].as_ref().len()
    }

    fn shingles(&self, place: u32) -> Result<Cow<'_, [u64]>> {
        let text = self.texts[place as usize].as_ref();
        Ok(Cow::Owned(shingles(text, self.size)))
    }
}

/// Bytes of a shingle set by byte of the text: 8 for a Chinese character of 3, or an English word
/// and a space, which are seldom less.
pub(super) const EXPANSION: usize = 3;

/// Sets that are there already.
impl ShingleSource for Vec<Vec<u64>> {
    fn bytes(&self, _place: u32) -> usize {
        0
    }

    fn shingles(&self, place: u32) -> Result<Cow<'_, [u64]>> {
        Ok(Cow::Borrowed(&self[place as usize]))
    }
}

/// Compares the sets of pairs. Holds those that it compared last, in bounded memory.
pub(super) struct Confirmer<'a, S> {
    source: &'a S,
    room: usize,
    sets: HashMap<u32, Cow<'a, [u64]>>,
}

impl<'a, S: ShingleSource> Confirmer<'a, S> {
    /// Holds sets of `room` bytes, or of one pair if that is more.
    pub(super) fn new(source: &'a S, room: usize) -> Self {
        Self {
            source,
            room,
            sets: HashMap::new(),
        }
    }

    /// Whether the pairs' sets are `alike`.
    pub(super) fn check(
        &mut self,
        mut pairs: &[(u32, u32)],
        alike: impl Fn(&[u64], &[u64]) -> bool + Sync,
    ) -> Result<Vec<bool>> {
        let mut found = Vec::with_capacity(pairs.len());
        while !pairs.is_empty() {
            let (loaded, rest) = pairs.split_at(self.load(pairs)?);
            let sets = &self.sets;
            let compared = loaded.par_iter().map(|(a, b)| alike(&sets[a], &sets[b]));
            found.par_extend(compared);
            pairs = rest;
        }
        Ok(found)
    }

    /// Loads the sets of the first pairs, as many as there is room for; one at least.
    fn load(&mut self, pairs: &[(u32, u32)]) -> Result<usize> {
        let (mut places, mut bytes, mut count) = (HashSet::new(), 0_usize, 0);
        for &(a, b) in pairs {
            for place in [a, b] {
                if places.insert(place) {
                    bytes = bytes.saturating_add(self.source.bytes(place));
                }
            }
            if count > 0 && bytes > self.room {
                places = pairs[..count].iter().flat_map(|&(a, b)| [a, b]).collect();
                break;
            }
            count += 1;
        }
        self.sets.retain(|place, _| places.contains(place));
        // In the order in which the texts stand on the disk.
        let mut missing: Vec<u32> = places.into_iter().collect();
        missing.retain(|place| !self.sets.contains_key(place));
        missing.sort_unstable();
        let source = self.source;
        let loaded = missing
            .par_iter()
            .map(|&place| Ok((place, source.shingles(place)?)));
        self.sets.extend(loaded.collect::<Result<Vec<_>>>()?);
        Ok(count)
    }
}
