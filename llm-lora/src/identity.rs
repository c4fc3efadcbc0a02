//! What an adapter or checkpoint was made from and with, in hashes.

use std::fmt;
use std::path::{Path, PathBuf};

use llm_core::Checkpoint;
use llm_data::{Template, Tokenizer, hash_file};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::manifest::{read_json, write_json};

/// Hashes (BLAKE3, hexadecimal) of all that makes a run what it is. Equal runs have equal identities;
/// an adapter on another base, or a checkpoint of another run, is told by them.
///
/// Paths, times and how often a run was interrupted are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Of the base's weight files; of a single file, the one that `b3sum` prints.
    pub base_weights: String,
    /// Of the base's `config.json`, as far as it concerns the model's numbers.
    pub base_config: String,
    /// Of `tokenizer.json` and the files beside it that say which tokens begin and end a text.
    pub tokenizer: String,
    /// Of the prompt template's texts.
    pub template: String,
    /// Of the data files, those that are held out among them.
    pub data: String,
    /// Of the settings that change the result.
    pub configuration: String,
}

/// A part of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Part {
    /// The base's weights.
    BaseWeights,
    /// The base's configuration.
    BaseConfig,
    /// The tokenizer.
    Tokenizer,
    /// The prompt template.
    Template,
    /// The data.
    Data,
    /// The settings.
    Configuration,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BaseWeights => "base_weights",
            Self::BaseConfig => "base_config",
            Self::Tokenizer => "tokenizer",
            Self::Template => "template",
            Self::Data => "data",
            Self::Configuration => "configuration",
        })
    }
}

impl Identity {
    /// The file beside an adapter.
    pub const FILE: &str = "identity.json";

    /// The identity of a run. `configuration` is any text that is the same for the same settings.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn new<'a>(
        base: &Checkpoint,
        tokenizer: &Tokenizer,
        template: &Template,
        data: impl IntoIterator<Item = &'a Path>,
        configuration: &str,
    ) -> Result<Self> {
        Ok(Self {
            data: hash_files(data)?,
            configuration: hash(configuration),
            ..Self::of_model(base, tokenizer, Some(template))?
        })
    }

    /// The identity as far as a model has one by itself; what is not known is left empty.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_model(
        base: &Checkpoint,
        tokenizer: &Tokenizer,
        template: Option<&Template>,
    ) -> Result<Self> {
        let config = base.config().to_json("float32");
        let config = serde_json::Value::Object(config).to_string();
        Ok(Self {
            base_weights: hash_files(base.weight_files())?,
            base_config: hash(&config),
            tokenizer: hash_files(tokenizer_files(tokenizer).iter().map(PathBuf::as_path))?,
            template: template
                .map(|template| hash(&template.definition()))
                .unwrap_or_default(),
            data: String::new(),
            configuration: String::new(),
        })
    }

    /// Reads `identity.json` of a directory, if it has one: adapters that others made have none.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        read_json(&dir.join(Self::FILE))
    }

    /// Writes `identity.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join(Self::FILE), self)
    }

    /// The parts in which two identities differ, of those that are known of both.
    pub fn differences(&self, other: &Self) -> Vec<Part> {
        let parts = [
            (Part::BaseWeights, &self.base_weights, &other.base_weights),
            (Part::BaseConfig, &self.base_config, &other.base_config),
            (Part::Tokenizer, &self.tokenizer, &other.tokenizer),
            (Part::Template, &self.template, &other.template),
            (Part::Data, &self.data, &other.data),
            (
                Part::Configuration,
                &self.configuration,
                &other.configuration,
            ),
        ];
        let differ = parts.iter().filter(|(_, ours, theirs)| {
            let known = !ours.is_empty() && !theirs.is_empty();
            known && ours != theirs
        });
        differ.map(|(part, ..)| *part).collect()
    }
}

fn tokenizer_files(tokenizer: &Tokenizer) -> Vec<PathBuf> {
    let json = tokenizer.path();
    let beside = ["tokenizer_config.json", "special_tokens_map.json"];
    let beside = beside.iter().map(|name| json.with_file_name(name));
    let files = std::iter::once(json.to_owned()).chain(beside);
    files.filter(|path| path.exists()).collect()
}

/// The hash of one file, or of the hashes of several.
fn hash_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<String> {
    let hashes: Result<Vec<String>> = paths
        .into_iter()
        .map(|path| Ok(hash_file(path)?.blake3))
        .collect();
    let mut hashes = hashes?;
    Ok(match hashes.len() {
        1 => hashes.remove(0),
        _ => hash(&hashes.join("\n")),
    })
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}
