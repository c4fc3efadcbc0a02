//! The bootstrap: drawing clusters, and intervals from what the draws give.

use serde::{Deserialize, Serialize};

use super::normal;
use super::random::{below, stream};
use super::summary::{
    Estimate, Interval, average, check_count, check_finite, check_level, squares,
};
use crate::{Error, Result};

/// The random numbers that draw clusters.
const STREAM: &[u8; 8] = b"bootstrp";

/// How a bootstrap draws and what interval it gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// How many times all clusters are drawn anew.
    pub resamples: usize,
    /// How often the interval holds the truth.
    pub level: f64,
    /// Which interval.
    pub method: BootstrapMethod,
    /// What the draws depend on.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 10 000 resamples, level 0.95, studentised, seed 0.
    fn default() -> Self {
        Self {
            resamples: 10_000,
            level: 0.95,
            method: BootstrapMethod::Studentised,
            seed: 0,
        }
    }
}

impl Bootstrap {
    pub(crate) fn check(&self) -> Result<()> {
        check_level(self.level)?;
        check_count("resamples", self.resamples, 2)
    }
}

/// Which interval a bootstrap gives (Efron & Tibshirani 1993, chapters 12–14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BootstrapMethod {
    /// Percentiles of the resamples: plain, and too short for few clusters.
    Percentile,
    /// Percentiles corrected for bias and skewness; never leaves a rate's range.
    Bca,
    /// Percentiles of (resample − estimate) / its standard error: the best for means of few
    /// clusters; can leave a rate's range.
    Studentised,
}

/// The percentile (`share` from 0 to 1) of sorted values, linear between them (R's type 7).
/// Infinite values are allowed. 0 without values.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    if below == above {
        return below;
    }
    below + (above - below) * (place - place.floor())
}

/// Draws as many clusters as there are, with replacement, and tells the numbers of each draw.
pub(crate) fn draws<T>(
    clusters: usize,
    options: &Bootstrap,
    mut each: impl FnMut(&[usize]) -> T,
) -> Vec<T> {
    let mut rng = stream(options.seed, STREAM);
    let mut drawn = vec![0; clusters];
    (0..options.resamples)
        .map(|_| {
            drawn
                .iter_mut()
                .for_each(|place| *place = below(&mut rng, clusters));
            each(&drawn)
        })
        .collect()
}

pub(crate) fn sort(values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
}

pub(crate) fn percentile_interval(sorted: &[f64], level: f64) -> Interval {
    let tail = (1.0 - level) / 2.0;
    Interval {
        low: percentile(sorted, tail),
        high: percentile(sorted, 1.0 - tail),
        level,
    }
}

/// What BCa corrects by: the bias z₀ = Φ⁻¹ of the share of resamples below the estimate (those equal
/// to it count half), and the acceleration a from leaving out one cluster at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Correction {
    bias: f64,
    acceleration: f64,
}

impl Correction {
    pub(crate) fn new(value: f64, resamples: &[f64], left_out: &[f64]) -> Self {
        let below = resamples.iter().filter(|other| **other < value).count();
        let equal = resamples.iter().filter(|other| **other == value).count();
        let share = (below as f64 + equal as f64 / 2.0) / resamples.len() as f64;
        let mean = average(left_out);
        let cubes: f64 = left_out.iter().map(|other| (mean - other).powi(3)).sum();
        let spread = squares(left_out).powf(1.5);
        let half = 0.5 / resamples.len() as f64;
        Self {
            bias: normal::quantile(share.clamp(half, 1.0 - half)),
            acceleration: if spread > 0.0 {
                cubes / (6.0 * spread)
            } else {
                0.0
            },
        }
    }

    /// The share of the resamples that stands for this quantile.
    fn share(&self, quantile: f64) -> f64 {
        let z = self.bias + normal::quantile(quantile);
        normal::cdf(self.bias + z / (1.0 - self.acceleration * z))
    }

    pub(crate) fn interval(&self, sorted: &[f64], level: f64) -> Interval {
        let tail = (1.0 - level) / 2.0;
        Interval {
            low: percentile(sorted, self.share(tail)),
            high: percentile(sorted, self.share(1.0 - tail)),
            level,
        }
    }

    /// The quantile that this share of the resamples stands for: [`share`](Self::share) undone.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let w = normal::quantile(share) - self.bias;
        normal::cdf(w / (1.0 + self.acceleration * w) - self.bias)
    }
}

/// The BCa interval of an estimate from its resamples and from the same figure with one cluster left
/// out at a time (Efron 1987; `scipy.stats.bootstrap`).
///
/// # Errors
/// With fewer than two resamples or clusters, values that are not finite, or a level outside (0, 1).
pub fn bca_interval(
    value: f64,
    resamples: &[f64],
    left_out: &[f64],
    level: f64,
) -> Result<Interval> {
    check_level(level)?;
    check_count("resamples", resamples.len(), 2)?;
    check_count("clusters", left_out.len(), 2)?;
    check_finite("estimate", &[value])?;
    check_finite("resamples", resamples)?;
    check_finite("figures with a cluster left out", left_out)?;
    let mut sorted = resamples.to_vec();
    sort(&mut sorted);
    Ok(Correction::new(value, &sorted, left_out).interval(&sorted, level))
}

/// Any figure of data in clusters, with a percentile or BCa interval. `figure` gets the numbers of
/// the clusters that make up a sample, one number more than once where it is drawn so; `None` where
/// the sample does not determine the figure: such resamples are left out.
///
/// # Errors
/// With fewer than two clusters or resamples, a figure that is not defined for all the data or for
/// half of the resamples, or [`BootstrapMethod::Studentised`], which needs a standard error for
/// each resample.
pub fn bootstrap_statistic(
    clusters: usize,
    figure: impl Fn(&[usize]) -> Option<f64>,
    options: &Bootstrap,
) -> Result<Estimate> {
    options.check()?;
    check_count("clusters", clusters, 2)?;
    let undefined = |reason| Error::Undefined {
        what: "bootstrap",
        reason,
    };
    let all: Vec<usize> = (0..clusters).collect();
    let finite = |sample: &[usize]| figure(sample).filter(|value| value.is_finite());
    let value = finite(&all).ok_or(undefined("the data do not determine the figure"))?;
    let mut resamples: Vec<f64> = draws(clusters, options, &finite)
        .into_iter()
        .flatten()
        .collect();
    if resamples.len() * 2 < options.resamples || resamples.len() < 2 {
        return Err(undefined("most resamples do not determine the figure"));
    }
    sort(&mut resamples);
    let interval = match options.method {
        BootstrapMethod::Percentile => percentile_interval(&resamples, options.level),
        BootstrapMethod::Bca => {
            let without = |left: &usize| -> Vec<usize> {
                all.iter().copied().filter(|other| other != left).collect()
            };
            let left_out: Option<Vec<f64>> =
                all.iter().map(|left| finite(&without(left))).collect();
            let left_out = left_out.ok_or(undefined("a cluster less leaves it undetermined"))?;
            Correction::new(value, &resamples, &left_out).interval(&resamples, options.level)
        }
        BootstrapMethod::Studentised => {
            return Err(undefined(
                "the studentised interval is for means: choose another",
            ));
        }
    };
    Ok(Estimate {
        value,
        standard_error: (squares(&resamples) / (resamples.len() - 1) as f64).sqrt(),
        interval,
    })
}
