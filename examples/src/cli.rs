//! What all programs share: the device, loading a model, how output and errors reach the user.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use llm_core::quant::{QuantFormat, Quantization};
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, open_device};
use llm_data::{Template, Tokenizer};

/// Runs a program and prints its error, causes included, without a backtrace. That nobody reads the
/// output any more (`| head`) is no error.
pub fn run(program: impl FnOnce() -> Result<()>) -> ExitCode {
    keep_freed_memory();
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

/// Lets the allocator keep what is freed: a training step frees and asks for the same few megabytes over
/// and over, which glibc would else give back to the system and fetch anew, cleared page by page.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The most that glibc accepts.
        const MMAP_THRESHOLD: libc::c_int = 32 << 20;
        // SAFETY: glibc takes these options at any time, and this is before any other thread runs.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        }
    }
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
    /// Type of weights and their products; auto is bf16 on CUDA and f32 elsewhere. On the CPU with bf16
    /// all else stays f32
    #[arg(long, value_enum, default_value = "auto", help_heading = "Computation")]
    pub precision: Precision,
    /// Quantise the linear layers of the base, the head excepted, as they are loaded: nf4, fp4 or int8,
    /// coded as bitsandbytes codes them
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Computation")]
    pub quantize: Option<Quantize>,
    /// Leave the scales of nf4 and fp4 in f32 instead of quantising them too
    #[arg(long, requires = "quantize", help_heading = "Computation")]
    pub no_double_quantization: bool,
}

/// A format of quantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Quantize {
    /// 4-bit NormalFloat
    Nf4,
    /// 4-bit float
    Fp4,
    /// 8-bit integers with a scale a row
    Int8,
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

    /// How the base is quantised, if at all.
    pub fn quantization(&self) -> Option<Quantization> {
        let format = match self.quantize? {
            Quantize::Nf4 => QuantFormat::Nf4,
            Quantize::Fp4 => QuantFormat::Fp4,
            Quantize::Int8 => QuantFormat::Int8,
        };
        let double = format != QuantFormat::Int8 && !self.no_double_quantization;
        Some(Quantization { format, double })
    }

    /// Loads the model of a checkpoint; warnings go to the terminal.
    pub fn load(&self, checkpoint: &Checkpoint) -> Result<LlamaForCausalLM> {
        let options = LoadOptions {
            dtype: self.precision.dtype(),
            quantize: self.quantization(),
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
