//! Perplexity in its three definitions, and KL divergence.

use std::process::ExitCode;

use clap::Parser;
use examples::benchmarking::PerplexityOptions;
use examples::cli;

fn main() -> ExitCode {
    cli::run(|| PerplexityOptions::parse().run())
}
