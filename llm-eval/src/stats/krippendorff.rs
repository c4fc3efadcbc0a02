//! Krippendorff's α.

use serde::{Deserialize, Serialize};

use super::summary::{check_lengths, squares};
use crate::{Error, Result};

/// What values mean, and so how far apart two of them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    /// Names: the same or not.
    Nominal,
    /// Ranks: by how many values lie between.
    Ordinal,
    /// Numbers: by their squared difference.
    Interval,
}

/// Krippendorff's α (2011, "Computing Krippendorff's Alpha-Reliability") of any number of raters with
/// values missing: `ratings[rater][item]`. 1 is full agreement, 0 is chance. Items with fewer than
/// two values count for nothing.
///
/// # Errors
/// Where raters have different numbers of items, a value is not finite, no item has two values, or
/// all values are the same.
pub fn krippendorff_alpha(ratings: &[Vec<Option<f64>>], measurement: Measurement) -> Result<f64> {
    let mut units = units(ratings)?;
    let mut values: Vec<f64> = units.iter().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    let (least, greatest) = (values[0], values[values.len() - 1]);
    if least == greatest {
        return Err(undefined("all values are the same"));
    }
    // Of the order of 1, so that no square is infinite.
    let size = least.abs().max(greatest.abs());
    for value in units.iter_mut().flatten() {
        *value = match measurement {
            Measurement::Nominal => *value,
            // Two values' distance, all values between them and half of those like them, is that of
            // their midranks.
            Measurement::Ordinal => {
                let below = values.partition_point(|other| other < value);
                let up_to = values.partition_point(|other| other <= value);
                (below + up_to) as f64 / 2.0
            }
            Measurement::Interval => *value / size,
        };
    }
    let disagreement: fn(&[f64]) -> f64 = match measurement {
        Measurement::Nominal => unlike_pairs,
        Measurement::Ordinal | Measurement::Interval => squared_differences,
    };
    let observed: f64 = units
        .iter()
        .map(|unit| disagreement(unit) / (unit.len() - 1) as f64)
        .sum();
    let expected = disagreement(&units.concat());
    Ok(1.0 - (values.len() - 1) as f64 * observed / expected)
}

/// How many ordered pairs of the values are of two different ones.
fn unlike_pairs(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    // −0 and 0 are one value.
    let alike = values.chunk_by(|a, b| a == b);
    let alike: f64 = alike.map(|group| (group.len() as f64).powi(2)).sum();
    (values.len() as f64).powi(2) - alike
}

/// The sum of (a − b)² over the ordered pairs of the values.
fn squared_differences(values: &[f64]) -> f64 {
    2.0 * values.len() as f64 * squares(values)
}

fn undefined(reason: &'static str) -> Error {
    Error::Undefined {
        what: "Krippendorff's alpha",
        reason,
    }
}

/// The values of each item that has two or more.
fn units(ratings: &[Vec<Option<f64>>]) -> Result<Vec<Vec<f64>>> {
    let items = ratings.first().map_or(0, Vec::len);
    for rater in ratings {
        check_lengths("items of two raters", items, rater.len())?;
        let bad = rater.iter().enumerate().find_map(|(index, value)| {
            value
                .filter(|value| !value.is_finite())
                .map(|value| (index, value))
        });
        if let Some((index, value)) = bad {
            return Err(Error::BadValue {
                what: "ratings",
                index,
                value,
                reason: "must be finite",
            });
        }
    }
    let of_item = |item: usize| ratings.iter().filter_map(|rater| rater[item]).collect();
    let units: Vec<Vec<f64>> = (0..items)
        .map(of_item)
        .filter(|unit: &Vec<f64>| unit.len() > 1)
        .collect();
    if units.is_empty() {
        return Err(undefined("no item has two values"));
    }
    Ok(units)
}
