//! A run on disk, complete or absent.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use llm_core::LlamaForCausalLM;
use llm_core::checkpoint::{LazyTensor, SafetensorsFile, write_tensors};
use serde::{Deserialize, Serialize};

use super::metrics::{Event, METRICS, read_metrics, write_metrics};
use crate::manifest::{Manifest, read_json, write_json};
use crate::{Error, Result};

const PREFIX: &str = "checkpoint-";
/// The ends of names under which a checkpoint is made, taken away, and kept while another takes its place.
const UNFINISHED: &str = ".tmp";
const DOOMED: &str = ".old.tmp";
const REPLACED: &str = ".replaced.tmp";
pub(super) const STATE: &str = "trainer_state.json";
const OPTIMIZER: &str = "optimizer.safetensors";

type WriteModel<'a> = dyn Fn(&LlamaForCausalLM, &Path) -> Result<()> + 'a;
type OnWrite<'a> = dyn Fn(&str) -> io::Result<()> + 'a;

/// Where and when a run saves itself: directories `checkpoint-STEP`, each with the model or adapter,
/// `optimizer.safetensors`, `trainer_state.json`, `metrics.jsonl` and a [`Manifest`].
///
/// A checkpoint is written under another name, synced and then renamed; earlier ones are removed only
/// after that. Whatever interrupts it, [`newest_checkpoint`] finds a complete one.
pub struct Checkpoints<'a> {
    dir: PathBuf,
    every: Option<usize>,
    keep: Option<usize>,
    write_model: Box<WriteModel<'a>>,
    on_write: Option<Box<OnWrite<'a>>>,
}

impl<'a> Checkpoints<'a> {
    /// Checkpoints in `dir`, made when a run is stopped and no other time. `write_model` writes what the
    /// trained parameters can be read from again into a directory, and what else shall stand there.
    pub fn new(
        dir: impl Into<PathBuf>,
        write_model: impl Fn(&LlamaForCausalLM, &Path) -> Result<()> + 'a,
    ) -> Self {
        Self {
            dir: dir.into(),
            every: None,
            keep: None,
            write_model: Box::new(write_model),
            on_write: None,
        }
    }

    /// Saves every so many steps too.
    pub fn every(mut self, steps: usize) -> Self {
        self.every = Some(steps.max(1));
        self
    }

    /// Keeps the newest so many checkpoints, and beside them the one with the lowest evaluation loss.
    pub fn keep(mut self, checkpoints: usize) -> Self {
        self.keep = Some(checkpoints.max(1));
        self
    }

    #[doc(hidden)]
    /// Calls `hook` with a description before each change on the disk; an error is taken for the change's
    /// own. This is how one tests what a fault at that moment leaves behind.
    pub fn on_write(mut self, hook: impl Fn(&str) -> io::Result<()> + 'a) -> Self {
        self.on_write = Some(Box::new(hook));
        self
    }

    /// Whether the run saves itself without being stopped.
    pub(super) fn is_regular(&self) -> bool {
        self.every.is_some()
    }

    pub(super) fn is_due(&self, steps: usize) -> bool {
        steps > 0 && self.every.is_some_and(|every| steps.is_multiple_of(every))
    }

    /// Writes a checkpoint, then removes those that are not to be kept. Returns its directory.
    pub(super) fn save(
        &self,
        model: &LlamaForCausalLM,
        state: &State,
        optimizer: &[LazyTensor],
        history: &[Event],
    ) -> Result<PathBuf> {
        let checkpoint = self.dir.join(format!("{PREFIX}{}", state.step));
        let staging = with_suffix(&checkpoint, UNFINISHED);
        let written = self.write(&staging, model, state, optimizer, history);
        if let Err(error) = written.and_then(|()| self.put(&staging, &checkpoint)) {
            // The first error is the one to report.
            let _ = fs::remove_dir_all(&staging);
            return Err(error);
        }
        if let Err(error) = self.prune(state) {
            // The new checkpoint is complete; the next one tries again.
            tracing::warn!("an old checkpoint stays: {error}");
        }
        Ok(checkpoint)
    }

