//! Cuts bytes into the elements of a JSON array or into lines, holding one at a time.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::issue::Reason;
use crate::load::{io, newlines};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One record as it stands in the file.
#[derive(Debug)]
pub(crate) struct Row {
    /// The line where it begins, from 1; in Parquet the row.
    pub(crate) line: usize,
    pub(crate) value: std::result::Result<Value, Reason>,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not known before the first byte.
    Unknown,
    /// A JSON array; whether an element has been read.
    Array { begun: bool },
    /// A JSON value a line.
    Lines,
    /// A text a line.
    Text,
    /// All is read, or something is broken for good.
    End,
}

/// The records of one stream: a JSON array, told by its `[`, or JSONL, or lines of text.
///
/// No more than `limit` bytes are held beside the reader's own buffer.
pub(crate) struct Rows<R> {
    path: Arc<Path>,
    input: R,
    limit: usize,
    kind: Kind,
    place: Place,
    held: Vec<u8>,
}

/// Where the input has been read to.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The line, from 1.
    line: usize,
    /// The bytes of it that are read.
    column: usize,
}

impl Place {
    fn pass(&mut self, bytes: &[u8]) {
        match bytes.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => {
                self.line += newlines(bytes);
                self.column = bytes.len() - last - 1;
            }
            None => self.column += bytes.len(),
        }
    }

    /// The next byte's place.
    fn next(self) -> Self {
        Self {
            column: self.column + 1,
            ..self
        }
    }
}

fn fill<'a>(input: &'a mut impl BufRead, path: &Path) -> Result<&'a [u8]> {
    input.fill_buf().map_err(|source| io(path, source))
}

/// How an element of an array ends.
enum End {
    Comma,
    Bracket,
    Input,
}

impl<R: BufRead> Rows<R> {
    pub(crate) fn json(path: Arc<Path>, input: R, limit: usize) -> Self {
        Self {
            path,
            input,
            limit,
            kind: Kind::Unknown,
            place: Place { line: 1, column: 0 },
            held: Vec::new(),
        }
    }

    /// Lines of text, each as `{"text": line}`.
    pub(crate) fn text(path: Arc<Path>, input: R, limit: usize) -> Self {
        Self {
            kind: Kind::Text,
            ..Self::json(path, input, limit)
        }
    }

