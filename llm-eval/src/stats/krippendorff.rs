//! Krippendorff's α.

use serde::{Deserialize, Serialize};

use super::summary::check_lengths;
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
    let units = units(ratings)?;
    let mut values: Vec<f64> = units.iter().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    // −0 and 0 are one value.
    values.dedup_by(|a, b| a == b);
    let place = |value: f64| values.partition_point(|other| *other < value);
    let mut coincidences = vec![vec![0.0; values.len()]; values.len()];
    for unit in &units {
        let mut counts = vec![0.0; values.len()];
        unit.iter().for_each(|value| counts[place(*value)] += 1.0);
        let present: Vec<usize> = (0..values.len()).filter(|v| counts[*v] > 0.0).collect();
        for &a in &present {
            for &b in &present {
                let pairs = counts[a] * (counts[b] - f64::from(u8::from(a == b)));
                coincidences[a][b] += pairs / (unit.len() - 1) as f64;
            }
        }
    }
    let totals: Vec<f64> = coincidences.iter().map(|row| row.iter().sum()).collect();
    let n: f64 = totals.iter().sum();
    let (mut observed, mut expected) = (0.0, 0.0);
    for a in 0..values.len() {
        for b in 0..values.len() {
            let distance = distance(measurement, &values, &totals, (a, b));
            observed += coincidences[a][b] * distance;
            expected += totals[a] * totals[b] * distance;
        }
    }
    if expected == 0.0 {
        return Err(undefined("all values are the same"));
    }
    Ok(1.0 - (n - 1.0) * observed / expected)
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

fn distance(
    measurement: Measurement,
    values: &[f64],
    totals: &[f64],
    (a, b): (usize, usize),
) -> f64 {
    match measurement {
        Measurement::Nominal => f64::from(u8::from(a != b)),
        Measurement::Interval => (values[a] - values[b]).powi(2),
        Measurement::Ordinal => {
            let (low, high) = (a.min(b), a.max(b));
            let between: f64 = totals[low..=high].iter().sum();
            (between - (totals[low] + totals[high]) / 2.0).powi(2)
        }
    }
}
