//! Merges an adapter into its base and writes an ordinary model directory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use burn::tensor::DType;
use clap::{Parser, ValueEnum};
use examples::cli::{self, ComputeArgs, Precision};
use examples::settings;
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
    /// Type on disk [default: that of the base]
    #[arg(long, value_enum)]
    save_dtype: Option<DiskType>,
    /// auto (the best that is compiled in and present), cpu, cuda, vulkan, metal or wgpu
    #[arg(long, default_value = "auto")]
    device: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DiskType {
    F32,
    Bf16,
    F16,
}

impl DiskType {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

fn main() -> ExitCode {
    cli::run(|| merge(&Options::parse()))
}

fn merge(options: &Options) -> Result<()> {
    let same = |other: &PathBuf| {
        options
            .out
            .canonicalize()
            .is_ok_and(|out| other.canonicalize().is_ok_and(|other| out == other))
    };
    if same(&options.model) || same(&options.adapter) {
        bail!("--out is the directory of the base or the adapter, which would be overwritten");
    }
    let compute = ComputeArgs {
        device: options.device.clone(),
        dtype: Precision::F32,
    };
    let checkpoint = cli::open(&options.model)?;
    let mut model = compute.load(&checkpoint)?;
    Adapter::load(&mut model, &options.adapter)?.merge(&mut model);
    let dtype = options
        .save_dtype
        .map_or_else(|| checkpoint.dtype(), DiskType::dtype);
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
    // It records the template with which the adapter, and now the model, was trained.
    let recorded = options.adapter.join(settings::FILE);
    if recorded.exists() {
        std::fs::copy(&recorded, options.out.join(settings::FILE))?;
    }
    cli::say(format_args!("wrote {}", options.out.display()))
}
