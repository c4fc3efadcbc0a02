//! From files and flags to the settings that they come to together.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use serde_json::{Map, Value};

use super::file::read_file;
use super::keys::{KEYS, OF_ADAPTERS};
use super::{Schedule, Settings};
use crate::cli::Quantize;

/// With which the bundled model learns its records in a minute.
const BUNDLED_LEARNING_RATE: f64 = 3e-3;

/// What a source says that is given later takes back what an earlier one says about the second field.
const TAKES_BACK: [(&str, &str); 10] = [
    ("full", "qlora"),
    ("full", "quantize"),
    ("qlora", "full"),
    ("qlora", "quantize"),
    ("quantize", "qlora"),
    ("quantize", "no_double_quantization"),
    ("epochs", "max_steps"),
    ("warmup_ratio", "warmup_steps"),
    ("test_data", "validation_share"),
    ("validation_share", "test_data"),
];

/// What one source, a file or the flags, says.
#[derive(Default)]
pub(super) struct Layer {
    /// Values by the fields of [`Settings`].
    pub(super) fields: Map<String, Value>,
    /// Whether it names `base_model`: a whole run, as axolotl's files are.
    pub(super) names_base_model: bool,
}

impl Layer {
    /// What files say, later ones over earlier ones.
    fn of_files(files: &[PathBuf]) -> Result<Self> {
        let mut given = Self::default();
        for file in files {
            given.add(read_file(file).with_context(|| file.display().to_string())?);
        }
        Ok(given)
    }

    /// What the command line says.
    fn of_flags(flags: &ArgMatches) -> Result<Self> {
        let mut fields = fields_of(&Settings::from_arg_matches(flags)?)?;
        fields.retain(|field, _| flags.value_source(field) == Some(ValueSource::CommandLine));
        let names_base_model = false;
        Ok(Self {
            fields,
            names_base_model,
        })
    }

    /// Lets a later source win.
    fn add(&mut self, later: Self) {
        for (field, taken_back) in TAKES_BACK {
            if later.fields.contains_key(field) && !later.fields.contains_key(taken_back) {
                self.fields.remove(taken_back);
            }
        }
        self.fields.extend(later.fields);
        self.names_base_model |= later.names_base_model;
    }

    fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The name in files of the first of `fields` that is given.
    fn first_of(&self, fields: &[&str]) -> Option<&'static str> {
        let mut keys = KEYS.iter();
        let given = |(_, field): &&(&str, &str)| {
            fields.contains(field)
                && self
                    .fields
                    .get(*field)
                    .is_some_and(|value| !value.is_null())
        };
        keys.find(given).map(|(name, _)| *name)
    }
}

/// Values by fields.
pub(super) fn fields_of(settings: &Settings) -> Result<Map<String, Value>> {
    match serde_json::to_value(settings)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

impl Settings {
    /// The settings that files and flags come to together: flags win over files, a later file over an
    /// earlier one, files over defaults. The defaults suit real models; for the bundled one, four orders
    /// of magnitude smaller, learning rate and targets have defaults of their own.
    ///
    /// # Errors
    /// All that is wrong with a file, with lines; what contradicts itself.
    pub fn resolve(files: &[PathBuf], flags: &ArgMatches) -> Result<Self> {
        let mut given = Layer::of_files(files)?;
        given.add(Layer::of_flags(flags)?);
        Self::settle(&given)
    }

    /// The settings that files come to, as [`resolve`](Self::resolve) without flags.
    ///
    /// # Errors
    /// The same.
    pub fn read(files: &[PathBuf]) -> Result<Self> {
        Self::settle(&Layer::of_files(files)?)
    }

    fn settle(given: &Layer) -> Result<Self> {
        let mut settings: Self = serde_json::from_value(Value::Object(given.fields.clone()))?;
        settings.settle_adapter(given)?;
        settings.settle_quantization()?;
        settings.settle_rest(given)?;
        Ok(settings)
    }

    /// An axolotl file without `adapter` trains all weights.
    fn settle_adapter(&mut self, given: &Layer) -> Result<()> {
        let chosen = given.has("full") || given.has("qlora");
        if given.names_base_model && !chosen {
            let of_adapters = [&OF_ADAPTERS[..], &["quantize"]].concat();
            if let Some(key) = given.first_of(&of_adapters) {
                bail!(
                    "a file with base_model and without adapter trains all weights, as axolotl does, but \
                     {key} is given; add adapter: lora"
                );
            }
            self.full = true;
        }
        if self.full && self.qlora {
            bail!("qlora trains an adapter; leave it out with full");
        }
        if self.full {
            // They say nothing about this run.
            let defaults = Self::default();
            self.r = defaults.r;
            self.alpha = defaults.alpha;
            self.dropout = 0.0;
            self.target_modules = defaults.target_modules;
            self.modules_to_save = defaults.modules_to_save;
            self.use_rslora = defaults.use_rslora;
            self.use_dora = defaults.use_dora;
        }
        Ok(())
    }

    /// QLoRA is an adapter beside a base in four bits, however it is asked for.
    fn settle_quantization(&mut self) -> Result<()> {
        let compute = &mut self.compute;
        if self.qlora && *compute.quantize.get_or_insert(Quantize::Nf4) == Quantize::Int8 {
            bail!("qlora is four bits; leave it out with int8");
        }
        if self.full && compute.quantize.is_some() {
            bail!("quantised weights cannot be trained; give an adapter, or do not quantise");
        }
        self.qlora = matches!(compute.quantize, Some(Quantize::Nf4 | Quantize::Fp4));
        if compute.no_double_quantization && !self.qlora {
            bail!(
                "no_double_quantization says how to quantise to four bits, which is not asked for"
            );
        }
        Ok(())
    }

    fn settle_rest(&mut self, given: &Layer) -> Result<()> {
        if !self.test_data.is_empty() {
            if given.has("validation_share") && self.validation_share != 0.0 {
                bail!("val_set_size: not together with test_datasets, which are held out already");
            }
            self.validation_share = 0.0;
        }
        if self.schedule == Schedule::Constant {
            self.warmup_steps = None;
        }
        if self.schedule == Schedule::Constant || self.warmup_steps.is_some() {
            // Not in use.
            self.warmup_ratio = 0.0;
        }
        if self.model.is_none() {
            if !given.has("learning_rate") {
                self.learning_rate = BUNDLED_LEARNING_RATE;
            }
            if !given.has("target_modules") && !self.full {
                self.target_modules = "all-linear".to_owned();
            }
        }
        Ok(())
    }
}
