//! Writing records in a format, whole or not at all.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::{Format, Loss, Record};
use crate::load::io;
use crate::stream::reader::Numbered;

/// What to do about records that lose something in the format written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLoss {
    /// [`Error::Lossy`] or [`Error::CannotConvert`].
    #[default]
    Refuse,
    /// Write what the format has a place for, and count what is lost by kind; leave out what it has
    /// no place for at all, and count that.
    Count,
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// The format.
    pub format: Format,
    /// What to do about losses.
    pub on_loss: OnLoss,
}

/// What has been written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Records in the file.
    pub records: usize,
    /// Those that lost something, by what it is; one counts under all that it lost.
    pub losses: BTreeMap<Loss, usize>,
    /// Records left out, by what they are.
    pub left_out: BTreeMap<&'static str, usize>,
}

/// Writes records into a file: JSONL (`.jsonl`, `.ndjson`), a JSON array (`.json`), both also with
/// `.gz` behind, or Parquet (`.parquet`), as the name says.
///
/// The file appears when [`finish`](Self::finish) has written all to the disk, under another name
/// before; whatever had its name is replaced then. Without it nothing is left behind.
///
/// ```
/// use llm_data::{Format, OnLoss, ReadOptions, RecordReader, RecordWriter, WriteOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let (from, to) = (dir.path().join("a.jsonl"), dir.path().join("b.json"));
/// # std::fs::write(&from, r#"{"instruction": "q", "input": "i", "output": "a", "system": "s"}"#)?;
/// let options = WriteOptions { format: Format::ShareGpt, on_loss: OnLoss::Refuse };
/// let mut writer = RecordWriter::create(&to, options)?;
/// for record in RecordReader::open(from.to_str().unwrap(), ReadOptions::default())? {
///     writer.write_numbered(&record?)?;
/// }
/// assert_eq!(writer.finish()?.records, 1);
/// # assert!(to.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecordWriter {
    // Closed before the temporary file is removed.
    sink: Sink,
    file: Temporary,
    options: WriteOptions,
    written: Written,
}

enum Sink {
    Lines(Bytes),
    Array(Bytes),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::ParquetFile>),
}

