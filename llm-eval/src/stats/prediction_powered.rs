//! Means that people would give, from a few people's labels and many of a judge.

use serde::{Deserialize, Serialize};

use super::summary::{
    Estimate, average, check_count, check_finite, check_lengths, check_level, squares,
};
use crate::{Error, Result};

/// How much the judge is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerTuning {
    /// By the λ from 0 to 1 that makes the interval shortest (PPI++).
    Estimated,
    /// By this λ: 1 is the first method, 0 leaves the judge out.
    Fixed(f64),
}

/// A mean as people would give it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PredictionPowered {
    /// From people and judge; the interval holds the uncertainty of both sets.
    pub mean: Estimate,
    /// From people's labels alone, for comparison.
    pub people: Estimate,
    /// The judge's mean over the large set, uncorrected.
    pub judge: f64,
    /// The λ that was used.
    pub lambda: f64,
}

/// Prediction-powered inference for a mean (a win rate, where the values are 0, ½ and 1): Angelopoulos
/// et al. 2023 (arXiv:2301.09633), with the power tuning of PPI++ (arXiv:2311.01453). θ = mean of
/// people's labels + λ·(the judge's mean over the large set − its mean over the labelled set);
/// SE² = var(people − λ·judge) / n + λ²·var(judge on the large set) / N, population variances as in
/// `ppi_py`.
///
/// `people[i]` and `judge[i]` are of the same item, drawn at random from the same items as
/// `judge_alone`, which has none of the labelled. Values must be independent: take one per question
/// (the mean of its turns). For normal intervals n should not be much below 50.
///
/// # Errors
/// With fewer than two values in a set, lists of different lengths, values that are not finite, λ
/// outside 0 … 1, or a level outside (0, 1).
pub fn prediction_powered(
    people: &[f64],
    judge: &[f64],
    judge_alone: &[f64],
    tuning: PowerTuning,
    level: f64,
) -> Result<PredictionPowered> {
    check_level(level)?;
    check_lengths("labels of people and judge", people.len(), judge.len())?;
    check_count("items that people labelled", people.len(), 2)?;
    check_count("items that the judge labelled alone", judge_alone.len(), 2)?;
    check_finite("people's labels", people)?;
    check_finite("the judge's labels of the same items", judge)?;
    check_finite("the judge's labels alone", judge_alone)?;
    let lambda = match tuning {
        PowerTuning::Estimated => best_lambda(people, judge, judge_alone),
        PowerTuning::Fixed(lambda) if (0.0..=1.0).contains(&lambda) => lambda,
        PowerTuning::Fixed(lambda) => {
            return Err(Error::BadOption {
                name: "lambda",
                value: lambda,
                reason: "must lie from 0 to 1",
            });
        }
    };
    let rectified = |lambda: f64| {
        let rest: Vec<f64> = people
            .iter()
            .zip(judge)
            .map(|(y, f)| y - lambda * f)
            .collect();
        let value = average(&rest) + lambda * average(judge_alone);
        let variance = per_value(&rest) / people.len() as f64
            + lambda * lambda * per_value(judge_alone) / judge_alone.len() as f64;
        Estimate::normal(value, variance.sqrt(), level)
    };
    Ok(PredictionPowered {
        mean: rectified(lambda),
        people: rectified(0.0),
        judge: average(judge_alone),
        lambda,
    })
}

/// The population variance.
fn per_value(values: &[f64]) -> f64 {
    squares(values) / values.len() as f64
}

/// cov(people, judge) / ((1 + n/N)·var(judge)), the variance over both sets; 0 for a judge that says
/// the same of all.
fn best_lambda(people: &[f64], judge: &[f64], judge_alone: &[f64]) -> f64 {
    let (mean, other) = (average(people), average(judge));
    let products = people
        .iter()
        .zip(judge)
        .map(|(y, f)| (y - mean) * (f - other));
    let covariance = products.sum::<f64>() / people.len() as f64;
    let all: Vec<f64> = judge.iter().chain(judge_alone).copied().collect();
    let variance = squares(&all) / (all.len() - 1) as f64;
    if variance == 0.0 {
        return 0.0;
    }
    let share = 1.0 + people.len() as f64 / judge_alone.len() as f64;
    (covariance / (share * variance)).clamp(0.0, 1.0)
}
