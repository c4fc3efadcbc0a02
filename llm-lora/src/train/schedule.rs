//! The learning rate over the steps: the functions of transformers' `optimization.py`.

use std::f64::consts::PI;

use crate::{Error, Result};

/// What becomes of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls to 0 in a straight line.
    Linear,
    /// It falls to 0 along half a cosine.
    Cosine,
}

/// How long the learning rate grows from 0 in a straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Warmup {
    /// A share of all steps, rounded up.
    Ratio(f64),
    /// A number of steps.
    Steps(usize),
}

impl Warmup {
    /// The number of steps out of `total`.
    pub fn steps(self, total: usize) -> usize {
        match self {
            Self::Ratio(ratio) => (total as f64 * ratio).ceil() as usize,
            Self::Steps(steps) => steps,
        }
    }

    pub(super) fn validate(self) -> Result<()> {
        match self {
            Self::Ratio(ratio) if !(0.0..=1.0).contains(&ratio) => {
                Err(Error::config("warmup_ratio", "0 to 1", ratio))
            }
            _ => Ok(()),
        }
    }
}

impl Schedule {
    /// The factor of the peak learning rate at `step`, from 0. With a warm-up the first step's is 0.
    pub fn factor(self, step: usize, warmup: usize, total: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let length = total.saturating_sub(warmup).max(1) as f64;
        let done = (step - warmup) as f64 / length;
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - done).max(0.0),
            Self::Cosine => (0.5 * (1.0 + (PI * done).cos())).max(0.0),
        }
    }
}
