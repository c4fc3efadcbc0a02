//! Evaluation: what models answer, what judges say of it, and how sure one can be.
//!
//! - [`mod@bench`] scores MMLU, C-Eval, AGIEval, GSM8K, BELLE and text classification through the trait
//!   [`bench::LanguageModel`], and measures perplexity and KL divergence.
//! - [`verdict`] reads typed verdicts from a judge's replies.
//! - [`judge`] lets strong models judge answers, singly, in pairs, by a rubric; it audits judges, reads and
//!   writes the files of the published evaluations, and recomputes all figures from saved judgments.
//! - A [`Report`] says what is found in judgments: as JSON, Markdown and a page of HTML.
//! - [`stats`] has the figures with their uncertainty: means and rates, comparisons of two systems, ratings,
//!   agreement, calibration.
#![cfg_attr(
    feature = "local",
    doc = "- [`LocalModel`] is a model under test that `llm-core` runs."
)]
//!
//! The evaluation loss of a training run is `llm_lora::evaluate`.

pub mod bench;
mod error;
mod file;
pub mod judge;
#[cfg(feature = "local")]
mod local;
mod pattern;
pub mod report;
pub mod stats;
pub mod verdict;

pub use error::{Error, Result};
#[cfg(feature = "local")]
pub use local::{LocalModel, LocalOptions};
pub use report::Report;
