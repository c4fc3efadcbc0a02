//! A training loss that rises: jumps, divergence, oscillation.

use super::finding::{Finding, FindingKind, Severity};
use super::run::{Range, Run};
use super::thresholds as at;
use super::validation::Turn;

/// A stretch in which the smoothed loss went up.
#[derive(Debug, Clone, Copy)]
struct Rise {
    /// The last step of the lowest window before, by index.
    from: usize,
    /// The step at which the rise was seen.
    seen: usize,
    low: f64,
    high: f64,
    /// The step at which the loss was back.
    back: Option<usize>,
}

/// A jump or an oscillation.
pub(super) fn find(run: &Run) -> Option<Finding> {
    let rises = rises(run);
    let by_epoch = epoch_rises(run);
    let up = rises.last().is_some_and(|rise| rise.back.is_none());
    if rises.len() >= at::SWINGS || (by_epoch.len() >= at::EPOCH_SWINGS && !up) {
        return oscillation(run, &rises, &by_epoch);
    }
    match rises[..] {
        [] => evaluation_rise(run),
        [.., last] => Some(jump(run, &rises, last)),
    }
}

/// Every rise, decided at each step by the steps until then.
fn rises(run: &Run) -> Vec<Rise> {
    let mut rises: Vec<Rise> = rise_at_once(run).into_iter().collect();
    // The lowest window that ends at each step or before, since the last rise was over.
    let mut lows: Vec<Option<(usize, f64)>> = Vec::new();
    let mut since = 0;
    for end in 0..run.steps.len() {
        let raised = rises.last_mut().filter(|rise| rise.back.is_none());
        if let Some(rise) = raised {
            follow(run, rise, end);
            if rise.back.is_some() {
                since = end + 1;
            }
            lows.push(None);
            continue;
        }
        let low = lows.last().copied().flatten();
        let mean = window(run, since, end).map(|(from, to)| run.mean(from, to));
        lows.push(match mean {
            Some(mean) if low.is_none_or(|(_, lowest)| mean < lowest) => Some((end, mean)),
            _ => low,
        });
        rises.extend(rise_at(run, &lows, since, end));
    }
    rises
}

/// The long window that ends with `end`; where it would begin before `since`, what is left of it, if
/// that is a short window at least.
fn window(run: &Run, since: usize, end: usize) -> Option<Range> {
    let long = run
        .window(end + 1, at::WINDOW)
        .filter(|(from, _)| *from >= since);
    let short = || {
        run.window(end + 1, at::SPIKE_WINDOW)
            .filter(|(from, _)| *from >= since)
    };
    long.or_else(|| short().map(|_| (since, end + 1)))
}

/// A rise from the first step on.
fn rise_at_once(run: &Run) -> Option<Rise> {
    let first = run.steps.first()?;
    if first.supervised_tokens < at::SPIKE_WINDOW.tokens {
        return None;
    }
    let windows = [
        (at::SPIKE_WINDOW, at::FIRST_SPIKE, 0.0),
        (at::WINDOW, at::FIRST_JUMP, at::FIRST_JUMP_ERRORS),
    ];
    windows.into_iter().find_map(|(least, factor, errors)| {
        let end = 1 + least.steps;
        let high = (end <= run.steps.len()).then(|| run.mean(1, end))?;
        let error = run.error_of_difference((0, 1), (1, end), (1, end));
        let rise = high - first.loss;
        (high >= factor * first.loss && rise >= at::JUMP_NATS.max(errors * error)).then_some(Rise {
            from: 0,
            seen: end - 1,
            low: first.loss,
            high,
            back: None,
        })
    })
}

/// A rise that is seen at `end`, in the long or the short window.
fn rise_at(run: &Run, lows: &[Option<(usize, f64)>], since: usize, end: usize) -> Option<Rise> {
    let windows = [(at::WINDOW, at::JUMP), (at::SPIKE_WINDOW, at::SPIKE)];
    windows.into_iter().find_map(|(least, factor)| {
        let (from, _) = run.window(end + 1, least)?;
        let (low_end, low) = lows[from.checked_sub(1)?]?;
        let (low_from, _) = window(run, since, low_end)?;
        let high = run.mean(from, end + 1);
        let error = run.error_of_difference((low_from, low_end + 1), (from, end + 1), (0, from));
        let least = at::JUMP_NATS.max(at::JUMP_ERRORS * error);
        (high >= factor * low && high - low >= least).then_some(Rise {
            from: low_end,
            seen: end,
            low,
            high,
            back: None,
        })
    })
}

