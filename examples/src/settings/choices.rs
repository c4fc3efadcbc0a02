//! Settings that are one of a few words.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What to do about malformed records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRecords {
    /// List them all and stop.
    #[default]
    Fail,
    /// Leave them out and count them.
    Skip,
}

/// What becomes of the learning rate; the names are transformers'.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Schedule {
    /// It is the same from the first step to the last, without a warm-up.
    Constant,
    /// It stays after the warm-up.
    #[value(alias = "constant-with-warmup")]
    ConstantWithWarmup,
    /// It falls to 0 in a straight line after the warm-up.
    Linear,
    /// It falls to 0 along half a cosine after the warm-up.
    #[default]
    Cosine,
}

/// How samples are laid out in a forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Micro-batches filled up to their longest sample.
    None,
    /// Samples of similar length together.
    Bucket,
    /// Samples one behind the other, without padding.
    #[default]
    Pack,
}

/// What to do about a step whose loss or gradient is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNonfinite {
    /// End the run.
    #[default]
    Stop,
    /// Leave the step out.
    Skip,
}
