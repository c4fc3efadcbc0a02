//! Reading data files: a JSON array or JSONL, told apart by the first character.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::issue::{Reason, RecordIssue};
use crate::record::{AlpacaRecord, Conversation};
use crate::sharegpt;

/// What to do about records that break the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadRecord {
    /// Read the whole file, then fail with all the problems at once.
    #[default]
    Fail,
    /// Leave the record out and report it in [`Loaded::issues`].
    Skip,
}

/// How a data file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// What to do about bad records.
    pub on_bad_record: OnBadRecord,
    /// The longest JSONL line in bytes; a longer one is a bad record and never held in memory.
    pub max_line_bytes: usize,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            on_bad_record: OnBadRecord::Fail,
            max_line_bytes: 64 << 20,
        }
    }
}

/// The records of a file and what was wrong with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The good records, in the file's order.
    pub records: Vec<T>,
    /// For each record its number in the file, from 1, bad ones counted.
    pub numbers: Vec<usize>,
    /// The problems of the records left out, the first 10 000 of them; none with
    /// [`OnBadRecord::Fail`].
    pub issues: Vec<RecordIssue>,
    /// All records left out, by the first problem's [`Reason::key`].
    pub refused: BTreeMap<&'static str, usize>,
}

/// How many problems are held; a file that is no data at all has as many as it has lines.
const MAX_ISSUES: usize = 10_000;

/// The problems of one record: field and reason.
pub(crate) type Problems = Vec<(String, Reason)>;
pub(crate) type Parse<T> = fn(&Value) -> std::result::Result<T, Problems>;

