//! What a run reports.

use serde::Serialize;

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An optimizer step is done.
    Step(Step),
    /// The validation set has been evaluated.
    Evaluation(Evaluation),
}

/// An optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub step: usize,
    /// The last step's number.
    #[serde(skip)]
    pub total_steps: usize,
    /// Passes over the data that are done, this step included.
    pub epoch: f64,
    /// Mean over the supervised tokens, before the update.
    pub loss: f64,
    /// Of this update.
    pub learning_rate: f64,
    /// Over all parameters, before clipping.
    pub grad_norm: f64,
    /// Tokens, padding not counted.
    pub tokens: usize,
    /// Tokens that carry loss.
    pub supervised_tokens: usize,
    /// Wall time since the event before; all events' sum is the run's.
    pub seconds: f64,
}

impl Step {
    /// Tokens, padding not counted, per second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Steps done.
    pub step: usize,
    /// Passes over the data that are done.
    pub epoch: f64,
    /// Mean over the supervised tokens of the validation set.
    pub eval_loss: f64,
    /// Wall time since the event before.
    pub seconds: f64,
}
