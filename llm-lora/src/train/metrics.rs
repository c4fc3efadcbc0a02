//! What a run reports.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

/// Something that happened in a run; but for [`Saved`](Event::Saved), a row of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Event {
    /// An optimizer step is done.
    Step(Step),
    /// The validation set has been evaluated.
    Evaluation(Evaluation),
    /// A step was left out.
    Skipped(Skipped),
    /// The run has been saved.
    Saved(Saved),
}

impl Event {
    /// The steps that were done when it happened.
    pub fn step(&self) -> usize {
        match self {
            Self::Step(step) => step.step,
            Self::Evaluation(evaluation) => evaluation.step,
            Self::Skipped(skipped) => skipped.step,
            Self::Saved(saved) => saved.step,
        }
    }
}

/// An optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// From 1.
    pub step: usize,
    /// The last step's number; not in the file.
    #[serde(skip)]
    pub total_steps: usize,
    /// Passes over the data that are done, this step included.
    pub epoch: f64,
    /// Mean over the supervised tokens, before the update.
    #[serde(deserialize_with = "null_is_nan")]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Steps done.
    pub step: usize,
    /// Passes over the data that are done.
    pub epoch: f64,
    /// Mean over the supervised tokens of the validation set.
    #[serde(deserialize_with = "null_is_nan")]
    pub eval_loss: f64,
    /// Wall time since the event before.
    pub seconds: f64,
}

/// A step that changed nothing, because its loss or gradient was not finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// From 1.
    pub step: usize,
    /// Passes over the data that are done, this step included.
    pub epoch: f64,
    /// What was not finite: `loss` or `gradient norm`.
    pub skipped: String,
    /// The samples of the forward whose loss it was, or of the whole step: indices into the training
    /// set, from 0.
    pub samples: Vec<usize>,
    /// Wall time since the event before.
    pub seconds: f64,
}

/// A checkpoint that is complete on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Steps done.
    pub step: usize,
    /// The checkpoint's directory.
    pub checkpoint: PathBuf,
    /// Wall time since the event before.
    pub seconds: f64,
}

/// JSON has no NaN and no infinity; serde_json writes them as null.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
