//! Win rates without what length wins.

use serde::Serialize;

use super::linalg::{Matrix, Value, logistic, minimise, softplus};
use super::summary::{
    Estimate, average, check_count, check_finite, check_lengths, check_level, sample_sd,
    standard_error,
};
use crate::{Error, Result};

/// The win rate that the second output's model would have at equal lengths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LengthControlled {
    /// The mean of the predictions at equal lengths, from 0 to 1, with a standard error that holds
    /// the uncertainty of the fit.
    pub win_rate: Estimate,
    /// AlpacaEval's `lc_standard_error`: sd of the predictions / √n. It leaves out the fit's
    /// uncertainty, and is 0 without difficulties.
    pub prediction_error: f64,
    /// The coefficient of tanh((length 1 − length 2) / sd), in log-odds.
    pub length: f64,
    /// The coefficient of the instructions' difficulty; `None` without.
    pub difficulty: Option<f64>,
    /// What the model is better by, in log-odds.
    pub model: f64,
}

/// The length-controlled win rate of AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475), by maximum
/// likelihood: the regression P(output 2 preferred) = σ(φ·tanh((len₁ − len₂) / sd) + ψ·difficulty +
/// θ), predicted with equal lengths. `preferences` are as AlpacaEval's (1 … 2, and 0 for a draw),
/// `lengths` in characters of both outputs, `difficulties` AlpacaEval's `instruction_difficulty` of
/// each instruction, where one has it.
///
/// This is the authors' model, and not their figure to the digit: they choose an L1 penalty by
/// cross-validation, and `length_controlled_v1` adds annotations of outputs made to game it. Without
/// difficulties it is their `length_controlled_minimal`, without penalty.
///
/// # Errors
/// With fewer than two preferences, lists of different lengths, preferences that are neither 0 nor
/// from 1 to 2, lengths that all differ alike, or data that length decides alone.
pub fn length_controlled_win_rate(
    preferences: &[f64],
    lengths: &[(u64, u64)],
    difficulties: Option<&[f64]>,
    level: f64,
) -> Result<LengthControlled> {
    check_level(level)?;
    check_count("preferences", preferences.len(), 2)?;
    check_lengths("preferences and lengths", preferences.len(), lengths.len())?;
    let wins = wins(preferences)?;
    let differences: Vec<f64> = lengths.iter().map(|(a, b)| *a as f64 - *b as f64).collect();
    let sd = sample_sd(&differences)?;
    if sd == 0.0 {
        return Err(Error::Undefined {
            what: "length-controlled win rate",
            reason: "all lengths differ alike",
        });
    }
    let mut rows: Vec<Vec<f64>> = differences
        .iter()
        .map(|difference| vec![1.0, (difference / sd).tanh()])
        .collect();
    if let Some(difficulties) = difficulties {
        check_lengths(
            "preferences and difficulties",
            wins.len(),
            difficulties.len(),
        )?;
        check_finite("difficulties", difficulties)?;
        rows.iter_mut()
            .zip(difficulties)
            .for_each(|(row, value)| row.push(*value));
    }
    let (weights, errors) = regression(&rows, &wins)?;
    Ok(predicted(&rows, (&weights, &errors), level))
}

fn wins(preferences: &[f64]) -> Result<Vec<f64>> {
    let win = |(index, &value): (usize, &f64)| match value {
        0.0 => Ok(0.5),
        value if (1.0..=2.0).contains(&value) => Ok(value - 1.0),
        value => Err(Error::BadValue {
            what: "preferences",
            index,
            value,
            reason: "must be 0, or from 1 to 2",
        }),
    };
    preferences.iter().enumerate().map(win).collect()
}

fn dot(row: &[f64], weights: &[f64]) -> f64 {
    row.iter().zip(weights).map(|(a, b)| a * b).sum()
}

/// Logistic regression on shares: the weights, and how far each row moves them.
fn regression(rows: &[Vec<f64>], shares: &[f64]) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    let size = rows[0].len();
    let (weights, solver) = minimise("length control", vec![0.0; size], |weights| {
        let mut value = Value {
            loss: 0.0,
            gradient: vec![0.0; size],
            hessian: Matrix::zero(size),
        };
        for (row, share) in rows.iter().zip(shares) {
            let d = dot(row, weights);
            let p = logistic(d);
            value.loss += softplus(d) - share * d;
            for a in 0..size {
                value.gradient[a] += (p - share) * row[a];
                for b in 0..size {
                    value.hessian.add(a, b, p * (1.0 - p) * row[a] * row[b]);
                }
            }
        }
        value
    })?;
    let moved = rows.iter().zip(shares).map(|(row, share)| {
        let error = share - logistic(dot(row, &weights));
        let score: Vec<f64> = row.iter().map(|value| error * value).collect();
        solver.solve(&score)
    });
    let moved = moved.collect();
    Ok((weights, moved))
}

/// The mean prediction at equal lengths; its variance by the delta method, of weights and
/// instructions together.
fn predicted(
    rows: &[Vec<f64>],
    (weights, moved): (&[f64], &[Vec<f64>]),
    level: f64,
) -> LengthControlled {
    let equal = |row: &Vec<f64>| -> Vec<f64> {
        let mut row = row.clone();
        row[1] = 0.0;
        row
    };
    let predictions: Vec<f64> = rows
        .iter()
        .map(|row| logistic(dot(&equal(row), weights)))
        .collect();
    let (value, n) = (average(&predictions), rows.len() as f64);
    let mut slope = vec![0.0; weights.len()];
    for (row, p) in rows.iter().zip(&predictions) {
        for (slope, value) in slope.iter_mut().zip(equal(row)) {
            *slope += p * (1.0 - p) * value / n;
        }
    }
    let squares: f64 = moved
        .iter()
        .zip(&predictions)
        .map(|(moved, p)| (dot(moved, &slope) + (p - value) / n).powi(2))
        .sum();
    let error = (n / (n - 1.0) * squares).sqrt();
    let mut win_rate = Estimate::normal(value, error, level);
    win_rate.interval.low = win_rate.interval.low.max(0.0);
    win_rate.interval.high = win_rate.interval.high.min(1.0);
    LengthControlled {
        win_rate,
        prediction_error: standard_error(&predictions).unwrap_or(0.0),
        length: weights[1],
        difficulty: weights.get(2).copied(),
        model: weights[0],
    }
}
