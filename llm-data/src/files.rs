//! The files that make a tokenizer, and the tokens that they name.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::prompt::BUILT_IN_TOKENS;

/// The contents of a tokenizer's files, for [`Tokenizer::from_parts`](crate::Tokenizer::from_parts).
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    /// What errors call it; where it came from.
    pub path: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer_json: String,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<String>,
    /// `special_tokens_map.json`: names tokens that the configuration does not.
    pub special_tokens_map: Option<String>,
    /// A chat template's source; wins over the configuration's field.
    pub chat_template: Option<String>,
    /// End-of-sequence ids for when the files above name no token.
    pub eos_ids: Vec<u32>,
    /// The beginning-of-sequence id for when the files above name no token.
    pub bos_id: Option<u32>,
}

/// What the files say about single tokens.
pub(crate) struct NamedTokens {
    pub(crate) bos: Option<u32>,
    pub(crate) pad: Option<u32>,
    pub(crate) eos_ids: Vec<u32>,
    pub(crate) add_bos_token: Option<bool>,
    pub(crate) chat_template: Option<String>,
    /// The names of the configuration's chat templates where none is the default.
    pub(crate) named_templates: Vec<String>,
}

/// The texts in which tokens stand that structure conversations.
pub(crate) struct ControlText {
    /// The chat template's source; empty without one.
    pub(crate) chat_template: String,
    /// Tokens: those that begin and end sequences, and those of the built-in templates.
    pub(crate) tokens: Vec<String>,
}

impl TokenizerFiles {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let tokenizer_json = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let mut files = Self {
            path,
            tokenizer_json,
            tokenizer_config: read_optional(dir, "tokenizer_config.json")?,
            special_tokens_map: read_optional(dir, "special_tokens_map.json")?,
            chat_template: read_optional(dir, "chat_template.jinja")?,
            eos_ids: Vec::new(),
            bos_id: None,
        };
        for name in ["generation_config.json", "config.json"] {
            let Some(text) = read_optional(dir, name)? else {
                continue;
            };
            let json = parse_object(&dir.join(name), &text)?;
            if files.eos_ids.is_empty() {
                files.eos_ids = ids(&json["eos_token_id"]);
            }
            files.bos_id = files
                .bos_id
                .or_else(|| ids(&json["bos_token_id"]).first().copied());
        }
        Ok(files)
    }

    /// A hash of all of it but the path.
    pub(crate) fn fingerprint(&self) -> String {
        let texts = [
            Some(&self.tokenizer_json),
            self.tokenizer_config.as_ref(),
            self.special_tokens_map.as_ref(),
            self.chat_template.as_ref(),
        ];
        let mut hasher = blake3::Hasher::new();
        for text in texts {
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            hasher.update(&length.to_le_bytes());
            hasher.update(text.map_or(&[], |text| text.as_bytes()));
        }
        let ids = self.eos_ids.iter().chain(&self.bos_id);
        for id in ids {
            hasher.update(&id.to_le_bytes());
        }
        hasher.update(&[u8::from(self.bos_id.is_some())]);
        hasher.finalize().to_hex().to_string()
    }

    pub(crate) fn named_tokens(&self, id: impl Fn(&str) -> Option<u32>) -> Result<NamedTokens> {
        let (config, map) = self.parsed()?;
        let named = |field: &str| {
            let Some(token) = token_text(&config[field]).or_else(|| token_text(&map[field])) else {
                return Ok(None);
            };
            id(token).map(Some).ok_or_else(|| Error::Tokenizer {
                path: self.path.clone(),
                reason: format!("`{field}` is {token:?}, which is not in the vocabulary"),
            })
        };
        let eos = named("eos_token")?;
        // Training pads by itself, so a padding token that does not exist does no harm.
        let pad = named("pad_token").unwrap_or_else(|error| {
            tracing::warn!(%error, "there is no padding token");
            None
        });
        let chat_template = self.chat_template(&config);
        Ok(NamedTokens {
            bos: named("bos_token")?.or(self.bos_id),
            pad,
            eos_ids: eos.map_or_else(|| self.eos_ids.clone(), |eos| vec![eos]),
            add_bos_token: config["add_bos_token"].as_bool(),
            named_templates: match chat_template {
                Some(_) => Vec::new(),
                None => template_names(&config["chat_template"]),
            },
            chat_template,
        })
    }

    pub(crate) fn control_text(&self) -> Result<ControlText> {
        let (config, map) = self.parsed()?;
        let named = ["bos_token", "eos_token"]
            .into_iter()
            .filter_map(|field| token_text(&config[field]).or_else(|| token_text(&map[field])));
        Ok(ControlText {
            chat_template: self.chat_template(&config).unwrap_or_default(),
            tokens: named.chain(BUILT_IN_TOKENS).map(str::to_owned).collect(),
        })
    }

    fn chat_template(&self, config: &Value) -> Option<String> {
        let own = self.chat_template.clone();
        own.or_else(|| template(&config["chat_template"]))
    }

    /// The configuration and the map of special tokens.
    fn parsed(&self) -> Result<(Value, Value)> {
        let parse = |name, text: &Option<String>| match text {
            Some(text) => parse_object(&self.path.with_file_name(name), text),
            None => Ok(Value::Null),
        };
        Ok((
            parse("tokenizer_config.json", &self.tokenizer_config)?,
            parse("special_tokens_map.json", &self.special_tokens_map)?,
        ))
    }
}

fn read_optional(dir: &Path, name: &str) -> Result<Option<String>> {
    let path = dir.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path, source }),
    }
}

pub(crate) fn parse_object(path: &Path, text: &str) -> Result<Value> {
    let failed = |reason| Error::Tokenizer {
        path: path.to_owned(),
        reason,
    };
    let value: Value = serde_json::from_str(text).map_err(|error| failed(error.to_string()))?;
    if !value.is_object() {
        return Err(failed("not a JSON object".to_owned()));
    }
    Ok(value)
}

/// A token as text or as an object with its text.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// One id or a list of them.
fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        single => one(single).into_iter().collect(),
    }
}

/// The chat template of the configuration: its source, or the one named `default` of several.
fn template(value: &Value) -> Option<String> {
    match value {
        Value::String(source) => Some(source.clone()),
        Value::Array(list) => {
            let default = list.iter().find(|entry| entry["name"] == "default")?;
            default["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

fn template_names(value: &Value) -> Vec<String> {
    let names = value.as_array().into_iter().flatten();
    names
        .filter_map(|entry| entry["name"].as_str().map(str::to_owned))
        .collect()
}
