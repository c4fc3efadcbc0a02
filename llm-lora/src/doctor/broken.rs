//! Steps that can teach nothing.

use super::finding::{Finding, FindingKind, Severity};
use super::thresholds as at;
use crate::train::{Event, Step};

/// Steps in which no token carries loss.
pub(super) fn no_supervised_tokens(events: &[Event]) -> Option<Finding> {
    let lost = Lost::count(events, |event| match event {
        Event::Step(step) => (step.supervised_tokens == 0).then_some(step.step),
        _ => None,
    })?;
    Some(Finding::new(
        FindingKind::NoSupervisedTokens,
        lost.severity(),
        lost.first..=lost.last,
        format!(
            "{} of {} steps had no token that carries loss",
            lost.count, lost.of
        ),
        "Raise max_seq_len: answers that begin beyond it are cut away. Check that the template fits the \
         records and that these have answers",
    ))
}

/// Gradients of exactly 0, though tokens carry loss.
pub(super) fn zero_gradient(events: &[Event]) -> Option<Finding> {
    let zero = |step: &Step| step.grad_norm == 0.0 && step.supervised_tokens > 0;
    let lost = Lost::count(events, |event| match event {
        Event::Step(step) => zero(step).then_some(step.step),
        _ => None,
    })?;
    (lost.count >= at::ZERO_GRADIENTS).then(|| {
        Finding::new(
            FindingKind::ZeroGradient,
            Severity::Error,
            lost.first..=lost.last,
            format!(
                "the gradient was exactly 0 in {} of {} steps",
                lost.count, lost.of
            ),
            "Check that alpha is not 0, that not both matrices of the adapter are 0, and that the \
             precision does not lose small numbers (f32 or bf16 instead of f16)",
        )
    })
}

/// Steps left out because loss or gradient were not finite.
pub(super) fn skipped(events: &[Event]) -> Option<Finding> {
    let lost = Lost::count(events, |event| match event {
        Event::Skipped(skipped) => Some(skipped.step),
        _ => None,
    })?;
    let mut what: Vec<&str> = Vec::new();
    for event in events {
        if let Event::Skipped(skipped) = event
            && !what.contains(&skipped.skipped.as_str())
            && what.len() < 2
        {
            what.push(&skipped.skipped);
        }
    }
    Some(Finding::new(
        FindingKind::SkippedSteps,
        lost.severity(),
        lost.first..=lost.last,
        format!(
            "{} of {} steps were left out, for their {} was not finite",
            lost.count,
            lost.of,
            what.join(" or ")
        ),
        "Look at the samples that metrics.jsonl names for them; if they differ each time, lower the \
         learning rate or compute in f32 or bf16 instead of f16",
    ))
}

/// Steps of a kind among all.
struct Lost {
    count: usize,
    of: usize,
    first: usize,
    last: usize,
}

impl Lost {
    fn count(events: &[Event], step: impl Fn(&Event) -> Option<usize>) -> Option<Self> {
        let lost: Vec<usize> = events.iter().filter_map(step).collect();
        Some(Self {
            count: lost.len(),
            of: events
                .iter()
                .filter(|event| matches!(event, Event::Step(_) | Event::Skipped(_)))
                .count(),
            first: *lost.first()?,
            last: *lost.last()?,
        })
    }

    fn severity(&self) -> Severity {
        match self.count as f64 >= at::LOST_STEPS * self.of as f64 {
            true => Severity::Error,
            false => Severity::Warning,
        }
    }
}
