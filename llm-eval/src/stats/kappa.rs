//! Cohen's κ.

use serde::{Deserialize, Serialize};

use super::summary::{check_count, check_lengths};
use crate::{Error, Result};

/// How much worse two different categories are than two that are next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disagreement {
    /// All the same: categories have no order.
    Nominal,
    /// By their distance |i − j|.
    Linear,
    /// By (i − j)².
    Quadratic,
}

impl Disagreement {
    fn weight(self, a: usize, b: usize) -> f64 {
        let distance = a.abs_diff(b) as f64;
        match self {
            Self::Nominal => f64::from(u8::from(a != b)),
            Self::Linear => distance,
            Self::Quadratic => distance * distance,
        }
    }
}

/// Cohen's κ (1960; weighted 1968) of two raters' categories, 0 to `categories` − 1, of the same
/// items: 1 − Σ w·observed / Σ w·expected; 1 is full agreement, 0 is chance.
///
/// # Errors
/// Without items, lists of different lengths, a category out of range, or where both raters give one
/// and the same category throughout, so that chance agrees fully.
pub fn cohen_kappa(
    first: &[usize],
    second: &[usize],
    categories: usize,
    disagreement: Disagreement,
) -> Result<f64> {
    check_lengths("categories of the two raters", first.len(), second.len())?;
    check_count("items", first.len(), 1)?;
    check_categories(first, categories)?;
    check_categories(second, categories)?;
    let (mut rows, mut columns) = (vec![0.0; categories], vec![0.0; categories]);
    let mut observed = 0.0;
    for (&a, &b) in first.iter().zip(second) {
        rows[a] += 1.0;
        columns[b] += 1.0;
        observed += disagreement.weight(a, b);
    }
    let mut expected = 0.0;
    for (a, row) in rows.iter().enumerate() {
        for (b, column) in columns.iter().enumerate() {
            expected += disagreement.weight(a, b) * row * column;
        }
    }
    if expected == 0.0 {
        return Err(Error::Undefined {
            what: "Cohen's kappa",
            reason: "both raters give the same category throughout",
        });
    }
    Ok(1.0 - observed * first.len() as f64 / expected)
}

pub(crate) fn check_categories(values: &[usize], categories: usize) -> Result<()> {
    match values.iter().position(|value| *value >= categories) {
        None => Ok(()),
        Some(index) => Err(Error::BadValue {
            what: "categories",
            index,
            value: values[index] as f64,
            reason: "must be below their number",
        }),
    }
}
