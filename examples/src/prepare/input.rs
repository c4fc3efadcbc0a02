//! The records that a command reads.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use clap::Args;
use llm_data::{
    BadRecords, Error, Format, Mixture, Numbered, ReadOptions, Record, RecordReader, Report,
    ReportFile, Stop, Survey, find_files,
};
use serde::Serialize;

/// Where records come from.
#[derive(Debug, Args, Serialize)]
pub(super) struct Input {
    /// Files, directories or globs
    #[arg(value_name = "FILES", required = true)]
    input: Vec<String>,
    /// The format [default: told by each file's first record]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Leave malformed records out and count them, instead of stopping
    #[arg(long)]
    pub(super) skip_bad: bool,
    /// Mix the FILES by these weights, one for each, instead of one behind the other
    #[arg(long, value_name = "W,W…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weights: Vec<f64>,
    /// Of the mixture
    #[arg(long, value_name = "N", default_value_t = 42)]
    mixture_seed: u64,
}

/// Warnings of bad records that are printed.
const WARNINGS: usize = 20;

/// Bytes of input from which the language of one record in 16 is told.
const MANY_BYTES: u64 = 64 << 20;

impl Input {
    /// Opens the files; `lenient` takes what cleaning repairs.
    pub(super) fn open(&self, lenient: bool) -> Result<Records> {
        let options = ReadOptions {
            format: self.from.as_deref().map(Format::by_name).transpose()?,
            lenient,
            ..ReadOptions::default()
        };
        let reader = |files: Vec<_>| RecordReader::of_files(files, options.clone());
        let (mut readers, mut bytes) = (VecDeque::new(), 0);
        for pattern in &self.input {
            let files = find_files(pattern)?;
            let sizes = files.iter().filter_map(|file| file.metadata().ok());
            bytes += sizes.map(|metadata| metadata.len()).sum::<u64>();
            match self.weights.is_empty() {
                // Each by itself, so that one may fail alone.
                true => readers.extend(files.into_iter().map(|file| reader(vec![file]))),
                false => readers.push_back(reader(files)),
            }
        }
        let source = match self.weights.len() {
            0 => Source::Behind(readers),
            weights if weights == readers.len() => {
                let weighted = readers.into_iter().zip(self.weights.iter().copied());
                let mixture =
                    Mixture::new(weighted.collect(), self.mixture_seed, Stop::AllExhausted);
                Source::Mixed(Box::new(mixture?))
            }
            weights => bail!("--weights: {weights} of them for {} FILES", readers.len()),
        };
        Ok(Records {
            source,
            bytes,
            skip_bad: self.skip_bad,
            go_on: false,
            warn_of: WARNINGS,
            seen: Arc::default(),
        })
    }
}

enum Source {
    Behind(VecDeque<RecordReader>),
    Mixed(Box<Mixture<RecordReader>>),
}

/// Records with their running number, from 1 and bad ones counted.
pub(super) struct Records {
    source: Source,
    bytes: u64,
    pub(super) skip_bad: bool,
    /// Whether a file that cannot be read further is only said.
    pub(super) go_on: bool,
    /// Bad records that are warned of, one by one.
    pub(super) warn_of: usize,
    seen: Arc<Mutex<Seen>>,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    number: usize,
    /// The records of each file.
    files: Vec<(Arc<Path>, usize)>,
    /// The bad ones among them.
    pub(super) bad: BadRecords,
    /// Files that could not be read to their end.
    pub(super) broken: usize,
    /// The format of the first record.
    pub(super) format: Option<Format>,
}

