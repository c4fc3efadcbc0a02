//! The conversations of data files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use llm_data::{Conversation, Error, ReadOptions, Record, RecordReader};

use crate::settings::Dataset;

/// The conversations of files, one behind the other, each with its number: that in its file, from 1 and bad
/// ones counted; further files number on from the last good one. Bad records come as errors of their own where they are to be
/// skipped; otherwise the first one ends it, with all that are bad in its file.
pub struct Conversations {
    /// What is to be read, each with its name.
    readers: VecDeque<(PathBuf, RecordReader)>,
    skip_bad: bool,
    /// Whether the first of them has had a record.
    begun: bool,
    file: Option<Arc<Path>>,
    /// Records of the files before, and the number of the last one.
    before: usize,
    last: usize,
}

impl Conversations {
    /// # Errors
    /// When there are no such files.
    pub fn open(datasets: &[Dataset], skip_bad: bool) -> Result<Self> {
        let reader = |dataset: &Dataset| {
            let options = ReadOptions {
                format: dataset.format,
                ..ReadOptions::default()
            };
            let reader = RecordReader::of_files(dataset.files()?, options);
            Ok((dataset.path.clone(), reader))
        };
        Ok(Self {
            readers: datasets.iter().map(reader).collect::<Result<_>>()?,
            skip_bad,
            begun: false,
            file: None,
            before: 0,
            last: 0,
        })
    }
}

impl Iterator for Conversations {
    type Item = Result<(usize, Conversation), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = loop {
            if let Some(record) = self.readers.front_mut()?.1.next() {
                break record;
            }
            let (path, _) = self.readers.pop_front()?;
            if !std::mem::take(&mut self.begun) {
                self.readers.clear();
                return Some(Err(Error::EmptyDataset { path }));
            }
        };
        self.begun = true;
        let numbered = match record {
            Ok(numbered) => numbered,
            Err(error @ Error::BadRecords { .. }) if self.skip_bad => return Some(Err(error)),
            Err(error) => {
                let mut readers = std::mem::take(&mut self.readers);
                return Some(Err(match readers.front_mut() {
                    Some((_, reader)) => reader.all_problems(error),
                    None => error,
                }));
            }
        };
        if self.file.as_ref() != Some(&numbered.path) {
            self.file = Some(numbered.path.clone());
            self.before = self.last;
        }
        self.last = self.before + numbered.number;
        let format = numbered.format.name();
        Some(match numbered.record {
            Record::Conversation(conversation) => Ok((self.last, conversation)),
            Record::Preference(_) | Record::Text(_) => {
                self.readers.clear();
                let path = numbered.path.to_path_buf();
                Err(Error::NoConversation { path, format })
            }
        })
    }
}
