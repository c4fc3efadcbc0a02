//! The records of a run: read, held out, encoded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use llm_core::Checkpoint;
use llm_data::{
    AlpacaRecord, Conversation, EncodedSet, Encoder, EvaluationSet, Leakage, LoadOptions, Loaded,
    Message, Role, Sample, Tokenizer, find_leakage, load_alpaca, load_evaluation, load_sharegpt,
    split,
};

use crate::cli;
use crate::settings::{DataFormat, Dataset, Settings};

/// Records and what they are encoded to, and those of them that are held out.
pub struct Records {
    /// What encodes them.
    pub encoder: Encoder,
    /// The records that are trained on.
    pub records: Vec<AlpacaRecord>,
    /// Their samples.
    pub train: EncodedSet,
    /// The number of each record in its file, from 1; further files number on.
    pub numbers: Vec<usize>,
    /// The samples of the held-out records.
    pub validation: Vec<Sample>,
    /// The held-out records.
    pub held_out: Vec<AlpacaRecord>,
    /// The number of each of them in its file, from 1.
    pub held_out_numbers: Vec<usize>,
    /// What should be said of them.
    pub warnings: Vec<String>,
}

impl Records {
    /// Reads and encodes what the settings name, for the tokenizer of a checkpoint.
    pub fn load(settings: &Settings, checkpoint: &Checkpoint) -> Result<Self> {
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        tokenizer.check_embeddings(checkpoint.config().vocab_size)?;
        let template = cli::template(settings.template.as_deref(), &tokenizer)?;
        let encoder = Encoder::new(tokenizer, template, settings.encoding())?;
        let loaded = read(&settings.datasets(), &settings.loading())?;
        let share = settings.held_out_share(loaded.records.len())?;
        let (train, held_out) = split(loaded.records.len(), share, settings.seed);
        let number = |index: &usize| loaded.numbers[*index];
        let numbers: Vec<usize> = train.iter().map(number).collect();
        let records = choose(&loaded.records, &train);
        let train = encoder.encode_all(&records);
        let mut train = train.map_err(|error| error.with_numbers(&numbers))?;
        train.statistics.add_refused(&loaded.refused);
        let test = settings.test_datasets();
        let (held_out, held_out_numbers) = match test.is_empty() {
            true => {
                let numbers = held_out.iter().map(number).collect();
                (choose(&loaded.records, &held_out), numbers)
            }
            false => {
                let test = read(&test, &settings.loading())?;
                (test.records, test.numbers)
            }
        };
        let mut warnings = Vec::new();
        if held_out.is_empty() && settings.eval_steps.is_some() {
            warnings.push("eval_steps has no effect: no record is held out".to_owned());
        }
        let validation = match held_out.is_empty() {
            true => Vec::new(),
            false => match encoder.encode_all(&held_out) {
                Ok(set) => set.samples,
                Err(llm_data::Error::NothingLeft { .. }) => {
                    warnings
                        .push("no held-out record can be encoded; there is no evaluation".into());
                    Vec::new()
                }
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self {
            encoder,
            records,
            train,
            numbers,
            validation,
            held_out,
            held_out_numbers,
            warnings,
        })
    }

    /// The numbers of the records, in their files, of which these are the samples.
    pub fn numbers_of(&self, samples: &[usize]) -> Vec<usize> {
        let number = |sample: &usize| self.numbers[self.train.records[*sample]];
        samples.iter().map(number).collect()
    }

    /// What the training records share with the held-out ones and with the records of other files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn leakage(&self, files: &[PathBuf]) -> Result<Leakage> {
        let held_out = self.held_out_numbers.iter().copied().zip(&self.held_out);
        let mut sets = vec![EvaluationSet::new("held out", held_out)];
        for file in files {
            sets.push(load_evaluation(file)?);
        }
        let training = self.numbers.iter().copied().zip(&self.records);
        Ok(find_leakage(training, &sets))
    }

    /// The share of the samples whose last supervised token ends the answer.
    pub fn ended_share(&self) -> f64 {
        let samples = &self.train.samples;
        let ended = match self.encoder.stop_strings().is_empty() {
            true => samples
                .iter()
                .filter(|sample| self.is_ended(sample))
                .count(),
            // The end is written in several tokens; only what was cut lacks it.
            false => samples.len() - self.train.statistics.cut.answer,
        };
        ended as f64 / samples.len().max(1) as f64
    }

    fn is_ended(&self, sample: &Sample) -> bool {
        let mut supervised = sample.labels.iter().rev().filter(|label| **label >= 0);
        let last = supervised
            .next()
            .and_then(|label| u32::try_from(*label).ok());
        last.is_some_and(|last| self.encoder.stop_ids().contains(&last))
    }
}

/// The records of all files, one behind the other.
fn read(files: &[Dataset], options: &LoadOptions) -> Result<Loaded<AlpacaRecord>> {
    let mut all = Loaded {
        records: Vec::new(),
        numbers: Vec::new(),
        issues: Vec::new(),
        refused: BTreeMap::new(),
    };
    for file in files {
        let (records, numbers, refused) = match file.format {
            DataFormat::Alpaca => {
                let loaded = load_alpaca(&file.path, options)?;
                let records = loaded.records.into_iter().map(Some).collect::<Vec<_>>();
                (records, loaded.numbers, loaded.refused)
            }
            DataFormat::Sharegpt => {
                let loaded = load_sharegpt(&file.path, options)?;
                let records = loaded.records.iter().map(as_record).collect();
                (records, loaded.numbers, loaded.refused)
            }
        };
        let before = all.numbers.last().copied().unwrap_or(0);
        for (number, record) in numbers.into_iter().zip(records) {
            if let Some(record) = record {
                all.numbers.push(before + number);
                all.records.push(record);
            }
        }
        for (reason, count) in refused {
            *all.refused.entry(reason).or_insert(0) += count;
        }
    }
    Ok(all)
}

/// A conversation as a record with its history: the same dialogue.
fn as_record(conversation: &Conversation) -> Option<AlpacaRecord> {
    let messages = &conversation.messages[..];
    let (system, messages) = match messages {
        [first, rest @ ..] if first.role == Role::System => (Some(first.content.clone()), rest),
        all => (None, all),
    };
    let turn = |turn: &[Message]| (turn[0].content.clone(), turn[1].content.clone());
    let mut history: Vec<(String, String)> = messages.chunks_exact(2).map(turn).collect();
    let (instruction, output) = history.pop()?;
    Some(AlpacaRecord {
        instruction,
        input: String::new(),
        output,
        system,
        history,
    })
}

fn choose(records: &[AlpacaRecord], indices: &[usize]) -> Vec<AlpacaRecord> {
    let record = |index: &usize| records[*index].clone();
    indices.iter().map(record).collect()
}