/// Reads Alpaca records from a JSON array or from JSONL, whichever the file is.
///
/// # Errors
/// [`Error::BadRecords`] with every problem in the file (unless they are skipped),
/// [`Error::Json`] or [`Error::NotUtf8`] for an array that is broken as a whole,
/// [`Error::EmptyDataset`], [`Error::Io`].
pub fn load_alpaca(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Loaded<AlpacaRecord>> {
    load(path.as_ref(), options, AlpacaRecord::from_json)
}

/// Reads ShareGPT conversations (`conversations[{from, value}]`), as [`load_alpaca`] reads
/// records.
///
/// # Errors
/// The same as [`load_alpaca`].
pub fn load_sharegpt(
    path: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<Loaded<Conversation>> {
    load(path.as_ref(), options, sharegpt::conversation)
}

pub(crate) fn load<T>(path: &Path, options: &LoadOptions, parse: Parse<T>) -> Result<Loaded<T>> {
    let _span = tracing::info_span!("load", path = %path.display()).entered();
    let mut reader = Reader::open(path, parse)?;
    match reader.first_byte()? {
        Some(b'[') => reader.array()?,
        Some(_) => reader.lines(options.max_line_bytes)?,
        None => {}
    }
    let (loaded, total) = (reader.loaded, reader.problems);
    let nothing = loaded.records.is_empty();
    if total > 0 && (options.on_bad_record == OnBadRecord::Fail || nothing) {
        return Err(Error::BadRecords {
            path: path.to_owned(),
            issues: loaded.issues,
            total,
        });
    }
    if nothing {
        return Err(Error::EmptyDataset {
            path: path.to_owned(),
        });
    }
    if total > 0 {
        tracing::warn!(path = %path.display(), problems = total, "bad records left out");
    }
    Ok(loaded)
}

struct Reader<'a, T> {
    path: &'a Path,
    file: BufReader<File>,
    parse: Parse<T>,
    /// Lines begun so far, so that this is the current line's number once it has begun.
    line: usize,
    record: usize,
    /// Problems so far, those that are not held among them.
    problems: usize,
    loaded: Loaded<T>,
}

impl<'a, T> Reader<'a, T> {
    fn open(path: &'a Path, parse: Parse<T>) -> Result<Self> {
        let file = File::open(path).map_err(|source| io(path, source))?;
        let loaded = Loaded {
            records: Vec::new(),
            numbers: Vec::new(),
            issues: Vec::new(),
            refused: BTreeMap::new(),
        };
        Ok(Self {
            path,
            file: BufReader::new(file),
            parse,
            line: 1,
            record: 0,
            problems: 0,
            loaded,
        })
    }

    /// Skips a byte-order mark and white space, counting lines; gives the first byte after them.
    fn first_byte(&mut self) -> Result<Option<u8>> {
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        let start = self
            .file
            .fill_buf()
            .map_err(|source| io(self.path, source))?;
        if start.starts_with(BYTE_ORDER_MARK) {
            self.file.consume(BYTE_ORDER_MARK.len());
        }
        loop {
            let buffer = self
                .file
                .fill_buf()
                .map_err(|source| io(self.path, source))?;
            let blank = buffer
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            let first = buffer.get(blank).copied();
            let end = buffer.is_empty();
            self.line += buffer[..blank]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            self.file.consume(blank);
            if first.is_some() || end {
                return Ok(first);
            }
        }
    }

    fn array(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        self.file
            .read_to_end(&mut bytes)
            .map_err(|source| io(self.path, source))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Error::NotUtf8 {
            path: self.path.to_owned(),
            line: self.line + newlines(&bytes[..error.valid_up_to()]),
        })?;
        let rows: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| Error::Json {
            path: self.path.to_owned(),
            line: self.line + error.line().saturating_sub(1),
            column: error.column(),
            reason: without_place(&error),
        })?;
        let mut counted = 0;
        for row in rows {
            // RawValue borrows from `text`, so the distance is the record's place in the file.
            let start = row.get().as_ptr() as usize - text.as_ptr() as usize;
            self.line += newlines(&bytes[counted..start]);
            counted = start;
            self.take(row.get());
        }
        Ok(())
    }

    fn lines(&mut self, limit: usize) -> Result<()> {
        let mut line = Vec::new();
        loop {
            let Some(fits) = self.next_line(&mut line, limit)? else {
                return Ok(());
            };
            if !fits {
                self.record += 1;
                self.refuse(vec![(String::new(), Reason::TooLong { limit })]);
            } else if !line.trim_ascii().is_empty() {
                match std::str::from_utf8(&line) {
                    Ok(text) => self.take(text),
                    Err(_) => {
                        self.record += 1;
                        self.refuse(vec![(String::new(), Reason::NotUtf8)]);
                    }
                }
            }
            self.line += 1;
        }
    }

    /// Reads a line without its end into `line`: whether it is within `limit`, or none at the
    /// file's end. The rest of a longer line is read past and forgotten.
    fn next_line(&mut self, line: &mut Vec<u8>, limit: usize) -> Result<Option<bool>> {
        line.clear();
        let (mut any, mut fits) = (false, true);
        loop {
            let buffer = self
                .file
                .fill_buf()
                .map_err(|source| io(self.path, source))?;
            if buffer.is_empty() {
                return Ok(any.then_some(fits));
            }
            any = true;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            fits &= line.len() + part.len() <= limit;
            if fits {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.file.consume(used);
            if end.is_some() {
                return Ok(Some(fits));
            }
        }
    }

    fn take(&mut self, text: &str) {
        self.record += 1;
        let parsed = serde_json::from_str(text)
            .map_err(|error| vec![(String::new(), Reason::Syntax(in_record(&error)))])
            .and_then(|value| (self.parse)(&value));
        match parsed {
            Ok(record) => {
                self.loaded.records.push(record);
                self.loaded.numbers.push(self.record);
            }
            Err(problems) => self.refuse(problems),
        }
    }

    fn refuse(&mut self, problems: Problems) {
        let (line, record) = (self.line, self.record);
        self.problems += problems.len();
        if let Some((_, reason)) = problems.first() {
            *self.loaded.refused.entry(reason.key()).or_insert(0) += 1;
        }
        let room = MAX_ISSUES - self.loaded.issues.len();
        let issue = |(field, reason)| RecordIssue {
            line,
            record,
            field,
            reason,
        };
        let held = problems.into_iter().take(room).map(issue);
        self.loaded.issues.extend(held);
    }
}

pub(crate) fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

pub(crate) fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// The parser's message without its place, which counts from the record's start.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(place) => text[..place].to_owned(),
        None => text,
    }
}

fn in_record(error: &serde_json::Error) -> String {
    format!("{} (column {})", without_place(error), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_the_limit_is_read_past_without_being_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.jsonl");
        let mut content = vec![b'x'; 32 << 20];
        content.extend_from_slice(b"\nlast");
        std::fs::write(&path, content).unwrap();
        let mut reader = Reader::open(&path, AlpacaRecord::from_json).unwrap();
        let mut line = Vec::new();
        assert_eq!(reader.next_line(&mut line, 64 << 10).unwrap(), Some(false));
        assert!(
            line.capacity() <= 256 << 10,
            "{} bytes held",
            line.capacity()
        );
        assert_eq!(reader.next_line(&mut line, 64 << 10).unwrap(), Some(true));
        assert_eq!(line, b"last");
        assert_eq!(reader.next_line(&mut line, 64 << 10).unwrap(), None);
    }
}
