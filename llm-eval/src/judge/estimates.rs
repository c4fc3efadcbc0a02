//! Means, rates and comparisons over questions, by the method that suits their number.

use std::collections::HashSet;

use super::files::Id;
use crate::stats::{self, Bootstrap};

/// With fewer questions, intervals come from the bootstrap.
const MANY: usize = 30;

/// A mean with its error, the turns of a question taken together; `None` with fewer than two
/// questions.
pub(super) fn estimate(
    values: &[f64],
    questions: &[&Id],
    options: &Bootstrap,
) -> Option<stats::Estimate> {
    if distinct(questions) < MANY {
        return stats::bootstrap_mean(values, questions, options).ok();
    }
    stats::clustered_mean(values, questions, options.level).ok()
}

/// The same of a rate: within 0 and 1, and Wilson's interval where all questions ended alike.
pub(super) fn rate(
    values: &[f64],
    questions: &[&Id],
    options: &Bootstrap,
) -> Option<stats::Estimate> {
    let mut estimate = estimate(values, questions, options)?;
    let alike = values.iter().all(|value| *value == values[0]);
    if alike {
        let n = distinct(questions) as u64;
        let (won, of) = match values[0] {
            1.0 => (n, n),
            0.0 => (0, n),
            _ => (n, 2 * n),
        };
        estimate.interval = stats::wilson(won, of, options.level).ok()?;
    }
    estimate.interval.low = estimate.interval.low.max(0.0);
    estimate.interval.high = estimate.interval.high.min(1.0);
    Some(estimate)
}

/// How many questions there are.
pub(super) fn distinct(questions: &[&Id]) -> usize {
    questions.iter().collect::<HashSet<_>>().len()
}
