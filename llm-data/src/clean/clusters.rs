//! Groups of texts that count as the same.

use std::collections::HashMap;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::leakage::words::for_each_word;

/// Texts in clusters; each cluster is known by its first text. Numbers are places from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters(Vec<usize>);

impl Clusters {
    /// The first text of the cluster of the text at `place`; itself where it is the first or alone.
    ///
    /// # Panics
    /// Where there is no such text.
    pub fn first(&self, place: usize) -> usize {
        self.0[place]
    }

    /// Each text that is not its cluster's first, with that first one, in ascending order.
    pub fn duplicates(&self) -> impl Iterator<Item = (usize, usize)> {
        let all = self.0.iter().copied().enumerate();
        all.filter(|(place, first)| place != first)
    }
}

/// Texts that are the same word by word, without case, punctuation and white space (as
/// [`find_leakage`](crate::find_leakage) compares them), or, unless `normalise`, byte by byte.
///
/// Compared by a 128-bit hash (XXH3). Texts without a word are compared byte by byte.
///
/// ```
/// let clusters = llm_data::clean::exact_duplicates(&["Hello, world!", "bye", "hello world"], true);
/// assert_eq!(clusters.duplicates().collect::<Vec<_>>(), [(2, 0)]);
/// ```
pub fn exact_duplicates<T: AsRef<str> + Sync>(texts: &[T], normalise: bool) -> Clusters {
    let hashes: Vec<u128> = texts
        .par_iter()
        .map(|text| hash(text.as_ref(), normalise))
        .collect();
    let mut seen = HashMap::with_capacity(hashes.len());
    let places = hashes.iter().enumerate();
    Clusters(
        places
            .map(|(place, hash)| *seen.entry(hash).or_insert(place))
            .collect(),
    )
}

fn hash(text: &str, normalise: bool) -> u128 {
    let mut words = String::new();
    if normalise {
        for_each_word(text, |word| {
            words.push_str(word);
            words.push(' ');
        });
    }
    if words.is_empty() {
        xxh3_128(text.as_bytes())
    } else {
        xxh3_128(words.as_bytes())
    }
}

/// Union-find in which the smallest place is the root.
#[derive(Debug)]
pub(super) struct Union(Vec<usize>);

/// Pairs that are compared at a time; bounds the memory.
const PAIRS: usize = 1 << 16;
/// Texts in a bucket from which it is looked at whether they are all in one cluster.
const LARGE: usize = 256;

impl Union {
    pub(super) fn new(texts: usize) -> Self {
        Self((0..texts).collect())
    }

    fn root(&mut self, mut place: usize) -> usize {
        while self.0[place] != place {
            self.0[place] = self.0[self.0[place]];
            place = self.0[place];
        }
        place
    }

    pub(super) fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }

    /// Unites all pairs of one bucket that are `same`, for all buckets.
    ///
    /// A pair in one cluster already is not compared, which changes no cluster: so the result
    /// depends neither on the order nor on the number of threads.
    pub(super) fn unite_buckets<'a>(
        &mut self,
        buckets: impl Iterator<Item = &'a [(u64, u32)]>,
        same: impl Fn(usize, usize) -> bool + Sync,
    ) {
        let mut pairs = Vec::new();
        for bucket in buckets {
            self.unite_bucket(bucket, &mut pairs, &same);
        }
        self.unite_pairs(&mut pairs, &same);
    }

    fn unite_bucket(
        &mut self,
        bucket: &[(u64, u32)],
        pairs: &mut Vec<(usize, usize)>,
        same: &(impl Fn(usize, usize) -> bool + Sync),
    ) {
        let places = bucket.iter().map(|(_, place)| *place as usize);
        let mut members: Vec<(usize, usize)> =
            places.map(|place| (self.root(place), place)).collect();
        members.sort_unstable();
        for (number, &(root, first)) in members.iter().enumerate() {
            let own = members[number..].partition_point(|member| member.0 == root);
            for &(_, second) in &members[number + own..] {
                if self.root(first) != self.root(second) {
                    pairs.push((first, second));
                }
                if pairs.len() == PAIRS {
                    self.unite_pairs(pairs, same);
                }
            }
            // A text that stands there thousands of times is compared once with each copy.
            if bucket.len() > LARGE {
                self.unite_pairs(pairs, same);
                let root = self.root(first);
                if members.iter().all(|(_, place)| self.root(*place) == root) {
                    break;
                }
            }
        }
    }

    fn unite_pairs(
        &mut self,
        pairs: &mut Vec<(usize, usize)>,
        same: &(impl Fn(usize, usize) -> bool + Sync),
    ) {
        let found: Vec<bool> = pairs.par_iter().map(|&(a, b)| same(a, b)).collect();
        for ((a, b), _) in pairs.drain(..).zip(found).filter(|(_, found)| *found) {
            self.unite(a, b);
        }
    }

    pub(super) fn clusters(mut self) -> Clusters {
        Clusters((0..self.0.len()).map(|place| self.root(place)).collect())
    }
}

/// Runs of equal keys, of two places at least.
pub(super) fn buckets(keys: &mut [(u64, u32)]) -> impl Iterator<Item = &[(u64, u32)]> {
    keys.par_sort_unstable();
    let runs = keys.chunk_by(|a, b| a.0 == b.0);
    runs.filter(|run| run.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_cluster_stands_for_it_however_it_was_found() {
        let pairs = [(4, 5), (1, 4), (2, 3), (5, 0)];
        for turn in 0..pairs.len() {
            let mut union = Union::new(6);
            for step in 0..pairs.len() {
                let (a, b) = pairs[(turn + step) % pairs.len()];
                union.unite(b, a);
            }
            let clusters = union.clusters();
            assert_eq!(clusters, Clusters(vec![0, 0, 2, 2, 0, 0]));
            assert_eq!(clusters.first(5), 0);
        }
    }

    #[test]
    fn texts_without_words_are_compared_as_they_are() {
        let texts = ["?!", "!", "?!", "", "", "Ｇｏ！", "go"];
        let clusters = exact_duplicates(&texts, true);
        assert_eq!(clusters, Clusters(vec![0, 1, 0, 3, 3, 5, 5]));
        let clusters = exact_duplicates(&texts, false);
        assert_eq!(clusters, Clusters(vec![0, 1, 0, 3, 3, 5, 6]));
    }
}
