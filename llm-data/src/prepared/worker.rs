//! The thread that prepares a data set, and what others see of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::shard::{Draft, Shard};
use super::{Card, hash_of, shard_path};
use crate::encode::{Encoded, Encoder};
use crate::error::{Error, Result};
use crate::load::OnBadRecord;
use crate::parallel::in_order;
use crate::record::Conversation;
use crate::samples::Ready;
use crate::stats::{Collector, Statistics};

/// Samples of a file.
const SAMPLES: usize = 4096;
/// Tokens at which a file is full: 16 MB.
const TOKENS: usize = 4 << 20;

/// How far a set is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    changed: Condvar,
    cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    shards: Vec<Arc<Shard>>,
    /// The number of the first sample behind each shard.
    ends: Vec<usize>,
    /// How it ended; an error is handed out once.
    end: Option<std::result::Result<Statistics, Option<Error>>>,
}

impl Progress {
    pub(super) fn whole(shards: Vec<Shard>, statistics: Statistics) -> Self {
        let progress = Self::default();
        for shard in shards {
            progress.add(shard);
        }
        progress.end(Ok(statistics));
        progress
    }

    /// A thread that has panicked leaves the state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, shard: Shard) {
        let mut state = self.lock();
        let before = state.ends.last().copied().unwrap_or(0);
        state.ends.push(before + shard.samples());
        state.shards.push(Arc::new(shard));
        self.changed.notify_all();
    }

    fn end(&self, result: Result<Statistics>) {
        self.lock().end = Some(result.map_err(Some));
        self.changed.notify_all();
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The file of a sample, and its place there.
    pub(super) fn find(&self, index: usize) -> Option<(Arc<Shard>, usize)> {
        let state = self.lock();
        let number = state.ends.partition_point(|end| *end <= index);
        let shard = state.shards.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| state.ends[before]);
        Some((Arc::clone(shard), index - start))
    }

    pub(super) fn wait_for(&self, count: usize, dir: &Path) -> Result<Ready> {
        let waits = |state: &mut State| {
            state.end.is_none() && state.ends.last().is_none_or(|have| *have < count)
        };
        let state = self.changed.wait_while(self.lock(), waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.check(dir)?;
        Ok(Ready {
            count: state.ends.last().copied().unwrap_or(0),
            all: state.end.is_some(),
        })
    }

    pub(super) fn statistics(&self, dir: &Path) -> Result<Statistics> {
        self.wait_for(usize::MAX, dir)?;
        match &self.lock().end {
            Some(Ok(statistics)) => Ok(statistics.clone()),
            _ => Err(failed_before(dir)),
        }
    }
}

impl State {
    fn check(&mut self, dir: &Path) -> Result<()> {
        match &mut self.end {
            Some(Err(error)) => Err(error.take().unwrap_or_else(|| failed_before(dir))),
            _ => Ok(()),
        }
    }
}

fn failed_before(dir: &Path) -> Error {
    Error::Prepared {
        path: dir.to_owned(),
        reason: "its preparation has failed",
    }
}

/// What the thread works with.
pub(super) struct Worker {
    pub(super) dir: PathBuf,
    pub(super) encoder: Encoder,
    pub(super) on_bad_record: OnBadRecord,
    pub(super) progress: Arc<Progress>,
}

impl Worker {
    pub(super) fn run(self, records: impl Iterator<Item = Result<(usize, Conversation)>> + Send) {
        let mut set = Set {
            worker: &self,
            draft: Draft::default(),
            hashes: Vec::new(),
            collector: Collector::default(),
        };
        // Whoever waits for samples hears of a panic, too.
        let end = End(&self);
        let result = set.fill(records).and_then(|()| set.finish());
        std::mem::forget(end);
        self.progress.end(result);
    }
}

/// Ends a preparation that has panicked.
struct End<'a>(&'a Worker);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.progress.end(Err(Error::Prepared {
            path: self.0.dir.clone(),
            reason: "its preparation has panicked",
        }));
    }
}

/// A set that is being prepared.
struct Set<'a> {
    worker: &'a Worker,
    draft: Draft,
    hashes: Vec<String>,
    collector: Collector,
}

impl Set<'_> {
    fn fill(
        &mut self,
        records: impl Iterator<Item = Result<(usize, Conversation)>> + Send,
    ) -> Result<()> {
        let encoder = &self.worker.encoder;
        let weight = |record: &Result<(usize, Conversation)>| {
            record.as_ref().map_or(0, |(_, record)| record.size())
        };
        let encode = |record: Result<(usize, Conversation)>| {
            let (number, conversation) = record?;
            Ok((number, encoder.encode_conversation(&conversation)))
        };
        in_order(records, weight, encode, |encoded| self.take(encoded))
    }

    fn take(&mut self, encoded: Result<(usize, Result<Encoded>)>) -> Result<()> {
        let progress = &self.worker.progress;
        if progress.cancelled.load(Ordering::Relaxed) {
            return Err(failed_before(&self.worker.dir));
        }
        let (number, encoded) = match encoded {
            Ok(encoded) => encoded,
            Err(Error::BadRecords { issues, .. })
                if self.worker.on_bad_record == OnBadRecord::Skip =>
            {
                let reason = issues.first().map_or("bad", |issue| issue.reason.key());
                self.collector.leave_out(reason);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                let reason = self.worker.encoder.reason_to_leave_out(error);
                self.collector
                    .leave_out(reason.map_err(|error| error.of_record(number))?);
                return Ok(());
            }
        };
        self.collector.keep(&encoded);
        self.draft.push(&encoded.sample, number);
        if self.draft.samples() == SAMPLES || self.draft.tokens() >= TOKENS {
            self.close_shard()?;
        }
        Ok(())
    }

    fn close_shard(&mut self) -> Result<()> {
        let path = shard_path(&self.worker.dir, self.hashes.len());
        let shard = std::mem::take(&mut self.draft).write(&path)?;
        self.hashes.push(hash_of(shard.bytes()));
        self.worker.progress.add(shard);
        Ok(())
    }

    fn finish(&mut self) -> Result<Statistics> {
        if self.draft.samples() > 0 {
            self.close_shard()?;
        }
        let statistics = std::mem::take(&mut self.collector).finish()?;
        let card = Card {
            shards: std::mem::take(&mut self.hashes),
            statistics,
        };
        card.write(&self.worker.dir)?;
        Ok(card.statistics)
    }
}
