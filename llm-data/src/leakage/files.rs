//! Evaluation files in any form: JSON, JSONL, CSV, plain text.

use std::path::Path;

use crate::error::{Error, Result};
use crate::load::{LoadOptions, Loaded, io, load, newlines};

use super::texts::{EvaluationSet, Texts};

/// Reads an evaluation file, whichever its fields are: all strings of a record are its texts.
///
/// - `.json` and `.jsonl`: the elements of an array or the lines, as
///   [`load_alpaca`](crate::load_alpaca) reads them. `instruction` and `input` are one text.
/// - `.csv`: its rows, a header among them; fields in quotes may hold commas, quotes and line ends.
/// - `.txt`: its paragraphs, which empty lines divide; its lines where there is no empty one.
///
/// Records are numbered from 1; empty rows and lines do not count.
///
/// # Errors
/// [`Error::UnknownFormat`]; [`Error::UnclosedQuote`]; [`Error::BadRecords`] for JSON that is
/// broken, nested deeper than 128 levels or in lines over 64 MiB; and the others of
/// [`load_alpaca`](crate::load_alpaca).
pub fn load_evaluation(path: impl AsRef<Path>) -> Result<EvaluationSet> {
    let path = path.as_ref();
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let records = match extension.to_str() {
        Some("json" | "jsonl" | "ndjson") => {
            let Loaded {
                records, numbers, ..
            } = load(path, &LoadOptions::default(), |value| {
                Ok(Texts::from_json(&value))
            })?;
            numbers.into_iter().zip(records).collect()
        }
        Some("csv") => {
            let rows = rows(&read(path)?).map_err(|line| Error::UnclosedQuote {
                path: path.to_owned(),
                line,
            })?;
            numbered(rows)
        }
        Some("txt") => numbered(paragraphs(&read(path)?)),
        _ => {
            return Err(Error::UnknownFormat {
                path: path.to_owned(),
            });
        }
    };
    if records.is_empty() {
        return Err(Error::EmptyDataset {
            path: path.to_owned(),
        });
    }
    Ok(EvaluationSet {
        name: path.display().to_string(),
        records,
    })
}

fn numbered(records: Vec<Vec<String>>) -> Vec<(usize, Texts)> {
    let records = records.iter().map(|texts| Texts::of_prompts(texts));
    (1..).zip(records).collect()
}

/// The file without a byte-order mark.
fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| io(path, source))?;
    let text = String::from_utf8(bytes).map_err(|error| Error::NotUtf8 {
        path: path.to_owned(),
        line: 1 + newlines(&error.as_bytes()[..error.utf8_error().valid_up_to()]),
    })?;
    Ok(text.trim_start_matches('\u{FEFF}').to_owned())
}

/// The rows of a CSV file (RFC 4180) that say something; or the line of a quote that is not closed.
///
/// A quote in the middle of a field without quotes is no more than that.
fn rows(text: &str) -> std::result::Result<Vec<Vec<String>>, usize> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut opened) = (1, None);
    let mut characters = text.chars().chain(['\n']).peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if opened.is_some() => {
                if characters.next_if_eq(&'"').is_some() {
                    field.push('"');
                } else {
                    opened = None;
                }
            }
            _ if opened.is_some() => field.push(character),
            '"' if field.trim().is_empty() => opened = Some(line),
            ',' => row.push(std::mem::take(&mut field)),
            '\n' => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            _ => field.push(character),
        }
        line += usize::from(character == '\n');
    }
    rows.retain(|row| row.iter().any(|field| !field.trim().is_empty()));
    opened.map_or(Ok(rows), Err)
}

fn paragraphs(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty());
    let paragraphs: Vec<&[&str]> = paragraphs.filter(|lines| !lines.is_empty()).collect();
    match paragraphs[..] {
        [lines] => lines.iter().map(|&line| vec![line.to_owned()]).collect(),
        _ => paragraphs
            .iter()
            .map(|lines| vec![lines.join("\n")])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_hold_commas_quotes_and_line_ends() {
        let text = "question,answer\r\n\"a, \"\"b\"\"\nc\", d\n\n,\n5\" disk, \"x,y\"";
        assert_eq!(
            rows(text).unwrap(),
            [
                ["question", "answer\r"],
                ["a, \"b\"\nc", " d"],
                ["5\" disk", " x,y"],
            ]
        );
        assert_eq!(rows("a\n\n\"b\nc\n"), Err(3));
        assert_eq!(rows("a,\"\"\"\""), Ok(vec![vec!["a".into(), "\"".into()]]));
        assert_eq!(rows(" \n\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn text_is_divided_by_empty_lines_or_else_by_lines() {
        assert_eq!(paragraphs("a\nb\r\n \t\n\n\nc\n"), [["a\nb"], ["c"]]);
        assert_eq!(paragraphs("\na\nb\n\n"), [["a"], ["b"]]);
        assert!(paragraphs("\n \n").is_empty());
    }
}
