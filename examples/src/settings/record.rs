//! Settings as they are written down, and what in them makes a run the run that it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use llm_data::Format;
use serde_json::{Map, Value, json};

use super::file::whole_as_integer;
use super::keys::{KEYS, NOT_IDENTITY, OF_ADAPTERS};
use super::resolve::fields_of;
use super::{Dataset, Packing, Schedule, Settings};
use crate::cli::{Precision, Quantize};

/// A setting that would make a run another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name in files.
    pub key: String,
    /// What it was, as YAML, or `unset`.
    pub before: String,
    /// What it is.
    pub now: String,
}

impl Settings {
    /// As a file that `--config` reads, with axolotl's names: these settings in full.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn to_yaml(&self) -> Result<String> {
        let keys = self.to_keys()?;
        serde_saphyr::to_string(&keys).map_err(|error| anyhow!("cannot write settings: {error}"))
    }

    /// The settings as they are recorded with what they produced: paths that hold from everywhere, and
    /// no output, so that the same settings can be run again.
    pub fn recorded(&self, template: &str) -> Self {
        let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let datasets = |datasets: &[Dataset]| {
            let absolute = |dataset: &Dataset| Dataset {
                path: absolute(&dataset.path),
                ..dataset.clone()
            };
            datasets.iter().map(absolute).collect()
        };
        let against = self.check_against.iter();
        Self {
            model: self.model.as_deref().map(absolute),
            data: datasets(&self.data),
            test_data: datasets(&self.test_data),
            check_against: against.map(|path| absolute(path)).collect::<Vec<PathBuf>>(),
            output: None,
            dataset_prepared_path: self.dataset_prepared_path.as_deref().map(absolute),
            template: Some(self.template_file().unwrap_or_else(|| template.to_owned())),
            ..self.clone()
        }
    }

    /// A template of a file, `FILE:NAME` or `FILE`, by a path that holds from everywhere.
    fn template_file(&self) -> Option<String> {
        let given = self.template.as_deref()?;
        let absolute = |path: &str| {
            let file = Some(Path::new(path)).filter(|path| path.is_file())?;
            Some(file.canonicalize().ok()?.to_str()?.to_owned())
        };
        if let Some(path) = absolute(given) {
            return Some(path);
        }
        let (path, name) = given.rsplit_once(':')?;
        Some(format!("{}:{name}", absolute(path)?))
    }

    /// What in `now` would make another run of the run that these settings are of. Where model and data
    /// are does not; what they hold is not compared.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn differences(&self, now: &Self) -> Result<Vec<Difference>> {
        let (before, now) = (self.identity()?, now.identity()?);
        let text = |value: Option<&Value>| value.map_or("unset".to_owned(), plain);
        let keys: Vec<&String> = before
            .keys()
            .chain(now.keys().filter(|key| !before.contains_key(*key)))
            .filter(|key| before.get(*key) != now.get(*key))
            .collect();
        let difference = |key: &String| Difference {
            key: key.clone(),
            before: text(before.get(key)),
            now: text(now.get(key)),
        };
        Ok(keys.into_iter().map(difference).collect())
    }

    /// The settings that make the run, a line each, in the order of their names: to be hashed.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn identity_text(&self) -> Result<String> {
        let lines = self.identity()?.into_iter();
        let sorted: BTreeMap<String, Value> = lines.collect();
        let line = |(key, value): (&String, &Value)| format!("{key}: {value}\n");
        Ok(sorted.iter().map(line).collect())
    }

    /// The settings that make the run, by their names in files.
    fn identity(&self) -> Result<Map<String, Value>> {
        let mut keys = self.to_keys()?;
        keys.retain(|key, _| !NOT_IDENTITY.contains(&key.as_str()));
        let datasets = self.datasets().into_iter();
        let formats: Vec<_> = datasets
            .map(|data| data.format.map_or("auto", Format::name))
            .collect();
        keys.insert("datasets".to_owned(), serde_json::to_value(formats)?);
        Ok(keys)
    }

    /// The settings by their names in files, without those that say nothing.
    fn to_keys(&self) -> Result<Map<String, Value>> {
        let mut fields = fields_of(self)?;
        if self.full {
            fields.retain(|field, _| !OF_ADAPTERS.contains(&field.as_str()));
        }
        if self.schedule == Schedule::Constant || self.warmup_steps.is_some() {
            fields.remove("warmup_ratio");
        }
        let mut keys = Map::new();
        for (name, field) in KEYS {
            match self.as_in_axolotl(name) {
                Some(pairs) => keys.extend(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value)),
                ),
                None => {
                    let value = fields.remove(field).unwrap_or_default();
                    if !value.is_null() && value != json!([]) {
                        keys.insert(name.to_owned(), whole_as_integer(value));
                    }
                }
            }
        }
        Ok(keys)
    }

    /// The keys for those settings that are not one key each.
    fn as_in_axolotl(&self, name: &str) -> Option<Vec<(&'static str, Value)>> {
        Some(match name {
            "adapter" if self.full => vec![("adapter", Value::Null)],
            "adapter" => vec![("adapter", if self.qlora { "qlora" } else { "lora" }.into())],
            "load_in_4bit" => match self.compute.quantize {
                None => vec![],
                Some(Quantize::Int8) => vec![("load_in_8bit", true.into())],
                Some(Quantize::Nf4 | Quantize::Fp4) => vec![("load_in_4bit", true.into())],
            },
            "no_double_quantization" => self.options_of_four_bits(),
            "sample_packing" => match self.packing {
                Packing::Pack => vec![("sample_packing", true.into())],
                Packing::None => vec![("sample_packing", false.into())],
                Packing::Bucket => vec![("packing", "bucket".into())],
            },
            "shuffle_merged_datasets" => {
                vec![("shuffle_merged_datasets", (!self.no_shuffle).into())]
            }
            "bf16" => match self.compute.precision {
                Precision::Auto => vec![("bf16", "auto".into())],
                Precision::Bf16 => vec![("bf16", true.into())],
                Precision::F32 => vec![("bf16", false.into())],
                Precision::F16 => vec![("bf16", false.into()), ("fp16", true.into())],
            },
            "lora_target_modules" if !self.full && self.target_modules != "all-linear" => {
                let names: Vec<&str> = self.target_modules.split(',').collect();
                vec![("lora_target_modules", names.into())]
            }
            _ => return None,
        })
    }

    /// `bnb_config_kwargs`, where it says more than `load_in_4bit`.
    fn options_of_four_bits(&self) -> Vec<(&'static str, Value)> {
        let mut options = Map::new();
        if self.compute.quantize == Some(Quantize::Fp4) {
            options.insert("bnb_4bit_quant_type".to_owned(), "fp4".into());
        }
        if self.compute.no_double_quantization {
            options.insert("bnb_4bit_use_double_quant".to_owned(), false.into());
        }
        match options.is_empty() {
            true => vec![],
            false => vec![("bnb_config_kwargs", options.into())],
        }
    }
}

/// A value as YAML has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "empty".to_owned(),
        other => other.to_string(),
    }
}
