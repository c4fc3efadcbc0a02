//! Merges an adapter into its base and writes an ordinary model directory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use burn::tensor::{DType, Tensor};
use clap::{Parser, ValueEnum};
use examples::cli::{self, ComputeArgs, Precision, Quantize};
use examples::settings;
use llm_core::{LlamaForCausalLM, LoadOptions, SaveOptions, save_model};
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
        precision: Precision::F32,
        quantize: options.quantize,
        no_double_quantization: options.no_double_quantization,
    };
    let checkpoint = cli::open(&options.model)?;
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
    Adapter::load(&mut model, &options.adapter)?.merge(&mut model)?;
    model.dequantize()?;
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
