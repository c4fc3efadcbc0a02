//! Merges an adapter into its base and writes an ordinary model directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use burn::tensor::{DType, Tensor};
use clap::{Parser, ValueEnum};
use examples::cli::{self, ComputeArgs, Precision, Quantize};
use examples::settings;
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions};
use llm_data::{Template, Tokenizer};
use llm_lora::{Adapter, Identity, Probe};

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
    /// Merge although the adapter was trained on another base, or with another tokenizer or template
    #[arg(long)]
    force: bool,
    /// Type on disk [default: that of the base]
    #[arg(long, value_enum)]
    save_dtype: Option<DiskType>,
    /// auto (the best that is compiled in and present), cpu, cuda, vulkan, metal or wgpu
    #[arg(long, default_value = "auto")]
    device: String,
    /// The format to which the base was quantised when the adapter was trained (nf4 with --qlora): the
    /// adapter is merged into what the codes stand for, and the error of that is said
    #[arg(long, value_enum, value_name = "FORMAT")]
    quantize: Option<Quantize>,
    /// The scales were not quantised
    #[arg(long, requires = "quantize")]
    no_double_quantization: bool,
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

/// What the merge is checked with: any ids do.
const PROBE: [u32; 12] = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233];

/// Differences in logits, relative to the largest: what sums in another order come to, and what a type of
/// 16 bits on disk costs.
const MERGED: f64 = 1e-3;
const ROUNDED: f64 = 1e-1;

fn main() -> ExitCode {
    cli::run(|| merge(&Options::parse()))
}

fn merge(options: &Options) -> Result<()> {
    cli::check_out(&options.out, &[&options.model, &options.adapter])?;
    let compute = ComputeArgs {
        device: options.device.clone(),
        precision: Precision::F32,
        quantize: options.quantize,
        no_double_quantization: options.no_double_quantization,
    };
    let checkpoint = cli::open(&options.model)?;
    check_base(options, &checkpoint)?;
    let mut model = compute.load(&checkpoint)?;
    if compute.quantize.is_some() {
        let exact = checkpoint
            .load(&compute.device()?, &LoadOptions::default())?
            .model;
        let error = relative_error(&mut model, exact)?;
        cli::say(format_args!(
            "the base as the adapter was trained on it differs from {} by {:.2} % of its linear layers' norm",
            options.model.display(),
            100.0 * error
        ))?;
    }
    let adapter = Adapter::load(&mut model, &options.adapter)?;
    let vocab_size = checkpoint.config().vocab_size as u32;
    let probe = Probe::new(&model, &PROBE.map(|id| id % vocab_size))?;
    adapter.merge(&mut model)?;
    probe.prove(&model, MERGED, "the merged model")?;
    model.dequantize()?;
    let dtype = options
        .save_dtype
        .map_or_else(|| checkpoint.dtype(), DiskType::dtype);
    cli::save_model(&model, &checkpoint, &options.out, dtype)?;
    drop(model);
    let difference = check_written(&options.out, &compute, dtype, &probe)?;
    // It records the template with which the adapter, and now the model, was trained.
    let recorded = options.adapter.join(settings::FILE);
    if recorded.exists() {
        std::fs::copy(&recorded, options.out.join(settings::FILE))?;
    }
    cli::say(format_args!(
        "wrote {}, whose logits are those of base and adapter within {:.1e} of the largest",
        options.out.display(),
        difference
    ))
}

/// Refuses an adapter that was trained on another base, as far as it records that.
fn check_base(options: &Options, base: &Checkpoint) -> Result<()> {
    if options.force || !options.adapter.join(Identity::FILE).exists() {
        return Ok(());
    }
    let tokenizer = Tokenizer::from_dir(&options.model)?;
    let recorded = settings::recorded_template(&options.adapter)?;
    let template = recorded
        .map(|name| Template::by_name(&name, &tokenizer))
        .transpose()?;
    cli::check_adapter(&options.adapter, base, &tokenizer, template.as_ref(), false)
}

/// Reads back what was written: its logits must be those of base and adapter, but for what the type on disk
/// loses.
fn check_written(out: &Path, compute: &ComputeArgs, dtype: DType, probe: &Probe) -> Result<f64> {
    let compute = ComputeArgs {
        quantize: None,
        ..compute.clone()
    };
    let written = compute.load(&cli::open(out)?)?;
    let within = if dtype == DType::F32 { MERGED } else { ROUNDED };
    probe
        .prove(&written, within, "the model on disk")
        .map_err(|error| {
            // Without its configuration it is no model, and nobody takes it for one. The proof's error is the
            // one to report.
            let _ = std::fs::remove_file(out.join("config.json"));
            error.into()
        })
}

/// `‖W_q − W‖ / ‖W‖` over all linear layers that are quantised in `coded`.
fn relative_error(coded: &mut LlamaForCausalLM, mut exact: LlamaForCausalLM) -> Result<f64> {
    let (mut off, mut all) = (0.0, 0.0);
    for ((_, coded), (_, exact)) in coded.linears_mut().into_iter().zip(exact.linears_mut()) {
        if let (Some(coded), Some(weight)) = (coded.quantized(), &exact.weight) {
            let weight = weight.val();
            let square = |x: Tensor<2>| x.square().sum().into_scalar::<f32>();
            off += f64::from(square(coded.dequantize()? - weight.clone()));
            all += f64::from(square(weight));
        }
    }
    Ok((off / all).sqrt())
}
