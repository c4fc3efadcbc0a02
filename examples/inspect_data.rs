//! Shows what a data set becomes: every token, which of them are supervised, and the statistics.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::cli::{self, say};
use examples::settings::{BadRecords, Settings};
use llm_data::{Encoder, IGNORE_INDEX, Sample, Tokenizer, load_alpaca};
use serde_json::json;

/// Show the samples that training sees: tokens, supervised ones marked, and statistics.
///
/// On a terminal supervised tokens are green; elsewhere they stand in ⟦brackets⟧.
#[derive(Debug, Parser)]
struct Options {
    /// Alpaca records, JSON or JSONL
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Directory with the tokenizer; weights are not needed
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// alpaca, alpaca-lora, alpaca-zh, chatml, vicuna or model [default: model where there is a chat
    /// template, else alpaca]
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// The most tokens of a sample
    #[arg(long, default_value_t = 512, value_name = "N")]
    max_seq_len: usize,
    /// Supervise only the last answer, not those of the history
    #[arg(long)]
    mask_history: bool,
    /// Supervise everything, the user's words too
    #[arg(long)]
    train_on_input: bool,
    /// What to do about malformed records
    #[arg(long, value_enum, default_value = "fail")]
    on_bad_record: BadRecords,
    /// Show only the first N samples; the statistics are of all
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show each token on a line, with its id
    #[arg(long, conflicts_with = "json")]
    tokens: bool,
    /// Print one JSON object: samples with record number, input_ids, labels and tokens; statistics
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    cli::run(|| inspect(&Options::parse()))
}

fn inspect(options: &Options) -> Result<()> {
    let tokenizer = Tokenizer::from_dir(&options.model)?;
    let template = cli::template(options.template.as_deref(), &tokenizer)?;
    let settings = Settings {
        max_seq_len: options.max_seq_len,
        mask_history: options.mask_history,
        train_on_input: options.train_on_input,
        on_bad_record: options.on_bad_record,
        ..Settings::default()
    };
    let encoder = Encoder::new(tokenizer, template, settings.encoding())?;
    let loaded = load_alpaca(&options.data, &settings.loading())?;
    let set = encoder.encode_all(&loaded.records);
    let mut set = set.map_err(|error| error.with_numbers(&loaded.numbers))?;
    set.statistics.add_refused(&loaded.refused);
    let numbers = set.records.iter().map(|index| loaded.numbers[*index]);
    let shown = numbers
        .zip(&set.samples)
        .take(options.limit.unwrap_or(usize::MAX));
    if options.json {
        let samples: Vec<_> = shown
            .map(|(record, sample)| to_json(&encoder, record, sample))
            .collect();
        let template = encoder.template().name();
        let object =
            json!({"template": template, "samples": samples, "statistics": set.statistics});
        return say(format_args!("{object:#}"));
    }
    for (record, sample) in shown {
        let (tokens, supervised) = (sample.input_ids.len(), sample.supervised_tokens());
        say(format_args!(
            "── record {record} ─ {tokens} tokens, {supervised} supervised"
        ))?;
        match options.tokens {
            true => show_tokens(encoder.tokenizer(), sample)?,
            false => say(marked(encoder.tokenizer(), sample)?)?,
        }
        say("")?;
    }
    say(&set.statistics)
}

/// A line for each token: its place, `+` where it is supervised, its id, its text.
fn show_tokens(tokenizer: &Tokenizer, sample: &Sample) -> Result<()> {
    for (place, (id, label)) in sample.input_ids.iter().zip(&sample.labels).enumerate() {
        let mark = if *label == IGNORE_INDEX { ' ' } else { '+' };
        let text = tokenizer.decode(&[*id], false)?;
        let spelling = tokenizer.token(*id).unwrap_or_default();
        say(format_args!(
            "{place:5} {mark} {id:7}  {text:?}  {spelling}"
        ))?;
    }
    Ok(())
}

fn to_json(encoder: &Encoder, record: usize, sample: &Sample) -> serde_json::Value {
    let token = |id: &u32| encoder.tokenizer().token(*id).unwrap_or_default();
    let tokens: Vec<String> = sample.input_ids.iter().map(token).collect();
    json!({"record": record, "input_ids": sample.input_ids, "labels": sample.labels, "tokens": tokens})
}

/// The sample's text with its supervised runs marked.
fn marked(tokenizer: &Tokenizer, sample: &Sample) -> Result<String> {
    let [begin, end] = match std::io::stdout().is_terminal() {
        true => ["\x1b[32m", "\x1b[0m"],
        false => ["⟦", "⟧"],
    };
    let supervised: Vec<bool> = sample
        .labels
        .iter()
        .map(|label| *label != IGNORE_INDEX)
        .collect();
    let mut text = String::new();
    let mut at = 0;
    for run in supervised.chunk_by(|a, b| a == b) {
        let ids = &sample.input_ids[at..at + run.len()];
        at += run.len();
        let piece = tokenizer.decode(ids, false)?;
        match run[0] {
            true => text.extend([begin, &piece, end]),
            false => text.push_str(&piece),
        }
    }
    Ok(text)
}
