//! Encoded data sets on disk: prepared once, mapped into memory, and usable while they are being prepared.

mod key;
mod shard;
mod worker;

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use tempfile::{NamedTempFile, TempDir};

use crate::encode::{Encoder, Sample};
use crate::error::{Error, Result};
use crate::load::OnBadRecord;
use crate::record::Conversation;
use crate::samples::{Ready, Samples};
use crate::stats::Statistics;

pub use key::PreparedKey;
use shard::Shard;
use worker::{Progress, Worker};

/// What makes a directory a whole prepared set; written last.
const FILE: &str = "prepared.json";

/// The samples of a data set, in files that are mapped into memory: of a set that was prepared before, or
/// of one that a thread is preparing while its first samples are used already.
///
/// A set lies in a directory named by its [`PreparedKey`]: files of up to 4096 samples, 4 bytes a token, and
/// `prepared.json` with their hashes (BLAKE3) and the set's [`Statistics`]. What is damaged, of another
/// version or not whole is prepared anew. Files are written beside their place and renamed, and are the same
/// whoever prepares the set, so that several processes can prepare the same one.
///
/// ```no_run
/// use llm_data::{EncodeOptions, Encoder, OnBadRecord, Prepared, PreparedKey, ReadOptions, Record, RecordReader, Samples};
/// # fn f(encoder: Encoder) -> llm_data::Result<()> {
///
/// let key = PreparedKey::new(&encoder).file("alpaca.jsonl")?;
/// let set = match Prepared::open("cache", &key)? {
///     Some(set) => set,
///     None => {
///         let reader = RecordReader::open("alpaca.jsonl", ReadOptions::default())?;
///         let records = reader.enumerate().filter_map(|(index, record)| match record {
///             Ok(record) => match record.record {
///                 Record::Conversation(one) => Some(Ok((index + 1, one))),
///                 _ => None,
///             },
///             Err(error) => Some(Err(error)),
///         });
///         Prepared::encode(Some("cache".as_ref()), &key, &encoder, records, OnBadRecord::Fail)?
///     }
/// };
/// let first = set.get(0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prepared {
    progress: Arc<Progress>,
    dir: PathBuf,
    longest: usize,
    worker: Option<JoinHandle<()>>,
    /// Goes with the set where nobody wants to keep it.
    _temporary: Option<TempDir>,
}

/// `prepared.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Card {
    shards: Vec<String>,
    statistics: Statistics,
}

impl Prepared {
    /// The set of this key in `dir`; none where there is none, or a damaged one.
    ///
    /// # Errors
    /// [`Error::Io`] for files that are there and cannot be read.
    pub fn open(dir: impl AsRef<Path>, key: &PreparedKey) -> Result<Option<Self>> {
        let dir = dir.as_ref().join(key.name());
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, source }),
        };
        let Ok(card) = serde_json::from_slice::<Card>(&text) else {
            tracing::warn!(path = %path.display(), "is no prepared set's; it is prepared anew");
            return Ok(None);
        };
        let mut shards = Vec::new();
        for (number, hash) in card.shards.iter().enumerate() {
            let path = shard_path(&dir, number);
            match Shard::open(&path) {
                Ok(shard) if hash_of(shard.bytes()) == *hash => shards.push(shard),
                Err(Error::Io { path, source })
                    if source.kind() != std::io::ErrorKind::NotFound =>
                {
                    return Err(Error::Io { path, source });
                }
                _ => {
                    tracing::warn!(path = %path.display(), "is damaged; the set is prepared anew");
                    return Ok(None);
                }
            }
        }
        Ok(Some(Self {
            longest: card.statistics.lengths.max,
            progress: Arc::new(Progress::whole(shards, card.statistics)),
            dir,
            worker: None,
            _temporary: None,
        }))
    }

    /// Begins to encode `records`, each with its number, on a thread of its own and all threads of rayon's global
    /// pool (whatever the current one), into a set in `dir` or, without one, in a temporary place that goes with
    /// it. Returns at once.
    ///
    /// Records that cannot be learned from are left out and counted, as
    /// [`Encoder::encode_all`] does; so are bad records ([`Error::BadRecords`]) with [`OnBadRecord::Skip`]. Anything
    /// else that is wrong with a record ends the preparation, and who waits for samples hears of it.
    ///
    /// # Errors
    /// [`Error::Io`] where the directory cannot be made.
    pub fn encode(
        dir: Option<&Path>,
        key: &PreparedKey,
        encoder: &Encoder,
        records: impl Iterator<Item = Result<(usize, Conversation)>> + Send + 'static,
        on_bad_record: OnBadRecord,
    ) -> Result<Self> {
        let io = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Io { path, source }
        };
        let (dir, temporary) = match dir {
            Some(dir) => (dir.join(key.name()), None),
            None => {
                let temporary = TempDir::with_prefix("prepared-");
                let temporary = temporary.map_err(io(&std::env::temp_dir()))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        fs::create_dir_all(&dir).map_err(io(&dir))?;
        let progress = Arc::new(Progress::default());
        let worker = Worker {
            dir: dir.clone(),
            encoder: encoder.clone(),
            on_bad_record,
            progress: Arc::clone(&progress),
        };
        let worker = thread::Builder::new()
            .name("prepare".to_owned())
            .spawn(move || worker.run(records))
            .map_err(io(&dir))?;
        Ok(Self {
            progress,
            dir,
            longest: encoder.options().max_seq_len,
            worker: Some(worker),
            _temporary: temporary,
        })
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits for all samples: what became of the records.
    ///
    /// # Errors
    /// What ended the preparation.
    pub fn statistics(&self) -> Result<Statistics> {
        self.progress.statistics(&self.dir)
    }

    /// The number of a sample's record.
    ///
    /// # Errors
    /// Where there is no such sample yet.
    pub fn record(&self, index: usize) -> Result<usize> {
        let (shard, sample) = self.find(index)?;
        shard.record(sample).ok_or_else(|| self.absent())
    }

    fn find(&self, index: usize) -> Result<(Arc<Shard>, usize)> {
        self.progress.find(index).ok_or_else(|| self.absent())
    }

    fn absent(&self) -> Error {
        Error::Prepared {
            path: self.dir.clone(),
            reason: "there is no sample of this number",
        }
    }
}

impl Samples for Prepared {
    fn wait_for(&self, count: usize) -> Result<Ready> {
        self.progress.wait_for(count, &self.dir)
    }

    fn get(&self, index: usize) -> Result<Cow<'_, Sample>> {
        let (shard, sample) = self.find(index)?;
        let sample = shard.get(sample).ok_or_else(|| self.absent())?;
        Ok(Cow::Owned(sample))
    }

    /// While samples are still encoded, the longest that the encoder allows.
    fn longest(&self) -> usize {
        self.longest
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.progress.cancel();
        if let Some(worker) = self.worker.take() {
            // It has nothing more to say to anybody.
            let _ = worker.join();
        }
    }
}

impl Card {
    fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let mut file = beside(dir).map_err(io)?;
        serde_json::to_writer_pretty(&mut file, self).map_err(|error| io(error.into()))?;
        file.write_all(b"\n").map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(&path).map_err(|error| io(error.error))?;
        Ok(())
    }
}

/// A file on its way into a directory, with the permissions of other new files.
fn beside(dir: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the umask takes away.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(dir)
}

fn shard_path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number:05}.samples"))
}

fn hash_of(bytes: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update_rayon(bytes);
    hasher.finalize().to_hex().to_string()
}
