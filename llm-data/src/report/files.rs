//! Files in a report, with their hashes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::load::io;
use crate::stream::Written;

/// A file's size and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal, as `b3sum` prints it.
    pub blake3: String,
}

/// Reads a file, some megabytes at a time, and hashes it on all cores.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn hash_file(path: impl AsRef<Path>) -> Result<FileHash> {
    /// Enough for all cores to have their part.
    const CHUNK: u64 = 4 << 20;
    let path = path.as_ref();
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).map_err(|source| io(path, source))?;
    let mut chunk = Vec::new();
    while file
        .by_ref()
        .take(CHUNK)
        .read_to_end(&mut chunk)
        .map_err(|source| io(path, source))?
        > 0
    {
        hasher.update_rayon(&chunk);
        chunk.clear();
    }
    Ok(FileHash {
        bytes: hasher.count(),
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

/// A file that was read or written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportFile {
    /// Its path, as it was given.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 in hexadecimal, as `b3sum` prints it.
    pub blake3: String,
    /// Records in it, bad ones counted; none where it holds no records, such as a list of phrases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<usize>,
    /// Records that lost something when they were written, by [what it is](crate::Loss::key); one
    /// counts under all that it lost.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub losses: BTreeMap<String, usize>,
    /// Records for which its format has no place, by what they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, usize>,
}

impl ReportFile {
    /// A file as it is now, with so many records.
    ///
    /// # Errors
    /// Those of [`hash_file`].
    pub fn of(path: impl AsRef<Path>, records: Option<usize>) -> Result<Self> {
        let FileHash { bytes, blake3 } = hash_file(&path)?;
        Ok(Self {
            path: path.as_ref().to_string_lossy().into_owned(),
            bytes,
            blake3,
            records,
            ..Self::default()
        })
    }

    /// A file that a [`RecordWriter`](crate::RecordWriter) has finished.
    ///
    /// # Errors
    /// Those of [`hash_file`].
    pub fn written(path: impl AsRef<Path>, written: &Written) -> Result<Self> {
        let losses = written.losses.iter();
        let left_out = written.left_out.iter();
        Ok(Self {
            losses: losses.map(|(loss, &n)| (loss.to_string(), n)).collect(),
            left_out: left_out.map(|(&what, &n)| (what.to_owned(), n)).collect(),
            ..Self::of(path, Some(written.records))?
        })
    }
}
