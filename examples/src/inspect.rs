//! What a data set becomes: every token, which of them are supervised, and the statistics.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use llm_core::checkpoint::write_atomically;
use llm_data::{
    Encoder, IGNORE_INDEX, OnBadRecord, Prepared, PreparedKey, Sample, Samples, Tokenizer, html,
    shown_tokens,
};
use serde_json::json;

use crate::cli::{self, say};
use crate::conversations::Conversations;
use crate::settings::{BadRecords, Dataset, Settings};

/// What is shown, and how.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Records: files, directories or globs; FILE:FORMAT where the first record does not tell
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<Dataset>,
    /// Directory with the tokenizer; weights are not needed
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// alpaca, alpaca-lora, alpaca-zh, chatml, vicuna, model and more, or FILE:NAME [default: model where there
    /// is a chat template, else alpaca]
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
    #[arg(long, conflicts_with_all = ["json", "html"])]
    tokens: bool,
    /// Print one JSON object: samples with record number, input_ids, labels and tokens; statistics
    #[arg(long)]
    json: bool,
    /// Write the samples as a page of HTML instead; 100 of them unless --limit says otherwise
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

/// The samples of a page.
const ON_A_PAGE: usize = 100;

impl Inspect {
    /// Shows it.
    ///
    /// # Errors
    /// When something cannot be read, or no sample is left.
    pub fn run(&self) -> Result<()> {
        let tokenizer = Tokenizer::from_dir(&self.model)?;
        let template = cli::template(self.template.as_deref(), &tokenizer)?;
        let settings = Settings {
            max_seq_len: self.max_seq_len,
            mask_history: self.mask_history,
            train_on_input: self.train_on_input,
            on_bad_record: self.on_bad_record,
            ..Settings::default()
        };
        let encoder = Encoder::new(tokenizer, template, settings.encoding())?;
        let (skip, on_bad_record) = match self.on_bad_record {
            BadRecords::Skip => (true, OnBadRecord::Skip),
            BadRecords::Fail => (false, OnBadRecord::Fail),
        };
        let records = Conversations::open(&self.data, skip)?;
        let key = PreparedKey::new(&encoder);
        let set = Prepared::encode(None, &key, &encoder, records, on_bad_record)?;
        let samples = Shown {
            encoder: &encoder,
            set: &set,
            count: set.count()?.min(self.limit.unwrap_or(usize::MAX)),
        };
        if self.json {
            return samples.json();
        }
        if let Some(path) = &self.html {
            let count = samples.count.min(self.limit.unwrap_or(ON_A_PAGE));
            let page = samples.html(count)?;
            write_atomically(path, |file| file.write_all(page.as_bytes()))?;
            say(set.statistics()?)?;
            return say(format_args!("wrote {count} samples to {}", path.display()));
        }
        samples.print(self.tokens)?;
        say(set.statistics()?)
    }
}

struct Shown<'a> {
    encoder: &'a Encoder,
    set: &'a Prepared,
    count: usize,
}

impl Shown<'_> {
    fn json(&self) -> Result<()> {
        let tokenizer = self.encoder.tokenizer();
        let sample = |index: usize| {
            let Sample { input_ids, labels } = self.set.get(index)?.into_owned();
            let token = |id: &u32| tokenizer.token(*id).unwrap_or_default();
            let tokens: Vec<String> = input_ids.iter().map(token).collect();
            let record = self.set.record(index)?;
            Ok(
                json!({"record": record, "input_ids": input_ids, "labels": labels, "tokens": tokens}),
            )
        };
        let samples: Vec<_> = (0..self.count).map(sample).collect::<Result<_>>()?;
        let template = self.encoder.template().name();
        let statistics = self.set.statistics()?;
        let object = json!({"template": template, "samples": samples, "statistics": statistics});
        say(format_args!("{object:#}"))
    }

    fn html(&self, count: usize) -> Result<String> {
        let sample = |index: usize| {
            let tokens = shown_tokens(self.encoder.tokenizer(), &*self.set.get(index)?)?;
            Ok((format!("Record {}", self.set.record(index)?), tokens))
        };
        let samples: Vec<_> = (0..count).map(sample).collect::<Result<_>>()?;
        let template = self.encoder.template().name();
        Ok(html(
            &format!("Samples of the template {template}"),
            &samples,
        ))
    }

    fn print(&self, by_token: bool) -> Result<()> {
        let tokenizer = self.encoder.tokenizer();
        for index in 0..self.count {
            let (sample, record) = (self.set.get(index)?, self.set.record(index)?);
            let (tokens, supervised) = (sample.input_ids.len(), sample.supervised_tokens());
            say(format_args!(
                "── record {record} ─ {tokens} tokens, {supervised} supervised"
            ))?;
            match by_token {
                true => show_tokens(tokenizer, &sample)?,
                false => say(marked(tokenizer, &sample)?)?,
            }
            say("")?;
        }
        Ok(())
    }
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
