//! One safetensors file: its header checked, its tensors memory-mapped.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::{Error, Result};

/// Bytes of the header's length, before the header.
const LENGTH_BYTES: usize = 8;

/// A safetensors file whose header keeps every rule of the format: lengths within the file, offsets
/// in order without gap or overlap, sizes that fit shape and type, no name twice.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    metadata: Metadata,
    names: Vec<String>,
}

/// One tensor of a file.
#[derive(Debug, Clone, Copy)]
pub struct TensorEntry<'a> {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Outermost dimension first.
    pub shape: &'a [usize],
    /// The elements, little-endian, row-major.
    pub bytes: &'a [u8],
}

impl SafetensorsFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// When the file cannot be read or breaks the format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).map_err(Error::io(&path))?;
        // SAFETY: the map is read-only and private. Another process that truncates the file while it
        // is mapped can still fault this one; that is the accepted price of memory-mapped weights.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        let malformed = |reason: String| Error::Safetensors {
            path: path.clone(),
            reason,
        };
        check_header(&map).map_err(malformed)?;
        let (length, metadata) =
            SafeTensors::read_metadata(&map).map_err(|error| malformed(error.to_string()))?;
        let data_start = LENGTH_BYTES + length;
        let names = metadata.offset_keys();
        Ok(Self {
            path,
            map,
            data_start,
            metadata,
            names,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors with their names, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TensorEntry<'_>)> {
        self.names
            .iter()
            .filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    /// As [`release`](Self::release), for a tensor that may not be there.
    pub(super) fn release_tensor(&self, name: &str) {
        if let Some(entry) = self.get(name) {
            self.release(&entry);
        }
    }

    /// Lets go of the memory that holds a tensor's bytes; they are read from the file once more if they
    /// are needed again.
    pub(super) fn release(&self, entry: &TensorEntry<'_>) {
        #[cfg(unix)]
        {
            let start = entry.bytes.as_ptr() as usize - self.map.as_ptr() as usize;
            // SAFETY: the map is a file's and is not written to, so that what is dropped comes back as it was.
            let released = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                self.map
                    .unchecked_advise_range(advice, start, entry.bytes.len())
            };
            // Advice that is not taken costs memory, nothing else.
            drop(released);
        }
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<TensorEntry<'_>> {
        let info = self.metadata.info(name)?;
        let (start, end) = info.data_offsets;
        Some(TensorEntry {
            dtype: info.dtype,
            shape: &info.shape,
            bytes: &self.map[self.data_start + start..self.data_start + end],
        })
    }
}

/// What the crate's own parser lets through: a name that stands there twice, of which it keeps the
/// last, and offsets so large that their sums overflow.
fn check_header(file: &[u8]) -> Result<(), String> {
    let (length, rest) = file
        .split_first_chunk()
        .ok_or("no room for the header's length")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let header = rest
        .get(..length)
        .ok_or("the header goes beyond the file's end")?;
    let error = |error: serde_json::Error| error.to_string();
    check_unique_keys(header).map_err(error)?;
    #[derive(Deserialize)]
    struct Entry {
        data_offsets: Option<(u64, u64)>,
    }
    let entries: HashMap<String, Entry> = serde_json::from_slice(header).map_err(error)?;
    let size = (rest.len() - length) as u64;
    for (name, entry) in entries {
        if entry
            .data_offsets
            .is_some_and(|(start, end)| start > end || end > size)
        {
            return Err(format!("`{name}` goes beyond the file's end"));
        }
    }
    Ok(())
}

/// Refuses a JSON object in which a key stands twice.
pub(super) fn check_unique_keys(object: &[u8]) -> serde_json::Result<()> {
    serde_json::Deserializer::from_slice(object).deserialize_map(UniqueKeys)
}

struct UniqueKeys;

impl<'de> Visitor<'de> for UniqueKeys {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
            if let Some(twice) = seen.replace(key) {
                return Err(serde::de::Error::custom(format!(
                    "`{twice}` stands there twice"
                )));
            }
        }
        Ok(())
    }
}
