//! Whether a judge's verdict depends on which answer comes first.

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::summary::{Estimate, Interval, check_count, clustered_mean, wilson};
use crate::Result;

/// A judge's verdicts on the same comparisons in both orders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionBias {
    /// Comparisons judged in both orders.
    pub items: u64,
    /// Those with the same verdict on the answers in both orders, ties included.
    pub consistent: u64,
    /// Those where the first slot won in both orders.
    pub first_slot: u64,
    /// Those where the second slot did.
    pub second_slot: u64,
    /// Those with a tie in one order and not in the other.
    pub half_tied: u64,
    /// consistent / items.
    pub consistency: f64,
    /// Wilson's interval of it.
    pub consistency_interval: Interval,
    /// Wilson's interval of `first_slot / items`, MT-bench's "biased toward first".
    pub first_slot_interval: Interval,
    /// Wilson's interval of `second_slot / items`.
    pub second_slot_interval: Interval,
    /// The first slot's mean score over both orders, ties ½: 0.5 without preference for a slot,
    /// whatever the answers. Where all comparisons say the same the interval is Wilson's.
    pub first_slot_preference: Estimate,
}

impl PositionBias {
    /// From each comparison's two verdicts, both as slots: `Outcome::First` is the first slot, in
    /// which the second order has the other answer. Comparisons are taken as independent.
    ///
    /// # Errors
    /// With fewer than two comparisons, or a level outside (0, 1).
    pub fn of(verdicts: &[(Outcome, Outcome)], level: f64) -> Result<Self> {
        check_count("comparisons", verdicts.len(), 2)?;
        let count = |test: &dyn Fn(Outcome, Outcome) -> bool| {
            verdicts
                .iter()
                .filter(|(one, other)| test(*one, *other))
                .count() as u64
        };
        let items = verdicts.len() as u64;
        let consistent = count(&|one, other| one == other.swapped());
        let first_slot = count(&|one, other| one == Outcome::First && other == Outcome::First);
        let second_slot = count(&|one, other| one == Outcome::Second && other == Outcome::Second);
        let scores: Vec<f64> = verdicts
            .iter()
            .map(|(one, other)| (one.score() + other.score()) / 2.0)
            .collect();
        let clusters: Vec<usize> = (0..scores.len()).collect();
        let mut preference = clustered_mean(&scores, &clusters, level)?;
        if preference.standard_error == 0.0 {
            preference.interval = match preference.value {
                0.5 => wilson(items, 2 * items, level)?,
                value => wilson(if value > 0.5 { items } else { 0 }, items, level)?,
            };
        }
        Ok(Self {
            items,
            consistent,
            first_slot,
            second_slot,
            half_tied: items - consistent - first_slot - second_slot,
            consistency: consistent as f64 / items as f64,
            consistency_interval: wilson(consistent, items, level)?,
            first_slot_interval: wilson(first_slot, items, level)?,
            second_slot_interval: wilson(second_slot, items, level)?,
            first_slot_preference: preference,
        })
    }
}
