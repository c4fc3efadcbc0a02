//! Evaluation of language models: the figures that judgments give, with their uncertainty.

pub mod error;
pub mod stats;

pub use error::{Error, Result};
