//! Reading and writing files of records: one a line, or one JSON array.

use std::marker::PhantomData;
use std::path::Path;

use serde_json::{Map, Value};

use super::row::{Place, Row};
use crate::error::{Error, Result};
use crate::file::{Piece, TextFile, write_whole};

/// The records of a file, with the line on which each begins.
#[derive(Debug)]
pub struct Rows<R> {
    file: TextFile,
    left: Left,
    row: PhantomData<R>,
}

/// What is left to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Left {
    Lines,
    /// An array whose first element comes next.
    Array,
    /// The elements behind a comma.
    Elements,
    Nothing,
}

/// Opens a file of records: JSON lines, or one JSON array. One record at a time is held in memory.
/// Blank lines are skipped.
///
/// # Errors
///
/// [`Error::Io`]. The records' own errors, and those of an array that is broken, come from the
/// iterator.
pub fn read_rows<R: Row>(path: impl AsRef<Path>) -> Result<Rows<R>> {
    let mut file = TextFile::open(path.as_ref())?;
    let mut left = Left::Lines;
    if file.skip_blank()? == Some(b'[') {
        file.open_array();
        left = Left::Array;
    }
    Ok(Rows {
        file,
        left,
        row: PhantomData,
    })
}

impl<R> Rows<R> {
    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The next record's text.
    fn next_piece(&mut self) -> Result<Option<Piece>> {
        match self.left {
            Left::Nothing => Ok(None),
            Left::Lines => loop {
                let line = self.file.next_line()?;
                if line
                    .as_ref()
                    .is_none_or(|line| !line.bytes.trim_ascii().is_empty())
                {
                    return Ok(line);
                }
            },
            Left::Array | Left::Elements => {
                let first = self.left == Left::Array;
                let (piece, mark) = self.file.next_element()?;
                self.left = match mark {
                    b',' => Left::Elements,
                    _ => Left::Nothing,
                };
                let empty = first && mark == b']' && piece.bytes.is_empty();
                Ok((!empty).then_some(piece))
            }
        }
    }

    fn next_object(&mut self) -> Result<Option<(usize, Map<String, Value>)>> {
        let Some(Piece { line, bytes }) = self.next_piece()? else {
            return Ok(None);
        };
        let wrong = |line: usize, reason: String| Error::Line {
            path: self.path().to_owned(),
            line,
            reason,
        };
        match serde_json::from_slice(bytes.trim_ascii()) {
            Ok(Value::Object(object)) => Ok(Some((line, object))),
            Ok(_) => Err(wrong(line, "a record must be an object".to_owned())),
            Err(error) => {
                let cut_off = if error.is_eof() { "cut off: " } else { "" };
                let line = line + error.line().saturating_sub(1);
                Err(wrong(line, format!("{cut_off}{error}")))
            }
        }
    }
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<(usize, R)>;

    /// The next record with its line. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_object().and_then(|read| {
            let Some((line, object)) = read else {
                return Ok(None);
            };
            let path = self.path();
            Ok(Some((line, R::from_object(object, Place { path, line })?)))
        });
        if record.is_err() {
            self.left = Left::Nothing;
        }
        record.transpose()
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
    let io = Error::io(path);
    let [before, between, after] = marks;
    write_whole(path, |file| {
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
        Ok(())
    })
}
