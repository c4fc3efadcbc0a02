//! The crate's error type.

use std::path::{Path, PathBuf};

use llm_core::TensorProblem;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Model, checkpoint or device.
    #[error(transparent)]
    Core(#[from] llm_core::Error),
    /// Of samples that are read or still encoded.
    #[error(transparent)]
    Data(#[from] llm_data::Error),
    /// A file or directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A JSON file is malformed, or a field in it has the wrong type.
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
    /// Layers whose adapter is what it was before training.
    #[error("the adapters of {} of {of} layers were not trained: {}", layers.len(), layers.join(", "))]
    Untrained {
        /// How many layers have an adapter.
        of: usize,
        /// Those whose B has not changed.
        layers: Vec<String>,
    },
    /// A tensor of an adapter holds NaN or infinite values.
    #[error("the adapter is not finite: `{tensor}`")]
    AdapterNotFinite {
        /// Its path in the model.
        tensor: String,
    },
    /// A file of an adapter that does not hold what was saved.
    #[error("{}: `{tensor}` is not what was saved", path.display())]
    NotSaved {
        /// The file.
        path: PathBuf,
        /// The first tensor that differs, by its name in the file.
        tensor: String,
    },
    /// Two models that should be one give different logits.
    #[error(
        "{what} gives other logits: a relative difference of {difference:.1e}, where {within:.0e} is accepted"
    )]
    NotTheSame {
        /// What was compared with what it was made from.
        what: String,
        /// The largest difference, relative to the largest logit.
        difference: f64,
        /// What is accepted.
        within: f64,
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
    #[error("step {step}: the {what} is {value}{}", named(samples))]
    NonFinite {
        /// The optimizer step, from 1; of an evaluation the steps that were done before.
        step: usize,
        /// `loss`, `gradient norm`, `evaluation loss` or `sum of the trained values`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The training samples that it comes from, by their index in the set, from 0.
        samples: Vec<usize>,
    },
    /// An optimizer's state that does not fit the parameters that are trained.
    #[error("{}: not of a run over the same parameters:{}", path.display(), list(problems))]
    OptimizerTensors {
        /// `optimizer.safetensors`.
        path: PathBuf,
        /// All problems.
        problems: Vec<TensorProblem>,
    },
    /// A checkpoint of another run.
    #[error("{}: expected {expected}, got {got}", path.display())]
    OtherRun {
        /// The file that shows it.
        path: PathBuf,
        /// What this run needs.
        expected: String,
        /// What the checkpoint holds.
        got: String,
    },
    /// A line of `metrics.jsonl` is not a row of a run.
    #[error("{}:{line}: {reason}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that is not what the manifest beside it says.
    #[error("{}: differs from manifest.json: it is damaged or was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// For `map_err` on what concerns a file or directory.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }

    pub(crate) fn config(field: &str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Config {
            field: field.to_owned(),
            expected: expected.into(),
            got: got.to_string(),
        }
    }
}

/// The first few of the samples.
fn named(samples: &[usize]) -> String {
    /// More would hide the rest of the message.
    const SHOWN: usize = 16;
    let numbers: Vec<String> = samples.iter().take(SHOWN).map(usize::to_string).collect();
    match samples.len() {
        0 => String::new(),
        1..=SHOWN => format!(" (training samples {})", numbers.join(", ")),
        all => format!(
            " (training samples {} and {} more)",
            numbers.join(", "),
            all - SHOWN
        ),
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
