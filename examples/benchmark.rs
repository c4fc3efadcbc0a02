//! Benchmarks, scored as lm-evaluation-harness scores them.

use std::process::ExitCode;

use clap::Parser;
use examples::benchmarking::Options;
use examples::cli;

fn main() -> ExitCode {
    cli::run(|| Options::parse().run())
}