impl Records {
    /// What was read so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        seen_of(&self.seen)
    }

    /// The same for when the records themselves are elsewhere.
    pub(super) fn watch(&self) -> Arc<Mutex<Seen>> {
        Arc::clone(&self.seen)
    }

    /// A survey for these records: of many, the language of some is told.
    pub(super) fn survey(&self) -> Survey {
        Survey::languages_one_in(if self.bytes > MANY_BYTES { 16 } else { 1 })
    }

    fn advance(&mut self) -> Option<llm_data::Result<Numbered<Record>>> {
        match &mut self.source {
            Source::Mixed(mixture) => mixture.next(),
            Source::Behind(readers) => loop {
                match readers.front_mut()?.next() {
                    Some(record) => break Some(record),
                    None => readers.pop_front(),
                };
            },
        }
    }

    /// Whether there are files behind the one that cannot be read further; it is passed over.
    fn pass_over(&mut self) -> bool {
        match &mut self.source {
            Source::Behind(readers) if self.go_on => readers.pop_front().is_some(),
            _ => false,
        }
    }

    /// Ends with an error, which says all that is bad in its file.
    fn fail(&mut self, error: Error) -> Error {
        match std::mem::replace(&mut self.source, Source::Behind(VecDeque::new())) {
            Source::Behind(mut readers) => match readers.front_mut() {
                Some(reader) => reader.all_problems(error),
                None => error,
            },
            Source::Mixed(_) => error,
        }
    }
}

impl Iterator for Records {
    type Item = Result<(usize, Numbered<Record>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let record = self.advance()?;
            let mut seen = seen_of(&self.seen);
            seen.number += 1;
            match record {
                Ok(numbered) => {
                    seen.count(&numbered.path);
                    seen.format.get_or_insert(numbered.format);
                    return Some(Ok((seen.number, numbered)));
                }
                Err(Error::BadRecords {
                    path,
                    issues,
                    total,
                }) if self.skip_bad => {
                    seen.count(&path);
                    seen.bad.add(&path, &issues);
                    let warned = seen.bad.records;
                    drop(seen);
                    if warned <= self.warn_of {
                        eprintln!(
                            "warning: {}",
                            Error::BadRecords {
                                path,
                                issues,
                                total
                            }
                        );
                    } else if warned == self.warn_of + 1 {
                        eprintln!("warning: there are more bad records; the report counts them");
                    }
                }
                Err(error) => {
                    drop(seen);
                    if self.pass_over() {
                        self.seen().broken += 1;
                        eprintln!("error: {error}");
                        continue;
                    }
                    return Some(Err(self.fail(error).into()));
                }
            }
        }
    }
}

impl Seen {
    fn count(&mut self, path: &Path) {
        let same = |(file, _): &&mut (Arc<Path>, usize)| **file == *path;
        match self.files.iter_mut().rev().find(same) {
            Some((_, records)) => *records += 1,
            None => self.files.push((Arc::from(path), 1)),
        }
    }

    /// Records read, bad ones counted.
    pub(super) fn records(&self) -> usize {
        self.number
    }

    /// What a report says of them; hashes the files.
    pub(super) fn account(&self, report: &mut Report) -> Result<()> {
        let files = self.files.iter();
        let files = files.map(|(path, records)| ReportFile::of(path, Some(*records)));
        let files: Vec<ReportFile> = files.collect::<llm_data::Result<_>>()?;
        // In front of what they are judged by.
        report.inputs.splice(0..0, files);
        report.bad = self.bad.clone();
        Ok(())
    }
}

/// What was seen through [`Records::watch`].
pub(super) fn seen_of(watched: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// About the bytes that a record takes in memory.
pub(super) fn size(record: &Result<(usize, Numbered<Record>)>) -> usize {
    record
        .as_ref()
        .map_or(0, |(_, numbered)| numbered.record.size())
}

/// The files of a tokenizer.
const TOKENIZER: [&str; 4] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// Enters a file among a report's inputs that decides on the result and holds no records; of a directory the
/// prompts, or what a tokenizer is read from.
pub(super) fn also(report: &mut Report, path: &Path) -> Result<()> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let names = std::fs::read_dir(path)?;
        let names = names.map(|entry| Ok(entry?.path()));
        files = names.collect::<std::io::Result<_>>()?;
        files.retain(|file| {
            let is_prompt = file.extension().is_some_and(|end| end == "txt");
            is_prompt || TOKENIZER.iter().any(|name| file.ends_with(name))
        });
        files.sort();
    }
    for file in files {
        report.inputs.push(ReportFile::of(&file, None)?);
    }
    Ok(())
}
