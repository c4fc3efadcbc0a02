//! Looks at, converts and cleans files of records, and renders conversations.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use examples::cli::{self, say};
use llm_core::checkpoint::write_atomically;
use llm_data::clean::{Pipeline, Step};
use llm_data::{
    Conversation, Error, Format, Message, OnLoss, ReadOptions, Record, RecordReader, RecordWriter,
    Template, WriteOptions,
};
use serde_json::json;

/// Check, convert and clean files of records; render conversations with a template.
///
/// Files are named, or given by directories and globs; gzip and Parquet are read as they are. The formats:
/// alpaca, sharegpt, openai, chinese-vicuna, gpt4all, pygmalion, text, preference and more
/// (docs/data-format.md).
#[derive(Debug, Parser)]
enum Options {
    #[command(flatten)]
    Command(Command),
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say everything that is wrong with files; exit code 1 if anything is
    Check(Input),
    /// Write records in another format
    Convert(Convert),
    /// Clean conversations by named steps, and account for every record
    Clean(Clean),
    /// Print a conversation as a template writes it
    Render(Render),
}

#[derive(Debug, Args)]
struct Input {
    /// A file, a directory or a glob
    #[arg(value_name = "FILES")]
    input: String,
    /// The format [default: told by the first record]
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Leave malformed records out and count them, instead of stopping
    #[arg(long)]
    skip_bad: bool,
}

#[derive(Debug, Args)]
struct Convert {
    #[command(flatten)]
    input: Input,
    /// Where the records go: .jsonl, .json (with .gz behind, too) or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The format to write
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Write what the format has a place for and count the rest, instead of stopping at what it has none for
    #[arg(long)]
    count_losses: bool,
}

#[derive(Debug, Args)]
struct Clean {
    #[command(flatten)]
    input: Input,
    /// Where the kept records go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The format to write [default: that of the first record]
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// fastchat, redpajama, redpajama-books or alpaca-cleaned
    #[arg(long, value_name = "NAME", required_unless_present = "steps")]
    preset: Option<String>,
    /// Steps in YAML, a list of `step: NAME` with options (docs/cleaning.md); behind the preset's, if there is
    /// one
    #[arg(long, value_name = "FILE")]
    steps: Option<PathBuf>,
    /// Write the account as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Render {
    /// Templates: FastChat's fields in JSON or YAML, or a Jinja chat template
    #[arg(long, value_name = "FILE")]
    templates: PathBuf,
    /// The template's name in the file
    #[arg(long, value_name = "NAME")]
    name: String,
    /// A JSON array of messages with role and content
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// Print {"text": …} instead of the text
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    cli::run(|| {
        let Options::Command(command) = Options::parse();
        match command {
            Command::Check(input) => check(&input),
            Command::Convert(options) => convert(&options),
            Command::Clean(options) => clean(&options),
            Command::Render(options) => render(&options),
        }
    })
}

/// Reads every record; `each` hears of the good ones. Returns how many records were bad.
fn read(
    input: &Input,
    lenient: bool,
    mut each: impl FnMut(Format, Record) -> Result<()>,
) -> Result<usize> {
    let options = ReadOptions {
        format: input.from.as_deref().map(Format::by_name).transpose()?,
        lenient,
        ..ReadOptions::default()
    };
    let mut bad = 0;
    for record in RecordReader::open(&input.input, options)? {
        match record {
            Ok(numbered) => each(numbered.format, numbered.record)?,
            Err(error @ Error::BadRecords { .. }) if input.skip_bad => {
                eprintln!("warning: {error}");
                bad += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bad)
}

fn check(input: &Input) -> Result<()> {
    let all = Input {
        skip_bad: true,
        input: input.input.clone(),
        from: input.from.clone(),
    };
    let mut good = 0;
    let bad = read(&all, false, |_, _| {
        good += 1;
        Ok(())
    })?;
    say(format_args!("{good} good records, {bad} bad ones"))?;
    match bad {
        0 => Ok(()),
        _ => bail!("{}: {bad} bad records", input.input),
    }
}

fn convert(options: &Convert) -> Result<()> {
    let mut writer = writer(
        &options.out,
        Format::by_name(&options.to)?,
        options.count_losses,
    )?;
    let bad = read(
        &options.input,
        false,
        |_, record| Ok(writer.write(&record)?),
    )?;
    let written = writer.finish()?;
    say(format_args!(
        "wrote {} records to {}, left out {bad} bad ones",
        written.records,
        options.out.display()
    ))?;
    for (loss, records) in &written.losses {
        say(format_args!("  {records} records lost {loss}"))?;
    }
    for (kind, records) in &written.left_out {
        say(format_args!("  {records} left out: {kind}"))?;
    }
    Ok(())
}

fn writer(out: &Path, format: Format, count_losses: bool) -> Result<RecordWriter> {
    let on_loss = match count_losses {
        true => OnLoss::Count,
        false => OnLoss::Refuse,
    };
    Ok(RecordWriter::create(out, WriteOptions { format, on_loss })?)
}

fn clean(options: &Clean) -> Result<()> {
    let mut steps = match &options.preset {
        Some(preset) => Step::preset(preset)?,
        None => Vec::new(),
    };
    if let Some(path) = &options.steps {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let more: Result<Vec<Step>, _> = serde_saphyr::from_str(&text);
        steps.extend(more.map_err(|error| anyhow!("{}: {error}", path.display()))?);
    }
    let pipeline = Pipeline::new(&steps)?;
    let mut first = None;
    let mut records: Vec<(usize, Conversation)> = Vec::new();
    let bad = read(&options.input, true, |format, record| {
        first.get_or_insert(format);
        match record {
            Record::Conversation(conversation) => records.push((records.len() + 1, conversation)),
            _ => bail!(
                "only conversations can be cleaned; {} are none",
                format.name()
            ),
        }
        Ok(())
    })?;
    let format = match (&options.to, first) {
        (Some(name), _) => Format::by_name(name)?,
        (None, Some(format)) => format,
        (None, None) => bail!("{}: no records", options.input.input),
    };
    let cleaned = pipeline.run(records)?;
    let mut writer = writer(&options.out, format, false)?;
    for (_, conversation) in cleaned.records {
        writer.write(&Record::Conversation(conversation))?;
    }
    writer.finish()?;
    if let Some(path) = &options.report {
        let report = serde_json::to_string_pretty(&cleaned.account)?;
        write_atomically(path, |file| writeln!(file, "{report}"))?;
    }
    say(&cleaned.account)?;
    say(format_args!(
        "wrote {}, left out {bad} bad records",
        options.out.display()
    ))
}

fn render(options: &Render) -> Result<()> {
    let template = Template::from_file(&options.templates, &options.name)?;
    let path = options.messages.display();
    let text = fs::read_to_string(&options.messages).with_context(|| path.to_string())?;
    let messages: Vec<Message> =
        serde_json::from_str(&text).with_context(|| format!("{path}: an array of messages"))?;
    let text = template.text(&messages)?;
    match options.json {
        true => say(json!({ "text": text })),
        false => cli::print(text),
    }
}
