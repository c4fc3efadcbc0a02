//! Reads the files that benchmarks are published as: CSV and JSONL.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::file::TextFile;
use crate::{Error, Result};

/// The largest file that is read, in bytes: its rows are kept.
const MAX_FILE: usize = 1 << 30;

/// A row, and the line it begins on, from 1.
pub(super) struct Row<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// Reads a file line by line, what ends a line included.
fn lines(path: &Path, mut each: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
    let mut file = TextFile::open(path)?;
    let mut size = 0;
    while let Some(piece) = file.next_line()? {
        size += piece.bytes.len();
        if size > MAX_FILE {
            return Err(wrong(
                path,
                piece.line,
                format!("more than {MAX_FILE} bytes"),
            ));
        }
        let text = std::str::from_utf8(&piece.bytes);
        each(
            piece.line,
            text.map_err(|error| wrong(path, piece.line, error.to_string()))?,
        )?;
    }
    Ok(())
}

fn wrong(path: &Path, line: usize, reason: impl Into<String>) -> Error {
    Error::Line {
        path: path.to_owned(),
        line,
        reason: reason.into(),
    }
}

/// The rows of a CSV file (RFC 4180: quotes, doubled quotes, line breaks in quotes).
pub(super) fn csv(path: &Path) -> Result<Vec<Row<Vec<String>>>> {
    let mut rows = Vec::new();
    let mut parser = Csv::default();
    lines(path, |line, text| {
        rows.extend(parser.line(line, text));
        Ok(())
    })?;
    if parser.quoted {
        return Err(wrong(path, parser.start, "a quotation mark is not closed"));
    }
    rows.extend(parser.finished());
    Ok(rows)
}

/// A row of CSV that is being read.
#[derive(Default)]
struct Csv {
    /// The line on which it begins.
    start: usize,
    fields: Vec<String>,
    field: String,
    quoted: bool,
    /// Whether it has anything.
    any: bool,
}

impl Csv {
    /// Reads a line; the row that ends with it.
    fn line(&mut self, line: usize, text: &str) -> Option<Row<Vec<String>>> {
        if !self.quoted {
            self.start = line;
        }
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if self.quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    self.field.push('"');
                }
                '"' if self.quoted => self.quoted = false,
                '"' if self.field.is_empty() => (self.quoted, self.any) = (true, true),
                ',' if !self.quoted => {
                    self.fields.push(std::mem::take(&mut self.field));
                    self.any = true;
                }
                '\r' if !self.quoted && chars.peek() == Some(&'\n') => {}
                '\n' if !self.quoted => return self.finished(),
                c => {
                    self.field.push(c);
                    self.any = true;
                }
            }
        }
        None
    }

    /// The row, unless it is an empty line.
    fn finished(&mut self) -> Option<Row<Vec<String>>> {
        self.fields.push(std::mem::take(&mut self.field));
        let value = std::mem::take(&mut self.fields);
        std::mem::take(&mut self.any).then_some(Row {
            line: self.start,
            value,
        })
    }
}

/// The objects of a JSONL file; empty lines are passed over.
pub(super) fn jsonl(path: &Path) -> Result<Vec<Row<Value>>> {
    let mut rows = Vec::new();
    lines(path, |line, text| {
        if !text.trim().is_empty() {
            let value = serde_json::from_str(text.trim_end());
            let value = value.map_err(|error| wrong(path, line, error.to_string()))?;
            rows.push(Row { line, value });
        }
        Ok(())
    })?;
    Ok(rows)
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
            Some(other) => Err(self.error(field, format!("expected a text, got {}", kind(other)))),
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

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
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
