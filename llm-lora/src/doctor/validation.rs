//! What the validation set tells against the training loss.

use super::finding::{Finding, FindingKind, Severity};
use super::run::Run;
use super::thresholds as at;
use crate::train::Evaluation;

/// The lowest evaluation and those after it.
pub(super) struct Turn<'a> {
    pub(super) lowest: &'a Evaluation,
    after: &'a [&'a Evaluation],
    pub(super) last: &'a Evaluation,
    /// The lowest training loss until the lowest evaluation: coming down again from a jump is no progress.
    pub(super) training_then: f64,
    /// The training loss at the last evaluation.
    pub(super) training_now: f64,
}

impl<'a> Turn<'a> {
    pub(super) fn find(run: &'a Run) -> Option<Self> {
        let numbered = run.evaluations.iter().enumerate();
        let (index, lowest) =
            numbered.min_by(|(_, one), (_, other)| one.eval_loss.total_cmp(&other.eval_loss))?;
        let after = &run.evaluations[index + 1..];
        let last = after.last()?;
        let training_then = match run.until(lowest.step) {
            // The first step's loss is that of the untouched model.
            0 => run.steps.first().map(|step| step.loss),
            until => (1..=until)
                .filter_map(|end| run.recent(end))
                .reduce(f64::min),
        };
        Some(Self {
            lowest,
            after,
            last,
            training_then: training_then?,
            training_now: run.recent(run.until(last.step))?,
        })
    }

    /// Whether the last `count` evaluations are `factor` times the lowest or more.
    pub(super) fn risen(&self, factor: f64, count: usize) -> bool {
        let lowest = self.lowest.eval_loss;
        self.after.len() >= count
            && self.after.iter().rev().take(count).all(|evaluation| {
                let loss = evaluation.eval_loss;
                loss >= factor * lowest && loss - lowest >= at::GAP_NATS
            })
    }
}

/// An evaluation loss that has turned and rises while the training loss falls.
pub(super) fn gap(run: &Run) -> Option<Finding> {
    let turn = Turn::find(run)?;
    let (lowest, last) = (turn.lowest, turn.last);
    let risen = turn.risen(at::GAP_AT_ONCE, 1) || turn.risen(at::GAP, 2);
    if !risen || turn.training_now >= turn.training_then {
        return None;
    }
    let (minimum, advice) = match lowest.step {
        0 => (
            "before the first step".to_owned(),
            "Lower the learning rate: the run destroys what the model knew",
        ),
        step => (
            format!("at step {step}"),
            "Train only for as many steps as the minimum took, or with more records, a lower learning \
             rate or a smaller rank",
        ),
    };
    Some(Finding::new(
        FindingKind::Overfitting,
        Severity::Warning,
        lowest.step..=last.step,
        format!(
            "the evaluation loss was lowest, {:.3}, {minimum}, and is {:.3} at step {}, while the \
             training loss fell from {:.3} to {:.3}",
            lowest.eval_loss, last.eval_loss, last.step, turn.training_then, turn.training_now
        ),
        advice,
    ))
}
