//! What all programs share: the device, loading a model, how errors reach the user.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, open_device};
use llm_data::{Template, Tokenizer};

/// Runs a program and prints its error, causes included, without a backtrace.
pub fn run(program: impl FnOnce() -> Result<()>) -> ExitCode {
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The template of a name, or the tokenizer's default.
pub fn template(name: Option<&str>, tokenizer: &Tokenizer) -> Result<Template> {
    Ok(match name {
        Some(name) => Template::by_name(name, tokenizer)?,
        None => Template::default_for(tokenizer)?,
    })
}

/// Where and in which type to compute.
#[derive(Debug, Clone, Args)]
pub struct ComputeArgs {
    /// auto (the best that is compiled in and present), cpu, cuda, vulkan, metal or wgpu
    #[arg(long, default_value = "auto", help_heading = "Computation")]
    pub device: String,
    /// Type to compute in; auto is bf16 on CUDA and f32 elsewhere
    #[arg(long, value_enum, default_value = "auto", help_heading = "Computation")]
    pub dtype: Precision,
}

/// A floating-point type, or the device's best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// The device's best.
    Auto,
    /// 32 bits.
    F32,
    /// bfloat16.
    Bf16,
    /// Half precision.
    F16,
}

impl Precision {
    /// Burn's name of it.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::Auto => None,
            Self::F32 => Some(DType::F32),
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }
}

impl ComputeArgs {
    /// Opens the device.
    pub fn device(&self) -> Result<Device> {
        Ok(open_device(&self.device)?)
    }

    /// Opens a checkpoint and loads its model; warnings go to the terminal.
    pub fn load(&self, dir: &Path) -> Result<(Checkpoint, LlamaForCausalLM)> {
        let checkpoint = Checkpoint::open(dir).context("cannot open the model")?;
        let options = LoadOptions {
            dtype: self.dtype.dtype(),
            strict: false,
        };
        let loaded = checkpoint.load(&self.device()?, &options)?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        Ok((checkpoint, loaded.model))
    }
}
