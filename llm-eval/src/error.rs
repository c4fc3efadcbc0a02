//! The crate's one error type.

use std::path::{Path, PathBuf};

/// The result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong between an evaluation's files and its figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line, or a file as a whole, is not the JSON or CSV that it should be.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A field is missing or has the wrong type.
    #[error("{}:{line}: field `{field}`: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The field's name.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A file's first record belongs to no known format.
    #[error("{}: no known format has the fields {fields}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The first record's fields.
        fields: String,
    },
    /// A file without a record.
    #[error("{}: no records", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A name that names nothing.
    #[error("no {what} is named `{name}`; known are {known}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A prompt's file that cannot serve.
    #[error("{}: {reason}", path.display())]
    Prompt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Options of a judge that do not go together.
    #[error("{option}: {reason}")]
    JudgeOption {
        /// The option.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A question that a model has no answer to.
    #[error("{model} has no answer to question {question_id}, turn {turn}")]
    MissingAnswer {
        /// The model.
        model: String,
        /// The question.
        question_id: String,
        /// The turn, from 1.
        turn: usize,
    },
    /// Two questions, or two models' answers, of one name.
    #[error("{what} {name} occurs twice")]
    Twice {
        /// What occurs twice.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Too little data for the figure.
    #[error("{what}: needs at least {needed}, there are {given}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// The least that will do.
        needed: usize,
        /// What there is.
        given: usize,
    },
    /// Two lists that belong together differ in length.
    #[error("{what}: {left} and {right} differ in length")]
    Lengths {
        /// Which lists.
        what: &'static str,
        /// The length of the first.
        left: usize,
        /// The length of the second.
        right: usize,
    },
    /// An option outside its range.
    #[error("{name} = {value}: {reason}")]
    BadOption {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        reason: &'static str,
    },
    /// A value among the data that cannot be used.
    #[error("{what}: value {index}, counted from 0, is {value}: {reason}")]
    BadValue {
        /// Which data.
        what: &'static str,
        /// The value's place in them, from 0.
        index: usize,
        /// The value.
        value: f64,
        /// What it must be.
        reason: &'static str,
    },
    /// A model that has no battles.
    #[error("the model {0:?} has no battles")]
    UnknownModel(String),
    /// A battle of a model against itself.
    #[error("a battle of the model {0:?} against itself")]
    SelfBattle(String),
    /// The data do not determine the figure.
    #[error("{what}: {reason}")]
    Undefined {
        /// The figure.
        what: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A fit found no optimum.
    #[error("{what}: no convergence in {iterations} iterations; a larger `ridge` would help")]
    NotConverged {
        /// The fit.
        what: &'static str,
        /// How many iterations it had.
        iterations: usize,
    },
    /// Fewer examples than shots asked for.
    #[error("task `{task}`: {asked} shots asked for, {available} examples are there")]
    Shots {
        /// The task.
        task: String,
        /// Shots asked for.
        asked: usize,
        /// Examples that there are.
        available: usize,
    },
    /// Two things that belong together row by row differ in number.
    #[error("{what}: expected {expected}, got {got}")]
    Count {
        /// What was counted.
        what: String,
        /// The number there should be.
        expected: usize,
        /// The number there is.
        got: usize,
    },
    /// The model cannot do what is asked of it.
    #[error("model `{model}`: {reason}")]
    Unsupported {
        /// The model.
        model: String,
        /// What it cannot do, and what can be done instead.
        reason: String,
    },
    /// The model failed.
    #[error("model `{model}`: {reason}")]
    Model {
        /// The model.
        model: String,
        /// What it said.
        reason: String,
    },
    /// A text or option that cannot be scored.
    #[error("{0}")]
    Input(String),
    /// An error of `llm-data`.
    #[error(transparent)]
    Data(#[from] llm_data::Error),
    /// An error of `llm-core`.
    #[cfg(feature = "local")]
    #[error(transparent)]
    Core(#[from] llm_core::Error),
}

impl Error {
    /// For `map_err`: an [`Error::Io`] of this file.
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + Copy + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
