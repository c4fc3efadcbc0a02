//! The sign-flip test.

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Significance, differences};
use super::random::stream;
use super::summary::{Groups, check_count, check_level};
use crate::Result;

/// The random numbers that flip signs.
const STREAM: &[u8; 8] = b"signflip";
/// With so many clusters or fewer all flips are tried.
const EXACT: usize = 16;
/// Sums that differ by rounding are the same.
const SAME: f64 = 1e-12;

/// How the test is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignFlipOptions {
    /// How many random flips, where there are too many to try all (above 16 clusters).
    pub resamples: usize,
    /// A p-value up to 1 − level is significant.
    pub level: f64,
    /// What the flips depend on.
    pub seed: u64,
}

impl Default for SignFlipOptions {
    /// 10 000 flips, level 0.95, seed 0.
    fn default() -> Self {
        Self {
            resamples: 10_000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// What the test says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SignFlip {
    /// The mean of first − second.
    pub difference: f64,
    /// How likely a difference this far from 0, either way, is where the two are exchangeable.
    pub p_value: f64,
    /// Whether all flips were tried.
    pub exact: bool,
    /// Whether the p-value is at most 1 − level.
    pub verdict: Significance,
}

/// The paired permutation test of two systems (Fisher 1935), clustered: without a difference the two
/// can be exchanged in any cluster (question), which flips the sign of its sum of differences. The
/// p-value is the share of flips whose sum is as far from 0 as the real one; of random flips the real
/// one counts as one more.
///
/// # Errors
/// With fewer than two clusters, no resamples, lists of different lengths, values that are not
/// finite, or a level outside (0, 1).
pub fn sign_flip_test<K: Ord>(
    first: &[f64],
    second: &[f64],
    clusters: &[K],
    options: &SignFlipOptions,
) -> Result<SignFlip> {
    check_level(options.level)?;
    check_count("resamples", options.resamples, 1)?;
    let groups = Groups::new(&differences(first, second)?, clusters)?;
    let sums: Vec<f64> = groups.parts.iter().map(|part| part.0).collect();
    let scale: f64 = sums.iter().map(|sum| sum.abs()).sum();
    let bound = sums.iter().sum::<f64>().abs() - SAME * scale;
    let exact = sums.len() <= EXACT;
    let p_value = if exact {
        let flips = 1_u64 << sums.len();
        let extreme = (0..flips)
            .filter(|flip| flipped(&sums, |_| *flip).abs() >= bound)
            .count();
        extreme as f64 / flips as f64
    } else {
        let mut rng = stream(options.seed, STREAM);
        let extreme = (0..options.resamples)
            .filter(|_| flipped(&sums, |_| rng.next_u64()).abs() >= bound)
            .count();
        (extreme + 1) as f64 / (options.resamples + 1) as f64
    };
    let difference = groups.mean().0;
    let verdict = if p_value > 1.0 - options.level || difference == 0.0 {
        Significance::NotSignificantlyDifferent
    } else if difference > 0.0 {
        Significance::FirstHigher
    } else {
        Significance::SecondHigher
    };
    Ok(SignFlip {
        difference,
        p_value,
        exact,
        verdict,
    })
}

/// The sum with signs flipped where a bit is set; `bits` gives 64 of them at a time.
fn flipped(sums: &[f64], mut bits: impl FnMut(usize) -> u64) -> f64 {
    let mut total = 0.0;
    for (block, sums) in sums.chunks(64).enumerate() {
        let bits = bits(block);
        for (place, sum) in sums.iter().enumerate() {
            total += if bits >> place & 1 == 1 { -sum } else { *sum };
        }
    }
    total
}
