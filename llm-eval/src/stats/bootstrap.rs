//! Means and their differences, by the clustered bootstrap.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::resample::{
    Bootstrap, BootstrapMethod, Correction, draws, percentile, percentile_interval, sort,
};
use super::summary::{
    Estimate, Groups, Interval, check_finite, check_lengths, mean, mean_of, squares,
};
use crate::Result;

/// A resample's standard error counts as this share of the data's at least. Resamples whose clusters
/// are all alike have none: left out, they would make the interval of few clusters, or of a rate near
/// 0 or 1, far too short.
const LEAST: f64 = 0.25;

/// Which of two systems is better, if the data can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Significance {
    /// The first has the higher mean.
    FirstHigher,
    /// The second has.
    SecondHigher,
    /// The data cannot tell.
    NotSignificantlyDifferent,
}

impl Significance {
    pub(crate) fn of(interval: &Interval) -> Self {
        if interval.low > 0.0 {
            Self::FirstHigher
        } else if interval.high < 0.0 {
            Self::SecondHigher
        } else {
            Self::NotSignificantlyDifferent
        }
    }
}

impl fmt::Display for Significance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstHigher => "the first is higher",
            Self::SecondHigher => "the second is higher",
            Self::NotSignificantlyDifferent => "not significantly different",
        })
    }
}

/// Two systems on the same items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first's figure.
    pub first: f64,
    /// The second's.
    pub second: f64,
    /// first − second.
    pub difference: Estimate,
    /// How likely a difference this far from 0, either way, is without one.
    pub p_value: f64,
    /// Whether the difference's interval leaves out 0.
    pub verdict: Significance,
}

/// A mean with the bootstrap's interval and standard error; whole clusters (questions) are drawn.
/// `clusters` names each value's cluster. Where all clusters have the same mean, every resample has
/// it too and the interval is a point: for such rates take [`wilson`](super::wilson).
///
/// # Errors
/// With fewer than two clusters or resamples, lists of different lengths, values that are not
/// finite, or a level outside (0, 1).
pub fn bootstrap_mean<K: Ord>(
    values: &[f64],
    clusters: &[K],
    options: &Bootstrap,
) -> Result<Estimate> {
    options.check()?;
    Ok(Resampled::new(Groups::new(values, clusters)?, options).estimate)
}

/// The difference of two systems' means on the same items, paired, by the clustered bootstrap.
/// `first[i]` and `second[i]` are the systems' scores on item i, `clusters[i]` is its question.
/// The p-value undoes the interval: it is below 1 − level where the interval leaves out 0, up to the
/// resolution of the resamples. With fewer than some ten clusters
/// [`sign_flip_test`](super::sign_flip_test) is to be preferred: it is exact.
///
/// # Errors
/// As [`bootstrap_mean`].
pub fn compare<K: Ord>(
    first: &[f64],
    second: &[f64],
    clusters: &[K],
    options: &Bootstrap,
) -> Result<Comparison> {
    options.check()?;
    let resampled = Resampled::new(
        Groups::new(&differences(first, second)?, clusters)?,
        options,
    );
    Ok(Comparison {
        first: mean(first)?,
        second: mean(second)?,
        difference: resampled.estimate,
        p_value: resampled.p_value,
        verdict: Significance::of(&resampled.estimate.interval),
    })
}

/// first − second, item by item.
pub(crate) fn differences(first: &[f64], second: &[f64]) -> Result<Vec<f64>> {
    check_lengths("scores of the two systems", first.len(), second.len())?;
    check_finite("scores of the first system", first)?;
    check_finite("scores of the second system", second)?;
    Ok(first.iter().zip(second).map(|(a, b)| a - b).collect())
}

/// A mean's estimate, and the p-value of its being 0.
struct Resampled {
    estimate: Estimate,
    p_value: f64,
}

impl Resampled {
    fn new(groups: Groups, options: &Bootstrap) -> Self {
        let (value, standard_error) = groups.mean();
        let parts = &groups.parts;
        let means = draws(parts.len(), options, |drawn| {
            mean_of(drawn.iter().map(|place| parts[*place]))
        });
        let mut resamples: Vec<f64> = means.iter().map(|pair| pair.0).collect();
        sort(&mut resamples);
        let spread = (squares(&resamples) / (resamples.len() - 1) as f64).sqrt();
        let (interval, p_value) = match options.method {
            BootstrapMethod::Percentile => (
                percentile_interval(&resamples, options.level),
                two_sided(&resamples, 0.0),
            ),
            BootstrapMethod::Bca => corrected(value, &resamples, parts, options.level),
            BootstrapMethod::Studentised => {
                studentised((value, standard_error), &means, options.level)
            }
        };
        Self {
            estimate: Estimate {
                value,
                standard_error: spread,
                interval,
            },
            p_value,
        }
    }
}

/// Twice the smaller share of values on one side of `null`, which counts as one more of them.
fn two_sided(values: &[f64], null: f64) -> f64 {
    let share = |count: usize| (count + 1) as f64 / (values.len() + 1) as f64;
    let low = share(values.iter().filter(|value| **value <= null).count());
    let high = share(values.iter().filter(|value| **value >= null).count());
    (2.0 * low.min(high)).min(1.0)
}

fn corrected(value: f64, sorted: &[f64], parts: &[(f64, f64)], level: f64) -> (Interval, f64) {
    let sum: f64 = parts.iter().map(|part| part.0).sum();
    let n: f64 = parts.iter().map(|part| part.1).sum();
    let left_out: Vec<f64> = parts
        .iter()
        .map(|part| (sum - part.0) / (n - part.1))
        .collect();
    let correction = Correction::new(value, sorted, &left_out);
    let half = 0.5 / (sorted.len() + 1) as f64;
    let below = sorted.iter().filter(|other| **other < 0.0).count() as f64;
    let equal = sorted.iter().filter(|other| **other == 0.0).count() as f64;
    let share = (below + equal / 2.0) / sorted.len() as f64;
    let quantile = correction.quantile(share.clamp(half, 1.0 - half));
    let p_value = (2.0 * quantile.min(1.0 - quantile)).min(1.0);
    (correction.interval(sorted, level), p_value)
}

fn studentised(
    (value, standard_error): (f64, f64),
    means: &[(f64, f64)],
    level: f64,
) -> (Interval, f64) {
    if standard_error == 0.0 {
        let point = Interval {
            low: value,
            high: value,
            level,
        };
        let least = 2.0 / (means.len() + 1) as f64;
        return (point, if value == 0.0 { 1.0 } else { least });
    }
    let ratio = |(mean, error): &(f64, f64)| (mean - value) / error.max(LEAST * standard_error);
    let mut ratios: Vec<f64> = means.iter().map(ratio).collect();
    sort(&mut ratios);
    let tail = (1.0 - level) / 2.0;
    let interval = Interval {
        low: value - percentile(&ratios, 1.0 - tail) * standard_error,
        high: value - percentile(&ratios, tail) * standard_error,
        level,
    };
    (interval, two_sided(&ratios, value / standard_error))
}
