//! What all programs share: the device, loading a model, how output and errors reach the user.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use llm_core::quant::{QuantFormat, Quantization};
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, SaveOptions, open_device};
use llm_data::{Template, Tokenizer};
use llm_lora::Identity;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// A run that a signal has stopped; no error, but no success either.
#[derive(Debug, Serialize)]
pub struct Interrupted {
    /// Steps done.
    pub step: usize,
    /// Where the run has been saved.
    pub checkpoint: Option<PathBuf>,
}

impl Interrupted {
    /// `EX_TEMPFAIL` of sysexits.h: run the same again, with `--resume`.
    pub const EXIT_CODE: u8 = 75;
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted after step {}", self.step)?;
        match &self.checkpoint {
            Some(checkpoint) => write!(
                f,
                ", saved in {}; goes on with --resume {}",
                checkpoint.display(),
                checkpoint.parent().unwrap_or(checkpoint).display()
            ),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Interrupted {}

/// Runs a program and prints its error, causes included, without a backtrace. That nobody reads the
/// output any more (`| head`) is no error.
pub fn run(program: impl FnOnce() -> Result<()>) -> ExitCode {
    keep_freed_memory();
    log();
    let Err(error) = program() else {
        return ExitCode::SUCCESS;
    };
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        eprintln!("{interrupted}");
        return Interrupted::EXIT_CODE.into();
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

/// Whether nobody reads the standard output any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Refuses to write into a directory that is read from.
pub fn check_out(out: &Path, sources: &[&Path]) -> Result<()> {
    let Ok(out) = out.canonicalize() else {
        return Ok(());
    };
    match sources
        .iter()
        .find(|source| source.canonicalize().is_ok_and(|source| source == out))
    {
        Some(source) => bail!(
            "{}: it is read from, and would be overwritten",
            source.display()
        ),
        None => Ok(()),
    }
}

/// Shows what the libraries log, with spans' durations, as far as RUST_LOG asks for it: `RUST_LOG=info`,
/// `RUST_LOG=llm_lora=debug`. Without it, the warnings of the trainer and of readers of data.
fn log() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
    let filter = match std::env::var_os("RUST_LOG") {
        Some(_) => filter.from_env_lossy(),
        None => filter.parse_lossy("llm_data::stream=warn,llm_lora=warn"),
    };
    // Only one can be set; it is this program's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(io::stderr)
        .try_init();
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

/// The template of a name, or the tokenizer's default. A template of a file is named `FILE:NAME`, or `FILE`
/// where the file has only one.
pub fn template(name: Option<&str>, tokenizer: &Tokenizer) -> Result<Template> {
    let Some(name) = name else {
        return Ok(Template::default_for(tokenizer)?);
    };
    if Path::new(name).is_file() {
        let names = Template::names_in_file(name)?;
        return match &names[..] {
            [only] => Ok(Template::from_file(name, only)?),
            _ => bail!(
                "{name} has several templates: add :NAME, one of {}",
                names.join(", ")
            ),
        };
    }
    match name.rsplit_once(':') {
        Some((file, name)) if Path::new(file).is_file() => Ok(Template::from_file(file, name)?),
        _ => Ok(Template::by_name(name, tokenizer)?),
    }
}

/// Where and in which type to compute.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default)]
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
    #[arg(long, help_heading = "Computation")]
    pub no_double_quantization: bool,
}

impl Default for ComputeArgs {
    fn default() -> Self {
        Self {
            device: "auto".to_owned(),
            precision: Precision::Auto,
            quantize: None,
            no_double_quantization: false,
        }
    }
}

/// A format of quantised weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantize {
    /// 4-bit NormalFloat
    Nf4,
    /// 4-bit float
    Fp4,
    /// 8-bit integers with a scale a row
    Int8,
}

/// A floating-point type, or a choice by the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// The choice, where it was left to the program.
    pub fn resolve(self, device: &Device) -> Self {
        match (self, llm_core::default_dtype(device)) {
            (Self::Auto, DType::BF16) => Self::Bf16,
            (Self::Auto, DType::F16) => Self::F16,
            (Self::Auto, _) => Self::F32,
            (chosen, _) => chosen,
        }
    }

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
        if self.no_double_quantization && self.quantize.is_none() {
            bail!("--no-double-quantization says how to --quantize, which is not asked for");
        }
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

/// Writes a model directory with what stands beside the weights in the checkpoint that it comes from.
pub fn save_model(
    model: &LlamaForCausalLM,
    from: &Checkpoint,
    dir: &Path,
    dtype: DType,
) -> Result<(), llm_core::Error> {
    let options = SaveOptions {
        dtype,
        ..SaveOptions::default()
    };
    llm_core::save_model(model, dir, Some(&from.config_json()?), &options)?;
    from.copy_side_files(dir)
}

/// Refuses an adapter that was trained on another base, or with another tokenizer or template, as far as
/// it records that; `force` lets it pass.
pub fn check_adapter(
    adapter: &Path,
    base: &Checkpoint,
    tokenizer: &Tokenizer,
    template: Option<&Template>,
    force: bool,
) -> Result<()> {
    if force {
        return Ok(());
    }
    let Some(trained) = Identity::read(adapter)? else {
        return Ok(());
    };
    let differences = trained.differences(&Identity::of_model(base, tokenizer, template)?);
    if differences.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = differences.iter().map(ToString::to_string).collect();
    bail!(
        "{}: the adapter was trained with other {}; --force takes it all the same",
        adapter.display(),
        names.join(", ")
    )
}

/// Opens a checkpoint.
pub fn open(dir: &Path) -> Result<Checkpoint> {
    Checkpoint::open(dir).context("cannot open the model")
}
