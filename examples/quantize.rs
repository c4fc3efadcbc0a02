//! Quantises a model and writes it as transformers and bitsandbytes do.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use examples::cli::{self, ComputeArgs};

/// Quantise the linear layers of a model, the head excepted, to a directory in bitsandbytes' layout, which
/// all programs here open, and transformers too.
///
/// Layers are quantised as they are read: the dense model need not fit into memory.
///
///     quantize --model smollm2 --quantize nf4 --out smollm2-nf4
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Model directory in Hugging Face's layout
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where the quantised model goes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    compute: ComputeArgs,
}

fn main() -> ExitCode {
    cli::run(|| quantize(&Options::parse()))
}

fn quantize(options: &Options) -> Result<()> {
    if options.compute.quantize.is_none() {
        bail!("--quantize is missing: nf4, fp4 or int8");
    }
    cli::check_out(&options.out, &[&options.model])?;
    let checkpoint = cli::open(&options.model)?;
    let mut model = options.compute.load(&checkpoint)?;
    let (mut dense, mut coded) = (0, 0);
    for (_, linear) in model.linears_mut() {
        if let Some(weight) = linear.quantized() {
            let [d_in, d_out] = linear.dims();
            dense += d_in * d_out;
            coded += weight.to_host()?.bytes();
        }
    }
    cli::save_model(&model, &checkpoint, &options.out, checkpoint.dtype())?;
    cli::say(format_args!(
        "{:.1} million weights of linear layers in {:.1} MB, {:.3} bits each\nwrote {}",
        dense as f64 / 1e6,
        coded as f64 / 1e6,
        8.0 * coded as f64 / dense as f64,
        options.out.display()
    ))
}
