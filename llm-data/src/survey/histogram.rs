//! How often each length occurs, in bounded memory.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::stats::Lengths;

/// Values below this are held exactly, larger ones by their first eight binary digits.
const EXACT: usize = 256;
const DIGITS: u32 = EXACT.ilog2();

/// Lengths, counted in buckets.
///
/// Up to 255 a bucket is one value; above, buckets are at most 1/128 as wide as their values, so that
/// a percentile is at most 0.4 % off. Number, sum, least and greatest are exact. At most some seven
/// thousand buckets, whatever is counted; the order of values and of merges does not matter.
///
/// ```
/// use llm_data::Histogram;
///
/// let mut histogram = Histogram::default();
/// (1..=100).for_each(|length| histogram.add(length));
/// assert_eq!((histogram.percentile(50), histogram.percentile(99)), (50, 99));
/// assert_eq!((histogram.count(), histogram.mean()), (100, 50.5));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Histogram {
    /// By the least value of the bucket.
    buckets: BTreeMap<usize, usize>,
    count: usize,
    sum: usize,
    min: usize,
    max: usize,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: usize) {
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        *self.buckets.entry(bucket(value).start).or_insert(0) += 1;
    }

    /// Counts what `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        for (start, count) in &other.buckets {
            *self.buckets.entry(*start).or_insert(0) += count;
        }
    }

    /// How many values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> usize {
        self.sum
    }

    /// Their mean; 0 without any.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.count.max(1) as f64
    }

    /// The value of the nearest rank: so many per cent are at most this large. The middle of its
    /// bucket; the first and the last value are exact. 0 without any.
    ///
    /// # Panics
    /// Above 100.
    pub fn percentile(&self, percent: usize) -> usize {
        assert!(percent <= 100, "per cent");
        let share = self.count as u128 * percent as u128;
        let rank = share.div_ceil(100).max(1);
        if rank == 1 {
            return self.min;
        }
        if rank == self.count as u128 {
            return self.max;
        }
        let mut below = 0;
        for (range, count) in self.buckets() {
            below += count as u128;
            if below >= rank {
                let middle = range.start + (range.end - range.start) / 2;
                return middle.clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// The usual percentiles.
    pub fn lengths(&self) -> Lengths {
        Lengths {
            min: self.min,
            p50: self.percentile(50),
            p90: self.percentile(90),
            p95: self.percentile(95),
            p99: self.percentile(99),
            max: self.max,
        }
    }

    /// The buckets with something in them, in ascending order: their values and how many.
    pub fn buckets(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let buckets = self.buckets.iter();
        buckets.map(|(&start, &count)| (bucket(start), count))
    }
}

/// The values that share a bucket with this one.
fn bucket(value: usize) -> Range<usize> {
    let shift = (usize::BITS - value.leading_zeros()).saturating_sub(DIGITS);
    let start = value >> shift << shift;
    start..start.saturating_add(1 << shift)
}

/// As it stands in a report.
#[derive(Serialize, Deserialize)]
struct Written {
    count: usize,
    sum: usize,
    mean: f64,
    percentiles: Lengths,
    buckets: BTreeMap<usize, usize>,
}

impl From<Histogram> for Written {
    fn from(histogram: Histogram) -> Self {
        Self {
            count: histogram.count,
            sum: histogram.sum,
            mean: histogram.mean(),
            percentiles: histogram.lengths(),
            buckets: histogram.buckets,
        }
    }
}

impl TryFrom<Written> for Histogram {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Lengths { min, max, .. } = written.percentiles;
        let mut counts = written.buckets.values();
        let count = counts.try_fold(0, |sum: usize, &count| sum.checked_add(count));
        let mut starts = written.buckets.keys();
        let ends = |start: Option<&usize>| start.copied().unwrap_or(0);
        let whole = count == Some(written.count)
            && written.buckets.values().all(|&count| count > 0)
            && starts.all(|&start| bucket(start).start == start)
            && ends(written.buckets.keys().next()) == bucket(min).start
            && ends(written.buckets.keys().next_back()) == bucket(max).start
            && min <= max;
        if !whole {
            return Err("a histogram whose numbers do not agree");
        }
        Ok(Self {
            buckets: written.buckets,
            count: written.count,
            sum: written.sum,
            min,
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn buckets_follow_one_another() {
        let mut end = 0;
        let mut count = 0;
        while end < 1 << 40 {
            let next = bucket(end);
            assert_eq!(next.start, end);
            assert_eq!(bucket(next.end - 1), next);
            let width = next.end - next.start;
            assert!(width == 1 || width * 128 <= next.start, "{next:?}");
            (end, count) = (next.end, count + 1);
        }
        assert_eq!(count, 256 + 32 * 128);
        assert_eq!(bucket(usize::MAX).start, 255 << (usize::BITS - 8));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.lengths(), Lengths::default());
        histogram.add(usize::MAX);
        histogram.add(usize::MAX);
        histogram.add(0);
        assert!(histogram.percentile(50) > usize::MAX / 250 * 249);
        assert_eq!(
            (histogram.percentile(100), histogram.sum()),
            (usize::MAX, usize::MAX)
        );
        assert_eq!((histogram.min, histogram.max), (0, usize::MAX));
    }

    #[test]
    fn a_written_histogram_that_contradicts_itself_is_refused() {
        let mut histogram = Histogram::default();
        [3, 3, 1000]
            .into_iter()
            .for_each(|value| histogram.add(value));
        let json = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&json).unwrap(), histogram);
        for (good, bad) in [
            ("\"count\":3", "\"count\":4"),
            ("\"3\":2", "\"4\":2"),
            ("\"1000\":1", "\"1001\":1"),
            ("\"max\":1000", "\"max\":10"),
            ("\"3\":2", "\"3\":18446744073709551615,\"5\":3"),
        ] {
            let broken = json.replace(good, bad);
            assert_ne!(broken, json);
            assert!(
                serde_json::from_str::<Histogram>(&broken).is_err(),
                "{broken}"
            );
        }
    }
}