    fn write(
        &self,
        staging: &Path,
        model: &LlamaForCausalLM,
        state: &State,
        optimizer: &[LazyTensor],
        history: &[Event],
    ) -> Result<()> {
        self.before("make the directory", staging)?;
        fs::create_dir_all(&self.dir).map_err(Error::io(&self.dir))?;
        remove(staging)?;
        fs::create_dir(staging).map_err(Error::io(staging))?;
        self.before("write the model", staging)?;
        (self.write_model)(model, staging)?;
        self.before("write the optimizer", staging)?;
        write_tensors(staging.join(OPTIMIZER), optimizer)?;
        self.before("write the metrics", staging)?;
        write_metrics(staging.join(METRICS), history)?;
        self.before("write the state", staging)?;
        write_json(&staging.join(STATE), state)?;
        let mut files = names(staging)?;
        files.retain(|(_, kind)| kind.is_file());
        self.before("write the manifest", staging)?;
        Manifest::write(
            staging,
            state.step,
            files.iter().map(|(name, _)| name.as_str()),
        )?;
        self.before("sync the directory", staging)?;
        sync(staging)
    }

    /// Gives a written checkpoint its name. One that has it already is of a stopped run, which did not know
    /// yet how good it was, or of an abandoned course of the run, or damaged.
    fn put(&self, staging: &Path, checkpoint: &Path) -> Result<()> {
        if checkpoint.exists() {
            let replaced = with_suffix(checkpoint, REPLACED);
            self.before("take the name from", checkpoint)?;
            remove(&replaced)?;
            fs::rename(checkpoint, &replaced).map_err(Error::io(checkpoint))?;
        }
        self.before("rename the directory", checkpoint)?;
        fs::rename(staging, checkpoint).map_err(Error::io(checkpoint))?;
        self.before("sync the parent directory", &self.dir)?;
        sync(&self.dir)
    }

