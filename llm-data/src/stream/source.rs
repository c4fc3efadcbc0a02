//! Opening a data file, whatever it is compressed with.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::scan::{Row, Rows};
#[cfg(any(not(feature = "zstd"), not(feature = "parquet")))]
use crate::error::Error;
use crate::error::Result;
use crate::load::io;

/// What a file's first bytes say.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const PARQUET: &[u8] = b"PAR1";

/// The bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// The rows of one file.
pub(crate) enum Source {
    Bytes(Rows<Box<dyn BufRead + Send>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<super::parquet::ParquetRows>),
}

impl Source {
    /// Opens a file: gzip, Zstandard and Parquet are told by the first bytes. With `text` it is
    /// lines of text.
    pub(crate) fn open(path: &Path, text: bool, limit: usize) -> Result<Self> {
        let file = File::open(path).map_err(|source| io(path, source))?;
        let mut file = BufReader::with_capacity(BUFFER, file);
        let start = file.fill_buf().map_err(|source| io(path, source))?;
        if start.is_empty() && path.extension().is_some_and(never_empty) {
            let source = std::io::Error::new(ErrorKind::UnexpectedEof, "the file is empty");
            return Err(io(path, source));
        }
        let name: Arc<Path> = Arc::from(path);
        let bytes: Box<dyn BufRead + Send> = if start.starts_with(GZIP) {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
        } else if start.starts_with(ZSTD) {
            zstd(path, file)?
        } else if start.starts_with(PARQUET) {
            return parquet(path, limit);
        } else {
            Box::new(file)
        };
        Ok(Self::of_reader(name, bytes, text, limit))
    }

    pub(crate) fn of_reader(
        name: Arc<Path>,
        bytes: Box<dyn BufRead + Send>,
        text: bool,
        limit: usize,
    ) -> Self {
        Self::Bytes(if text {
            Rows::text(name, bytes, limit)
        } else {
            Rows::json(name, bytes, limit)
        })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        match self {
            Self::Bytes(rows) => rows.next(),
            #[cfg(feature = "parquet")]
            Self::Parquet(rows) => rows.next(),
        }
    }
}

/// Whether files with this end have bytes where they have no records.
fn never_empty(end: &OsStr) -> bool {
    ["gz", "zst", "parquet"].iter().any(|&known| end == known)
}

#[cfg(feature = "zstd")]
fn zstd(_path: &Path, file: BufReader<File>) -> Result<Box<dyn BufRead + Send>> {
    let frames = super::zstd::Frames::new(file);
    Ok(Box::new(BufReader::with_capacity(BUFFER, frames)))
}

#[cfg(not(feature = "zstd"))]
fn zstd(path: &Path, _file: BufReader<File>) -> Result<Box<dyn BufRead + Send>> {
    Err(needs(path, "zstd"))
}

#[cfg(feature = "parquet")]
fn parquet(path: &Path, limit: usize) -> Result<Source> {
    let rows = super::parquet::ParquetRows::open(path, limit)?;
    Ok(Source::Parquet(Box::new(rows)))
}

#[cfg(not(feature = "parquet"))]
fn parquet(path: &Path, _limit: usize) -> Result<Source> {
    Err(needs(path, "parquet"))
}

#[cfg(any(not(feature = "zstd"), not(feature = "parquet")))]
fn needs(path: &Path, feature: &'static str) -> Error {
    Error::Feature {
        path: path.to_owned(),
        feature,
    }
}
