//! What all programs share: the device, loading a model, how output and errors reach the user.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, open_device};
use llm_data::{Template, Tokenizer};

/// Runs a program and prints its error, causes included, without a backtrace. That nobody reads the
/// output any more (`| head`) is no error.
pub fn run(program: impl FnOnce() -> Result<()>) -> ExitCode {
    let Err(error) = program() else {
        return ExitCode::SUCCESS;
    };
    let is_closed_pipe = |cause: &&(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().find(is_closed_pipe).is_some() {
        return ExitCode::SUCCESS;
    }
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Many errors already say what their cause is.
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("error: {text}");
    ExitCode::FAILURE
}

/// Writes to the standard output at once.
pub fn print(text: impl Display) -> Result<()> {
    let mut out = io::stdout();
    write!(out, "{text}").and_then(|()| out.flush())?;
    Ok(())
}

/// Writes a line to the standard output.
pub fn say(line: impl Display) -> Result<()> {
    print(format_args!("{line}\n"))
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

/// A floating-point type, or a choice by the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// By the device
    Auto,
    /// 32 bits
    F32,
    /// bfloat16
    Bf16,
    /// IEEE half precision
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

    /// Loads the model of a checkpoint; warnings go to the terminal.
    pub fn load(&self, checkpoint: &Checkpoint) -> Result<LlamaForCausalLM> {
        let options = LoadOptions {
            dtype: self.dtype.dtype(),
            strict: false,
        };
        let loaded = checkpoint.load(&self.device()?, &options)?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(loaded.model)
    }
}

/// Opens a checkpoint.
pub fn open(dir: &Path) -> Result<Checkpoint> {
    Checkpoint::open(dir).context("cannot open the model")
}
