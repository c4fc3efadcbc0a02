//! Reads the files that benchmarks are published as: CSV and JSONL.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// A row, and the line it begins on, from 1.
pub(super) struct Row<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The rows of a CSV file (RFC 4180: quotes, doubled quotes, line breaks in quotes).
pub(super) fn csv(path: &Path) -> Result<Vec<Row<Vec<String>>>> {
    let text = read(path)?;
    let mut rows = Vec::new();
    let mut row = Row {
        line: 1,
        value: vec![String::new()],
    };
    let (mut line, mut quoted, mut empty) = (1, false, true);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        let field = row.value.last_mut();
        let Some(field) = field else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => (quoted, empty) = (true, false),
            ',' if !quoted => {
                row.value.push(String::new());
                empty = false;
            }
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                let next = Row {
                    line,
                    value: vec![String::new()],
                };
                let done = std::mem::replace(&mut row, next);
                if !std::mem::replace(&mut empty, true) {
                    rows.push(done);
                }
            }
            c => {
                field.push(c);
                empty = false;
            }
        }
    }
    if quoted {
        return Err(Error::Line {
            path: path.to_owned(),
            line: row.line,
            reason: "a quotation mark is not closed".to_owned(),
        });
    }
    if !empty {
        rows.push(row);
    }
    Ok(rows)
}

/// The objects of a JSONL file; empty lines are passed over.
pub(super) fn jsonl(path: &Path) -> Result<Vec<Row<Value>>> {
    let text = read(path)?;
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(line, text)| {
            let value: Value = serde_json::from_str(text).map_err(|error| Error::Line {
                path: path.to_owned(),
                line,
                reason: error.to_string(),
            })?;
            Ok(Row { line, value })
        })
        .collect()
}

/// What an error of a row names.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) path: &'a Path,
    pub(super) line: usize,
}

impl At<'_> {
    pub(super) fn error(self, field: &str, reason: impl Into<String>) -> Error {
        Error::Field {
            path: self.path.to_owned(),
            line: self.line,
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    /// A field that must be a text.
    pub(super) fn text<'v>(self, row: &'v Value, field: &str) -> Result<&'v str> {
        match row.get(field) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.error(field, format!("expected a text, got {other}"))),
            None => Err(self.error(field, "absent")),
        }
    }

    /// A field that may be absent or null.
    pub(super) fn optional<'v>(self, row: &'v Value, field: &str) -> Result<Option<&'v str>> {
        match row.get(field) {
            None | Some(Value::Null) => Ok(None),
            _ => self.text(row, field).map(Some),
        }
    }

    /// The number of a letter: A is 0.
    pub(super) fn letter(self, field: &str, letter: &str, choices: usize) -> Result<usize> {
        let mut letters = letter.trim().chars();
        let found = letters
            .next()
            .filter(|_| letters.as_str().is_empty())
            .and_then(|letter| ('A'..='Z').position(|l| l == letter))
            .filter(|index| *index < choices);
        found.ok_or_else(|| {
            self.error(
                field,
                format!("expected one of the {choices} letters, got `{letter}`"),
            )
        })
    }
}

/// The names of the files `<name><suffix>` in a directory, sorted.
pub(super) fn names(dir: &Path, suffix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        if let Some(name) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.strip_suffix(suffix))
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Those of `asked` (all where empty), each of which must be among `there`.
pub(super) fn chosen(
    what: &'static str,
    asked: &[String],
    there: Vec<String>,
) -> Result<Vec<String>> {
    if asked.is_empty() {
        return Ok(there);
    }
    match asked.iter().find(|name| !there.contains(name)) {
        Some(name) => Err(Error::UnknownName {
            what,
            name: name.clone(),
            known: there.join(", "),
        }),
        None => Ok(asked.to_vec()),
    }
}
