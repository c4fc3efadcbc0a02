//! The directory that a run leaves behind: results, settings, metrics, model card, manifest.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use llm_core::checkpoint::write_atomically;
use llm_lora::{Event, Identity, Manifest, remove_unfinished, write_metrics};

use crate::settings::{self, Settings};

/// What a run with an adapter, and one of a whole model, write.
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
const MODEL_FILES: [&str; 3] = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
];
const COMMON_FILES: [&str; 5] = [settings::FILE, Identity::FILE, METRICS, PLOT, CARD];

/// Its lock is the process's that holds it, and dies with it; the file stays.
const LOCK: &str = ".lock";
const METRICS: &str = "metrics.jsonl";
const CARD: &str = "README.md";
/// The picture of the losses.
pub const PLOT: &str = "loss.svg";

/// The output directory of a run, locked against others.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    full: bool,
    /// Held as long as the run goes on.
    _lock: Option<File>,
}

impl RunDir {
    /// Locks an existing directory against other runs, until the file is dropped; none where there is no
    /// directory yet.
    pub fn lock(path: &Path) -> Result<Option<File>> {
        if !path.is_dir() {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        let lock = options.open(path.join(LOCK));
        let lock = lock.with_context(|| format!("cannot write to {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("{}: another run is writing to it", path.display())
            }
            Err(TryLockError::Error(error)) => eprintln!(
                "warning: {}: cannot be locked against a second run: {error}",
                path.display()
            ),
        }
        Ok(Some(lock))
    }

    /// Makes the directory, or takes an existing one that is locked already. Finds out whether the results
    /// will find their place, before they are computed.
    pub fn open(path: &Path, full: bool, lock: Option<File>) -> Result<Self> {
        let context = || format!("cannot write to {}", path.display());
        fs::create_dir_all(path).with_context(context)?;
        let lock = match lock {
            Some(lock) => Some(lock),
            None => Self::lock(path)?,
        };
        let (ours, others) = match full {
            true => (&MODEL_FILES[..], &ADAPTER_FILES[..]),
            false => (&ADAPTER_FILES[..], &MODEL_FILES[..]),
        };
        if let Some(other) = others.iter().find(|name| path.join(name).exists()) {
            bail!(
                "{} holds {other} of another kind of run; choose another output",
                path.display()
            );
        }
        for name in ours.iter().chain(&COMMON_FILES).chain(&[Manifest::FILE]) {
            if path.join(name).is_dir() {
                bail!(
                    "{}: a directory stands where a file is to be written",
                    path.join(name).display()
                );
            }
        }
        remove_leftovers(path).with_context(context)?;
        Ok(Self {
            path: path.to_owned(),
            full,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory that of a run that begins behind `history`: it holds no finished run, and nothing
    /// of what is `in_the_way`, but says what the run is. Returns its `metrics.jsonl`.
    pub fn begin(
        &self,
        in_the_way: &[PathBuf],
        history: &[Event],
        settings: &Settings,
        identity: &Identity,
    ) -> Result<Metrics> {
        let manifest = self.path.join(Manifest::FILE);
        for path in in_the_way.iter().chain([&manifest]) {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(path),
                false if path.exists() => fs::remove_file(path),
                false => Ok(()),
            };
            removed.with_context(|| path.display().to_string())?;
        }
        self.save_text(settings::FILE, &settings.to_yaml()?)?;
        identity.write(&self.path)?;
        Metrics::create(&self.path.join(METRICS), history)
    }

    /// Removes a file of an earlier run, if it is there.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match path.exists() {
            true => fs::remove_file(&path).with_context(|| path.display().to_string()),
            false => Ok(()),
        }
    }

    /// Writes a text file.
    pub fn save_text(&self, name: &str, text: &str) -> Result<()> {
        write_atomically(self.path.join(name), |file| file.write_all(text.as_bytes()))?;
        Ok(())
    }

    /// Writes the model card, as hubs show it.
    pub fn save_card(
        &self,
        settings: &Settings,
        template: &str,
        evaluations: &[f64],
    ) -> Result<()> {
        self.save_text(CARD, &card(settings, template, evaluations))
    }

    /// Declares the run finished: writes the manifest over all that it has left.
    pub fn finish(&self, steps: usize) -> Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let result = match self.full {
                true => {
                    name == "config.json"
                        || name.starts_with("model") && name.contains(".safetensors")
                }
                false => ADAPTER_FILES.contains(&name.as_str()),
            };
            // The card and the picture are for people, who may change them.
            let proven = [settings::FILE, Identity::FILE, METRICS];
            if result || proven.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Manifest::write(&self.path, steps, names.iter().map(String::as_str))?;
        Ok(())
    }
}

/// Removes files that a killed process was writing; see [`write_atomically`]. The lock says that nobody is
/// writing now.
fn remove_leftovers(dir: &Path) -> Result<()> {
    remove_unfinished(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.rsplit('.');
        let ours = parts.next() == Some("tmp")
            && parts
                .next()
                .is_some_and(|part| part.split('-').all(|number| number.parse::<u64>().is_ok()));
        if ours && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `metrics.jsonl`: a row for every step and evaluation.
#[derive(Debug)]
pub struct Metrics(File);

impl Metrics {
    fn create(path: &Path, history: &[Event]) -> Result<Self> {
        write_metrics(path, history)?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self(file.with_context(|| path.display().to_string())?))
    }

    /// Appends a row; that a checkpoint was written is none.
    pub fn record(&mut self, event: &Event) -> Result<()> {
        if matches!(event, Event::Saved(_)) {
            return Ok(());
        }
        let mut row = serde_json::to_vec(event)?;
        row.push(b'\n');
        self.0.write_all(&row).context("cannot write metrics.jsonl")
    }
}

fn card(settings: &Settings, template: &str, evaluations: &[f64]) -> String {
    let base = settings.model_dir().display().to_string();
    // A JSON text is a YAML text, whatever is in the path.
    let quoted = serde_json::Value::from(base.as_str());
    let (library, what) = match settings.full {
        true => ("transformers", "All weights were trained.".to_owned()),
        false => (
            "peft",
            format!(
                "A LoRA adapter (r {}, alpha {}, dropout {}, on {}).",
                settings.r, settings.alpha, settings.dropout, settings.target_modules
            ),
        ),
    };
    let data: Vec<String> = settings
        .datasets()
        .iter()
        .map(|data| data.path.display().to_string())
        .collect();
    let evaluation = match evaluations {
        [first, .., last] => format!("Evaluation loss: {first:.4} before, {last:.4} after.\n"),
        _ => String::new(),
    };
    format!(
        "---\nbase_model: {quoted}\nlibrary_name: {library}\npipeline_tag: text-generation\n---\n\n\
         # Fine-tuned from {base}\n\n{what} Data: {}. Prompt template: `{template}`.\n{evaluation}\n\
         The settings are in `{}`, the losses in `metrics.jsonl`.\n",
        data.join(", "),
        settings::FILE,
    )
}
