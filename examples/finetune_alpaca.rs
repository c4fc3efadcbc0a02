//! Fine-tunes a LLaMA-family model on Alpaca records, with LoRA or in full, and shows the difference.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use examples::cli;
use examples::console::{Console, ConsoleArgs};
use examples::finetune::{self, Job};
use examples::records::Records;
use examples::resume::{Origin, ResumeArgs};
use examples::run_dir::RunDir;
use examples::settings::{self, Settings};
use llm_lora::Identity;

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
    let mut settings = Settings::resolve(&options.config, flags)?;
    if options.dry_run {
        settings.validate()?;
        return dry_run(&settings, &console);
    }
    let output = options.resume.output(settings.output.as_deref())?;
    let run = RunDir::open(&output, settings.full)?;
    let origin = options.resume.origin(&output)?;
    if let Some(record) = origin.record() {
        // What was chosen then and is not chosen now stays as it was.
        let mut files = vec![record.join(settings::FILE)];
        files.extend(options.config.iter().cloned());
        settings = Settings::resolve(&files, flags)?;
    }
    settings.validate()?;
    settings.compute.device()?;
    let base = cli::open(&settings.model_dir())?;
    let records = Records::load(&settings, &base)?;
    settings = settings.recorded(records.encoder.template().name());
    let identity = Identity::new(
        &base,
        records.encoder.tokenizer(),
        records.encoder.template(),
        settings.data_files().iter().map(PathBuf::as_path),
        &settings.identity_text()?,
    )?;
    if let Some(record) = origin.record() {
        options.resume.check(record, &settings, &identity)?;
    }
    if matches!(origin, Origin::Finished(_)) && !options.resume.allow_changes {
        console.emit("finished", &output)?;
        return console.say(format_args!("{}: finished already", output.display()));
    }
    let job = Job {
        settings,
        identity,
        base,
        records,
        run,
    };
    job.run(&origin, &mut console)
}

/// Says what a run would be.
fn dry_run(settings: &Settings, console: &Console) -> Result<()> {
    let base = cli::open(&settings.model_dir())?;
    let records = Records::load(settings, &base)?;
    console.say(&records.train.statistics)?;
    let plan = finetune::plan(settings, &base, &records)?;
    console.emit("plan", &plan)?;
    console.say(plan)
}
