//! Files: read with bounded memory, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The longest line, or element of an array, that is read, in bytes.
pub(crate) const MAX_PIECE: usize = 64 << 20;

/// A text file without its byte order mark, read piece by piece.
#[derive(Debug)]
pub(crate) struct TextFile {
    path: PathBuf,
    reader: BufReader<File>,
    /// The line that is read next, from 1.
    line: usize,
}

/// What is read at once, and the line on which it begins, from 1.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) line: usize,
    pub(crate) bytes: Vec<u8>,
}

impl TextFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = Error::io(path);
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        if reader.fill_buf().map_err(io)?.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            line: 1,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, source: std::io::Error) -> Error {
        Error::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn error(&self, line: usize, reason: impl Into<String>) -> Error {
        Error::Line {
            path: self.path.clone(),
            line,
            reason: reason.into(),
        }
    }

    /// Passes over white space; the byte behind it, which is still to be read.
    pub(crate) fn skip_blank(&mut self) -> Result<Option<u8>> {
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(source) => return Err(self.io(source)),
            };
            let blank = buffer
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            self.line += newlines(&buffer[..blank]);
            let (next, ended) = (buffer.get(blank).copied(), buffer.is_empty());
            self.reader.consume(blank);
            if next.is_some() || ended {
                return Ok(next);
            }
        }
    }

    /// The next line, with what ends it; `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> Result<Option<Piece>> {
        let (line, mut bytes) = (self.line, Vec::new());
        let mut limited = self.reader.by_ref().take(MAX_PIECE as u64 + 1);
        if let Err(source) = limited.read_until(b'\n', &mut bytes) {
            return Err(self.io(source));
        }
        if bytes.len() > MAX_PIECE {
            return Err(self.error(line, format!("a line of more than {MAX_PIECE} bytes")));
        }
        self.line += 1;
        Ok((!bytes.is_empty()).then_some(Piece { line, bytes }))
    }

    /// Passes over the bracket that opens an array.
    pub(crate) fn open_array(&mut self) {
        self.reader.consume(1);
    }

    /// What stands before the next comma or closing bracket of an array, and which of them it is. At the
    /// bracket nothing but white space may follow.
    pub(crate) fn next_element(&mut self) -> Result<(Piece, u8)> {
        self.skip_blank()?;
        let (line, mut bytes) = (self.line, Vec::new());
        let mut scan = Scan::default();
        let mark = loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(source) => return Err(self.io(source)),
            };
            if buffer.is_empty() {
                return Err(self.error(self.line, "cut off within an array"));
            }
            let end = buffer.iter().position(|byte| scan.ends_at(*byte));
            let used = end.unwrap_or(buffer.len());
            let mark = end.map(|end| buffer[end]);
            bytes.extend_from_slice(&buffer[..used]);
            self.line += newlines(&buffer[..used]);
            self.reader.consume(used + usize::from(mark.is_some()));
            if bytes.len() > MAX_PIECE {
                return Err(self.error(line, format!("a record of more than {MAX_PIECE} bytes")));
            }
            if let Some(mark) = mark {
                break mark;
            }
        };
        if mark == b']' && self.skip_blank()?.is_some() {
            return Err(self.error(self.line, "something follows the array"));
        }
        Ok((Piece { line, bytes }, mark))
    }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// How deep in JSON a place is.
#[derive(Default)]
struct Scan {
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Scan {
    /// Whether the byte ends an element of the outermost array.
    fn ends_at(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = self.quoted,
            b'"' => self.quoted = !self.quoted,
            _ if self.quoted => {}
            b',' | b']' if self.depth == 0 => return true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// Writes a file under another name beside its place, and renames it when all of it is on the disk; an
/// error leaves nothing behind, and what was there before as it was.
pub(crate) fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let io = Error::io(path);
    let (file, temporary) = Temporary::create(path)?;
    let mut out = BufWriter::new(file);
    content(&mut out)?;
    let file = out.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    fs::rename(&temporary.0, path).map_err(io)
}

/// A file of no other writer's, removed unless it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn create(path: &Path) -> Result<(File, Self)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 0;
        loop {
            let name = format!(".{name}.{}.{number}.tmp", std::process::id());
            let temporary = path.with_file_name(name);
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok((file, Self(temporary))),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(Error::io(path)(source)),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Absent once it has its name.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_error_leaves_what_was_there_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        fs::write(&path, "old").unwrap();
        let failed = write_whole(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(Error::Empty { path: path.clone() })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_writers_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        write_whole(&path, |out| {
            out.write_all(b"outer").unwrap();
            write_whole(&path, |out| {
                out.write_all(b"inner").unwrap();
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "outer");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let plain = dir.path().join("plain");
            fs::write(&plain, "").unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&path), mode(&plain));
        }
    }
}