enum Bytes {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl RecordWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Error::Option`] for a name that says nothing, [`Error::Feature`], [`Error::Io`].
    pub fn create(path: impl AsRef<Path>, options: WriteOptions) -> Result<Self> {
        let path = path.as_ref();
        let name = path.to_string_lossy();
        let (plain, gzip) = match name.strip_suffix(".gz") {
            Some(plain) => (plain, true),
            None => (&*name, false),
        };
        let is = |end: &str| plain.ends_with(end);
        let known = is(".json") || is(".jsonl") || is(".ndjson") || (is(".parquet") && !gzip);
        if !known {
            let expected =
                "a name that ends in .jsonl, .ndjson, .json (or these with .gz) or .parquet";
            return Err(Error::option("path", expected, name));
        }
        let (file, handle) = Temporary::create(path)?;
        let sink = if is(".parquet") {
            parquet(path, handle, options.format)?
        } else {
            let buffer = BufWriter::new(handle);
            let bytes = match gzip {
                true => Bytes::Gzip(GzEncoder::new(buffer, flate2::Compression::default())),
                false => Bytes::Plain(buffer),
            };
            match is(".json") {
                true => Sink::Array(bytes),
                false => Sink::Lines(bytes),
            }
        };
        Ok(Self {
            sink,
            file,
            options,
            written: Written::default(),
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// With [`OnLoss::Refuse`] [`Error::CannotConvert`] and [`Error::Lossy`], after which one may go
    /// on with the next record; [`Error::Io`], [`Error::Parquet`].
    pub fn write(&mut self, record: &Record) -> Result<()> {
        let (format, count) = (self.options.format, self.options.on_loss == OnLoss::Count);
        let (value, losses) = match record.to_json(format) {
            Ok(written) => written,
            Err(Error::CannotConvert { what, .. }) if count => {
                *self.written.left_out.entry(what).or_insert(0) += 1;
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        if !losses.is_empty() && !count {
            let names: Vec<&str> = losses.iter().map(|loss| loss.key()).collect();
            return Err(Error::Lossy {
                format: format.name(),
                losses: names.join(", "),
            });
        }
        self.put(value)?;
        self.written.records += 1;
        for loss in losses {
            *self.written.losses.entry(loss).or_insert(0) += 1;
        }
        Ok(())
    }

    /// Writes a record of a file; what is refused about it is said with its place.
    ///
    /// # Errors
    /// Those of [`write`](Self::write); what [`OnLoss::Refuse`] refuses in an [`Error::FileRecord`].
    pub fn write_numbered(&mut self, numbered: &Numbered<Record>) -> Result<()> {
        self.write(&numbered.record).map_err(|error| match error {
            Error::CannotConvert { .. } | Error::Lossy { .. } => numbered.error(error),
            other => other,
        })
    }

    fn put(&mut self, value: Value) -> Result<()> {
        let first = self.written.records == 0;
        let written = match &mut self.sink {
            Sink::Lines(bytes) => json(bytes, "", &value).and_then(|()| bytes.write_all(b"\n")),
            Sink::Array(bytes) => json(bytes, if first { "[\n" } else { ",\n" }, &value),
            #[cfg(feature = "parquet")]
            Sink::Parquet(file) => return file.write(value),
        };
        written.map_err(|source| io(&self.file.path, source))
    }

    /// Writes the end and puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`]; what had the name before is then still there.
    pub fn finish(self) -> Result<Written> {
        let Self {
            sink,
            file,
            written,
            ..
        } = self;
        let handle = match sink {
            Sink::Lines(bytes) => bytes.end("", &file.path),
            Sink::Array(bytes) => {
                let end = if written.records == 0 {
                    "[]\n"
                } else {
                    "\n]\n"
                };
                bytes.end(end, &file.path)
            }
            #[cfg(feature = "parquet")]
            Sink::Parquet(parquet) => parquet.finish(),
        }?;
        file.publish(handle)?;
        Ok(written)
    }
}

fn json(bytes: &mut Bytes, before: &str, value: &Value) -> std::io::Result<()> {
    bytes.write_all(before.as_bytes())?;
    serde_json::to_writer(bytes, value).map_err(Into::into)
}

#[cfg(feature = "parquet")]
fn parquet(path: &Path, file: File, format: Format) -> Result<Sink> {
    let file = super::parquet::ParquetFile::new(path, file, format)?;
    Ok(Sink::Parquet(Box::new(file)))
}

#[cfg(not(feature = "parquet"))]
fn parquet(path: &Path, _file: File, _format: Format) -> Result<Sink> {
    Err(Error::Feature {
        path: path.to_owned(),
        feature: "parquet",
    })
}

impl Bytes {
    fn end(mut self, end: &str, path: &Path) -> Result<File> {
        let written = self.write_all(end.as_bytes());
        let buffer = written.and_then(|()| match self {
            Self::Plain(buffer) => Ok(buffer),
            Self::Gzip(encoder) => encoder.finish(),
        });
        buffer
            .and_then(|buffer| buffer.into_inner().map_err(|error| error.into_error()))
            .map_err(|source| io(path, source))
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(file) => file.flush(),
        }
    }
}

/// A file under another name until it is whole; removed if it never is.
struct Temporary {
    path: PathBuf,
    temporary: PathBuf,
}

impl Temporary {
    fn create(path: &Path) -> Result<(Self, File)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 0;
        loop {
            let name = format!(".{name}.{}.{number}.tmp", std::process::id());
            let temporary = path.with_file_name(name);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary);
            match file {
                Ok(file) => {
                    let path = path.to_owned();
                    return Ok((Self { path, temporary }, file));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(io(&temporary, source)),
            }
        }
    }

    fn publish(self, file: File) -> Result<()> {
        let done = file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.temporary, &self.path));
        done.map_err(|source| io(&self.path, source))?;
        // The name is on the disk when the directory is. Not every system can say so.
        if let Some(Ok(directory)) = self.path.parent().map(File::open) {
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Absent once it has its name.
        let _ = std::fs::remove_file(&self.temporary);
    }
}
