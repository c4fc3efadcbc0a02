//! How far the training loss came: not at all, or too far.

use super::finding::{Finding, FindingKind, Severity};
use super::run::{Range, Run};
use super::thresholds as at;

/// A loss that has not moved, on the validation set or from epoch to epoch. The loss of single steps
/// says nothing about it: what a model that is instruction-tuned already learns in an epoch is less
/// than the noise of the batches.
pub(super) fn flat(run: &Run) -> Option<Finding> {
    let last = run.steps.last()?;
    if steps_after_warmup(run) < at::FLAT_STEPS {
        return None;
    }
    let seen = [
        moved_on_validation(run).map(|moved| ("evaluation loss", moved)),
        moved_between_epochs(run).map(|moved| ("epoch's mean training loss", moved)),
    ];
    if seen
        .iter()
        .flatten()
        .any(|(_, moved)| moved.share >= at::FLAT)
    {
        return None;
    }
    let mut long = seen
        .into_iter()
        .flatten()
        .filter(|(_, moved)| moved.steps >= at::FLAT_STEPS);
    let (what, moved) = long.next()?;
    Some(Finding::new(
        FindingKind::Flat,
        Severity::Error,
        run.steps[0].step..=last.step,
        format!(
            "next to nothing is learnt: the {what} was {:.4} and is {:.4}, with a learning rate of up to {:e}",
            moved.first,
            moved.last,
            peak(run)
        ),
        "Raise the learning rate (LoRA usually takes 1e-4 to 3e-4, full fine-tuning 1e-5 to 2e-5, tiny \
         models ten times as much), and check that target_modules and the data are the intended ones",
    ))
}

/// A first loss, the last, the largest distance from the first as a share of it, and how many steps lie
/// between first and last.
#[derive(Clone, Copy)]
struct Moved {
    first: f64,
    last: f64,
    share: f64,
    steps: usize,
}

impl Moved {
    fn over(losses: &[f64], steps: usize) -> Option<Self> {
        let (first, last) = (*losses.first()?, *losses.last()?);
        let distances = losses.iter().map(|loss| (loss - first).abs());
        (losses.len() > 1).then(|| Self {
            first,
            last,
            share: distances.fold(0.0, f64::max) / first,
            steps,
        })
    }
}

/// How far the evaluation loss moved; in the first epoch, what that comes to in a whole one.
fn moved_on_validation(run: &Run) -> Option<Moved> {
    let (first, last) = (run.evaluations.first()?, run.evaluations.last()?);
    let steps = run.until(last.step).saturating_sub(run.until(first.step));
    let losses: Vec<f64> = run
        .evaluations
        .iter()
        .map(|evaluation| evaluation.eval_loss)
        .collect();
    let mut moved = Moved::over(&losses, steps)?;
    moved.share /= (last.epoch - first.epoch).clamp(f64::MIN_POSITIVE, 1.0);
    Some(moved)
}

/// How far the mean loss of an epoch moved; each has the same samples.
fn moved_between_epochs(run: &Run) -> Option<Moved> {
    let epochs = run.epochs();
    let over: Vec<_> = epochs.iter().filter(|epoch| epoch.over).collect();
    let losses: Vec<f64> = over
        .iter()
        .map(|epoch| run.mean(epoch.from, epoch.to))
        .collect();
    Moved::over(&losses, over.last()?.to)
}

fn peak(run: &Run) -> f64 {
    run.steps
        .iter()
        .map(|step| step.learning_rate)
        .fold(0.0, f64::max)
}

/// Steps since the learning rate was the highest until now; none while it grows.
fn steps_after_warmup(run: &Run) -> usize {
    let peak = peak(run);
    let reached = run.steps.iter().position(|step| step.learning_rate >= peak);
    reached.map_or(0, |reached| run.steps.len() - 1 - reached)
}

/// A training loss so low that the records are known by heart.
pub(super) fn low(run: &Run) -> Option<Finding> {
    let smoothed = |end| {
        run.window(end, at::LOW_WINDOW)
            .map(|range| (range, run.mean(range.0, range.1)))
    };
    let is_low = |(range, mean): (Range, f64)| mean + 2.0 * run.error(range, range) <= at::LOW_LOSS;
    let first = (1..=run.steps.len()).find(|end| smoothed(*end).is_some_and(is_low))?;
    let (first_step, last_step) = (run.steps[first - 1].step, run.steps.last()?.step);
    let lowest = (first..=run.steps.len())
        .filter_map(|end| smoothed(end).map(|(_, mean)| mean))
        .fold(f64::INFINITY, f64::min);
    let beside = match run.evaluations.last() {
        None => "there is no evaluation to tell whether it still helps".to_owned(),
        Some(evaluation) => {
            let end = run.until(evaluation.step);
            let (_, then) = smoothed(end).filter(|_| end >= first)?;
            if evaluation.eval_loss < at::LOW_GAP * then {
                return None;
            }
            format!("the evaluation loss is {:.3}", evaluation.eval_loss)
        }
    };
    Some(Finding::new(
        FindingKind::LowLoss,
        Severity::Warning,
        first_step..=last_step,
        format!(
            "the records are known by heart: the training loss came down to {lowest:.3} on average over \
             {} steps, and {beside}",
            at::LOW_WINDOW.steps
        ),
        "Take fewer epochs or more records; keep some for evaluation (validation_share) and use the \
         state at its minimum",
    ))
}
