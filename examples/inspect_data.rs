//! Shows what a data set becomes: every token, which of them are supervised, and the statistics.

use std::process::ExitCode;

use clap::Parser;
use examples::cli;
use examples::inspect::Inspect;

/// Show the samples that training sees: tokens, supervised ones marked, and statistics.
///
/// On a terminal supervised tokens are green; elsewhere they stand in ⟦brackets⟧.
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    inspect: Inspect,
}

fn main() -> ExitCode {
    cli::run(|| Options::parse().inspect.run())
}
