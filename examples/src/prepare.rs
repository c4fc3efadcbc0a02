//! What the program `prepare_data` does, a module for each of its commands.

mod clean;
mod config;
mod convert;
mod files;
mod generate;
mod input;
mod output;
mod pieces;
mod render;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::cli::say;
use crate::inspect::Inspect;
use input::Input;
use llm_data::{Bounds, Record, in_chunks};
use output::ReportArgs;

/// Check, convert, clean, divide, survey and generate data; render conversations with a template.
///
/// Files are named, or given by directories and globs; gzip, Zstandard and Parquet are read as they are. The
/// formats: alpaca, sharegpt, openai, chinese-vicuna, gpt4all, pygmalion, text, preference and more
/// (docs/data-format.md). Every command takes its flags from a file as well: --config FILE, YAML with the
/// flags' names. What writes data writes a report beside it, OUT.report/ (docs/reports.md).
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with files; exit code 1 if anything is
    Check(Input),
    /// Write records in another format
    Convert(convert::Convert),
    /// Clean conversations or plain texts by named steps, and account for every record
    Clean(clean::Clean),
    /// Drop records that were there before, or nearly so
    Dedup(clean::Dedup),
    /// Divide long conversations into pieces that fit the context
    Split(pieces::Split),
    /// Say what records are like: lengths, languages, first words, tokens
    Stats(Stats),
    /// Show what training sees of records: tokens, and which are supervised
    Inspect(Inspect),
    /// Ask a strong model for data
    Generate(Box<generate::Generate>),
    /// Print a conversation as a template writes it
    Render(render::Render),
}

#[derive(Debug, Args)]
struct Stats {
    #[command(flatten)]
    input: Input,
    /// Count tokens as the tokenizer of this directory does
    #[arg(long, value_name = "DIR")]
    model: Option<std::path::PathBuf>,
    /// Write report.json, report.md and the plots into this directory
    #[arg(long, value_name = "DIR")]
    report: Option<std::path::PathBuf>,
    /// Print the survey as JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    /// The program's arguments, those of a configuration file among them.
    ///
    /// # Errors
    /// When the file cannot be read. Arguments that make no sense end the program, as clap does it.
    pub fn read() -> Result<Self> {
        let args = config::expand(Self::command(), std::env::args_os())?;
        Ok(Self::parse_from(args))
    }

    /// Does it.
    ///
    /// # Errors
    /// Whatever goes wrong.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Check(input) => check(&input),
            Command::Convert(convert) => convert.run(),
            Command::Clean(clean) => clean.run(),
            Command::Dedup(dedup) => dedup.run(),
            Command::Split(split) => split.run(),
            Command::Stats(stats) => stats.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Generate(generate) => generate.run(),
            Command::Render(render) => render.run(),
        }
    }
}

fn check(input: &Input) -> Result<()> {
    if input.skip_bad {
        anyhow::bail!("--skip-bad has no effect on check, which says all that is bad");
    }
    let mut records = input.open(false)?;
    (records.skip_bad, records.go_on) = (true, true);
    records.warn_of = usize::MAX;
    let mut good = 0;
    for record in records.by_ref() {
        record?;
        good += 1;
    }
    let (bad, broken) = {
        let seen = records.seen();
        (seen.bad.records, seen.broken)
    };
    say(format_args!("{good} good records, {bad} bad ones"))?;
    match (bad, broken) {
        (0, 0) => Ok(()),
        (bad, 0) => anyhow::bail!("{bad} bad records"),
        (bad, broken) => anyhow::bail!("{bad} bad records, {broken} broken files"),
    }
}

impl Stats {
    fn run(&self) -> Result<()> {
        let tokenizer = self
            .model
            .as_ref()
            .map(llm_data::Tokenizer::from_dir)
            .transpose()?;
        let mut records = self.input.open(false)?;
        let mut survey = records.survey();
        let tokens = match &tokenizer {
            Some(tokenizer) => llm_data::CountTokens::Tokenizer(tokenizer),
            None => llm_data::CountTokens::No,
        };
        in_chunks(records.by_ref(), input::size, CHUNKS, |chunk| {
            let chunk = chunk.into_iter().map(|record| Ok(record?.1.record));
            let chunk: Vec<Record> = chunk.collect::<Result<_>>()?;
            Ok::<_, anyhow::Error>(survey.add_all(&chunk, tokens)?)
        })?;
        let mut report = llm_data::Report::new("stats", serde_json::to_value(&self.input)?);
        report.before = Some(survey);
        records.seen().account(&mut report)?;
        if let Some(model) = &self.model {
            input::also(&mut report, model)?;
        }
        if let Some(dir) = &self.report {
            ReportArgs::to(dir).write(&report)?;
        }
        match self.json {
            true => say(serde_json::to_string_pretty(&report.before)?),
            false => say(report.to_markdown()),
        }
    }
}

/// Records that are surveyed at a time.
const CHUNKS: Bounds = Bounds {
    items: 8192,
    weight: 16 << 20,
};
