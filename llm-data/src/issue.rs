//! What can be wrong with one record of a data file.

use std::collections::BTreeMap;
use std::fmt;

use crate::format::Format;

/// One problem of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordIssue {
    /// The line in the file, from 1: where the record begins; in Parquet the row.
    pub line: usize,
    /// The record's number in the file, from 1, bad ones counted.
    pub record: usize,
    /// The field, such as `output` or `history[2][0]`; empty where the record as a whole is bad.
    pub field: String,
    /// What is wrong.
    pub reason: Reason,
}

/// Why a record is refused. [`Reason::key`] is the short name under which it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The JSON is broken: cut off, nested too deeply, no JSON at all.
    Syntax(String),
    /// The line is not UTF-8.
    NotUtf8,
    /// The line or the array's element is longer than
    /// [`LoadOptions::max_line_bytes`](crate::LoadOptions).
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A required field is absent.
    Missing,
    /// A required text is empty or only white space.
    Empty,
    /// A record in which no known format is recognized, where none was before it and none is named.
    NoFormat {
        /// The record's fields, or its type.
        found: String,
    },
    /// A value of another JSON type.
    WrongType {
        /// The type that belongs there.
        expected: &'static str,
        /// The type that is there.
        got: &'static str,
    },
    /// A role that no format knows.
    NoSuchRole(String),
    /// Two lists that belong together and are not of the same length.
    Lengths {
        /// Elements of the first.
        left: usize,
        /// Elements of the second.
        right: usize,
    },
    /// A field that there is not, much like one that there is.
    UnknownField {
        /// The field that there is.
        meant: &'static str,
    },
    /// Pygmalion: chat lines of which the first has no speaker.
    NoSpeaker,
    /// ShareGPT: the conversation begins with the assistant.
    StartsWithAssistant,
    /// ShareGPT: user and assistant do not take turns, or the last word is not the assistant's.
    OddOrder,
}

impl Reason {
    /// A short, stable name to count by.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "syntax",
            Self::NotUtf8 => "not_utf8",
            Self::TooLong { .. } => "line_too_long",
            Self::Missing => "missing_field",
            Self::Empty => "empty_field",
            Self::NoFormat { .. } => "no_format",
            Self::WrongType { .. } => "wrong_type",
            Self::NoSuchRole(_) => "unknown_role",
            Self::Lengths { .. } => "lengths_differ",
            Self::UnknownField { .. } => "unknown_field",
            Self::NoSpeaker => "no_speaker",
            Self::StartsWithAssistant => "starts_with_assistant",
            Self::OddOrder => "odd_order",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => write!(f, "{message}"),
            Self::NotUtf8 => write!(f, "not UTF-8"),
            Self::TooLong { limit } => write!(f, "longer than {limit} bytes"),
            Self::Missing => write!(f, "missing"),
            Self::Empty => write!(f, "empty"),
            Self::NoFormat { found } => {
                let known = Format::names();
                write!(f, "of no known format ({found}); name one of: {known}")
            }
            Self::WrongType { expected, got } => write!(f, "expected {expected}, got {got}"),
            Self::NoSuchRole(role) => write!(
                f,
                "unknown role {role:?}, expected human, user, gpt, assistant, system, function_call or \
                 observation"
            ),
            Self::Lengths { left, right } => {
                write!(f, "{left} elements, but {right} in its counterpart")
            }
            Self::UnknownField { meant } => write!(f, "unknown, did you mean `{meant}`?"),
            Self::NoSpeaker => write!(f, "the first line of the chat has no speaker"),
            Self::StartsWithAssistant => write!(f, "the assistant speaks first"),
            Self::OddOrder => {
                write!(f, "user and assistant must take turns, the assistant last")
            }
        }
    }
}

impl fmt::Display for RecordIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, record {}", self.line, self.record)?;
        if !self.field.is_empty() {
            write!(f, ", field `{}`", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Counts the records behind `issues` by reason; a record with several problems counts under the
/// first one.
pub fn count_by_reason(issues: &[RecordIssue]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut last = None;
    for issue in issues {
        if last != Some(issue.record) {
            *counts.entry(issue.reason.key()).or_insert(0) += 1;
        }
        last = Some(issue.record);
    }
    counts
}
