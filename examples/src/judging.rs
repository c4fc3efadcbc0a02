//! What the program `judge` does.

mod parse;
mod replay;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Figures from the judgments of strong models, and verdicts from their replies.
#[derive(Debug, Parser)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every figure from saved judgments alone
    Replay(replay::Replay),
    /// Verdicts from raw replies
    Parse(parse::Parse),
}

impl Options {
    /// Does it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Replay(replay) => replay.run(),
            Command::Parse(parse) => parse.run(),
        }
    }
}
