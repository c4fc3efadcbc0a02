//! The directory that a run leaves behind: results, settings, metrics, model card, manifest.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use llm_core::checkpoint::write_atomically;
use llm_lora::{Event, Identity, Manifest};

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
    _lock: File,
}

impl RunDir {
    /// Makes the directory, or takes an existing one. Finds out whether the results will find their place,
    /// before they are computed.
    pub fn open(path: &Path, full: bool) -> Result<Self> {
        let context = || format!("cannot write to {}", path.display());
        fs::create_dir_all(path).with_context(context)?;
        let lock = path.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&lock);
        let lock = lock.with_context(context)?;
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

    /// From now on the directory holds no finished run. Returns `metrics.jsonl`, which holds the history of
    /// a run that goes on and nothing else.
    pub fn begin(&self, history: &[Event]) -> Result<Metrics> {
        let manifest = self.path.join(Manifest::FILE);
        if manifest.exists() {
            fs::remove_file(&manifest).with_context(|| manifest.display().to_string())?;
        }
        Metrics::create(&self.path.join(METRICS), history)
    }

    /// Writes the settings, in a form that `--config` reads.
    pub fn save_settings(&self, settings: &Settings) -> Result<()> {
        write_settings(settings, &self.path)
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
            if result || COMMON_FILES.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Manifest::write(&self.path, steps, names.iter().map(String::as_str))?;
        Ok(())
    }
}

/// Writes `finetune.yaml`.
pub fn write_settings(settings: &Settings, dir: &Path) -> Result<()> {
    let yaml = settings.to_yaml()?;
    write_atomically(dir.join(settings::FILE), |file| {
        file.write_all(yaml.as_bytes())
    })?;
    Ok(())
}

/// `metrics.jsonl`: a row for every step and evaluation.
#[derive(Debug)]
pub struct Metrics(File);

impl Metrics {
    fn create(path: &Path, history: &[Event]) -> Result<Self> {
        write_atomically(path, |file| {
            history.iter().try_for_each(|event| {
                serde_json::to_writer(&mut *file, event)?;
                file.write_all(b"\n")
            })
        })?;
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
        .data_files()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let evaluation = match evaluations {
        [first, .., last] => format!("Evaluation loss: {first:.4} before, {last:.4} after.\n"),
        _ => String::new(),
    };
    format!(
        "---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: text-generation\n---\n\n\
         # Fine-tuned from {base}\n\n{what} Data: {}. Prompt template: `{template}`.\n{evaluation}\n\
         The settings are in `{}`, the losses in `metrics.jsonl`.\n",
        data.join(", "),
        settings::FILE,
    )
}
