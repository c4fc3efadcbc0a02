//! The codecs' error type.

/// Why values could not be quantised, or a quantised weight not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The number of values is not what the shape asks for, or the shape is empty.
    #[error("shape {shape:?} does not hold {got} values")]
    Values {
        /// The shape that was asked for: [rows, columns].
        shape: [usize; 2],
        /// How many values were given.
        got: usize,
    },
    /// What is wrong with a weight of a model.
    #[error("`{tensor}`: {source}")]
    Tensor {
        /// The weight's name.
        tensor: String,
        /// What is wrong.
        source: Box<QuantError>,
    },
    /// A value that has no code: NaN, infinite, or, for int8, too large for f16.
    #[error("value {index} is {value}: expected a finite {dtype}")]
    NotFinite {
        /// Its place in the flattened matrix.
        index: usize,
        /// The value.
        value: f32,
        /// The type that it must be finite in.
        dtype: &'static str,
    },
    /// Double quantisation was asked of a format whose scales are not coded.
    #[error("double quantisation: expected nf4 or fp4, got int8")]
    DoubleInt8,
    /// A checkpoint lacks a tensor that the format needs.
    #[error("`{tensor}`: expected a tensor, got nothing")]
    Missing {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor of a checkpoint, or a field of its JSON, is not what the format asks for.
    #[error("`{tensor}`: {what}: expected {expected}, got {got}")]
    Mismatch {
        /// The tensor's name.
        tensor: String,
        /// Which of its properties, or which JSON field.
        what: &'static str,
        /// What is accepted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// The JSON in a `quant_state` tensor is malformed, or a field has the wrong type.
    #[error("`{tensor}`: {source}")]
    Json {
        /// The tensor's name.
        tensor: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
}
