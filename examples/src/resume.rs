//! Where a run begins: at its start, at a checkpoint, or nowhere because it is finished.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use llm_lora::{Identity, Manifest, Part, list_checkpoints, newest_checkpoint};

use crate::settings::{self, Settings};

/// Whether and how to go on with an earlier run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Going on")]
pub struct ResumeArgs {
    /// Go on from the newest complete checkpoint in --output, or from the one in DIR, with its settings.
    /// Without any checkpoint in --output the run starts; a finished one is left as it is
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Go on although settings, data, tokenizer or base have changed
    #[arg(long, requires = "resume")]
    pub allow_changes: bool,
    /// Remove the checkpoints that an earlier run has left in --output
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// At the first step.
    Start,
    /// Behind the last step of a checkpoint.
    Checkpoint(PathBuf),
    /// Nowhere: the directory holds the finished run.
    Finished(PathBuf),
}

impl Origin {
    /// The directory that records the settings and the identity of the earlier run.
    pub fn record(&self) -> Option<&Path> {
        match self {
            Self::Start => None,
            Self::Checkpoint(dir) | Self::Finished(dir) => Some(dir),
        }
    }
}

impl ResumeArgs {
    /// The output of the run: the one that is given, or where the checkpoint is that is given.
    pub fn output(&self, given: Option<&Path>) -> Result<PathBuf> {
        match (given, &self.resume) {
            (Some(given), _) => Ok(given.to_owned()),
            (None, None) => Ok(new_output()),
            (None, Some(None)) => {
                bail!("--resume needs --output, or the directory of a checkpoint")
            }
            (None, Some(Some(dir))) if is_checkpoint(dir) => {
                let dir = dir
                    .canonicalize()
                    .with_context(|| dir.display().to_string())?;
                Ok(dir.parent().map_or(dir.clone(), Path::to_owned))
            }
            (None, Some(Some(dir))) => Ok(dir.clone()),
        }
    }

    /// Where the run begins whose output this is.
    pub fn origin(&self, output: &Path) -> Result<Origin> {
        match &self.resume {
            None => self.make_room(output),
            Some(Some(dir)) if is_checkpoint(dir) => match Manifest::verify(dir)? {
                Some(_) => Ok(Origin::Checkpoint(dir.clone())),
                None => bail!("{}: not a complete checkpoint", dir.display()),
            },
            Some(Some(dir)) if dir.as_path() != output => match newest_checkpoint(dir)? {
                Some(checkpoint) => Ok(Origin::Checkpoint(checkpoint)),
                None => bail!("{}: no complete checkpoint", dir.display()),
            },
            Some(_) if Manifest::verify(output)?.is_some() => {
                Ok(Origin::Finished(output.to_owned()))
            }
            Some(_) => Ok(newest_checkpoint(output)?.map_or(Origin::Start, Origin::Checkpoint)),
        }
    }

    /// A fresh run may not stand among another's checkpoints, from one of which it might be resumed.
    fn make_room(&self, output: &Path) -> Result<Origin> {
        let earlier = list_checkpoints(output)?;
        if !earlier.is_empty() && !self.overwrite {
            bail!(
                "{} holds checkpoints of another run: go on with it by --resume, remove them by --overwrite, \
                 or choose another output",
                output.display()
            );
        }
        for (_, dir) in earlier {
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        Ok(Origin::Start)
    }

    /// Refuses what would make another run of the one that is recorded in `record`.
    pub fn check(&self, record: &Path, settings: &Settings, identity: &Identity) -> Result<()> {
        let file = record.join(settings::FILE);
        let mut changes = Vec::new();
        for change in Settings::read(&[file])?.differences(settings)? {
            let (key, before, now) = (change.key, change.before, change.now);
            changes.push(format!("{key}: {before} before, {now} now"));
        }
        if let Some(earlier) = Identity::read(record)? {
            let parts = earlier.differences(identity).into_iter();
            // The settings have been compared one by one.
            let parts = parts.filter(|part| *part != Part::Configuration);
            changes.extend(parts.map(|part| format!("{part}: other content than before")));
        }
        if changes.is_empty() || self.allow_changes {
            return Ok(());
        }
        bail!(
            "{}: this would be another run; --allow-changes goes on all the same:\n  {}",
            record.display(),
            changes.join("\n  ")
        )
    }
}

fn is_checkpoint(dir: &Path) -> bool {
    dir.join("trainer_state.json").exists()
}

fn new_output() -> PathBuf {
    let now = chrono::Local::now().format("%Y%m%d-%H%M%S");
    PathBuf::from(format!("runs/{now}"))
}
