//! Writes a model's logits for given token ids, for comparison with other implementations.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use burn::tensor::{DType, Tensor};
use clap::Parser;
use examples::cli::{self, ComputeArgs};
use llm_core::TokenBatch;
use llm_core::checkpoint::{LazyTensor, write_tensors};
use llm_lora::Adapter;

/// Write the logits of a sequence of token ids: tensor `logits`, f32, [tokens, vocabulary].
///
/// Needs configuration and weights only, no tokenizer.
#[derive(Debug, Parser)]
struct Options {
    /// Model directory in Hugging Face's layout
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Adapter directory in PEFT's format
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Token ids, such as 1,2,3
    #[arg(long, value_delimiter = ',', required = true, value_name = "IDS")]
    input_ids: Vec<u32>,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    compute: ComputeArgs,
}

fn main() -> ExitCode {
    cli::run(|| logits(&Options::parse()))
}

fn logits(options: &Options) -> Result<()> {
    let mut model = options.compute.load(&cli::open(&options.model)?)?;
    if let Some(dir) = &options.adapter {
        Adapter::load(&mut model, dir)?;
    }
    let batch = TokenBatch::new(std::slice::from_ref(&options.input_ids))?;
    let logits: Tensor<2> = model.forward(&batch, None)?.squeeze_dim(0);
    write_tensors(
        &options.out,
        &[LazyTensor::new("logits", logits, DType::F32)?],
    )?;
    Ok(())
}
