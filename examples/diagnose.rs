//! Reads the metrics of a run and says what looks wrong with it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use examples::cli::{self, print, say};
use examples::loss_plot;
use llm_core::checkpoint::write_atomically;
use llm_lora::doctor::diagnose;
use llm_lora::read_metrics;

/// Say what looks wrong with a training run, finished or going on: nothing learnt, oscillation, jumps,
/// memorised or leaking data, batches without supervision, and what to do about it.
///
/// What is looked for, and how it is told, stands in docs/doctor.md. The exit code is 0 for a healthy run,
/// 3 where something was found, 1 for an error.
#[derive(Debug, Parser)]
struct Options {
    /// metrics.jsonl, or the output directory of a run
    #[arg(value_name = "FILE")]
    metrics: PathBuf,
    /// Print one JSON object a line, for each finding
    #[arg(long)]
    json: bool,
    /// Draw the losses
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
}

/// Something was found.
const FOUND: u8 = 3;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let result = cli::run(|| {
        if examine(&Options::parse())? > 0 {
            code = FOUND.into();
        }
        Ok(())
    });
    if result == ExitCode::SUCCESS {
        code
    } else {
        result
    }
}

/// Prints the findings and returns their number.
fn examine(options: &Options) -> Result<usize> {
    let file = match options.metrics.is_dir() {
        true => options.metrics.join("metrics.jsonl"),
        false => options.metrics.clone(),
    };
    let events = read_metrics(&file)?;
    if events.is_empty() {
        bail!("{}: no step yet", file.display());
    }
    if let Some(path) = &options.plot {
        let title = file.parent().and_then(Path::file_name).unwrap_or_default();
        let svg = loss_plot::svg(&events, &title.to_string_lossy())?;
        write_atomically(path, |out| out.write_all(svg.as_bytes()))?;
    }
    let findings = diagnose(&events);
    for finding in &findings {
        match options.json {
            true => print(format_args!("{}\n", serde_json::to_string(finding)?))?,
            false => say(finding)?,
        }
    }
    if findings.is_empty() && !options.json {
        let steps = events.last().map_or(0, llm_lora::Event::step);
        say(format_args!("{steps} steps, nothing wrong"))?;
    }
    Ok(findings.len())
}
