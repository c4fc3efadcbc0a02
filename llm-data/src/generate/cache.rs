//! Replies on disk: each is committed before it is used, so that no run pays for it twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};
use serde::Serialize;

use super::cost::Spent;
use super::model::{ChatReply, ChatRequest, Usage};
use crate::error::{Error, Result};

/// Key → checksum and JSON of the reply.
const REPLIES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("replies");
/// Model → requests, prompt tokens, completion tokens.
const LEDGER: TableDefinition<&str, (u64, u64, u64)> = TableDefinition::new("ledger");

/// A question and which time it is asked: the same question gets another reply at another attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is asked.
    pub request: ChatRequest,
    /// The attempt's number. A program numbers them by its own order, so that a run resumed finds
    /// the replies of the run before.
    pub attempt: u64,
}

impl Question {
    /// The BLAKE3 hash of endpoint, model, parameters, prompt and attempt.
    pub(crate) fn key(&self, endpoint: &str) -> Result<[u8; 32]> {
        #[derive(Serialize)]
        struct Key<'a> {
            version: u32,
            endpoint: &'a str,
            request: &'a ChatRequest,
            attempt: u64,
        }
        let key = Key {
            version: 1,
            endpoint,
            request: &self.request,
            attempt: self.attempt,
        };
        let json = serde_json::to_vec(&key)
            .map_err(|error| Error::option("request", "parameters that JSON can hold", error))?;
        Ok(*blake3::hash(&json).as_bytes())
    }
}

/// The replies of a model, and what they cost, in one transactional file (redb).
///
/// A file that is damaged is set aside under the name `….corrupt`, with a warning, and begun anew; one that
/// does not begin as such files do is left as it is, and an error.
/// One process at a time may hold it.
///
/// ```
/// # fn main() -> llm_data::Result<()> {
/// # let folder = tempfile::tempdir().map_err(|source| llm_data::Error::Io { path: "".into(), source })?;
/// let cache = llm_data::generate::ReplyCache::open(folder.path().join("replies.redb"))?;
/// assert_eq!(cache.len()?, 0);
/// # Ok(())
/// # }
/// ```
pub struct ReplyCache {
    db: Database,
    path: PathBuf,
    set_aside: Option<PathBuf>,
}

impl std::fmt::Debug for ReplyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyCache")
            .field("path", &self.path)
            .field("set_aside", &self.set_aside)
            .finish_non_exhaustive()
    }
}

impl ReplyCache {
    /// Opens or creates the file, checks every page of it, and rebuilds it where it is damaged.
    ///
    /// # Errors
    /// [`Error::CacheLocked`] where another process holds it, [`Error::Cache`], also for a file that is no
    /// cache, [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let damage = match Self::open_file(path) {
            Ok(Ok(db)) => return Self::new(db, path, None),
            Ok(Err(error)) => match refusal(path, error) {
                Refusal::Damaged(reason) => reason,
                Refusal::Final(error) => return Err(error),
            },
            Err(_) => "the reader gave up on it".to_owned(),
        };
        if !is_cache(path)? {
            return Err(cache_error(path, "it is no cache of replies"));
        }
        let aside = free_name(path);
        tracing::warn!(path = %path.display(), aside = %aside.display(), reason = %damage,
            "the cache is damaged; it is set aside and begun anew");
        std::fs::rename(path, &aside).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        match Self::open_file(path) {
            Ok(Ok(db)) => Self::new(db, path, Some(aside)),
            Ok(Err(error)) => Err(cache_error(path, error)),
            Err(_) => Err(cache_error(path, "cannot be created")),
        }
    }

    /// A cache that lives as long as it is held.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn in_memory() -> Result<Self> {
        let path = Path::new("(memory)");
        let db = Database::builder()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .map_err(|error| cache_error(path, error))?;
        Self::new(db, path, None)
    }

    /// The damaged file's new name, where there was one.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// How many replies it holds.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn len(&self) -> Result<u64> {
        let read = self.db.begin_read().map_err(|error| self.error(error))?;
        let table = read
            .open_table(REPLIES)
            .map_err(|error| self.error(error))?;
        table.len().map_err(|error| self.error(error))
    }

    /// Whether it holds no reply.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// What was spent by all runs on this cache, by model.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn spent(&self) -> Result<BTreeMap<String, Spent>> {
        let read = self.db.begin_read().map_err(|error| self.error(error))?;
        let table = read.open_table(LEDGER).map_err(|error| self.error(error))?;
        ledger(&table).map_err(|error| self.error(error))
    }

    /// The reply to a key. One whose checksum is wrong counts as none.
    pub(crate) fn get(&self, key: &[u8; 32]) -> Result<Option<ChatReply>> {
        let read = self.db.begin_read().map_err(|error| self.error(error))?;
        let table = read
            .open_table(REPLIES)
            .map_err(|error| self.error(error))?;
        let value = table.get(key).map_err(|error| self.error(error))?;
        let reply = value.as_ref().map(|value| unseal(key, value.value()));
        if reply == Some(None) {
            tracing::warn!(path = %self.path.display(), "a damaged reply in the cache is asked for anew");
        }
        Ok(reply.flatten())
    }

    /// Enters `bound` before a question is asked, unless `allowed` refuses the new state. A run
    /// that is killed meanwhile leaves it entered, so that the budget errs on the safe side; where
    /// it is not `durable`, which saves half of the writes to disk, it may be lost then.
    pub(crate) fn reserve(
        &self,
        model: &str,
        bound: Spent,
        durable: bool,
        allowed: impl FnOnce(&BTreeMap<String, Spent>) -> Result<()>,
    ) -> Result<()> {
        let mut write = self.db.begin_write().map_err(|error| self.error(error))?;
        if !durable {
            let none = redb::Durability::None;
            write
                .set_durability(none)
                .map_err(|error| self.error(error))?;
        }
        {
            let mut table = write
                .open_table(LEDGER)
                .map_err(|error| self.error(error))?;
            let mut state = ledger(&table).map_err(|error| self.error(error))?;
            let entry = state.entry(model.to_owned()).or_default();
            *entry = entry.plus(bound);
            let row = row(*entry);
            allowed(&state)?;
            table
                .insert(model, row)
                .map_err(|error| self.error(error))?;
        }
        write.commit().map_err(|error| self.error(error))
    }

    /// Replaces `bound` by what was used, and stores the reply, in one transaction.
    pub(crate) fn settle(
        &self,
        model: &str,
        bound: Spent,
        used: Spent,
        reply: Option<(&[u8; 32], &ChatReply)>,
    ) -> Result<()> {
        let write = self.db.begin_write().map_err(|error| self.error(error))?;
        {
            let mut table = write
                .open_table(LEDGER)
                .map_err(|error| self.error(error))?;
            let state = ledger(&table).map_err(|error| self.error(error))?;
            let entry = state.get(model).copied().unwrap_or_default();
            let row = row(entry.minus(bound).plus(used));
            table
                .insert(model, row)
                .map_err(|error| self.error(error))?;
        }
        if let Some((key, reply)) = reply {
            let mut table = write
                .open_table(REPLIES)
                .map_err(|error| self.error(error))?;
            let value = seal(key, reply).map_err(|error| self.error(error))?;
            table
                .insert(key, value.as_slice())
                .map_err(|error| self.error(error))?;
        }
        write.commit().map_err(|error| self.error(error))
    }

    fn open_file(path: &Path) -> std::thread::Result<std::result::Result<Database, DatabaseError>> {
        // redb verifies checksums on opening; what a forged file still trips over is a panic.
        catch_unwind(AssertUnwindSafe(|| {
            Database::builder()
                .set_check_integrity_on_open(true)
                .create(path)
        }))
    }

    fn new(db: Database, path: &Path, set_aside: Option<PathBuf>) -> Result<Self> {
        let cache = Self {
            db,
            path: path.to_owned(),
            set_aside,
        };
        let write = cache.db.begin_write().map_err(|error| cache.error(error))?;
        write
            .open_table(REPLIES)
            .map_err(|error| cache.error(error))?;
        write
            .open_table(LEDGER)
            .map_err(|error| cache.error(error))?;
        write.commit().map_err(|error| cache.error(error))?;
        Ok(cache)
    }

    fn error(&self, reason: impl ToString) -> Error {
        cache_error(&self.path, reason)
    }
}

