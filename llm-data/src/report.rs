//! The account of a run: what it read, did and wrote.

mod files;
mod markdown;
mod plain;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clean::Account;
use crate::issue::{RecordIssue, count_by_reason};
use crate::stats::Statistics;
use crate::survey::Survey;

pub use files::{FileHash, ReportFile, hash_file};

/// Places of each reason that are held.
const PLACES: usize = 10;
/// Characters of a message that are held.
const MESSAGE: usize = 300;

/// What a run read, did and wrote: for a file beside its outputs, as JSON by serde and as Markdown by
/// [`to_markdown`](Self::to_markdown).
///
/// There are no times, dates or machines in it: the same command on the same files gives the same
/// bytes. The keys are described in `docs/reports.md`; keys that do not apply are absent.
///
/// ```
/// use llm_data::{CountTokens, Report, ReportFile, Survey};
/// use serde_json::json;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data.jsonl");
/// # std::fs::write(&path, "{\"instruction\": \"q\", \"output\": \"a\"}\n")?;
/// let mut report = Report::new("clean", json!({"preset": "alpaca-cleaned"}));
/// report.inputs.push(ReportFile::of(&path, Some(1))?);
/// let json = serde_json::to_string_pretty(&report)?;
/// assert_eq!(serde_json::from_str::<Report>(&json)?, report);
/// assert!(report.to_markdown().starts_with("# Report of `clean`\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of these keys: 1.
    pub schema: u32,
    /// What was run.
    pub command: String,
    /// The version of this crate.
    pub version: String,
    /// The options as they were given.
    pub options: Value,
    /// The files that were read, in their order.
    pub inputs: Vec<ReportFile>,
    /// The files that were written.
    pub outputs: Vec<ReportFile>,
    /// The records that could not be read.
    #[serde(default, skip_serializing_if = "BadRecords::is_empty")]
    pub bad: BadRecords,
    /// What each cleaning did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cleaning: Vec<Account>,
    /// What the records were like that came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Survey>,
    /// What the records are like that went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Survey>,
    /// What became of them in the template, where they were encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Statistics>,
}

/// Records that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecords {
    /// How many.
    pub records: usize,
    /// By [reason](crate::Reason::key); a record with several counts under its first one.
    pub reasons: BTreeMap<String, usize>,
    /// The first ten places of each reason.
    pub places: Vec<BadPlace>,
}

/// A problem and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadPlace {
    /// The file.
    pub file: String,
    /// The line in it, from 1, where the record begins; in Parquet the row.
    pub line: usize,
    /// The record's number, from 1.
    pub record: usize,
    /// The field; empty where the record as a whole is bad.
    pub field: String,
    /// The [reason's key](crate::Reason::key).
    pub reason: String,
    /// The reason in words.
    pub message: String,
}

impl Report {
    /// A report of `command`, to be filled.
    pub fn new(command: impl Into<String>, options: Value) -> Self {
        Self {
            schema: 1,
            command: command.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            options,
            ..Self::default()
        }
    }

    /// The report as a page of GitHub-flavoured Markdown. What comes from files is code there, in
    /// which characters that are not to be seen are spelled out: nothing of it is markup.
    pub fn to_markdown(&self) -> String {
        markdown::page(self)
    }
}

impl BadRecords {
    /// Counts the records with `issues` in a file, those of
    /// [`Error::BadRecords`](crate::Error::BadRecords).
    pub fn add(&mut self, file: &Path, issues: &[RecordIssue]) {
        for (reason, records) in count_by_reason(issues) {
            self.records += records;
            *self.reasons.entry(reason.to_owned()).or_insert(0) += records;
        }
        for issue in issues {
            let reason = issue.reason.key();
            let same = self.places.iter().filter(|place| place.reason == reason);
            if same.count() < PLACES {
                self.places.push(BadPlace {
                    file: file.to_string_lossy().into_owned(),
                    line: issue.line,
                    record: issue.record,
                    field: issue.field.chars().take(MESSAGE).collect(),
                    reason: reason.to_owned(),
                    message: issue.reason.to_string().chars().take(MESSAGE).collect(),
                });
            }
        }
    }

    /// Whether all could be read.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }
}
