//! What a run reports.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use llm_core::checkpoint::write_atomically;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Result};

/// The file of a run's history.
pub(super) const METRICS: &str = "metrics.jsonl";

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
    #[serde(skip_deserializing)]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// Writes a history as `metrics.jsonl`, complete or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_metrics(path: impl AsRef<Path>, history: &[Event]) -> Result<()> {
    Ok(write_atomically(path, |file| {
        history.iter().try_for_each(|event| {
            serde_json::to_writer(&mut *file, event)?;
            file.write_all(b"\n")
        })
    })?)
}

/// The most bytes of a line; a row has some 200, and 20 more for each sample of a skipped step.
const MAX_LINE: u64 = 1 << 20;

/// The events of a `metrics.jsonl`, finished or still being written: a last line that is cut off is left
/// out.
///
/// # Errors
/// When the file cannot be read, or a line is not an event or longer than 1 MiB; names the line.
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<Event>> {
    let path = path.as_ref();
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut events = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let read = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let length = read.map_err(io)?;
        let whole = line.ends_with(b"\n");
        let wrong = |reason: String| Error::Metrics {
            path: path.to_owned(),
            line: number,
            reason,
        };
        if length == 0 {
            break;
        }
        if !whole && length as u64 == MAX_LINE {
            return Err(wrong(format!("longer than {MAX_LINE} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line.trim_ascii_end()) {
            Ok(event) => events.push(event),
            Err(_) if !whole => break,
            Err(error) if error.is_data() => {
                return Err(wrong(
                    "neither a step nor an evaluation nor a skipped step".to_owned(),
                ));
            }
            Err(error) => return Err(wrong(format!("no JSON at column {}", error.column()))),
        }
    }
    Ok(events)
}