    /// The next record. An error is the last thing that comes.
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        let row = self.advance();
        if !matches!(row, Ok(Some(_))) {
            self.kind = Kind::End;
        }
        row
    }

    fn advance(&mut self) -> Result<Option<Row>> {
        if self.kind == Kind::Unknown {
            self.skip_byte_order_mark()?;
            self.kind = match self.skip_blank()? {
                Some(b'[') => {
                    self.skip();
                    Kind::Array { begun: false }
                }
                _ => Kind::Lines,
            };
        }
        match self.kind {
            Kind::Array { begun } => self.element(begun),
            Kind::Lines | Kind::Text => self.next_line(),
            Kind::Unknown | Kind::End => Ok(None),
        }
    }

    /// A mark may arrive in pieces; a file that begins with a part of one is no UTF-8.
    fn skip_byte_order_mark(&mut self) -> Result<()> {
        for &expected in BYTE_ORDER_MARK {
            if fill(&mut self.input, &self.path)?.first() != Some(&expected) {
                break;
            }
            self.input.consume(1);
        }
        Ok(())
    }

    /// Skips white space; gives the byte after it.
    fn skip_blank(&mut self) -> Result<Option<u8>> {
        loop {
            let buffer = fill(&mut self.input, &self.path)?;
            let blank = buffer.iter().take_while(|byte| is_blank(**byte)).count();
            let (first, end) = (buffer.get(blank).copied(), buffer.is_empty());
            self.place.pass(&buffer[..blank]);
            self.input.consume(blank);
            if first.is_some() || end {
                return Ok(first);
            }
        }
    }

    /// Consumes the one byte that has been looked at, which is no line's end.
    fn skip(&mut self) {
        self.place = self.place.next();
        self.input.consume(1);
    }

    fn element(&mut self, begun: bool) -> Result<Option<Row>> {
        let next = self.skip_blank()?;
        if next == Some(b']') && !begun {
            return self.close();
        }
        self.kind = Kind::Array { begun: true };
        let start = self.place;
        let line = start.line;
        let (end, fits) = self.collect()?;
        while self.held.last().is_some_and(|byte| is_blank(*byte)) {
            self.held.pop();
        }
        let row = if !fits {
            let value = Err(Reason::TooLong { limit: self.limit });
            Row { line, value }
        } else if self.held.is_empty() && !matches!(end, End::Input) {
            return Err(self.broken(start.next(), "expected value"));
        } else if self.held.is_empty() {
            return Err(self.broken(start, "EOF while parsing a list"));
        } else {
            self.parse(start)?
        };
        match end {
            End::Comma => {
                self.skip();
                // What follows a comma is an element, so a bracket there is one comma too many.
                if self.skip_blank()? == Some(b']') {
                    return Err(self.broken(self.place.next(), "trailing comma"));
                }
            }
            End::Bracket => {
                self.close()?;
                self.kind = Kind::End;
            }
            End::Input => {
                return Err(self.broken(self.place, "EOF while parsing a list"));
            }
        }
        Ok(Some(row))
    }

    /// Reads up to the comma or bracket behind an element, which stays; whether it is in the limit.
    fn collect(&mut self) -> Result<(End, bool)> {
        self.held.clear();
        let (mut depth, mut in_string, mut escaped, mut fits) = (0_usize, false, false, true);
        loop {
            let limit = self.limit;
            let buffer = fill(&mut self.input, &self.path)?;
            if buffer.is_empty() {
                return Ok((End::Input, fits));
            }
            let end = buffer.iter().position(|&byte| {
                if escaped {
                    escaped = false;
                } else if in_string {
                    escaped = byte == b'\\';
                    in_string = byte != b'"';
                } else {
                    match byte {
                        b'"' => in_string = true,
                        b'[' | b'{' => depth += 1,
                        b',' | b']' if depth == 0 => return true,
                        b']' | b'}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
                false
            });
            let part = &buffer[..end.unwrap_or(buffer.len())];
            fits &= self.held.len() + part.len() <= limit;
            if fits {
                self.held.extend_from_slice(part);
            } else {
                self.held = Vec::new();
            }
            let last = end.map(|end| buffer[end]);
            self.place.pass(part);
            let used = part.len();
            self.input.consume(used);
            match last {
                Some(b',') => return Ok((End::Comma, fits)),
                Some(_) => return Ok((End::Bracket, fits)),
                None => {}
            }
        }
    }

    /// Reads the array's bracket, behind which nothing may follow.
    fn close(&mut self) -> Result<Option<Row>> {
        self.skip();
        match self.skip_blank()? {
            None => Ok(None),
            Some(_) => Err(self.broken(self.place.next(), "trailing characters")),
        }
    }

    /// Parses the held element. What is no JSON at all breaks the array, since nobody knows where
    /// the element ends; what is JSON that the parser refuses (too deep, half a surrogate pair)
    /// is one bad record.
    fn parse(&self, start: Place) -> Result<Row> {
        let line = start.line;
        let text = std::str::from_utf8(&self.held).map_err(|error| Error::NotUtf8 {
            path: self.path.to_path_buf(),
            line: line + newlines(&self.held[..error.valid_up_to()]),
        })?;
        let value = serde_json::from_str::<Value>(text);
        let value = value.map_err(|error| Reason::Syntax(in_record(&error)));
        if value.is_err()
            && let Err(error) = serde_json::from_str::<&RawValue>(text)
        {
            let before = if error.line() <= 1 { start.column } else { 0 };
            let place = Place {
                line: line + error.line().saturating_sub(1),
                column: before + error.column(),
            };
            return Err(self.broken(place, &without_place(&error)));
        }
        Ok(Row { line, value })
    }

    fn broken(&self, place: Place, reason: &str) -> Error {
        Error::Json {
            path: self.path.to_path_buf(),
            line: place.line,
            column: place.column,
            reason: reason.to_owned(),
        }
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<Row>> {
        loop {
            let line = self.place.line;
            let Some(fits) = self.read_line()? else {
                return Ok(None);
            };
            let value = if !fits {
                Err(Reason::TooLong { limit: self.limit })
            } else if self.held.trim_ascii().is_empty() {
                continue;
            } else {
                match std::str::from_utf8(&self.held) {
                    Err(_) => Err(Reason::NotUtf8),
                    Ok(text) if self.kind == Kind::Text => Ok(text_row(text, line)),
                    Ok(text) => serde_json::from_str(text)
                        .map_err(|error| Reason::Syntax(in_record(&error))),
                }
            };
            return Ok(Some(Row { line, value }));
        }
    }

    /// Reads a line without its end: whether it is within the limit, or none at the input's end.
    /// The rest of a longer line is read past and forgotten.
    fn read_line(&mut self) -> Result<Option<bool>> {
        self.held.clear();
        let (mut any, mut fits) = (false, true);
        loop {
            let limit = self.limit;
            let buffer = fill(&mut self.input, &self.path)?;
            if buffer.is_empty() {
                return Ok(any.then_some(fits));
            }
            any = true;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            fits &= self.held.len() + part.len() <= limit;
            if fits {
                self.held.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.place.pass(&buffer[..used]);
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(fits));
            }
        }
    }
}

fn text_row(text: &str, line: usize) -> Value {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let mark = if line == 1 { "\u{FEFF}" } else { "" };
    let text = text.strip_prefix(mark).unwrap_or(text);
    serde_json::json!({ "text": text })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
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
    fn what_is_over_the_limit_is_read_past_without_being_held() {
        let long = "x".repeat(32 << 20);
        for text in [format!("{long}\n7"), format!("[\"{long}\",7]")] {
            let input = std::io::BufReader::new(text.as_bytes());
            let mut rows = Rows::json(Arc::from(Path::new("x")), input, 64 << 10);
            let first = rows.next().unwrap().unwrap();
            assert_eq!(first.value, Err(Reason::TooLong { limit: 64 << 10 }));
            assert!(rows.held.capacity() <= 256 << 10);
            assert_eq!(rows.next().unwrap().unwrap().value, Ok(7.into()));
            assert!(rows.next().unwrap().is_none());
        }
    }

    #[test]
    fn the_place_of_what_breaks_an_array_is_its_line_and_column() {
        let place = |text: &str| {
            let mut rows = Rows::json(Arc::from(Path::new("x")), text.as_bytes(), 1 << 20);
            loop {
                match rows.next() {
                    Ok(Some(_)) => {}
                    Err(Error::Json { line, column, .. }) => return (line, column),
                    other => panic!("{other:?}"),
                }
            }
        };
        for text in [
            "[1,\n  2 3]",
            "[1,]",
            "[,1]",
            "[1] x",
            "[1, {\"a\" 1}]",
            "[{\n\"a\": x}]",
            "[1\n\n}]",
        ] {
            let error = serde_json::from_str::<Vec<Value>>(text).unwrap_err();
            assert_eq!(place(text), (error.line(), error.column()), "{text}");
        }
    }
}
