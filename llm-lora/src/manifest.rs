//! A directory's contents with their hashes: what proves that it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use llm_core::checkpoint::write_atomically;
use llm_data::{FileHash, hash_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The files of a checkpoint or of a finished run, with sizes and hashes. It is written last: a
/// directory without one, or with files that differ from it, is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Steps done.
    pub step: usize,
    /// By name.
    pub files: BTreeMap<String, FileHash>,
}

impl Manifest {
    /// Its own name.
    pub const FILE: &str = "manifest.json";

    /// Describes `names`, files of `dir`, and writes itself there.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest not be written.
    pub fn write<'a>(
        dir: &Path,
        step: usize,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in names {
            files.insert(name.to_owned(), hash_file(dir.join(name))?);
        }
        let manifest = Self { step, files };
        write_json(&dir.join(Self::FILE), &manifest)?;
        Ok(manifest)
    }

    /// Reads the manifest of a directory, if it has one, and compares every file with it.
    ///
    /// # Errors
    /// When the manifest is malformed, or a file is absent or differs.
    pub fn verify(dir: &Path) -> Result<Option<Self>> {
        let Some(manifest) = read_json::<Self>(&dir.join(Self::FILE))? else {
            return Ok(None);
        };
        for (name, expected) in &manifest.files {
            let path = plain(dir, name)?;
            let file = fs::symlink_metadata(&path).map_err(Error::io(&path))?;
            // What costs nothing first; and neither a link nor a device is read.
            if !file.is_file() || file.len() != expected.bytes || hash_file(&path)? != *expected {
                return Err(Error::Damaged { path });
            }
        }
        Ok(Some(manifest))
    }
}

/// The path of a file of `dir` itself; a manifest that names anything else is not ours.
fn plain(dir: &Path, name: &str) -> Result<PathBuf> {
    match Path::new(name).file_name() {
        Some(file) if file == name => Ok(dir.join(name)),
        _ => Err(Error::Damaged {
            path: dir.join(Manifest::FILE),
        }),
    }
}

/// Reads a small JSON file, if it is there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    /// Far more than any of these files has; a manifest of 100,000 files has 12 MB.
    const MOST: u64 = 64 << 20;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io(path)(source)),
    };
    let value = serde_json::from_reader(io::BufReader::new(file.take(MOST)));
    value.map(Some).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

/// Writes a value as JSON, complete or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    Ok(write_atomically(path, |file| writeln!(file, "{text}"))?)
}
