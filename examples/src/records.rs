//! The records of a run: read, held out, encoded.

use std::path::PathBuf;

use anyhow::Result;
use llm_core::Checkpoint;
use llm_data::{
    Conversation, EncodedSet, Encoder, Error, EvaluationSet, Leakage, OnBadRecord, Prepared,
    PreparedKey, Sample, Samples, Statistics, Tokenizer, find_leakage, load_evaluation, split,
};

use crate::cli;
use crate::conversations::Conversations;
use crate::settings::{BadRecords, Dataset, Settings};

/// Records and what they are encoded to, and those of them that are held out.
pub struct Records {
    /// What encodes them.
    pub encoder: Encoder,
    /// The samples that are trained on; they may still be encoded.
    pub train: Prepared,
    /// The samples of the held-out records.
    pub validation: Vec<Sample>,
    /// The held-out records, each with its number in its file, from 1; further files number on.
    pub held_out: Vec<(usize, Conversation)>,
    /// What should be said of them.
    pub warnings: Vec<String>,
    source: Source,
    /// How many samples are looked at before training: all, unless training does not wait for all.
    window: usize,
}

impl Records {
    /// Reads and encodes what the settings name, for the tokenizer of a checkpoint. Training records are
    /// encoded on a thread of their own, or were before.
    pub fn load(settings: &Settings, checkpoint: &Checkpoint) -> Result<Self> {
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        tokenizer.check_embeddings(checkpoint.config().vocab_size)?;
        let template = cli::template(settings.template.as_deref(), &tokenizer)?;
        let encoder = Encoder::new(tokenizer, template, settings.encoding())?;
        let mut source = Source::new(settings)?;
        let held_out = match settings.test_datasets() {
            test if !test.is_empty() => good(&test, source.skip_bad)?,
            _ => source.hold_out(settings)?,
        };
        let mut warnings = Vec::new();
        if held_out.is_empty() && settings.eval_steps.is_some() {
            warnings.push("eval_steps has no effect: no record is held out".to_owned());
        }
        let validation = match held_out.is_empty() {
            true => Vec::new(),
            false => match encode(&encoder, &held_out) {
                Ok(set) => set.samples,
                Err(Error::NothingLeft { .. }) => {
                    warnings
                        .push("no held-out record can be encoded; there is no evaluation".into());
                    Vec::new()
                }
                Err(error) => return Err(error.into()),
            },
        };
        let train = source.prepare(settings, &encoder)?;
        let records = Self {
            encoder,
            train,
            validation,
            held_out,
            warnings,
            source,
            window: settings.shuffle_window.unwrap_or(usize::MAX),
        };
        records.train.wait_for(records.window)?;
        Ok(records)
    }

    /// What became of the training records; none while they are still encoded and nobody waits for them.
    pub fn statistics(&self) -> Result<Option<Statistics>> {
        Ok(match self.train.wait_for(self.window)?.all {
            true => Some(self.train.statistics()?),
            false => None,
        })
    }

    /// The numbers of the records, in their files, of which these are the samples.
    pub fn numbers_of(&self, samples: &[usize]) -> Vec<usize> {
        let number = |sample: &usize| self.train.record(*sample).ok();
        samples.iter().filter_map(number).collect()
    }

    /// What the training records share with the held-out ones and with the records of other files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn leakage(&self, files: &[PathBuf]) -> Result<Leakage> {
        let held_out = self.held_out.iter();
        let held_out = held_out.map(|(number, record)| (*number, record));
        let mut sets = vec![EvaluationSet::new("held out", held_out)];
        for file in files {
            sets.push(load_evaluation(file)?);
        }
        if self.held_out.is_empty() && files.is_empty() {
            return Ok(find_leakage(Vec::<(usize, &Conversation)>::new(), &sets));
        }
        let training = self.source.training()?.filter_map(Result::ok);
        Ok(find_leakage(training, &sets))
    }

    /// The share of the tokens that carry loss, and that of the samples whose last such token ends the answer.
    pub fn shares(&self) -> Result<(f64, f64)> {
        let count = self.train.wait_for(self.window)?.count.min(self.window);
        let (mut tokens, mut supervised, mut ended) = (0, 0, 0);
        for index in 0..count {
            let sample = self.train.get(index)?;
            tokens += sample.input_ids.len();
            supervised += sample.supervised_tokens();
            ended += usize::from(self.is_ended(&sample));
        }
        // Where the end is written in several tokens, only what was cut lacks it.
        if let (false, Some(all)) = (self.encoder.stop_strings().is_empty(), self.statistics()?) {
            ended = all.kept - all.cut.answer;
        }
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        Ok((share(supervised, tokens), share(ended, count)))
    }

    fn is_ended(&self, sample: &Sample) -> bool {
        if !self.encoder.stop_strings().is_empty() {
            return true;
        }
        let mut supervised = sample.labels.iter().rev().filter(|label| **label >= 0);
        let last = supervised
            .next()
            .and_then(|label| u32::try_from(*label).ok());
        last.is_some_and(|last| self.encoder.stop_ids().contains(&last))
    }
}

