//! Fleiss' κ.

use super::summary::{check_count, check_lengths};
use crate::{Error, Result};

/// Fleiss' κ (1971) of several raters: `counts[item][category]` says how many raters gave the item
/// that category. All items need the same number of raters; which raters may differ.
///
/// # Errors
/// Without items, with fewer than two raters, items with different numbers of raters or categories,
/// or where all raters give one category throughout.
pub fn fleiss_kappa(counts: &[Vec<u64>]) -> Result<f64> {
    check_count("items", counts.len(), 1)?;
    let categories = counts[0].len();
    let raters: u64 = counts[0].iter().sum();
    check_count("raters", usize::try_from(raters).unwrap_or(usize::MAX), 2)?;
    let mut totals = vec![0.0; categories];
    let mut agreement = 0.0;
    for (index, item) in counts.iter().enumerate() {
        check_lengths("categories of two items", categories, item.len())?;
        let here: u64 = item.iter().sum();
        if here != raters {
            return Err(Error::BadValue {
                what: "raters of items",
                index,
                value: here as f64,
                reason: "all items need the same number of raters",
            });
        }
        for (total, count) in totals.iter_mut().zip(item) {
            *total += *count as f64;
            agreement += (*count as f64) * (*count as f64 - 1.0);
        }
    }
    let (items, raters) = (counts.len() as f64, raters as f64);
    let observed = agreement / (items * raters * (raters - 1.0));
    let chance: f64 = totals
        .iter()
        .map(|total| (total / (items * raters)).powi(2))
        .sum();
    if totals.iter().filter(|total| **total > 0.0).count() < 2 {
        return Err(Error::Undefined {
            what: "Fleiss' kappa",
            reason: "all raters give the same category throughout",
        });
    }
    Ok((observed - chance) / (1.0 - chance))
}
