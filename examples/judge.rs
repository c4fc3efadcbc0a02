//! Figures from judgments, verdicts from replies.

use std::process::ExitCode;

use clap::Parser;
use examples::cli;
use examples::judging::Options;

fn main() -> ExitCode {
    cli::run(|| Options::parse().run())
}
