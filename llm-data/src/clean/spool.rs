//! What is too large for the memory: records and keys in temporary files.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use tempfile::SpooledTempFile;

use crate::error::{Error, Result};

use super::clusters::{Key, narrow, part};
use super::codec::Item;

/// Where temporary files are, and from how many bytes something becomes one.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) memory: usize,
}

/// Bytes that are written one after the other and read from anywhere.
struct Store {
    file: Mutex<SpooledTempFile>,
    directory: PathBuf,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    length: u64,
}

/// The bytes that are written and read at once.
const BUFFER: usize = 1 << 20;

impl Store {
    fn new(place: &Place) -> Self {
        let file = SpooledTempFile::new_in(place.memory, &place.directory);
        Self {
            file: Mutex::new(file),
            directory: place.directory.clone(),
            buffer: Vec::new(),
            length: 0,
        }
    }

    /// Writes what `write` puts behind its argument.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<()> {
        let start = self.buffer.len();
        write(&mut self.buffer).map_err(|source| self.failed(source))?;
        self.length += (self.buffer.len() - start) as u64;
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| self.failed(source))
    }

    /// The bytes there, which must have been flushed.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let found = file.seek(SeekFrom::Start(range.start));
        let read = found.and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|source| self.failed(source))?;
        Ok(bytes)
    }

    fn failed(&self, source: io::Error) -> Error {
        failed(&self.directory, source)
    }
}

fn failed(directory: &Path, source: io::Error) -> Error {
    Error::Io {
        path: directory.to_owned(),
        source,
    }
}

/// Records in their order. Takes 8 bytes of memory for each.
pub(super) struct Spool {
    store: Store,
    /// Where each record ends.
    ends: Vec<u64>,
    /// The records that were read last, those behind the first of them.
    window: (Range<u64>, Vec<u8>),
}

impl Spool {
    pub(super) fn new(place: &Place) -> Self {
        Self {
            store: Store::new(place),
            ends: Vec::new(),
            window: (0..0, Vec::new()),
        }
    }

    pub(super) fn push(&mut self, item: &Item) -> Result<()> {
        let encode = |bytes: &mut Vec<u8>| Ok(item.encode(bytes)?);
        self.store.append(encode)?;
        self.ends.push(self.store.length);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// To be called when all records are there.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.store.flush()?;
        self.store.buffer = Vec::new();
        Ok(())
    }

    /// Where the record is.
    pub(super) fn range(&self, place: usize) -> Range<u64> {
        let before = place.checked_sub(1);
        before.map_or(0, |before| self.ends[before])..self.ends[place]
    }

    /// The record.
    pub(super) fn get(&self, place: usize) -> Result<Item> {
        let bytes = self.store.read(self.range(place))?;
        self.decode(&bytes)
    }

    /// The record, with those behind it read ahead.
    pub(super) fn get_next(&mut self, place: usize) -> Result<Item> {
        let range = self.range(place);
        let (window, _) = &self.window;
        if range.start < window.start || range.end > window.end {
            let last = self
                .ends
                .partition_point(|end| *end <= range.start + BUFFER as u64);
            let end = last.checked_sub(1).map_or(0, |last| self.ends[last]);
            let window = range.start..end.max(range.end);
            self.window = (window.clone(), self.store.read(window)?);
        }
        let (window, bytes) = &self.window;
        let start = (range.start - window.start) as usize;
        let end = (range.end - window.start) as usize;
        self.decode(&bytes[start..end])
    }

    fn decode(&self, bytes: &[u8]) -> Result<Item> {
        let broken = || {
            let reason = "a temporary file is not as it was written";
            self.store
                .failed(io::Error::new(io::ErrorKind::InvalidData, reason))
        };
        Item::decode(bytes).ok_or_else(broken)
    }
}

/// The keys of texts in each of some bands, on disk.
pub(super) struct Keys {
    store: Store,
    bands: usize,
    texts: usize,
    /// Texts whose keys stand together, band by band.
    block: usize,
    /// Of the texts that make no block yet, text by text.
    pending: Vec<u64>,
}