/// Whether a file begins as redb's do, as far as it goes: with its magic, or with zeros, which stand there until
/// the file is whole. (A run that is killed while it makes its cache leaves them.)
fn is_cache(path: &Path) -> Result<bool> {
    const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
    let mut start = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(MAGIC.starts_with(&start) || start.iter().all(|byte| *byte == 0))
}

enum Refusal {
    Damaged(String),
    Final(Error),
}

/// Whether a file that does not open is damaged, or something else is in the way.
fn refusal(path: &Path, error: DatabaseError) -> Refusal {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        DatabaseError::DatabaseAlreadyOpen => Refusal::Final(Error::CacheLocked {
            path: path.to_owned(),
        }),
        DatabaseError::Storage(redb::StorageError::Io(source))
            if !matches!(source.kind(), InvalidData | UnexpectedEof) =>
        {
            Refusal::Final(Error::Io {
                path: path.to_owned(),
                source,
            })
        }
        DatabaseError::Storage(_) | DatabaseError::RepairAborted => {
            Refusal::Damaged(error.to_string())
        }
        other => Refusal::Final(cache_error(path, other)),
    }
}

fn cache_error(path: &Path, reason: impl ToString) -> Error {
    Error::Cache {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// `path.corrupt`, or with a number where there is such a file already.
fn free_name(path: &Path) -> PathBuf {
    let name = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let numbered = (1..).map(|number| name(&format!(".corrupt.{number}")));
    let mut names = std::iter::once(name(".corrupt")).chain(numbered);
    names
        .find(|name| !name.exists())
        .unwrap_or_else(|| name(".corrupt"))
}

type StorageResult<T> = std::result::Result<T, redb::StorageError>;

fn ledger(
    table: &impl ReadableTable<&'static str, (u64, u64, u64)>,
) -> StorageResult<BTreeMap<String, Spent>> {
    table
        .iter()?
        .map(|entry| {
            let (model, row) = entry?;
            let (requests, prompt_tokens, completion_tokens) = row.value();
            let usage = Usage {
                prompt_tokens,
                completion_tokens,
            };
            Ok((model.value().to_owned(), Spent { requests, usage }))
        })
        .collect()
}

fn row(spent: Spent) -> (u64, u64, u64) {
    let Usage {
        prompt_tokens,
        completion_tokens,
    } = spent.usage;
    (spent.requests, prompt_tokens, completion_tokens)
}

fn seal(key: &[u8; 32], reply: &ChatReply) -> serde_json::Result<Vec<u8>> {
    let json = serde_json::to_vec(reply)?;
    let mut value = blake3::keyed_hash(key, &json).as_bytes().to_vec();
    value.extend_from_slice(&json);
    Ok(value)
}

fn unseal(key: &[u8; 32], value: &[u8]) -> Option<ChatReply> {
    let (sum, json) = value.split_first_chunk::<32>()?;
    let intact = blake3::keyed_hash(key, json) == *sum;
    intact.then(|| serde_json::from_slice(json).ok()).flatten()
}
