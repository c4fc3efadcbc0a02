//! Reading and writing files of records: one a line, or one JSON array.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::row::{Place, Row};
use crate::error::{Error, Result};

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 64 << 20;

/// The largest JSON array that is read, in bytes.
const MAX_ARRAY: u64 = 2 << 30;

/// The records of a file, with the line on which each begins.
#[derive(Debug)]
pub struct Rows<R> {
    path: PathBuf,
    source: Source,
    row: PhantomData<R>,
}

#[derive(Debug)]
enum Source {
    Lines {
        reader: BufReader<File>,
        line: usize,
    },
    Array(std::vec::IntoIter<(usize, Map<String, Value>)>),
    Done,
}

/// Opens a file of records: JSON lines, of which one at a time is held in memory, or one JSON array.
/// Blank lines are skipped.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Line`] for an array that is broken. The records' own errors come from
/// the iterator.
pub fn read_rows<R: Row>(path: impl AsRef<Path>) -> Result<Rows<R>> {
    let path = path.as_ref().to_owned();
    let io = |source| Error::Io {
        path: path.clone(),
        source,
    };
    let mut reader = BufReader::new(File::open(&path).map_err(io)?);
    let mut line = 1;
    if reader.fill_buf().map_err(io)?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    // White space before the first record, one buffer at a time.
    loop {
        let buffer = reader.fill_buf().map_err(io)?;
        let blank = buffer
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        line += buffer[..blank]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        let first = buffer.get(blank).copied();
        let ended = buffer.is_empty();
        reader.consume(blank);
        if first == Some(b'[') {
            let records = read_array(&path, reader, line)?;
            return Ok(Rows {
                path,
                source: Source::Array(records.into_iter()),
                row: PhantomData,
            });
        }
        if first.is_some() || ended {
            return Ok(Rows {
                path,
                source: Source::Lines {
                    reader,
                    line: line - 1,
                },
                row: PhantomData,
            });
        }
    }
}

fn read_array(
    path: &Path,
    reader: impl Read,
    first: usize,
) -> Result<Vec<(usize, Map<String, Value>)>> {
    let mut text = String::new();
    let read = reader.take(MAX_ARRAY + 1).read_to_string(&mut text);
    read.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let json = |line: usize, reason: String| Error::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    if text.len() as u64 > MAX_ARRAY {
        return Err(json(
            first,
            format!("an array of more than {MAX_ARRAY} bytes"),
        ));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(&text)
        .map_err(|error| json(first + error.line() - 1, error.to_string()))?;
    let (mut line, mut counted) = (first, 0);
    let mut records = Vec::with_capacity(elements.len());
    for element in elements {
        let start = element.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text[counted..start].matches('\n').count();
        counted = start;
        let object =
            serde_json::from_str(element.get()).map_err(|error| json(line, error.to_string()))?;
        records.push((line, object));
    }
    Ok(records)
}

impl<R> Rows<R> {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn next_object(&mut self) -> Option<Result<(usize, Map<String, Value>)>> {
        let (reader, line) = match &mut self.source {
            Source::Done => return None,
            Source::Array(records) => return records.next().map(Ok),
            Source::Lines { reader, line } => (reader, line),
        };
        loop {
            let mut bytes = Vec::new();
            let read = reader
                .by_ref()
                .take(MAX_LINE as u64 + 1)
                .read_until(b'\n', &mut bytes);
            *line += 1;
            let json = |reason: String| Error::Line {
                path: self.path.clone(),
                line: *line,
                reason,
            };
            match read {
                Err(source) => {
                    return Some(Err(Error::Io {
                        path: self.path.clone(),
                        source,
                    }));
                }
                Ok(0) => return None,
                Ok(_) if bytes.len() > MAX_LINE => {
                    return Some(Err(json(format!("a line of more than {MAX_LINE} bytes"))));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => continue,
                Ok(_) => {}
            }
            let object = match serde_json::from_slice(bytes.trim_ascii()) {
                Ok(Value::Object(object)) => Ok((*line, object)),
                Ok(_) => Err(json("a record must be an object".to_owned())),
                Err(error) if error.is_eof() => Err(json(format!("cut off: {error}"))),
                Err(error) => Err(json(error.to_string())),
            };
            return Some(object);
        }
    }
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<(usize, R)>;

    /// The next record with its line. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.next_object()?;
        let record = read.and_then(|(line, object)| {
            Ok((
                line,
                R::from_object(
                    object,
                    Place {
                        path: &self.path,
                        line,
                    },
                )?,
            ))
        });
        if record.is_err() {
            self.source = Source::Done;
        }
        Some(record)
    }
}

/// Writes records as JSON lines, and nothing to `path` unless all of them could be written.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Line`] for a number that is not finite.
pub fn write_rows<'a, R: Row + 'a>(
    path: impl AsRef<Path>,
    rows: impl IntoIterator<Item = &'a R>,
) -> Result<()> {
    write(path.as_ref(), rows, ["", "\n", "\n"])
}

/// Writes records as one JSON array, as AlpacaEval keeps them, and nothing to `path` unless all of
/// them could be written.
///
/// # Errors
///
/// As [`write_rows`].
pub fn write_array<'a, R: Row + 'a>(
    path: impl AsRef<Path>,
    rows: impl IntoIterator<Item = &'a R>,
) -> Result<()> {
    write(path.as_ref(), rows, ["[\n", ",\n", "\n]\n"])
}

/// Writes what stands before, between and after the records.
fn write<'a, R: Row + 'a>(
    path: &Path,
    rows: impl IntoIterator<Item = &'a R>,
    marks: [&str; 3],
) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = BufWriter::new(File::create(&part).map_err(io)?);
    let [before, between, after] = marks;
    file.write_all(before.as_bytes()).map_err(io)?;
    let mut any = false;
    for (at, row) in rows.into_iter().enumerate() {
        let json = |error: serde_json::Error| Error::Line {
            path: path.to_owned(),
            line: at + 1,
            reason: error.to_string(),
        };
        if any {
            file.write_all(between.as_bytes()).map_err(io)?;
        }
        any = true;
        let text = serde_json::to_string(&row.to_object().map_err(json)?).map_err(json)?;
        file.write_all(text.as_bytes()).map_err(io)?;
    }
    if any || !before.is_empty() {
        file.write_all(after.as_bytes()).map_err(io)?;
    }
    let file = file.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&part, path).map_err(io)
}
