//! What the programs `benchmark` and `perplexity` do.

mod judge;
mod model;
mod perplexity;
mod run;
mod score;
mod show;
mod tasks;

use anyhow::Result;
use clap::{Parser, Subcommand};

pub use perplexity::Options as PerplexityOptions;

/// Run benchmarks as lm-evaluation-harness does, or score completions that were made elsewhere.
#[derive(Debug, Parser)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a model the questions of benchmarks, and score its answers
    Run(Box<run::Run>),
    /// Score completions, one for each question
    Score(score::Score),
}

impl Options {
    /// Does it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Score(score) => score.run(),
        }
    }
}
