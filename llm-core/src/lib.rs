//! The LLaMA family on [Burn](https://burn.dev): token ids in, logits out.
//!
//! Configuration, model, Hugging Face checkpoints and generation for LLaMA, Mistral, Qwen 2 and
//! Qwen 3; every number equals what transformers computes. No text, no network, no printing: the
//! crate `llm-data` turns text into ids and back, `llm-lora` trains.
//!
//! ```no_run
//! use llm_core::{Checkpoint, GenerationConfig, LoadOptions, open_device};
//!
//! let device = open_device("auto")?;
//! let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct")?;
//! let model = checkpoint.load(&device, &LoadOptions::default())?.model;
//! let options = GenerationConfig { max_new_tokens: 20, ..checkpoint.generation_config()? };
//! for id in model.generate(&[1, 4093, 198], &options)? {
//!     println!("{}", id?);
//! }
//! # Ok::<(), llm_core::Error>(())
//! ```

mod blockwise;
mod cache;
pub mod checkpoint;
mod config;
mod device;
mod error;
mod generate;
mod init;
mod input;
mod linear;
mod llama;
mod ops;
pub mod quant;
mod rope;

pub use cache::KvCache;
pub use checkpoint::{Checkpoint, LoadOptions, Loaded, SaveOptions, save_model};
pub use config::{LlamaConfig, ModelType};
pub use device::{default_dtype, is_cpu, open_device};
pub use error::{Error, Result, TensorProblem};
pub use generate::{GenerationConfig, Tokens};
pub use init::normal;
pub use input::TokenBatch;
pub use linear::{Linear, LoraAdapter};
pub use llama::{Attention, DecoderLayer, Embedding, LlamaForCausalLM, LlamaModel, Mlp, RmsNorm};
pub use rope::{RopeParameters, RopeScaling};
