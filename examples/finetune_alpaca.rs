//! Fine-tunes a LLaMA-family model on Alpaca records, with LoRA or in full, and shows the difference.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use examples::cli;
use examples::console::{Console, ConsoleArgs};
use examples::finetune::Job;
use examples::resume::{Origin, ResumeArgs};
use examples::run_dir::RunDir;
use examples::settings::{self, Settings};

/// Fine-tune a LLaMA-family model on Alpaca records.
///
/// Without flags it fine-tunes the tiny model that the repository ships on the records that it ships,
/// in about a minute on two cores, and shows answers to held-out instructions before and after.
///
/// A real model:
///
///     finetune_alpaca --model SmolLM2-135M-Instruct --data alpaca.json --output my-adapter
///
/// SIGTERM and SIGINT (Ctrl-C) let it finish the step, save a checkpoint and end with exit code 75; a
/// second one ends it at once. The same command with --resume goes on.
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Settings in YAML, with axolotl's names (docs/configuration.md); flags win, and later files
    #[arg(long, value_name = "FILE", help_heading = "Input and output")]
    config: Vec<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    resume: ResumeArgs,
    /// Print what would be trained, how much memory and how many steps it takes, and stop
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
    #[command(flatten)]
    console: ConsoleArgs,
}

fn main() -> ExitCode {
    let matches = Options::command().get_matches();
    cli::run(|| finetune(&Options::from_arg_matches(&matches)?, &matches))
}

fn finetune(options: &Options, flags: &ArgMatches) -> Result<()> {
    let mut console = Console::new(options.console);
    let settings = Settings::resolve(&options.config, flags)?;
    if options.dry_run && options.resume.resume.is_none() {
        return dry_run(settings, &console);
    }
    let output = options.resume.output(settings.output.as_deref())?;
    let lock = match options.dry_run {
        true => None,
        false => RunDir::lock(&output)?,
    };
    let is_new = lock.is_none();
    let origin = options.resume.origin(&output)?;
    let settings = with_record(options, flags, &output, &origin)?;
    if options.dry_run {
        return dry_run(settings, &console);
    }
    let mut job = Job::new(settings)?;
    cli::check_out(&output, &[job.base.dir()])?;
    if let Some(record) = origin.record() {
        options
            .resume
            .check(record, &job.settings, &job.identity, &console)?;
    }
    if matches!(origin, Origin::Finished(_)) && !options.resume.allow_changes {
        console.emit("finished", &output)?;
        return console.say(format_args!("{}: finished already", output.display()));
    }
    let run = RunDir::open(&output, job.settings.full, lock)?;
    // What was not there could not be locked.
    if is_new && options.resume.origin(&output)? != origin {
        bail!("{}: another run has written to it", output.display());
    }
    job.in_the_way = options.resume.in_the_way(&output, &origin)?;
    job.run(run, origin.checkpoint()?.as_deref(), &mut console)
}

/// The settings of a run that goes on: what was chosen then and is not chosen now stays as it was.
fn with_record(
    options: &Options,
    flags: &ArgMatches,
    output: &Path,
    origin: &Origin,
) -> Result<Settings> {
    let mut files = Vec::new();
    let record = origin.record().unwrap_or(output).join(settings::FILE);
    if options.resume.resume.is_some() && record.exists() {
        files.push(record);
    }
    files.extend(options.config.iter().cloned());
    Settings::resolve(&files, flags)
}

/// Says what a run would be.
fn dry_run(settings: Settings, console: &Console) -> Result<()> {
    Job::new(settings)?.announce(console).map(drop)
}
