//! Reading data files: a JSON array or JSONL, told apart by the first character.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::{alpaca_record, sharegpt};
use crate::issue::{Reason, RecordIssue};
use crate::record::{AlpacaRecord, Conversation};
use crate::stream::Source;

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
    /// The longest JSONL line or element of an array in bytes; a longer one is a bad record and
    /// never held in memory.
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
pub(crate) const MAX_ISSUES: usize = 10_000;

/// The problems of one record: field and reason.
pub(crate) type Problems = Vec<(String, Reason)>;
pub(crate) type Parse<T> = fn(Value) -> std::result::Result<T, Problems>;

/// Reads Alpaca records from a JSON array or from JSONL, whichever the file is: all that
/// [`RecordReader`](crate::RecordReader) reads as [`Format::Alpaca`](crate::Format), compressed files
/// and Parquet among it. Fields that are not the record's own are passed over.
///
/// # Errors
/// [`Error::BadRecords`] with every problem in the file (unless they are skipped),
/// [`Error::Json`] or [`Error::NotUtf8`] for an array that is broken as a whole,
/// [`Error::EmptyDataset`], [`Error::Io`].
pub fn load_alpaca(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Loaded<AlpacaRecord>> {
    load(path.as_ref(), options, alpaca_record)
}

/// Reads ShareGPT conversations (`conversations[{from, value}]`), as [`load_alpaca`] reads
/// records: all that [`RecordReader`](crate::RecordReader) reads as [`Format::ShareGpt`](crate::Format).
///
/// # Errors
/// The same as [`load_alpaca`].
pub fn load_sharegpt(
    path: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<Loaded<Conversation>> {
    load(path.as_ref(), options, sharegpt)
}

pub(crate) fn load<T>(path: &Path, options: &LoadOptions, parse: Parse<T>) -> Result<Loaded<T>> {
    let _span = tracing::info_span!("load", path = %path.display()).entered();
    let mut rows = Source::open(path, false, options.max_line_bytes)?;
    let mut loaded = Loaded {
        records: Vec::new(),
        numbers: Vec::new(),
        issues: Vec::new(),
        refused: BTreeMap::new(),
    };
    // Problems so far, those that are not held among them.
    let (mut total, mut number) = (0, 0);
    while let Some(row) = rows.next()? {
        number += 1;
        let value = row.value.map_err(|reason| vec![(String::new(), reason)]);
        match value.and_then(parse) {
            Ok(record) => {
                loaded.records.push(record);
                loaded.numbers.push(number);
            }
            Err(problems) => {
                total += problems.len();
                if let Some((_, reason)) = problems.first() {
                    *loaded.refused.entry(reason.key()).or_insert(0) += 1;
                }
                let room = MAX_ISSUES - loaded.issues.len();
                let issues = issues(row.line, number, problems);
                loaded.issues.extend(issues.take(room));
            }
        }
    }
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

/// The problems of one record with its place.
pub(crate) fn issues(
    line: usize,
    record: usize,
    problems: Problems,
) -> impl Iterator<Item = RecordIssue> {
    problems
        .into_iter()
        .map(move |(field, reason)| RecordIssue {
            line,
            record,
            field,
            reason,
        })
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
