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

/// What becomes of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 in a straight line.
    Linear,
    /// It falls to 0 along half a cosine.
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
