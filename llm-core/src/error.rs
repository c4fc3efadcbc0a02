//! The crate's error type.

use std::fmt;
use std::path::PathBuf;

use crate::checkpoint::TensorEntry;
use crate::quant::QuantError;

/// Everything that can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// A field of `config.json` has a value that this crate refuses.
    #[error("config.json: `{field}`: expected {expected}, got {got}")]
    Config {
        /// The field, as it is named in `config.json`.
        field: String,
        /// What is accepted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A checkpoint in a format that is not read here.
    #[error("{}: {reason}", path.display())]
    UnsupportedCheckpoint {
        /// The file or directory.
        path: PathBuf,
        /// Why it is refused, and what to do instead.
        reason: String,
    },
    /// A safetensors file that breaks the format.
    #[error("{}: malformed safetensors file: {reason}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Which rule it breaks.
        reason: String,
    },
    /// A shard index that is inconsistent or points outside its directory.
    #[error("{}: `weight_map`: {reason}", path.display())]
    ShardIndex {
        /// The index file.
        path: PathBuf,
        /// Which entry is refused, and why.
        reason: String,
    },
    /// Tensors are missing, unexpected, misshapen or of an unusable type; every one is listed.
    #[error("{}: {}", path.display(), TensorProblems(problems))]
    Tensors {
        /// The checkpoint.
        path: PathBuf,
        /// All problems, in the model's order.
        problems: Vec<TensorProblem>,
    },
    /// A weight is NaN or infinite, and the caller asked for strict loading.
    #[error("{}: tensor `{tensor}` holds {count} values that are NaN or infinite", path.display())]
    NonFinite {
        /// The checkpoint.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
        /// How many of its values are not finite.
        count: usize,
    },
    /// A weight that cannot be quantised, or a quantised one that breaks the format.
    #[error("{}: {source}", path.display())]
    Quantization {
        /// The checkpoint.
        path: PathBuf,
        /// Which tensor, and what is wrong.
        source: QuantError,
    },
    /// A backend that is not compiled in, or whose driver or device is absent.
    #[error("device `{name}`: {reason}")]
    Device {
        /// The name that was asked for.
        name: String,
        /// Why it cannot be used, and what could.
        reason: String,
    },
    /// A type that models are neither computed nor stored in here.
    #[error("{dtype}: expected F32, F16 or BF16")]
    Dtype {
        /// The type that was asked for.
        dtype: String,
    },
    /// A model that still carries an adapter cannot be saved as a checkpoint.
    #[error("`{parameter}` belongs to an adapter: merge or detach it before the model is saved")]
    AdapterAttached {
        /// The first parameter of the adapter.
        parameter: String,
    },
    /// Input to the model that it cannot take.
    #[error("input: {0}")]
    Input(String),
    /// A generation option out of its range.
    #[error("generation option `{option}`: expected {expected}, got {got}")]
    GenerationOption {
        /// The option.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What was found.
        got: String,
    },
    /// The backend failed to run an operation or to hand out its result.
    #[error("backend: {0}")]
    Backend(String),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn config(field: &str, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        Self::Config {
            field: field.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }
}

impl From<burn::tensor::TensorReadError> for Error {
    fn from(error: burn::tensor::TensorReadError) -> Self {
        Self::Backend(error.to_string())
    }
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One tensor of a checkpoint that does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// The model needs it, the checkpoint lacks it.
    Missing {
        /// Its Hugging Face name.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// The checkpoint has it, the model has no place for it.
    Unexpected {
        /// Its name in the checkpoint.
        name: String,
        /// Its shape there.
        got: Vec<usize>,
    },
    /// Its shape is not the one that the configuration asks for.
    Misshapen {
        /// Its Hugging Face name.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// Its shape in the checkpoint.
        got: Vec<usize>,
    },
    /// Its element type is not a floating-point type that is read here.
    WrongDtype {
        /// Its Hugging Face name.
        name: String,
        /// Its element type in the checkpoint.
        got: String,
    },
    /// A tensor whose values must be finite and are not.
    NotFinite {
        /// Its name.
        name: String,
        /// How many values.
        count: usize,
    },
}

impl TensorProblem {
    /// What is wrong with the entry that a checkpoint has for a tensor, if anything.
    pub fn find(name: &str, expected: &[usize], entry: Option<TensorEntry<'_>>) -> Option<Self> {
        let (name, expected) = (name.to_owned(), expected.to_vec());
        match entry {
            None => Some(Self::Missing { name, expected }),
            Some(entry) if entry.shape != expected => Some(Self::Misshapen {
                name,
                expected,
                got: entry.shape.to_vec(),
            }),
            Some(entry) if !entry.is_float() => Some(Self::WrongDtype {
                name,
                got: format!("{:?}", entry.dtype),
            }),
            Some(_) => None,
        }
    }
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, expected } => {
                write!(f, "`{name}`: expected {expected:?}, got nothing")
            }
            Self::Unexpected { name, got } => write!(f, "`{name}`: expected nothing, got {got:?}"),
            Self::Misshapen {
                name,
                expected,
                got,
            } => write!(f, "`{name}`: expected {expected:?}, got {got:?}"),
            Self::WrongDtype { name, got } => {
                write!(f, "`{name}`: expected F32, F16 or BF16, got {got}")
            }
            Self::NotFinite { name, count } => {
                write!(
                    f,
                    "`{name}`: expected numbers, got {count} values that are NaN or infinite"
                )
            }
        }
    }
}

struct TensorProblems<'a>(&'a [TensorProblem]);

impl fmt::Display for TensorProblems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors do not fit the model:", self.0.len())?;
        for problem in self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}
