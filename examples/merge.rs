//! Merges an adapter into its base and writes an ordinary model directory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use burn::tensor::DType;
use clap::Parser;
use examples::cli::{self, ComputeArgs, Precision};
use examples::settings::{self, Settings};
use llm_core::{SaveOptions, save_model};
use llm_lora::Adapter;

/// Merge a LoRA adapter into its base: `W + alpha/r · B·A`, computed in f32.
#[derive(Debug, Parser)]
struct Options {
    /// The base: a model directory in Hugging Face's layout
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Adapter directory in PEFT's format
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// Where the merged model goes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Type on disk; auto is that of the base
    #[arg(long, value_enum, default_value = "auto")]
    save_dtype: Precision,
    /// The device to compute on
    #[arg(long, default_value = "auto")]
    device: String,
}

fn main() -> ExitCode {
    cli::run(|| merge(&Options::parse()))
}

fn merge(options: &Options) -> Result<()> {
    let compute = ComputeArgs {
        device: options.device.clone(),
        dtype: Precision::F32,
    };
    let (checkpoint, mut model) = compute.load(&options.model)?;
    let adapter = Adapter::load(&mut model, &options.adapter)?;
    adapter.merge(&mut model);
    let dtype: DType = options
        .save_dtype
        .dtype()
        .unwrap_or_else(|| checkpoint.dtype());
    let save = SaveOptions {
        dtype,
        ..SaveOptions::default()
    };
    save_model(
        &model,
        &options.out,
        Some(&checkpoint.config_json()?),
        &save,
    )?;
    checkpoint.copy_side_files(&options.out)?;
    // The template that the adapter was trained with is that of the merged model.
    if let Some(settings) = Settings::of_run(&options.adapter)? {
        std::fs::write(options.out.join(settings::FILE), settings.to_yaml()?)?;
    }
    println!("wrote {}", options.out.display());
    Ok(())
}
