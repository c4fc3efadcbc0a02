//! Checkpoints: Hugging Face directories, read and written.

mod load;
mod safetensors;
mod save;
mod shards;

use std::path::{Path, PathBuf};

use ::safetensors::tensor::Dtype;
use burn::tensor::DType;
use serde_json::{Map, Value};

pub use load::{LoadOptions, Loaded};
pub use safetensors::{SafetensorsFile, TensorEntry};
pub use save::{LazyTensor, SaveOptions, save_model, write_atomically, write_tensors};

use crate::quant::{QuantFormat, Quantization};
use crate::{Error, GenerationConfig, LlamaConfig, Result};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// What a checkpoint may hold beside configuration and weights, copied when a model is saved.
const SIDE_FILES: [&str; 9] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
];

/// A model on disk: its configuration, and its tensors memory-mapped.
///
/// ```no_run
/// use llm_core::{Checkpoint, LoadOptions, open_device};
///
/// let checkpoint = Checkpoint::open("path/to/model")?;
/// let loaded = checkpoint.load(&open_device("cpu")?, &LoadOptions::default())?;
/// for warning in &loaded.warnings {
///     eprintln!("{warning}");
/// }
/// # Ok::<(), llm_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: LlamaConfig,
    shards: Vec<SafetensorsFile>,
}

impl Checkpoint {
    /// Opens a Hugging Face directory: `config.json` with `model.safetensors`, or with the shards
    /// that `model.safetensors.index.json` names. Reads headers only.
    ///
    /// # Errors
    /// When a file is absent, malformed, or refused; see [`Error`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        let unsupported = |reason: &str| Error::UnsupportedCheckpoint {
            path: dir.clone(),
            reason: reason.to_owned(),
        };
        let kind = std::fs::metadata(&dir).map_err(Error::io(&dir))?;
        if !kind.is_dir() {
            return Err(unsupported(
                "a Hugging Face directory (config.json, model.safetensors) is needed",
            ));
        }
        let config = LlamaConfig::from_file(dir.join("config.json"))?;
        let shards = match (dir.join(WEIGHTS).exists(), dir.join(INDEX).exists()) {
            (_, true) => shards::open(&dir)?,
            (true, false) => vec![SafetensorsFile::open(dir.join(WEIGHTS))?],
            (false, false) if shards::has_pickle(&dir) => {
                return Err(unsupported(
                    "holds only pickle files, which can run code when they are read; convert them with \
                     transformers: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT)",
                ));
            }
            (false, false) => {
                return Err(unsupported(
                    "holds neither model.safetensors nor an index of shards",
                ));
            }
        };
        Ok(Self {
            dir,
            config,
            shards,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model's configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// How the linear layers are quantised on disk, if they are, by `quantization_config`.
    ///
    /// # Errors
    /// When `config.json` cannot be read any more.
    pub fn quantization(&self) -> Result<Option<Quantization>> {
        let config = self.config_json()?;
        let Some(how) = config
            .get("quantization_config")
            .filter(|how| !how.is_null())
        else {
            return Ok(None);
        };
        let is = |key: &str| how[key].as_bool().unwrap_or(false);
        let format = match (is("load_in_8bit"), how["bnb_4bit_quant_type"].as_str()) {
            (true, _) => QuantFormat::Int8,
            (false, Some("fp4")) => QuantFormat::Fp4,
            (false, _) => QuantFormat::Nf4,
        };
        let double = format != QuantFormat::Int8 && is("bnb_4bit_use_double_quant");
        Ok(Some(Quantization { format, double }))
    }

    /// The files that hold the weights, in the order of their names.
    pub fn weight_files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.shards.iter().map(SafetensorsFile::path).collect();
        files.sort();
        files
    }

    /// The type of the weights on disk: F16, BF16, or F32 for all others.
    pub fn dtype(&self) -> DType {
        let first = self.shards.iter().flat_map(SafetensorsFile::iter).next();
        match first.map(|(_, entry)| entry.dtype) {
            Some(Dtype::F16) => DType::F16,
            Some(Dtype::BF16) => DType::BF16,
            _ => DType::F32,
        }
    }

    /// `config.json` as it stands, with the keys that this crate does not know.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn config_json(&self) -> Result<Map<String, Value>> {
        let path = self.dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        serde_json::from_str(&text).map_err(|source| Error::Json { path, source })
    }

    /// The text of a file beside the weights (`tokenizer.json`, `tokenizer_config.json`,
    /// `chat_template.jinja`, …), or `None` where there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn file(&self, name: &str) -> Result<Option<String>> {
        let path = self.dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// The options that `generation_config.json` recommends, with the end tokens of both it and
    /// `config.json`.
    ///
    /// # Errors
    /// When the file is there and is not an object of the expected types.
    pub fn generation_config(&self) -> Result<GenerationConfig> {
        let name = "generation_config.json";
        let text = self.file(name)?;
        let parsed = GenerationConfig::recommended(text.as_deref().unwrap_or("{}"));
        let mut options = parsed.map_err(|source| Error::Json {
            path: self.dir.join(name),
            source,
        })?;
        options.stop_ids.extend(&self.config.eos_token_ids);
        options.stop_ids.sort_unstable();
        options.stop_ids.dedup();
        Ok(options)
    }

    /// Copies tokenizer, chat template and generation configuration into `out`.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy_side_files(&self, out: impl AsRef<Path>) -> Result<()> {
        for name in SIDE_FILES {
            let from = self.dir.join(name);
            if from.exists() {
                let bytes = std::fs::read(&from).map_err(Error::io(&from))?;
                write_atomically(out.as_ref().join(name), |file| {
                    std::io::Write::write_all(file, &bytes)
                })?;
            }
        }
        Ok(())
    }
}
