//! Means and rates, with their standard errors and intervals.

use serde::{Deserialize, Serialize};

use super::normal;
use crate::{Error, Result};

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How often such intervals hold the truth: 0.95.
    pub level: f64,
}

impl Interval {
    /// Whether the value lies in it, its ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// value ± z·standard error.
    pub(crate) fn normal(value: f64, standard_error: f64, level: f64) -> Self {
        let reach = normal::two_sided(level) * standard_error;
        Self {
            low: value - reach,
            high: value + reach,
            level,
        }
    }
}

/// A figure and its uncertainty, both in the figure's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Its confidence interval.
    pub interval: Interval,
}

impl Estimate {
    pub(crate) fn normal(value: f64, standard_error: f64, level: f64) -> Self {
        Self {
            value,
            standard_error,
            interval: Interval::normal(value, standard_error, level),
        }
    }
}

/// A confidence level lies between 0 and 1.
pub(crate) fn check_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Error::BadOption {
        name: "level",
        value: level,
        reason: "must lie between 0 and 1",
    })
}

pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Error::BadValue {
            what,
            index,
            value: values[index],
            reason: "must be finite",
        }),
    }
}

pub(crate) fn check_count(what: &'static str, given: usize, needed: usize) -> Result<()> {
    if given >= needed {
        return Ok(());
    }
    Err(Error::TooFew {
        what,
        needed,
        given,
    })
}

pub(crate) fn check_lengths(what: &'static str, left: usize, right: usize) -> Result<()> {
    if left == right {
        return Ok(());
    }
    Err(Error::Lengths { what, left, right })
}

/// The arithmetic mean.
///
/// # Errors
/// Without values, or where one is not finite.
pub fn mean(values: &[f64]) -> Result<f64> {
    check_count("values", values.len(), 1)?;
    check_finite("values", values)?;
    Ok(average(values))
}

pub(crate) fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation, √(Σ(x − x̄)² / (n − 1)).
///
/// # Errors
/// With fewer than two values, or where one is not finite.
pub fn sample_sd(values: &[f64]) -> Result<f64> {
    check_count("values", values.len(), 2)?;
    check_finite("values", values)?;
    Ok((squares(values) / (values.len() - 1) as f64).sqrt())
}

/// Σ(x − x̄)².
pub(crate) fn squares(values: &[f64]) -> f64 {
    let mean = average(values);
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// The standard error of the mean of independent values: [`sample_sd`] / √n.
///
/// # Errors
/// As [`sample_sd`].
pub fn standard_error(values: &[f64]) -> Result<f64> {
    Ok(sample_sd(values)? / (values.len() as f64).sqrt())
}

/// Wilson's score interval (1927) for a rate: `successes` of `n` independent trials.
///
/// # Errors
/// With no trials, more successes than trials, or a level outside (0, 1).
pub fn wilson(successes: u64, n: u64, level: f64) -> Result<Interval> {
    check_level(level)?;
    check_count("trials", usize::try_from(n).unwrap_or(usize::MAX), 1)?;
    if successes > n {
        return Err(Error::BadOption {
            name: "successes",
            value: successes as f64,
            reason: "must not exceed the trials",
        });
    }
    let (n, z) = (n as f64, normal::two_sided(level));
    let rate = successes as f64 / n;
    let scale = 1.0 + z * z / n;
    let centre = (rate + z * z / (2.0 * n)) / scale;
    let reach = z / scale * (rate * (1.0 - rate) / n + z * z / (4.0 * n * n)).sqrt();
    Ok(Interval {
        low: (centre - reach).max(0.0),
        high: (centre + reach).min(1.0),
        level,
    })
}

/// The mean of values that are alike within clusters (turns of a question, judgments of an item):
/// with d_g the sum of a cluster's deviations from the mean, SE² = G/(G − 1) · Σ d_g² / n² (Liang &
/// Zeger 1986), and a normal interval. For fewer than some 30 clusters
/// [`bootstrap_mean`](super::bootstrap_mean) is better.
///
/// # Errors
/// With fewer than two clusters, lists of different lengths, values that are not finite, or a level
/// outside (0, 1).
pub fn clustered_mean<K: Ord>(values: &[f64], clusters: &[K], level: f64) -> Result<Estimate> {
    check_level(level)?;
    let groups = Groups::new(values, clusters)?;
    let (value, standard_error) = groups.mean();
    Ok(Estimate::normal(value, standard_error, level))
}

/// Values by cluster: what a mean, its standard error and its resamples need. The order of the
/// input makes no difference.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    /// (the sum of a cluster's values, their number), in the order of the clusters' keys.
    pub(crate) parts: Vec<(f64, f64)>,
}

impl Groups {
    /// # Errors
    /// With fewer than two clusters, lists of different lengths, or values that are not finite.
    pub(crate) fn new<K: Ord>(values: &[f64], clusters: &[K]) -> Result<Self> {
        check_lengths("values and clusters", values.len(), clusters.len())?;
        check_finite("values", values)?;
        let mut pairs: Vec<(&K, f64)> = clusters.iter().zip(values.iter().copied()).collect();
        pairs.sort_by(|a, b| a.0.cmp(b.0).then(a.1.total_cmp(&b.1)));
        let parts: Vec<(f64, f64)> = pairs
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| {
                let sum = group.iter().map(|pair| pair.1).sum();
                (sum, group.len() as f64)
            })
            .collect();
        check_count("clusters", parts.len(), 2)?;
        Ok(Self { parts })
    }

    /// The mean and its standard error.
    pub(crate) fn mean(&self) -> (f64, f64) {
        mean_of(self.parts.iter().copied())
    }
}

/// The mean and its standard error over clusters that are given as (sum, number).
pub(crate) fn mean_of(parts: impl Iterator<Item = (f64, f64)> + Clone) -> (f64, f64) {
    let (mut groups, mut sum, mut n) = (0.0, 0.0, 0.0);
    for (part, count) in parts.clone() {
        groups += 1.0;
        sum += part;
        n += count;
    }
    let mean = sum / n;
    let squares: f64 = parts
        .map(|(part, count)| (part - mean * count).powi(2))
        .sum();
    (mean, (groups / (groups - 1.0) * squares).sqrt() / n)
}
