//! Groups of texts that count as the same.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Texts in clusters; each cluster is known by its first text. Numbers are places from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters(pub(super) Vec<u32>);

impl Clusters {
    /// The first text of the cluster of the text at `place`; itself where it is the first or alone.
    ///
    /// # Panics
    /// Where there is no such text.
    pub fn first(&self, place: usize) -> usize {
        self.0[place] as usize
    }

    /// Each text that is not its cluster's first, with that first one, in ascending order.
    pub fn duplicates(&self) -> impl Iterator<Item = (usize, usize)> {
        let firsts = self.0.iter().map(|first| *first as usize);
        firsts.enumerate().filter(|(place, first)| place != first)
    }
}

/// A text's place as it is held here.
pub(super) fn narrow(place: usize) -> Result<u32> {
    u32::try_from(place).map_err(|_| Error::TooManyRecords { limit: u32::MAX })
}

/// A text's key and its place: texts with the same key are compared.
pub(super) type Key = (u64, u32);

/// Clusters of `texts` texts: of each round's keys, all pairs that agree and are the `same`.
///
/// `same` judges the pairs of a list. Whether two texts are compared in one round or another, and
/// in which order, changes nothing.
pub(super) fn cluster(
    texts: usize,
    rounds: usize,
    mut keys: impl FnMut(usize) -> Result<Vec<Key>>,
    mut same: impl FnMut(&[(u32, u32)]) -> Result<Vec<bool>>,
) -> Result<Clusters> {
    let mut union = Union::new(texts)?;
    for round in 0..rounds {
        let mut keys = keys(round)?;
        union.unite_buckets(buckets(&mut keys), &mut same)?;
    }
    Ok(union.clusters())
}

/// Which of `parts` parts a key belongs to, so that they can be sorted one after the other.
pub(super) fn part(key: u64, parts: usize) -> usize {
    let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((u128::from(mixed) * parts as u128) >> 64) as usize
}

/// Union-find in which the smallest place is the root.
#[derive(Debug)]
struct Union(Vec<u32>);

/// Pairs that are compared at a time; bounds the memory.
const PAIRS: usize = 1 << 16;
/// Texts in a bucket from which it is looked at whether they are all in one cluster.
const LARGE: usize = 256;

impl Union {
    fn new(texts: usize) -> Result<Self> {
        Ok(Self((0..narrow(texts)?).collect()))
    }

    fn root(&mut self, mut place: u32) -> u32 {
        while self.0[place as usize] != place {
            let parent = self.0[place as usize];
            self.0[place as usize] = self.0[parent as usize];
            place = self.0[place as usize];
        }
        place
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
    }

    /// Unites all pairs of one bucket that are `same`, for all buckets.
    ///
    /// A pair in one cluster already is not compared, which changes no cluster: so the result
    /// depends neither on the order nor on the number of threads.
    fn unite_buckets<'a>(
        &mut self,
        buckets: impl Iterator<Item = &'a [Key]>,
        same: &mut impl FnMut(&[(u32, u32)]) -> Result<Vec<bool>>,
    ) -> Result<()> {
        let mut pairs = Vec::new();
        for bucket in buckets {
            self.unite_bucket(bucket, &mut pairs, same)?;
        }
        self.unite_pairs(&mut pairs, same)
    }

    fn unite_bucket(
        &mut self,
        bucket: &[Key],
        pairs: &mut Vec<(u32, u32)>,
        same: &mut impl FnMut(&[(u32, u32)]) -> Result<Vec<bool>>,
    ) -> Result<()> {
        let places = bucket.iter().map(|(_, place)| *place);
        let mut members: Vec<(u32, u32)> = places.map(|place| (self.root(place), place)).collect();
        members.sort_unstable();
        for (number, &(root, first)) in members.iter().enumerate() {
            let own = members[number..].partition_point(|member| member.0 == root);
            for &(_, second) in &members[number + own..] {
                if self.root(first) != self.root(second) {
                    pairs.push((first, second));
                }
                if pairs.len() == PAIRS {
                    self.unite_pairs(pairs, same)?;
                }
            }
            // A text that stands there thousands of times is compared once with each copy.
            if bucket.len() > LARGE {
                self.unite_pairs(pairs, same)?;
                let root = self.root(first);
                if members.iter().all(|(_, place)| self.root(*place) == root) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn unite_pairs(
        &mut self,
        pairs: &mut Vec<(u32, u32)>,
        same: &mut impl FnMut(&[(u32, u32)]) -> Result<Vec<bool>>,
    ) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let found = same(pairs)?;
        for ((a, b), _) in pairs.drain(..).zip(found).filter(|(_, found)| *found) {
            self.unite(a, b);
        }
        Ok(())
    }

    fn clusters(mut self) -> Clusters {
        // A root is smaller than its texts: theirs is known when it is their turn.
        for place in 0..self.0.len() {
            self.0[place] = self.0[self.0[place] as usize];
        }
        Clusters(self.0)
    }
}

/// Runs of equal keys, of two places at least.
fn buckets(keys: &mut [Key]) -> impl Iterator<Item = &[Key]> {
    keys.par_sort_unstable();
    let runs = keys.chunk_by(|a, b| a.0 == b.0);
    runs.filter(|run| run.len() > 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_first_of_a_cluster_stands_for_it_however_it_was_found() {
        let pairs = [(4, 5), (1, 4), (2, 3), (5, 0)];
        for turn in 0..pairs.len() {
            let mut union = Union::new(6).unwrap();
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
    fn keys_in_parts_are_the_same_keys() {
        let keys: Vec<u64> = (0..10_000_u64).map(|key| key << 48).collect();
        for parts in [1, 2, 7] {
            let mut sizes = vec![0_usize; parts];
            for key in &keys {
                sizes[part(*key, parts)] += 1;
            }
            let fair = keys.len() / parts;
            assert!(sizes.iter().all(|size| size.abs_diff(fair) < fair / 4));
        }
    }
}
