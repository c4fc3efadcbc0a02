//! The directory that a run leaves behind: settings, metrics, model card.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use llm_core::checkpoint::write_atomically;
use llm_lora::Event;

use crate::settings::{self, Settings};

/// The output directory of a run.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    metrics: File,
}

/// What a run with an adapter, and one of a whole model, write.
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
const MODEL_FILES: [&str; 3] = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
];

impl RunDir {
    /// Makes the directory, or takes an existing one, and starts its `metrics.jsonl` anew. Finds out
    /// whether the results will find their place, before they are computed.
    pub fn create(path: &Path, full: bool) -> Result<Self> {
        let context = || format!("cannot write to {}", path.display());
        fs::create_dir_all(path).with_context(context)?;
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
        for name in ours.iter().chain(&[settings::FILE, "README.md"]) {
            if path.join(name).is_dir() {
                bail!(
                    "{}: a directory stands where a file is to be written",
                    path.join(name).display()
                );
            }
        }
        let probe = path.join(".writable");
        File::create(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .with_context(context)?;
        let metrics = File::create(path.join("metrics.jsonl")).with_context(context)?;
        Ok(Self {
            path: path.to_owned(),
            metrics,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the resolved settings.
    pub fn save_settings(&self, settings: &Settings) -> Result<()> {
        let yaml = settings.to_yaml()?;
        write_atomically(self.path.join(settings::FILE), |file| {
            file.write_all(yaml.as_bytes())
        })?;
        Ok(())
    }

    /// Appends a row to `metrics.jsonl`.
    pub fn record(&mut self, event: &Event) -> Result<()> {
        let row = match event {
            Event::Step(step) => serde_json::to_string(step)?,
            Event::Evaluation(evaluation) => serde_json::to_string(evaluation)?,
            _ => return Ok(()),
        };
        writeln!(self.metrics, "{row}").context("cannot write metrics.jsonl")
    }

    /// Writes the model card, as hubs show it.
    pub fn save_card(
        &self,
        settings: &Settings,
        template: &str,
        evaluations: &[f64],
    ) -> Result<()> {
        let card = card(settings, template, evaluations);
        write_atomically(self.path.join("README.md"), |file| {
            file.write_all(card.as_bytes())
        })?;
        Ok(())
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
    let evaluation = match evaluations {
        [first, .., last] => format!("Evaluation loss: {first:.4} before, {last:.4} after.\n"),
        _ => String::new(),
    };
    format!(
        "---\nbase_model: {base}\nlibrary_name: {library}\npipeline_tag: text-generation\n---\n\n\
         # Fine-tuned from {base}\n\n{what} Data: {}. Prompt template: `{template}`.\n{evaluation}\n\
         The settings are in `{}`, the losses in `metrics.jsonl`.\n",
        settings.data_file().display(),
        settings::FILE,
    )
}
