//! What the program `judge` does.

mod export;
mod parse;
mod replay;
mod report;
mod run;

use anyhow::Result;
use clap::{Parser, Subcommand};
use llm_eval::Report;

use crate::cli::say;

/// Figures from the judgments of strong models, and verdicts from their replies.
#[derive(Debug, Parser)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a model to judge answers
    Run(Box<run::Run>),
    /// Find out by what a judge is fooled
    Audit(Box<run::AuditArgs>),
    /// Every figure from saved judgments alone
    Replay(replay::Replay),
    /// What judgments say, to be read: HTML, Markdown, JSON
    Report(report::ReportArgs),
    /// Judgments in other systems' layouts, for their scripts
    Export(export::Export),
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
            Command::Run(run) => run.run(),
            Command::Audit(audit) => audit.run(),
            Command::Replay(replay) => replay.run(),
            Command::Report(report) => report.run(),
            Command::Export(export) => export.run(),
            Command::Parse(parse) => parse.run(),
        }
    }
}

/// A report on the terminal: all tables, or everything as JSON.
fn show(report: &Report<'_>, json: bool) -> Result<()> {
    match json {
        true => say(serde_json::to_string_pretty(report)?),
        false => say(report.to_markdown().trim_end()),
    }
}