/// Follows a rise to its height and down again.
fn follow(run: &Run, rise: &mut Rise, end: usize) {
    let since = |(from, _): &Range| *from > rise.seen;
    if let Some((from, to)) = run.window(end + 1, at::SPIKE_WINDOW) {
        rise.high = rise.high.max(run.mean(from, to));
    }
    if let Some((from, to)) = run.window(end + 1, at::BACK_WINDOW).filter(since) {
        let down = (at::BACK * rise.low).max(rise.low + at::JUMP_NATS / 2.0);
        rise.back = (run.mean(from, to) <= down).then_some(end);
    }
}

/// Epochs whose mean loss is above the lowest before, each with a fall since the one before.
fn epoch_rises(run: &Run) -> Vec<(usize, f64, f64)> {
    let mut rises = Vec::new();
    let (mut low, mut risen) = (f64::INFINITY, false);
    for epoch in run.epochs().into_iter().filter(|epoch| epoch.over) {
        let mean = run.mean(epoch.from, epoch.to);
        let rise = mean >= at::EPOCH_RISE * low && mean - low >= at::EPOCH_RISE_NATS;
        if rise && !risen {
            rises.push((epoch.to - 1, low, mean));
        }
        risen = rise;
        low = low.min(mean);
    }
    rises
}

fn oscillation(run: &Run, rises: &[Rise], by_epoch: &[(usize, f64, f64)]) -> Option<Finding> {
    let last = run.steps.last()?.step;
    let first = rises.iter().map(|rise| rise.from);
    let first = first.chain(by_epoch.iter().map(|rise| rise.0)).min()?;
    let what = match rises.len() >= at::SWINGS {
        true => {
            let low = rises
                .iter()
                .map(|rise| rise.low)
                .fold(f64::INFINITY, f64::min);
            let high = rises.iter().map(|rise| rise.high).fold(0.0, f64::max);
            format!(
                "the training loss rose {} times and fell again, between {low:.3} and {high:.3}",
                rises.len()
            )
        }
        false => {
            let (_, low, high) = by_epoch.last()?;
            format!(
                "{} times an epoch's mean training loss was higher than an earlier epoch's, the last \
                 time {high:.3} after {low:.3}",
                by_epoch.len()
            )
        }
    };
    Some(Finding::new(
        FindingKind::Oscillation,
        Severity::Warning,
        run.steps[first].step..=last,
        what,
        "Lower the learning rate to a third or less, or take more samples in a step \
         (gradient_accumulation_steps)",
    ))
}

fn jump(run: &Run, rises: &[Rise], last: Rise) -> Finding {
    let step = |index: usize| run.steps[index].step;
    let times = match rises.len() {
        1 => String::new(),
        more => format!("{more} times; the last time "),
    };
    let rose = format!(
        "the training loss rose {times}from {:.3} to {:.3} after step {}",
        last.low,
        last.high,
        step(last.from)
    );
    let end = last.back.unwrap_or(run.steps.len() - 1);
    let steps = step(rises[0].from)..=step(end);
    match last.back {
        Some(back) => Finding::new(
            FindingKind::Jump,
            Severity::Warning,
            steps,
            format!("{rose} and was back at step {}", step(back)),
            "Look at the records of these steps, and keep the clipping of the gradient \
             (max_grad_norm 1); if it happens at other steps with another seed, lower the learning rate",
        ),
        None => Finding::new(
            FindingKind::Jump,
            Severity::Error,
            steps,
            format!(
                "{rose} and has not come back: it is {:.3}",
                run.recent(run.steps.len()).unwrap_or(last.high)
            ),
            "Stop; lower the learning rate to a third or less, with a warm-up and max_grad_norm 1. If \
             the rise is always at the same records, look at them",
        ),
    }
}

/// A validation set on which the run gets worse, while it makes no progress in training either.
fn evaluation_rise(run: &Run) -> Option<Finding> {
    let turn = Turn::find(run)?;
    let (lowest, last) = (turn.lowest, turn.last);
    let progress = turn.training_now < turn.training_then;
    (turn.risen(at::EVALUATION_JUMP, 2) && !progress).then(|| {
        Finding::new(
            FindingKind::Jump,
            Severity::Error,
            lowest.step..=last.step,
            format!(
                "the evaluation loss rose from {:.3} at step {} to {:.3}, and the training loss is \
                 {:.3} after {:.3} until then",
                lowest.eval_loss,
                lowest.step,
                last.eval_loss,
                turn.training_now,
                turn.training_then
            ),
            "Stop; lower the learning rate to a third or less, with a warm-up and max_grad_norm 1",
        )
    })
}
