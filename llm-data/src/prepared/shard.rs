//! A file of samples, written once and mapped into memory.
//!
//! Little-endian: `LLMSAMP1`, the number of samples and of tokens (u64 each); for each sample where it ends
//! among the tokens and the number of its record (u64 each); the tokens (u32), those that carry loss with
//! the highest bit set.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use memmap2::Mmap;

use crate::encode::{IGNORE_INDEX, Sample};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"LLMSAMP1";
const HEADER: usize = 24;
const ENTRY: usize = 16;
const TOKEN: usize = 4;
/// Marks a token that carries loss; ids stay far below.
const SUPERVISED: u32 = 1 << 31;

/// Samples of which a shard is written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    index: Vec<(u64, u64)>,
    tokens: Vec<u32>,
}

impl Draft {
    pub(super) fn push(&mut self, sample: &Sample, record: usize) {
        let token = |(&id, &label): (&u32, &i64)| match label {
            IGNORE_INDEX => id,
            _ => id | SUPERVISED,
        };
        let tokens = sample.input_ids.iter().zip(&sample.labels);
        self.tokens.extend(tokens.map(token));
        self.index.push((self.tokens.len() as u64, record as u64));
    }

    pub(super) fn samples(&self) -> usize {
        self.index.len()
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Writes the shard beside its place and puts it there; maps it.
    pub(super) fn write(&self, path: &Path) -> Result<Shard> {
        let io = |source: io::Error| Error::Io {
            path: path.to_owned(),
            source,
        };
        let dir = path.parent().unwrap_or(Path::new("."));
        let file = super::beside(dir).map_err(io)?;
        self.write_to(BufWriter::with_capacity(1 << 20, file.as_file()))
            .map_err(io)?;
        file.persist(path).map_err(|error| io(error.error))?;
        Shard::open(path)
    }

    fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        for count in [self.index.len(), self.tokens.len()] {
            out.write_all(&(count as u64).to_le_bytes())?;
        }
        for (end, record) in &self.index {
            out.write_all(&end.to_le_bytes())?;
            out.write_all(&record.to_le_bytes())?;
        }
        for token in &self.tokens {
            out.write_all(&token.to_le_bytes())?;
        }
        out.flush()
    }
}

/// A mapped file of samples.
#[derive(Debug)]
pub(super) struct Shard {
    map: Mmap,
    samples: usize,
}

impl Shard {
    /// Maps a file and checks its structure, not what the tokens are.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only. A shard is never written to once it has its name; another program
        // that truncates it while it is mapped can fault this one, the price of mapped files.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let mut shard = Self { map, samples: 0 };
        shard.samples = shard.check().ok_or_else(|| Error::Prepared {
            path: path.to_owned(),
            reason: "it is no file of samples, or damaged",
        })?;
        Ok(shard)
    }

    /// The number of samples, where the lengths agree.
    fn check(&self) -> Option<usize> {
        let count = |at: usize| usize::try_from(self.u64(at)?).ok();
        let (samples, tokens) = (count(8)?, count(16)?);
        let index = samples.checked_mul(ENTRY)?;
        let length = tokens.checked_mul(TOKEN)?.checked_add(index)?;
        if !self.map.starts_with(MAGIC) || length.checked_add(HEADER)? != self.map.len() {
            return None;
        }
        let mut last = 0;
        for sample in 0..samples {
            let end = count(HEADER + sample * ENTRY)?;
            if end < last {
                return None;
            }
            last = end;
        }
        (last == tokens).then_some(samples)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes = self.map.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The number of a sample's record.
    pub(super) fn record(&self, sample: usize) -> Option<usize> {
        let at = HEADER + sample * ENTRY + 8;
        self.u64(at)
            .filter(|_| sample < self.samples)
            .map(|record| record as usize)
    }

    pub(super) fn get(&self, sample: usize) -> Option<Sample> {
        if sample >= self.samples {
            return None;
        }
        let end = |sample: usize| self.u64(HEADER + sample * ENTRY).map(|end| end as usize);
        let start = match sample.checked_sub(1) {
            Some(before) => end(before)?,
            None => 0,
        };
        let tokens = HEADER + self.samples * ENTRY;
        let bytes = tokens + start * TOKEN..tokens + end(sample)? * TOKEN;
        let (tokens, _) = self.map.get(bytes)?.as_chunks::<TOKEN>();
        let tokens = tokens.iter().map(|token| u32::from_le_bytes(*token));
        let (input_ids, labels) = tokens
            .map(|token| {
                let id = token & !SUPERVISED;
                let label = match token & SUPERVISED {
                    0 => IGNORE_INDEX,
                    _ => i64::from(id),
                };
                (id, label)
            })
            .unzip();
        Some(Sample { input_ids, labels })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            counts in prop::collection::vec(prop_oneof![0_u64..6, any::<u64>()], 0..12),
            tail in prop::collection::vec(any::<u8>(), 0..40),
            magic in any::<bool>(),
        ) {
            let mut bytes = if magic { MAGIC.to_vec() } else { Vec::new() };
            bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
            bytes.extend(tail);
            let file = NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            if let Ok(shard) = Shard::open(file.path()) {
                for sample in 0..shard.samples() + 1 {
                    prop_assert_eq!(shard.get(sample).is_some(), sample < shard.samples());
                    shard.record(sample);
                }
            }
        }
    }
}
