//! Evaluation: what judges say, and how sure one can be of it.
//!
//! - [`verdict`] reads typed verdicts from a judge's replies.
//! - [`judge`] reads and writes the files of the published evaluations, and recomputes their figures from
//!   saved judgments.
//! - [`stats`] has the figures with their uncertainty: means and rates, comparisons of two systems, ratings,
//!   agreement, calibration.
//!
//! The evaluation loss of a training run is `llm_lora::evaluate`.

mod error;
pub mod judge;
pub mod stats;
pub mod verdict;

pub use error::{Error, Result};
