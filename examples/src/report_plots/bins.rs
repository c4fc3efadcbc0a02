//! What a picture of lengths shows where.

use std::ops::Range;

use llm_data::Histogram;

/// Bins over the whole range, where lengths are not so small that there are fewer.
const BINS: f64 = 48.0;
/// The least that the axis spans, as a factor.
const SPAN: f64 = 4.0;

/// Histograms in bins that are equally wide on a logarithmic axis, but for lengths so small that a
/// bin is one length.
pub(super) struct Bins {
    /// Where the bins begin, and where the last one ends.
    pub(super) edges: Vec<usize>,
    /// How many records each bin has, for each histogram.
    pub(super) heights: Vec<Vec<f64>>,
}

impl Bins {
    pub(super) fn new(histograms: &[&Histogram]) -> Self {
        let positive = |histogram: &&Histogram| spans(histogram).next().is_some();
        let filled: Vec<_> = histograms.iter().copied().filter(positive).collect();
        let least = filled.iter().filter_map(|one| spans(one).next());
        let least = least.map(|(span, _)| span.start).min().unwrap_or(1) as f64;
        let most = filled.iter().map(|one| one.lengths().max).max();
        let most = most.map_or(100.0, |most| (most as f64 + 1.0).min(1e18));
        let widen = (SPAN * least / most).max(1.0).sqrt();
        let (start, end) = ((least / widen).max(1.0), most * widen);
        let edge = |bin: usize| (start * (end / start).powf(bin as f64 / BINS)).round() as usize;
        let mut edges: Vec<usize> = (0..=BINS as usize).map(edge).collect();
        edges.dedup();
        if let Some(last) = edges.last_mut() {
            // Nothing is left out by rounding.
            *last = (*last).max(end.ceil() as usize);
        }
        let heights = histograms
            .iter()
            .map(|histogram| heights(histogram, &edges));
        Self {
            heights: heights.collect(),
            edges,
        }
    }

    /// The range of the axis, in decimal logarithms.
    pub(super) fn range(&self) -> Range<f64> {
        let place = |edge: Option<&usize>| edge.map_or(0.0, |&edge| (edge as f64).log10());
        place(self.edges.first())..place(self.edges.last())
    }
}

/// Where the records of a histogram are that have a length: buckets as far as they are filled.
fn spans(histogram: &Histogram) -> impl Iterator<Item = (Range<usize>, usize)> {
    let ends = histogram.lengths();
    let spans = histogram.buckets().map(move |(range, count)| {
        let (start, end) = (
            range.start.max(ends.min),
            range.end.min(ends.max.saturating_add(1)),
        );
        (start..end, count)
    });
    spans.filter(|(span, _)| span.start > 0)
}

/// A bucket that several bins share is divided among them.
fn heights(histogram: &Histogram, edges: &[usize]) -> Vec<f64> {
    let mut heights = vec![0.0; edges.len() - 1];
    let last = heights.len() - 1;
    for (span, count) in spans(histogram) {
        let first = edges.partition_point(|&edge| edge <= span.start);
        let mut bin = first.saturating_sub(1).min(last);
        let width = (span.end - span.start).max(1) as f64;
        let mut start = span.start;
        loop {
            let end = if bin == last {
                span.end
            } else {
                span.end.min(edges[bin + 1])
            };
            heights[bin] += count as f64 * (end.saturating_sub(start)) as f64 / width;
            if end >= span.end {
                break;
            }
            (start, bin) = (end, bin + 1);
        }
    }
    heights
}

/// 1, 2, 5, 10, … in decimal logarithms, or only powers of ten where those would crowd.
pub(super) fn length_ticks(edges: &[usize]) -> Vec<f64> {
    let (Some(&first), Some(&last)) = (edges.first(), edges.last()) else {
        return Vec::new();
    };
    let ticks = |digits: &'static [f64], step: i32| -> Vec<f64> {
        let powers = (0..19).step_by(step as usize);
        let ticks = powers.flat_map(|power| digits.iter().map(move |d| d * 10_f64.powi(power)));
        let inside = ticks.filter(|tick| (first as f64..=last as f64).contains(tick));
        inside.map(f64::log10).collect()
    };
    let choices: [(&[f64], i32); 3] = [(&[1.0, 2.0, 5.0], 1), (&[1.0], 1), (&[1.0], 2)];
    let mut choices = choices
        .into_iter()
        .map(|(digits, step)| ticks(digits, step));
    let all = choices.next().unwrap_or_default();
    if all.len() <= 15 {
        return all;
    }
    choices.find(|ticks| ticks.len() <= 10).unwrap_or(all)
}

