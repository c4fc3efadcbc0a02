//! Benchmarks, scored as lm-evaluation-harness 0.4.13 scores them.
//!
//! A loader ([`mmlu`], [`ceval`], [`agieval`], [`gsm8k`], [`belle`]) makes [`Task`]s of the files that a
//! benchmark is published as; [`evaluate`] runs one through a [`LanguageModel`]; [`Results`] writes what
//! comes out in the harness's file layout. [`score`] does the same for completions made elsewhere.
//!
//! ```no_run
//! use llm_eval::bench::{LanguageModel, TaskOptions, evaluate, mmlu};
//!
//! # fn f(model: &dyn LanguageModel) -> llm_eval::Result<()> {
//! for task in mmlu::load("data/mmlu", &TaskOptions::default())? {
//!     let result = evaluate(&task, model, None, &mut |_, _| {})?;
//!     println!("{}: {:?}", task.name, result.metric("acc,none"));
//! }
//! # Ok(())
//! # }
//! ```

pub mod agieval;
pub mod belle;
pub mod ceval;
pub mod classify;
mod evaluate;
mod filter;
pub mod gsm8k;
pub mod kl;
mod math;
mod metric;
pub mod mmlu;
mod model;
pub mod perplexity;
mod python;
mod results;
pub mod score;
mod server;
mod table;
mod task;

pub use evaluate::{Sample, TaskResult, evaluate, generations};
pub use metric::{Estimate, GroupResult, aggregate};
pub use model::{
    Generation, LanguageModel, LogLikelihood, RollingBos, Span, TokenModel, TokenScore,
    encode_pair, rolling_windows, truncate_at,
};
pub use python::PythonRandom;
pub use results::Results;
pub use server::ChatServer;
pub use task::{Answers, ChoiceGold, Gold, Item, Output, Sampler, Task, TaskOptions, Variant};