/// Where the training records come from.
struct Source {
    datasets: Vec<Dataset>,
    skip_bad: bool,
    /// The records that are held out, by their place among the good ones.
    held_out: Vec<usize>,
}

impl Source {
    fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            datasets: settings.datasets(),
            skip_bad: settings.on_bad_record == BadRecords::Skip,
            held_out: Vec::new(),
        })
    }

    /// Chooses the records to hold out, and reads them. Takes a pass over the files to count them, which
    /// nobody needs who holds nothing out.
    fn hold_out(&mut self, settings: &Settings) -> Result<Vec<(usize, Conversation)>> {
        if settings.validation_share == 0.0 {
            return Ok(Vec::new());
        }
        let mut count = 0;
        for record in Conversations::open(&self.datasets, self.skip_bad)? {
            match record {
                Ok(_) => count += 1,
                Err(Error::BadRecords { .. }) if self.skip_bad => {}
                Err(error) => return Err(error.into()),
            }
        }
        let share = settings.held_out_share(count)?;
        self.held_out = split(count, share, settings.seed).1;
        let mut wanted = self.held_out.iter().copied().peekable();
        let all = Conversations::open(&self.datasets, self.skip_bad)?.filter_map(Result::ok);
        let chosen = all.enumerate().filter_map(|(place, record)| {
            wanted.next_if_eq(&place)?;
            Some(record)
        });
        Ok(chosen.collect())
    }

    /// The training records, and the errors among them.
    fn training(
        &self,
    ) -> Result<impl Iterator<Item = llm_data::Result<(usize, Conversation)>> + Send + use<>> {
        let mut held_out = self.held_out.clone().into_iter().peekable();
        let mut place = 0;
        let all = Conversations::open(&self.datasets, self.skip_bad)?;
        Ok(all.filter(move |record| {
            if record.is_err() {
                return true;
            }
            place += 1;
            held_out.next_if_eq(&(place - 1)).is_none()
        }))
    }

    /// The samples of the training records: of an earlier run, or on their way.
    fn prepare(&self, settings: &Settings, encoder: &Encoder) -> Result<Prepared> {
        let dir = settings.dataset_prepared_path.as_deref();
        let mut key = PreparedKey::new(encoder)
            .text("held out", &format!("{:?}", self.held_out))
            .text("skip", &self.skip_bad.to_string());
        if let Some(dir) = dir {
            for dataset in &self.datasets {
                key = key.text("format", dataset.format.map_or("", |format| format.name()));
                for file in dataset.files()? {
                    key = key.file(file)?;
                }
            }
            if let Some(prepared) = Prepared::open(dir, &key)? {
                return Ok(prepared);
            }
        }
        let on_bad_record = match self.skip_bad {
            true => OnBadRecord::Skip,
            false => OnBadRecord::Fail,
        };
        let records = self.training()?;
        Ok(Prepared::encode(
            dir,
            &key,
            encoder,
            records,
            on_bad_record,
        )?)
    }
}

/// All good records of files.
fn good(datasets: &[Dataset], skip_bad: bool) -> Result<Vec<(usize, Conversation)>> {
    let all = Conversations::open(datasets, skip_bad)?;
    let all = all.filter(|record| !(skip_bad && matches!(record, Err(Error::BadRecords { .. }))));
    Ok(all.collect::<llm_data::Result<_>>()?)
}

fn encode(encoder: &Encoder, records: &[(usize, Conversation)]) -> llm_data::Result<EncodedSet> {
    let numbers: Vec<usize> = records.iter().map(|(number, _)| *number).collect();
    let conversations: Vec<Conversation> =
        records.iter().map(|(_, record)| record.clone()).collect();
    let set = encoder.encode_conversations(&conversations);
    set.map_err(|error| error.with_numbers(&numbers))
}
