//! Where a run begins: at its start, at a checkpoint, or nowhere because it is finished.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use llm_lora::{Identity, Manifest, Part, list_checkpoints, newest_checkpoint, verify_checkpoint};

use crate::console::Console;
use crate::settings::{self, Settings};

/// Whether and how to go on with an earlier run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Going on")]
pub struct ResumeArgs {
    /// Go on from the newest complete checkpoint in --output, or from the one in DIR, with its settings.
    /// Without any checkpoint in --output the run starts; a finished one is left as it is
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Go on although settings, data, tokenizer or base have changed; not with another adapter or another
    /// number of samples, for which the state is of no use
    #[arg(long, requires = "resume")]
    pub allow_changes: bool,
    /// Remove the checkpoints of an unfinished run from --output, or those behind the one to go on from
    #[arg(long)]
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
    /// The directory that records the settings and the identity of the run that goes on.
    pub fn record(&self) -> Option<&Path> {
        match self {
            Self::Start => None,
            Self::Checkpoint(dir) | Self::Finished(dir) => Some(dir),
        }
    }

    /// The checkpoint that the run goes on from. A finished run that is to go on does so from its last one.
    pub fn checkpoint(&self) -> Result<Option<PathBuf>> {
        match self {
            Self::Start => Ok(None),
            Self::Checkpoint(checkpoint) => Ok(Some(checkpoint.clone())),
            Self::Finished(output) => match newest_checkpoint(output)? {
                Some(checkpoint) => Ok(Some(checkpoint)),
                None => bail!("{}: no checkpoint to go on from", output.display()),
            },
        }
    }
}

impl ResumeArgs {
    /// The output of the run: the one that is given, or where the checkpoint is that is given.
    pub fn output(&self, given: Option<&Path>) -> Result<PathBuf> {
        match (given, &self.resume) {
            (Some(given), _) => Ok(given.to_owned()),
            (None, None) => Ok(new_output()),
            (None, Some(None)) => bail!("--resume needs --output, or the directory of a run"),
            (None, Some(Some(dir))) if is_checkpoint(dir) => {
                let dir = canonical(dir)?;
                Ok(dir.parent().map_or(dir.clone(), Path::to_owned))
            }
            (None, Some(Some(dir))) => Ok(dir.clone()),
        }
    }

    /// Where the run begins whose output this is. Nothing is changed on the disk.
    pub fn origin(&self, output: &Path) -> Result<Origin> {
        if output.exists() && !output.is_dir() {
            bail!("cannot write to {}: not a directory", output.display());
        }
        let origin = match &self.resume {
            None => Origin::Start,
            Some(Some(dir)) if is_checkpoint(dir) => {
                verify_checkpoint(dir)?;
                Origin::Checkpoint(dir.clone())
            }
            Some(Some(dir)) if !dir.exists() => bail!("{}: no such directory", dir.display()),
            Some(Some(dir)) if !output.exists() || canonical(dir)? != canonical(output)? => {
                match newest_checkpoint(dir)? {
                    Some(checkpoint) => Origin::Checkpoint(checkpoint),
                    None => bail!("{}: no complete checkpoint", dir.display()),
                }
            }
            Some(_) if Manifest::verify(output)?.is_some() => Origin::Finished(output.to_owned()),
            Some(_) => newest_checkpoint(output)?.map_or(Origin::Start, Origin::Checkpoint),
        };
        // A finished run can be made anew: what is lost by that is known to be there again.
        let is_repeated = origin == Origin::Start && output.join(Manifest::FILE).exists();
        let in_the_way = self.in_the_way(output, &origin)?;
        if let Some(first) = in_the_way
            .first()
            .filter(|_| !self.overwrite && !is_repeated)
        {
            bail!(
                "{} is in the way: go on with that run by --resume {}, remove it by --overwrite, or choose \
                 another output",
                first.display(),
                output.display()
            );
        }
        Ok(origin)
    }

    /// What of an earlier run in the output a run from `origin` does not go on with. A later --resume could
    /// take it for its own.
    pub fn in_the_way(&self, output: &Path, origin: &Origin) -> Result<Vec<PathBuf>> {
        let checkpoints = list_checkpoints(output)?.into_iter();
        match origin {
            Origin::Start if self.resume.is_none() => {
                Ok(checkpoints.map(|(_, path)| path).collect())
            }
            Origin::Checkpoint(from) if matches!(self.resume, Some(Some(_))) => {
                let from = canonical(from)?;
                let step = step_of(&from);
                let ours = from.parent() == canonical(output).ok().as_deref();
                let behind = checkpoints.filter(|(other, _)| !ours || Some(*other) > step);
                Ok(behind.map(|(_, path)| path).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Refuses what would make another run of the one that is recorded in `record`; with --allow-changes
    /// it is only said.
    pub fn check(
        &self,
        record: &Path,
        settings: &Settings,
        identity: &Identity,
        console: &Console,
    ) -> Result<()> {
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
        if self.allow_changes {
            changes.iter().for_each(|change| console.warn(change));
            return Ok(());
        }
        match changes.is_empty() {
            true => Ok(()),
            false => bail!(
                "{}: this would be another run; --allow-changes goes on all the same:\n  {}",
                record.display(),
                changes.join("\n  ")
            ),
        }
    }
}

fn canonical(dir: &Path) -> Result<PathBuf> {
    fs::canonicalize(dir).with_context(|| dir.display().to_string())
}

/// The step in the name of a checkpoint, if it has not been renamed.
fn step_of(checkpoint: &Path) -> Option<usize> {
    let name = checkpoint.file_name()?.to_str()?;
    name.strip_prefix("checkpoint-")?.parse().ok()
}

fn is_checkpoint(dir: &Path) -> bool {
    dir.join("trainer_state.json").exists()
}

fn new_output() -> PathBuf {
    let now = chrono::Local::now().format("%Y%m%d-%H%M%S");
    PathBuf::from(format!("runs/{now}"))
}
