//! Fine-tuning of LLaMA-family models: LoRA and its kin in PEFT's format, and the one training loop.
//!
//! - [`LoraConfig`] is PEFT's `adapter_config.json`; [`Adapter`] attaches, saves, loads, merges and
//!   detaches. Adapters act on activations: no dense `W + s·B·A` is formed in training.
//! - [`train`] is the loop, for adapters and for whole models alike: it trains what requires gradients.
//!   [`Trainer`] is the same with [`Checkpoints`], from which a run goes on to the same bytes.
//! - [`doctor`] says what looks wrong with a run, [`Estimate`] what it will take, [`Identity`] and
//!   [`Manifest`] what it was made from and whether it is complete; [`Probe`] and
//!   [`Adapter::prove_trained`] prove results.
//!
//! `docs/training.md` of the workspace tells how these work together.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use llm_core::{Checkpoint, LoadOptions, open_device};
//! use llm_data::{EncodeOptions, Encoder, Template, Tokenizer, load_alpaca};
//! use llm_lora::{Adapter, Event, LoraConfig, TrainConfig, train};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct")?;
//! let mut model = checkpoint.load(&open_device("auto")?, &LoadOptions::default())?.model;
//! let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
//! let template = Template::by_name("alpaca", &tokenizer)?;
//! let encoder = Encoder::new(tokenizer, template, EncodeOptions::default())?;
//! let samples = encoder.encode_all(&load_alpaca("alpaca.json", &Default::default())?.records)?.samples;
//!
//! let adapter = Adapter::attach(&mut model, LoraConfig::default(), 42)?;
//! train(&mut model, &samples, &[], &TrainConfig::default(), |event| {
//!     if let Event::Step(step) = event {
//!         println!("step {} loss {:.4}", step.step, step.loss);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! adapter.save(&model, "adapter")?;
//! # Ok(())
//! # }
//! ```

mod adapter;
mod config;
pub mod doctor;
mod error;
mod estimate;
mod identity;
mod manifest;
mod probe;
mod targets;
mod track_path;
mod train;

pub use adapter::Adapter;
pub use config::{Bias, InitLoraWeights, LoraConfig, Modules, OneOrMany};
pub use error::{Error, Result};
pub use estimate::{Estimate, Memory};
pub use identity::{Identity, Part};
pub use llm_data::FileHash;
pub use manifest::Manifest;
pub use probe::Probe;
pub use train::{
    Best, Checkpoints, Evaluation, Event, OnNonfinite, Outcome, Packing, Saved, Schedule, Skipped,
    Step, TrainConfig, Trainer, Warmup, evaluate, list_checkpoints, newest_checkpoint,
    read_metrics, remove_unfinished, train, verify_checkpoint, write_metrics,
};

/// The README's snippet compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
/// So does that of the page on training runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/training.md")]
struct Training;
