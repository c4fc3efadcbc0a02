//! What a judge's log-probabilities say beyond its verdict.

use serde::{Deserialize, Serialize};

use super::summary::check_count;
use crate::{Error, Result};

/// The verdict that a judge gives on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExpectedPreference {
    /// Σ p·value over the verdicts, their probabilities normalised: in the values' unit.
    pub value: f64,
    /// The probability of all verdicts together before that; where it is small, the judge wanted
    /// to say something else.
    pub mass: f64,
}

/// The expected value of a verdict from the log-probabilities (natural) of its tokens, as
/// AlpacaEval 2 weighs its preferences: each pair is (the verdict's value, the log-probability).
/// A verdict that several tokens spell ("A", " A") is given once for each.
///
/// # Errors
/// Without verdicts, where a value is not finite, a log-probability is above 0 or not a number, or
/// none has any probability.
pub fn expected_preference(verdicts: &[(f64, f64)]) -> Result<ExpectedPreference> {
    check_count("verdicts", verdicts.len(), 1)?;
    for (index, &(value, log_probability)) in verdicts.iter().enumerate() {
        let bad = |value, reason| Error::BadValue {
            what: "verdicts",
            index,
            value,
            reason,
        };
        if !value.is_finite() {
            return Err(bad(value, "must be finite"));
        }
        // Servers round: the log-probability of a certain token can be a little above 0.
        if log_probability.is_nan() || log_probability > 1e-3 {
            return Err(bad(log_probability, "a log-probability is at most 0"));
        }
    }
    let best = verdicts
        .iter()
        .map(|pair| pair.1)
        .fold(f64::NEG_INFINITY, f64::max);
    if best == f64::NEG_INFINITY {
        return Err(Error::Undefined {
            what: "expected preference",
            reason: "no verdict has any probability",
        });
    }
    let weights = verdicts.iter().map(|pair| (pair.1 - best).exp());
    let total: f64 = weights.clone().sum();
    let value: f64 = weights
        .zip(verdicts)
        .map(|(weight, pair)| weight * pair.0)
        .sum();
    Ok(ExpectedPreference {
        value: value / total,
        mass: (total * best.exp()).min(1.0),
    })
}