    /// Removes the checkpoints that are not to be kept, those of an abandoned course of the run, and what
    /// killed runs have left unfinished.
    fn prune(&self, state: &State) -> Result<()> {
        remove_unfinished(&self.dir)?;
        let mut older = 0;
        for (step, path) in list_checkpoints(&self.dir)?.into_iter().rev() {
            let abandoned = step > state.step;
            older += usize::from(!abandoned);
            let surplus = self.keep.is_some_and(|keep| older > keep);
            let is_best = state.best.is_some_and(|best| best.step == step);
            if abandoned || (surplus && !is_best) {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes a checkpoint: what is left when that is interrupted is no checkpoint.
    fn remove(&self, checkpoint: &Path) -> Result<()> {
        let doomed = with_suffix(checkpoint, DOOMED);
        self.before("take the name from", checkpoint)?;
        remove(&doomed)?;
        fs::rename(checkpoint, &doomed).map_err(Error::io(checkpoint))?;
        self.before("remove", &doomed)?;
        remove(&doomed)
    }

    fn before(&self, what: &str, path: &Path) -> Result<()> {
        match &self.on_write {
            Some(hook) => hook(&format!("{what} {}", path.display())).map_err(Error::io(path)),
            None => Ok(()),
        }
    }
}

/// Removes what killed runs have left of checkpoints that they were making or taking away. Nobody else may
/// be writing to the directory.
///
/// # Errors
/// When the directory cannot be read, or something in it not be removed.
pub fn remove_unfinished(dir: impl AsRef<Path>) -> Result<()> {
    let dir = dir.as_ref();
    for (name, _) in names(dir)? {
        let unfinished = name.starts_with(PREFIX) && name.ends_with(UNFINISHED);
        // One that was being replaced counts as long as nothing has its place.
        let replaced = name.strip_suffix(REPLACED);
        if unfinished && replaced.is_none_or(|plain| dir.join(plain).exists()) {
            remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// The newest complete checkpoint in a directory. Those that are damaged or were never completed are
/// passed over, with a warning in the log.
///
/// # Errors
/// When the directory, or a file of a checkpoint, is there and cannot be read.
pub fn newest_checkpoint(dir: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    for (_, path) in list_checkpoints(dir)?.into_iter().rev() {
        match verify_checkpoint(&path) {
            Ok(()) => return Ok(Some(path)),
            Err(error @ (Error::Damaged { .. } | Error::Json { .. })) => {
                tracing::warn!("passed over: {error}");
            }
            Err(Error::Io { path, source }) if source.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("passed over: {} is absent", path.display());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether a directory is a complete checkpoint.
///
/// # Errors
/// When it is not, or cannot be read.
pub fn verify_checkpoint(dir: &Path) -> Result<()> {
    let complete = Manifest::verify(dir)?.is_some_and(|manifest| {
        let needed = [STATE, OPTIMIZER, METRICS];
        needed.iter().all(|name| manifest.files.contains_key(*name))
    });
    match complete {
        true => Ok(()),
        false => Err(Error::Damaged {
            path: dir.join(Manifest::FILE),
        }),
    }
}

/// Steps and directories of all checkpoints in a directory, damaged ones too, by step.
///
/// # Errors
/// When the directory is there and cannot be read.
pub fn list_checkpoints(dir: impl AsRef<Path>) -> Result<Vec<(usize, PathBuf)>> {
    let dir = dir.as_ref();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io(dir)(source)),
    };
    let step = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_str()?.strip_prefix(PREFIX)?;
        name.strip_suffix(REPLACED).unwrap_or(name).parse().ok()
    };
    let found = entries.flatten();
    let mut found: Vec<_> = found
        .filter_map(|entry| Some((step(&entry)?, entry.path())))
        .collect();
    found.sort();
    // One that was being replaced counts as long as nothing has taken its place.
    found.dedup_by_key(|(step, _)| *step);
    Ok(found)
}

/// What a run needs to go on, beside parameters and moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps done, which says where in which epoch the run is.
    pub(super) step: usize,
    /// Samples in the training set, where a run knows them.
    pub(super) samples: Option<usize>,
    /// Updates done; steps that were left out are none.
    pub(super) optimizer_steps: u32,
    /// Where dropout's random stream is, in 32-bit words; a number too large for JSON's readers.
    pub(super) dropout_position: String,
    pub(super) best: Option<Best>,
}

/// A checkpoint and its loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done.
    pub step: usize,
    /// Mean over the supervised tokens of the validation set.
    pub eval_loss: f64,
}

impl State {
    /// Reads a checkpoint's state and history.
    pub(super) fn read(checkpoint: &Path, samples: Option<usize>) -> Result<(Self, Vec<Event>)> {
        let path = checkpoint.join(STATE);
        let state: Option<Self> = read_json(&path)?;
        let state = state.ok_or_else(|| Error::io(&path)(io::ErrorKind::NotFound.into()))?;
        let refuse = |expected: String, got: String| Error::OtherRun {
            path: path.clone(),
            expected,
            got,
        };
        if state.samples != samples {
            let over = |samples: Option<usize>| match samples {
                Some(samples) => format!("{samples} samples"),
                None => "windows of samples".to_owned(),
            };
            let (expected, got) = (over(samples), over(state.samples));
            return Err(refuse(
                format!("a run over {expected}"),
                format!("one over {got}"),
            ));
        }
        let history = read_metrics(checkpoint.join(METRICS))?;
        let rows = history.last().map_or(0, Event::step);
        // Each step has its row, so that a number that is too large is no danger to what counts up to it.
        if rows != state.step || state.optimizer_steps as usize > state.step {
            let expected = format!("steps and updates that fit {METRICS}, which ends at {rows}");
            let got = format!("{} and {}", state.step, state.optimizer_steps);
            return Err(refuse(expected, got));
        }
        Ok((state, history))
    }

    /// Opens a checkpoint's optimizer state.
    pub(super) fn optimizer(checkpoint: &Path) -> Result<SafetensorsFile> {
        Ok(SafetensorsFile::open(checkpoint.join(OPTIMIZER))?)
    }

    pub(super) fn dropout_position(&self, checkpoint: &Path) -> Result<u128> {
        self.dropout_position.parse().map_err(|_| Error::OtherRun {
            path: checkpoint.join(STATE),
            expected: "a number as `dropout_position`".to_owned(),
            got: self.dropout_position.clone(),
        })
    }
}

fn with_suffix(checkpoint: &Path, suffix: &str) -> PathBuf {
    let mut name = checkpoint.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a directory, if it is there.
fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(dir)(error)),
        _ => Ok(()),
    }
}

fn names(dir: &Path) -> Result<Vec<(String, fs::FileType)>> {
    let entries = fs::read_dir(dir).map_err(Error::io(dir))?;
    let name = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.map_err(Error::io(dir))?;
        let kind = entry.file_type().map_err(Error::io(dir))?;
        Ok((entry.file_name().to_string_lossy().into_owned(), kind))
    };
    entries.map(name).collect()
}

/// Makes sure that the names in a directory are on the disk.
fn sync(dir: &Path) -> Result<()> {
    // Windows cannot open a directory as a file, and needs no such thing.
    if cfg!(unix) {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(Error::io(dir))?;
    }
    Ok(())
}
