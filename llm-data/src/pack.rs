//! Several samples in one sequence, each a segment of its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::encode::Sample;

/// Samples one behind the other in one sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// The tokens.
    pub input_ids: Vec<u32>,
    /// As those of the samples, but that the first token of a segment carries no loss: what comes before it
    /// is another segment's.
    pub labels: Vec<i64>,
    /// For each token the number of its segment, from 1: attention is within a segment.
    pub segment_ids: Vec<u32>,
    /// For each token its position in its segment, from 0.
    pub position_ids: Vec<u32>,
}

impl Packed {
    /// Packs samples in this order.
    pub fn new<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut packed = Self::default();
        for (segment, sample) in (1..).zip(samples) {
            let length = sample.input_ids.len();
            packed.input_ids.extend(&sample.input_ids);
            packed.labels.extend(&sample.labels);
            if let Some(first) = packed.labels.iter_mut().nth_back(length.saturating_sub(1))
                && length > 0
            {
                *first = crate::IGNORE_INDEX;
            }
            packed
                .segment_ids
                .extend(std::iter::repeat_n(segment, length));
            packed.position_ids.extend(0..length as u32);
        }
        packed
    }

    /// Where segments begin and end: the cumulative lengths that variable-length attention takes
    /// (`cu_seqlens`).
    ///
    /// ```
    /// use llm_data::{Packed, Sample};
    ///
    /// let sample = |length: u32| Sample {
    ///     input_ids: (0..length).collect(),
    ///     labels: (0..i64::from(length)).collect(),
    /// };
    /// let packed = Packed::new(&[sample(3), sample(2)]);
    /// assert_eq!(packed.cumulative_lengths(), [0, 3, 5]);
    /// assert_eq!(packed.labels, [-100, 1, 2, -100, 1]);
    /// assert_eq!(packed.position_ids, [0, 1, 2, 0, 1]);
    /// ```
    pub fn cumulative_lengths(&self) -> Vec<usize> {
        let ends = self.segment_ids.chunk_by(|a, b| a == b);
        let mut sum = 0;
        let ends = ends.map(|segment| {
            sum += segment.len();
            sum
        });
        std::iter::once(0).chain(ends).collect()
    }
}

/// Best fit, the longest first: each sample goes where it leaves the least room; of equal places into the
/// older one. Returns the samples' numbers, bin by bin. A sample longer than `capacity` has a bin of its own.
///
/// Never takes more than 11/9 of the fewest possible bins, and four (D. S. Johnson, "Near-optimal bin packing
/// algorithms", MIT 1973).
///
/// ```
/// assert_eq!(llm_data::best_fit(&[3, 6, 12, 4, 7, 1], 10), [vec![2], vec![4, 0], vec![1, 3], vec![5]]);
/// ```
pub fn best_fit(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut bins: Vec<Vec<usize>> = Vec::new();
    // The room of each bin that has any, and its number.
    let mut rooms: BTreeSet<(usize, usize)> = BTreeSet::new();
    for index in order {
        let length = lengths[index];
        let (room, bin) = match rooms.range((length, 0)..).next().copied() {
            Some(found) => {
                rooms.remove(&found);
                found
            }
            None => {
                bins.push(Vec::new());
                (capacity.max(length), bins.len() - 1)
            }
        };
        bins[bin].push(index);
        if room > length {
            rooms.insert((room - length, bin));
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_sample_is_in_one_bin_that_holds_it(
            lengths in prop::collection::vec(0_usize..30, 0..200),
            capacity in 1_usize..40,
        ) {
            let bins = best_fit(&lengths, capacity);
            let mut all: Vec<usize> = bins.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..lengths.len()));
            let sum = |bin: &Vec<usize>| bin.iter().map(|index| lengths[*index]).sum::<usize>();
            for bin in &bins {
                prop_assert!(sum(bin) <= capacity || bin.len() == 1 && sum(bin) > capacity);
            }
            // Two bins that are half empty would have been one.
            let half = bins.iter().filter(|bin| 2 * sum(bin) < capacity && sum(bin) > 0);
            prop_assert!(half.count() <= 1);
        }
    }

    #[test]
    fn a_million_samples_are_packed_at_once() {
        let lengths: Vec<usize> = (0..1_000_000).map(|i| 16 + i * 7919 % 2000).collect();
        let tokens: usize = lengths.iter().sum();
        let bins = best_fit(&lengths, 4096);
        assert!(
            bins.len() as f64 <= 1.01 * (tokens as f64 / 4096.0),
            "{}",
            bins.len()
        );
    }
}
