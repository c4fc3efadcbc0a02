//! A training loss that falls where epochs begin.

use super::finding::{Finding, FindingKind, Severity};
use super::run::{Epoch, Run};
use super::thresholds as at;
use super::validation::Turn;

/// Several stairs.
pub(super) fn find(run: &Run) -> Option<Finding> {
    let epochs = run.epochs();
    let stairs: Vec<Stair> = epochs
        .array_windows()
        .filter(|[_, next]| next.over)
        .filter_map(|[epoch, next]| stair(run, *epoch, *next))
        .collect();
    let (first, last) = (stairs.first()?, stairs.last()?);
    let harmless = || !Turn::find(run).is_some_and(|turn| turn.risen(at::STAIR_EVALUATION, 1));
    if stairs.len() < at::STAIRS || (!run.evaluations.is_empty() && harmless()) {
        return None;
    }
    let falls: Vec<String> = stairs
        .iter()
        .map(|stair| {
            format!(
                "{:.3} to {:.3} at step {}",
                stair.before, stair.after, stair.step
            )
        })
        .collect();
    Some(Finding::new(
        FindingKind::Staircase,
        Severity::Warning,
        first.step..=last.step,
        format!(
            "the training loss falls where epochs begin and hardly within them: {}; the records are \
             learnt by heart{}",
            falls.join(", "),
            match run.evaluations.is_empty() {
                true => "",
                false => ", and the evaluation loss rises",
            }
        ),
        "Take fewer epochs, a lower learning rate or more records; keep some for evaluation \
         (validation_share)",
    ))
}

/// A sudden fall between two epochs.
struct Stair {
    /// The first step of the later epoch.
    step: usize,
    /// The mean loss in the second half of the earlier epoch, and in the first of the later.
    before: f64,
    after: f64,
}

fn stair(run: &Run, epoch: Epoch, next: Epoch) -> Option<Stair> {
    if epoch.to - epoch.from < at::STAIR_STEPS || next.to - next.from < at::STAIR_STEPS {
        return None;
    }
    let middle = |epoch: Epoch| epoch.from + (epoch.to - epoch.from) / 2;
    let halves = [
        (middle(epoch), epoch.to),
        (next.from, middle(next)),
        (middle(next), next.to),
    ];
    let [before, after, end] = halves.map(|(from, to)| run.mean(from, to));
    let error = run.error_of_difference(halves[0], halves[1], (middle(epoch), next.to));
    let fall = before - after;
    // A loss that falls smoothly, by the same share in each half epoch, has no stair.
    let excess = (before / after).ln() - (after / end).ln();
    let is_stair = excess >= at::STAIR
        && fall >= at::STAIR_NATS
        && fall >= at::STAIR_ERRORS * error
        && !evaluation_falls(run, epoch, next);
    is_stair.then_some(Stair {
        step: run.steps[next.from].step,
        before,
        after,
    })
}

/// Whether unseen records are better off at the end of the later epoch.
fn evaluation_falls(run: &Run, epoch: Epoch, next: Epoch) -> bool {
    let at_end = |epoch: Epoch| {
        let end = run.steps[epoch.to - 1].step;
        let mut latest = run.evaluations.iter().rev();
        latest.find(|evaluation| evaluation.step <= end)
    };
    at_end(epoch)
        .zip(at_end(next))
        .is_some_and(|(before, after)| {
            before.step < after.step && after.eval_loss < at::STAIR_FALL * before.eval_loss
        })
}
