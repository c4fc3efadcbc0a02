//! Records of data files, one at a time.

use std::collections::VecDeque;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::find::{find_files, uncompressed};
use super::source::Source;
use crate::error::{Error, Result};
use crate::format::{Format, Record};
use crate::issue::Reason;
use crate::load::{MAX_ISSUES, Problems, issues};

/// How records are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; none: each file's is told by its first record that has one. A record before that is a bad
    /// one.
    pub format: Option<Format>,
    /// The longest line or element of an array in bytes; a longer one is a bad record and never
    /// held in memory. In Parquet, which is decoded some rows at a time, the longest record by its texts.
    pub max_record_bytes: usize,
    /// Takes conversations in any order of speakers, and empty texts: what cleaning repairs.
    pub lenient: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            max_record_bytes: 64 << 20,
            lenient: false,
        }
    }
}

/// A record and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered<T> {
    /// The file.
    pub path: Arc<Path>,
    /// The line where it begins, from 1; in Parquet the row.
    pub line: usize,
    /// The record's number in the file, from 1, bad ones counted.
    pub number: usize,
    /// The format that it was read in.
    pub format: Format,
    /// The record.
    pub record: T,
}

impl<T> Numbered<T> {
    /// An error about the record, with its file, line and number: [`Error::FileRecord`].
    pub fn error(&self, source: Error) -> Error {
        Error::FileRecord {
            path: self.path.to_path_buf(),
            line: self.line,
            record: self.number,
            source: Box::new(source),
        }
    }
}

/// Reads the records of one file or of many, one at a time, in bounded memory: a JSON array element
/// by element, JSONL line by line, Parquet page by page, plain text (`.txt`) line by line.
///
/// What a file is, its first bytes tell: gzip, Zstandard (feature `zstd`), Parquet (feature
/// `parquet`), an array, lines.
///
/// A record that breaks its format is an [`Error::BadRecords`] with all its problems, and reading
/// goes on behind it; after any other error nothing comes any more. So `?` refuses bad records, and
/// who skips them matches that variant:
///
/// ```
/// use llm_data::{Error, ReadOptions, Record, RecordReader};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data.jsonl");
/// # std::fs::write(&path, "{\"instruction\": \"q\", \"output\": \"a\"}\n{\"instruction\": \"q\"}")?;
/// let mut records = Vec::new();
/// let mut refused = Vec::new();
/// for record in RecordReader::open(path.to_str().unwrap(), ReadOptions::default())? {
///     match record {
///         Ok(numbered) => records.push(numbered.record),
///         Err(Error::BadRecords { issues, .. }) => refused.extend(issues),
///         Err(other) => return Err(other.into()),
///     }
/// }
/// assert!(matches!(&records[..], [Record::Conversation(one)] if one.messages.len() == 2));
/// assert_eq!(refused[0].to_string(), "line 2, record 2, field `output`: missing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecordReader {
    files: VecDeque<PathBuf>,
    current: Option<Current>,
    options: ReadOptions,
}

struct Current {
    path: Arc<Path>,
    rows: Source,
    format: Option<Format>,
    number: usize,
}

impl RecordReader {
    /// Reads a file, a directory or a glob: the files that [`find_files`] gives, in its order.
    ///
    /// # Errors
    /// Those of [`find_files`].
    pub fn open(pattern: &str, options: ReadOptions) -> Result<Self> {
        Ok(Self::of_files(find_files(pattern)?, options))
    }

    /// Reads these files, in this order. Each is opened when its turn comes.
    pub fn of_files(files: impl IntoIterator<Item = PathBuf>, options: ReadOptions) -> Self {
        Self {
            files: files.into_iter().collect(),
            current: None,
            options,
        }
    }

    /// Reads JSON or JSONL that is no file; errors call it `name`.
    pub fn of_reader(
        name: impl AsRef<Path>,
        reader: impl BufRead + Send + 'static,
        options: ReadOptions,
    ) -> Self {
        let path: Arc<Path> = Arc::from(name.as_ref());
        let limit = options.max_record_bytes;
        let rows = Source::of_reader(Arc::clone(&path), Box::new(reader), false, limit);
        Self {
            files: VecDeque::new(),
            current: Some(Current::new(path, rows, &options)),
            options,
        }
    }

    /// What is wrong with all records of a file, where one of them is refused anyhow: reads on behind `first`,
    /// an error of this reader's, to the file's end, and returns the problems of all bad records as one error.
    pub fn all_problems(&mut self, first: Error) -> Error {
        let Error::BadRecords {
            path,
            mut issues,
            mut total,
        } = first
        else {
            return first;
        };
        while let Some(current) = &mut self.current
            && *current.path == *path
        {
            match current.advance(self.options.lenient) {
                Ok(Some(_)) => {}
                Err(Error::BadRecords {
                    issues: more,
                    total: further,
                    ..
                }) => {
                    total += further;
                    let room = MAX_ISSUES.saturating_sub(issues.len());
                    issues.extend(more.into_iter().take(room));
                }
                Ok(None) | Err(_) => break,
            }
        }
        Error::BadRecords {
            path,
            issues,
            total,
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some(path) = self.files.pop_front() else {
            return Ok(false);
        };
        let name = path.to_string_lossy();
        let text = uncompressed(&name).ends_with(".txt")
            && matches!(self.options.format, None | Some(Format::Text));
        let rows = Source::open(&path, text, self.options.max_record_bytes)?;
        tracing::debug!(path = %path.display(), "reading");
        let mut current = Current::new(Arc::from(&*path), rows, &self.options);
        if text {
            // Whatever its first line looks like.
            current.format = Some(Format::Text);
        }
        self.current = Some(current);
        Ok(true)
    }

    fn advance(&mut self) -> Result<Option<Numbered<Record>>> {
        loop {
            if let Some(current) = &mut self.current
                && let Some(record) = current.advance(self.options.lenient)?
            {
                return Ok(Some(record));
            }
            if !self.open_next()? {
                return Ok(None);
            }
        }
    }
}

impl Current {
    fn new(path: Arc<Path>, rows: Source, options: &ReadOptions) -> Self {
        Self {
            path,
            rows,
            format: options.format,
            number: 0,
        }
    }

    fn advance(&mut self, lenient: bool) -> Result<Option<Numbered<Record>>> {
        let Some(row) = self.rows.next()? else {
            return Ok(None);
        };
        self.number += 1;
        let value = row
            .value
            .map_err(|reason| self.bad(row.line, vec![(String::new(), reason)]))?;
        let format = match self.format {
            Some(format) => format,
            None => Format::detect(&value).ok_or_else(|| {
                let found = Format::describe(&value);
                self.bad(row.line, vec![(String::new(), Reason::NoFormat { found })])
            })?,
        };
        self.format = Some(format);
        let record = Record::read(value, format, lenient);
        let record = record.map_err(|problems| self.bad(row.line, problems))?;
        Ok(Some(Numbered {
            path: Arc::clone(&self.path),
            line: row.line,
            number: self.number,
            format,
            record,
        }))
    }

    fn bad(&self, line: usize, problems: Problems) -> Error {
        Error::BadRecords {
            path: self.path.to_path_buf(),
            total: problems.len(),
            issues: issues(line, self.number, problems).collect(),
        }
    }
}

impl Iterator for RecordReader {
    type Item = Result<Numbered<Record>>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.advance().transpose();
        if !matches!(record, Some(Ok(_) | Err(Error::BadRecords { .. }))) {
            self.files.clear();
            self.current = None;
        }
        record
    }
}