/// Whole numbers up to `most`, about six, and where the axis ends.
pub(super) fn count_ticks(most: f64) -> (Vec<f64>, f64) {
    let most = most.max(1.0);
    let rough = most / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let step = steps
        .into_iter()
        .find(|&step| step >= rough)
        .unwrap_or(most)
        .max(1.0);
    let ticks = (0..=(most / step) as usize).map(|tick| tick as f64 * step);
    (ticks.collect(), most * 1.05)
}

/// A number with at most four digits; larger ones with three and a letter for the thousands.
pub(super) fn compact(number: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What would be rounded to 1000 of a unit is 1 of the next.
    let unit = units.into_iter().find(|(unit, _)| number >= unit * 0.9995);
    match unit {
        Some((unit, letter)) if number >= 9999.5 => {
            let scaled = number / unit;
            let decimals = if scaled >= 99.95 { 0 } else { 1 };
            let text = format!("{scaled:.decimals$}");
            format!("{}{letter}", text.strip_suffix(".0").unwrap_or(&text))
        }
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(lengths: impl IntoIterator<Item = usize>) -> Histogram {
        let mut histogram = Histogram::default();
        lengths.into_iter().for_each(|length| histogram.add(length));
        histogram
    }

    #[test]
    fn every_length_but_zero_is_in_a_bin() {
        let sets = [
            vec![],
            vec![0],
            vec![1],
            vec![500],
            vec![1_000_003; 7],
            vec![0, 1, 2, 3, 4, 5],
            (1..3000).collect(),
            (1..60).map(|power| 1 << power).collect(),
            vec![1, 1_000_000_000_000_000],
        ];
        for lengths in sets {
            let count = lengths.iter().filter(|&&length| length > 0).count() as f64;
            let bins = Bins::new(&[&histogram(lengths.clone()), &histogram([])]);
            let sum: f64 = bins.heights[0].iter().sum();
            assert!((sum - count).abs() < 1e-6, "{lengths:?}: {sum}");
            assert!(bins.edges.is_sorted_by(|a, b| a < b) && bins.edges[0] > 0);
            assert!(bins.heights[1].iter().all(|&height| height == 0.0));
            let ticks = length_ticks(&bins.edges);
            assert!((1..=15).contains(&ticks.len()), "{lengths:?}: {ticks:?}");
        }
    }

    /// Buckets that are not much narrower than bins leave no ripple.
    #[test]
    fn even_lengths_make_even_bins() {
        let bins = Bins::new(&[&histogram(100_000..300_000)]);
        let all = bins.edges.windows(2).zip(&bins.heights[0]);
        for (edges, height) in all.filter(|(edges, _)| edges[0] >= 101_000 && edges[1] < 299_000) {
            let share = height / (edges[1] - edges[0]) as f64;
            assert!((0.95..1.05).contains(&share), "{edges:?}: {share}");
        }
    }

    #[test]
    fn counts_have_few_whole_ticks() {
        for most in [0.0, 1.0, 2.0, 7.0, 61.0, 1e3, 123_456.0, 9e11] {
            let (ticks, end) = count_ticks(most);
            assert!((2..=8).contains(&ticks.len()), "{most}: {ticks:?}");
            assert!(ticks.iter().all(|tick| tick.fract() == 0.0 && *tick < end));
        }
    }

    #[test]
    fn numbers_are_short() {
        let texts = [
            0.0, 9999.0, 10_000.0, 12_345.0, 999_960.0, 123_456.0, 2.5e6, 3e14,
        ];
        let texts = texts.map(compact);
        let short = ["0", "9999", "10k", "12.3k", "1M", "123k", "2.5M", "300T"];
        assert_eq!(texts, short);
    }
}
