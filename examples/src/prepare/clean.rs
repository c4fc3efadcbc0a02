//! Cleaning and finding of duplicates.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use llm_data::clean::{Compared, MinHash, Pipeline, SimHash, Step, StreamOptions};
use llm_data::{
    Conversation, CountTokens, Document, Message, Numbered, Record, Report, Role, Tokenizer,
};
use serde::Serialize;

use super::files::Rewritten;
use super::input::{also, seen_of};
use super::output::Writer;
use crate::cli::say;

#[derive(Debug, Args, Serialize)]
pub(super) struct Clean {
    #[command(flatten)]
    #[serde(flatten)]
    job: Job,
    /// fastchat, redpajama, redpajama-books or alpaca-cleaned
    #[arg(long, value_name = "NAME", required_unless_present = "steps")]
    preset: Option<String>,
    /// Steps in YAML, a list of `step: NAME` with options (docs/cleaning.md), in a file or in place; behind the
    /// preset's, if there is one
    #[arg(long, value_name = "FILE")]
    steps: Option<String>,
    /// The tokenizer's directory, for steps that count tokens
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Dedup {
    #[command(flatten)]
    #[serde(flatten)]
    job: Job,
    /// What of two records is compared
    #[arg(long, value_enum, default_value = "conversation")]
    compare: Compare,
    /// How like each other near-duplicates are at least: Jaccard similarity of their shingles of three words;
    /// 0: only exact duplicates go
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    near: f64,
    /// Find near-duplicates by SimHash instead, at most so many bits apart
    #[arg(long, value_name = "BITS")]
    simhash: Option<u32>,
    /// Files that must not be trained on: records that share a text or 13 words on end with them go
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
enum Compare {
    /// All messages
    Conversation,
    /// The first message
    Prompt,
    /// The first two messages
    FirstTurn,
}

/// What both do: conversations through steps into a file.
#[derive(Debug, Args, Serialize)]
struct Job {
    #[command(flatten)]
    #[serde(flatten)]
    files: Rewritten,
    /// Where temporary files are, for steps that compare records [default: the system's]
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

impl Clean {
    pub(super) fn run(&self) -> Result<()> {
        let mut steps = match &self.preset {
            Some(preset) => Step::preset(preset)?,
            None => Vec::new(),
        };
        if let Some(given) = &self.steps {
            let in_place = is_in_place(given);
            let text = match in_place {
                true => given.clone(),
                false => fs::read_to_string(given).with_context(|| given.clone())?,
            };
            let name = if in_place { "steps" } else { given };
            let more: Result<Vec<Step>, _> = serde_saphyr::from_str(&text);
            steps.extend(more.map_err(|error| anyhow!("{name}: {error}"))?);
        }
        let pipeline = match &self.model {
            Some(dir) => Pipeline::with_tokenizer(&steps, Tokenizer::from_dir(dir)?)?,
            None => Pipeline::new(&steps)?,
        };
        let mut report = Report::new("clean", serde_json::to_value(self)?);
        let steps_file = self.steps.as_ref().filter(|given| !is_in_place(given));
        for path in steps_file.map(PathBuf::from).iter().chain(&self.model) {
            also(&mut report, path)?;
        }
        read_by(&steps, &mut report)?;
        self.job.run(&pipeline, report)
    }
}

impl Dedup {
    pub(super) fn run(&self) -> Result<()> {
        let compare = match self.compare {
            Compare::Conversation => Compared::Conversation,
            Compare::Prompt => Compared::Prompt,
            Compare::FirstTurn => Compared::FirstTurn,
        };
        let mut steps = vec![Step::ExactDuplicates {
            compare,
            normalise: true,
        }];
        match self.simhash {
            Some(distance) => steps.push(Step::SimhashDuplicates {
                compare,
                simhash: SimHash {
                    distance,
                    ..SimHash::default()
                },
            }),
            None if self.near == 0.0 => {}
            None => steps.push(Step::NearDuplicates {
                compare,
                minhash: MinHash {
                    threshold: self.near,
                    ..MinHash::default()
                },
            }),
        }
        if !self.against.is_empty() {
            let evaluation = self.against.clone();
            steps.push(Step::Contamination(llm_data::clean::Contamination {
                evaluation,
            }));
        }
        let pipeline = Pipeline::new(&steps)?;
        let mut report = Report::new("dedup", serde_json::to_value(self)?);
        read_by(&steps, &mut report)?;
        self.job.run(&pipeline, report)
    }
}

/// Enters the files that steps read.
fn read_by(steps: &[Step], report: &mut Report) -> Result<()> {
    let mut files = steps.iter().flat_map(Step::files);
    files.try_for_each(|file| also(report, file))
}

/// Whether steps are given themselves, not a file of them.
fn is_in_place(given: &str) -> bool {
    given.trim_start().starts_with(['[', '-'])
}

impl Job {
    fn run(&self, pipeline: &Pipeline, mut report: Report) -> Result<()> {
        let records = self.files.open()?;
        let (watched, mut before) = (records.watch(), records.survey());
        let mut after = records.survey();
        let texts = OnceLock::new();
        let conversations = records.map(|record| {
            let (number, numbered) = record?;
            before.add(&numbered.record, CountTokens::No)?;
            Ok((number, conversation_of(numbered, &texts)?))
        });
        let options = StreamOptions {
            directory: self.temporary.clone(),
            ..StreamOptions::default()
        };
        let mut writer: Option<Writer> = None;
        let account = pipeline.stream(
            conversations,
            &options,
            |number, conversation: Conversation| {
                let record = match texts.get() {
                    Some(true) => Record::Text(text_of(conversation)),
                    _ => Record::Conversation(conversation),
                };
                after.add(&record, CountTokens::No)?;
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(self.files.create(seen_of(&watched).format)?),
                };
                writer.write(&record, || format!("record {number}"))
            },
        )?;
        let seen = seen_of(&watched);
        if seen.records() == 0 {
            bail!("there are no records");
        }
        let writer = match writer {
            Some(writer) => writer,
            None => self.files.create(seen.format)?,
        };
        seen.account(&mut report)?;
        say(&account)?;
        let bad = seen.bad.records;
        if bad > 0 {
            say(format_args!("left out {bad} bad records"))?;
        }
        report.cleaning.push(account);
        (report.before, report.after) = (Some(before), Some(after));
        self.files.finish(writer, &mut report)
    }
}

/// A record as a conversation; `texts` says whether all are plain texts.
fn conversation_of(numbered: Numbered<Record>, texts: &OnceLock<bool>) -> Result<Conversation> {
    let (path, format) = (numbered.path.display(), numbered.format);
    let is_text = matches!(numbered.record, Record::Text(_));
    if is_text != *texts.get_or_init(|| is_text) {
        bail!("{path}: texts and conversations cannot be cleaned together");
    }
    match numbered.record {
        Record::Conversation(conversation) => Ok(conversation),
        Record::Text(document) => Ok(said(document)),
        Record::Preference(_) => bail!("{path}: {format} records cannot be cleaned"),
    }
}

/// A plain text as what an assistant says, so that it goes through the same steps.
fn said(document: Document) -> Conversation {
    Conversation {
        id: document.id,
        extra: document.extra,
        ..Conversation::from(vec![Message::new(Role::Assistant, document.text)])
    }
}

/// The way back.
fn text_of(conversation: Conversation) -> Document {
    let mut messages = conversation.messages.into_iter();
    Document {
        id: conversation.id,
        text: messages
            .next()
            .map_or_else(String::new, |message| message.content),
        extra: conversation.extra,
    }
}