/// The keys in a block, in all bands.
const BLOCK: usize = 1 << 19;
/// The key of a text without one. That another text has it too costs nothing: it is kept apart.
const NONE: u64 = u64::MAX;

impl Keys {
    pub(super) fn new(place: &Place, bands: usize) -> Self {
        Self {
            store: Store::new(place),
            bands,
            texts: 0,
            block: (BLOCK / bands).max(1),
            pending: Vec::new(),
        }
    }

    /// Adds the next text's key in each band.
    pub(super) fn push(&mut self, keys: Option<Vec<u64>>) -> Result<()> {
        match keys {
            // Texts of one key are compared anyway: another key for this one changes nothing.
            Some(keys) => self
                .pending
                .extend(keys.iter().map(|key| *key.min(&(NONE - 1)))),
            None => self.pending.extend(std::iter::repeat_n(NONE, self.bands)),
        }
        self.texts += 1;
        if self.pending.len() >= self.block * self.bands {
            self.write_block()?;
        }
        Ok(())
    }

    fn write_block(&mut self) -> Result<()> {
        let (pending, bands) = (&self.pending, self.bands);
        self.store.append(|bytes| {
            for band in 0..bands {
                for keys in pending.chunks_exact(bands) {
                    bytes.extend(keys[band].to_le_bytes());
                }
            }
            Ok(())
        })?;
        self.pending.clear();
        Ok(())
    }

    /// To be called when all keys are there.
    pub(super) fn finish(&mut self) -> Result<()> {
        narrow(self.texts)?;
        self.write_block()?;
        self.pending = Vec::new();
        self.store.flush()?;
        self.store.buffer = Vec::new();
        Ok(())
    }

    /// In how many parts a band has at most about `limit` keys each.
    pub(super) fn parts(&self, limit: usize) -> usize {
        self.texts.div_ceil(limit.max(1)).max(1)
    }

    /// The keys of one band that belong to one of `parts` parts.
    pub(super) fn load(&self, band: usize, number: usize, parts: usize) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for first in (0..self.texts).step_by(self.block) {
            let count = self.block.min(self.texts - first);
            let start = 8 * (first * self.bands + band * count) as u64;
            let bytes = self.store.read(start..start + 8 * count as u64)?;
            let (values, _) = bytes.as_chunks();
            let values = values.par_iter().enumerate();
            keys.par_extend(values.filter_map(|(place, bytes)| {
                let key = u64::from_le_bytes(*bytes);
                let wanted = key != NONE && part(key, parts) == number;
                wanted.then_some((key, (first + place) as u32))
            }));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn keys_come_back_by_band_and_part() {
        let bands = 1 << 12;
        for (memory, texts) in [(0, 300), (usize::MAX, 300), (1 << 20, 128), (0, 0)] {
            let place = Place {
                directory: std::env::temp_dir(),
                memory,
            };
            let key =
                |text: usize, band: usize| (((text << 32) + band) as u64).wrapping_mul(0x9E37_79B9);
            let mut keys = Keys::new(&place, bands);
            for text in 0..texts {
                let all = (0..bands).map(|band| key(text, band)).collect();
                keys.push((text % 10 != 3).then_some(all)).unwrap();
            }
            keys.finish().unwrap();
            assert_eq!(keys.parts(100), texts.div_ceil(100).max(1));
            for (band, parts) in [(0, 1), (7, 3), (bands - 1, 2)] {
                let loaded = (0..parts).map(|number| keys.load(band, number, parts).unwrap());
                let mut loaded: Vec<Key> = loaded.flatten().collect();
                loaded.sort_unstable_by_key(|(_, place)| *place);
                let texts = (0..texts).filter(|text| text % 10 != 3);
                let expected: Vec<Key> = texts.map(|text| (key(text, band), text as u32)).collect();
                assert_eq!(loaded, expected);
            }
        }
    }
}
