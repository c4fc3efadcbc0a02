//! A run's events, prepared so that the mean loss of any stretch of steps costs nothing.

use super::thresholds as at;
use crate::train::{Evaluation, Event, Step};

/// Steps by their index: the first, and the one after the last.
pub(super) type Range = (usize, usize);

/// How much a mean must be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Steps.
    pub(super) steps: usize,
    /// Tokens that carry loss.
    pub(super) tokens: usize,
}

/// What a run reported, as the findings need it.
pub(super) struct Run<'a> {
    /// Steps with a finite loss on at least one token.
    pub(super) steps: Vec<&'a Step>,
    /// Finite evaluations.
    pub(super) evaluations: Vec<&'a Evaluation>,
    /// Tokens, and loss summed over tokens, of all steps before each.
    tokens: Vec<f64>,
    losses: Vec<f64>,
    /// Noise of one token's loss, summed over all pairs of neighbouring steps before each.
    noise: Vec<f64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(events: &'a [Event]) -> Self {
        let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Step(step) if step.supervised_tokens > 0 && step.loss.is_finite() => {
                    steps.push(step);
                }
                Event::Evaluation(evaluation) if evaluation.eval_loss.is_finite() => {
                    evaluations.push(evaluation);
                }
                _ => {}
            }
        }
        let mut run = Self {
            tokens: vec![0.0],
            losses: vec![0.0],
            noise: vec![0.0],
            steps,
            evaluations,
        };
        run.sum();
        run
    }

    fn sum(&mut self) {
        let (mut tokens, mut losses, mut noise) = (0.0, 0.0, 0.0);
        for (index, step) in self.steps.iter().enumerate() {
            let count = step.supervised_tokens as f64;
            tokens += count;
            losses += step.loss * count;
            if let Some(before) = index.checked_sub(1).map(|index| self.steps[index]) {
                // Two means over n and m tokens differ by a Gaussian of variance s² (1/n + 1/m), whose
                // absolute value is s √(2/π (1/n + 1/m)) on average.
                let inverse = 1.0 / count + 1.0 / before.supervised_tokens as f64;
                noise += (step.loss - before.loss).abs()
                    * (std::f64::consts::FRAC_PI_2 / inverse).sqrt();
            }
            self.tokens.push(tokens);
            self.losses.push(losses);
            self.noise.push(noise);
        }
    }

    /// The mean loss over the supervised tokens of steps `from..to`, by index.
    pub(super) fn mean(&self, from: usize, to: usize) -> f64 {
        (self.losses[to] - self.losses[from]) / (self.tokens[to] - self.tokens[from])
    }

    /// The last steps until `end` that are enough for a mean.
    pub(super) fn window(&self, end: usize, least: Window) -> Option<Range> {
        let tokens = self.tokens[end] - least.tokens as f64;
        let enough = self.tokens.partition_point(|before| *before <= tokens);
        let from = end.checked_sub(least.steps)?.min(enough.checked_sub(1)?);
        Some((from, end))
    }

    /// The mean loss of the last steps until `end`; at the begin of a run of fewer than elsewhere.
    pub(super) fn recent(&self, end: usize) -> Option<f64> {
        let range = self.window(end, at::WINDOW).unwrap_or((0, end));
        (end >= at::SPIKE_WINDOW.steps).then(|| self.mean(range.0, range.1))
    }

    /// The standard error of `mean(from, to)`, as the differences of neighbouring steps among `seen` let
    /// expect: those hardly contain what is learnt meanwhile.
    pub(super) fn error(&self, (from, to): Range, seen: Range) -> f64 {
        let pairs = seen.1.saturating_sub(seen.0 + 1);
        let noise = self.noise[seen.1] - self.noise[(seen.0 + 1).min(seen.1)];
        noise / pairs.max(1) as f64 / (self.tokens[to] - self.tokens[from]).sqrt()
    }

    /// The standard error of a difference of two means.
    pub(super) fn error_of_difference(&self, one: Range, other: Range, seen: Range) -> f64 {
        self.error(one, seen).hypot(self.error(other, seen))
    }

    /// How many steps were done until `step`.
    pub(super) fn until(&self, step: usize) -> usize {
        self.steps.partition_point(|done| done.step <= step)
    }

    /// The epochs that the events hold from their beginning on.
    pub(super) fn epochs(&self) -> Vec<Epoch> {
        let mut epochs: Vec<Epoch> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let number = (step.epoch - EPOCH_ERROR).ceil();
            match epochs.last_mut() {
                Some(epoch) if epoch.number == number => epoch.to = index + 1,
                before => {
                    if let Some(epoch) = before {
                        epoch.over = true;
                    }
                    epochs.push(Epoch {
                        number,
                        from: index,
                        to: index + 1,
                        over: false,
                    });
                }
            }
            if let Some(epoch) = epochs.last_mut() {
                epoch.over |= step.epoch >= number - EPOCH_ERROR;
            }
        }
        // Of a run that was taken up again the first is not whole.
        let part = epochs.first().is_some_and(|epoch| epoch.number > 1.0);
        epochs.split_off(usize::from(part))
    }
}

/// What rounding may add to an epoch's end.
const EPOCH_ERROR: f64 = 1e-6;

/// A pass over the data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch {
    /// From 1.
    number: f64,
    /// Its first step by index, and the one after its last.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Whether no step is to come.
    pub(super) over: bool,
}
