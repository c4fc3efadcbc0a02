//! The crate's error type.

use std::path::PathBuf;

use llm_core::TensorProblem;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Model, checkpoint or device.
    #[error(transparent)]
    Core(#[from] llm_core::Error),
    /// A file or directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `adapter_config.json` is malformed, or a field in it has the wrong type.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// A field of the adapter's or the training's configuration is refused.
    #[error("`{field}`: expected {expected}, got {got}")]
    Config {
        /// The field, by its name in `adapter_config.json` or in [`TrainConfig`](crate::TrainConfig).
        field: String,
        /// What is accepted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// Target modules that the model does not have.
    #[error("`target_modules`: {} not in the model, which has {}", unknown.join(", "), known.join(", "))]
    UnknownTargets {
        /// The entries that match nothing.
        unknown: Vec<String>,
        /// The names of the model's linear layers.
        known: Vec<String>,
    },
    /// Tensors of an adapter that do not fit the model: an adapter for another base, or a damaged one.
    #[error("{}: the adapter does not fit the model:{}", path.display(), list(problems))]
    AdapterTensors {
        /// `adapter_model.safetensors`.
        path: PathBuf,
        /// All problems.
        problems: Vec<TensorProblem>,
    },
    /// The model has an adapter already.
    #[error("the model has an adapter already; merge or detach it first")]
    AlreadyAttached,
    /// An adapter is to be saved from a model that it is not attached to.
    #[error("the model holds {got} of the adapter's {expected} tensors: it is another model")]
    OtherModel {
        /// Tensors of the adapter.
        expected: usize,
        /// Of these, those that the model holds.
        got: usize,
    },
    /// A training sample that does not fit the model.
    #[error("{set} sample {index}: {reason}")]
    Sample {
        /// `training`, `validation` or `evaluation`.
        set: &'static str,
        /// The sample, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to learn from.
    #[error("no token is supervised: {0}")]
    NothingSupervised(String),
    /// There is nothing to train.
    #[error(
        "no parameter of the model requires a gradient; attach an adapter or unfreeze the model"
    )]
    NothingTrainable,
    /// The loss or the gradient is NaN or infinite.
    #[error("step {step}: the {what} is {value}")]
    NonFinite {
        /// The optimizer step, from 1.
        step: usize,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
    },
}

impl Error {
    pub(crate) fn config(field: &str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Config {
            field: field.to_owned(),
            expected: expected.into(),
            got: got.to_string(),
        }
    }
}

fn list(problems: &[TensorProblem]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n  {problem}"))
        .collect()
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
