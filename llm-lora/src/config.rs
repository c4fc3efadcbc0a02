//! `LoraConfig`: PEFT's `adapter_config.json`.

use std::fs;
use std::path::Path;

use fancy_regex::Regex;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{Error, Result, targets};

/// The file beside the adapter's weights.
pub(crate) const FILE: &str = "adapter_config.json";

/// How an adapter is made: PEFT's `LoraConfig`, with PEFT's names and defaults.
///
/// ```
/// use llm_lora::{LoraConfig, Modules};
///
/// let config = LoraConfig {
///     r: 16,
///     lora_alpha: 32.0,
///     target_modules: Some(Modules::AllLinear),
///     ..LoraConfig::default()
/// };
/// assert_eq!(config.scaling("model.layers.0.self_attn.q_proj")?, (16, 2.0));
/// # Ok::<(), llm_lora::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraConfig {
    /// Always `LORA`.
    pub peft_type: String,
    /// `CAUSAL_LM` for everything made here.
    pub task_type: Option<String>,
    /// The model that the adapter belongs to, as it was named when training began.
    pub base_model_name_or_path: Option<String>,
    /// Rank: rows of A, columns of B.
    pub r: usize,
    /// The branch is scaled by `lora_alpha / r`.
    #[serde(serialize_with = "whole_as_integer")]
    pub lora_alpha: f64,
    /// Probability with which an element of the branch's input is dropped in training.
    pub lora_dropout: f64,
    /// Which linear layers get an adapter; absent means q and v.
    pub target_modules: Option<Modules>,
    /// Which layers do not, whatever `target_modules` says.
    pub exclude_modules: Option<Modules>,
    /// Ranks of particular modules, by regular expressions on the end of their names.
    pub rank_pattern: IndexMap<String, usize>,
    /// Alphas of particular modules, likewise.
    #[serde(serialize_with = "wholes_as_integers")]
    pub alpha_pattern: IndexMap<String, f64>,
    /// Scale by `lora_alpha / √r` (Kalajdzievski 2023, <https://arxiv.org/abs/2312.03732>).
    pub use_rslora: bool,
    /// Train a magnitude beside the direction (Liu et al. 2024, <https://arxiv.org/abs/2402.09353>).
    pub use_dora: bool,
    /// Which of the base's biases are trained.
    pub bias: Bias,
    /// Modules that are trained and saved whole, by the end of their names.
    pub modules_to_save: Option<Vec<String>>,
    /// Only these layers get adapters.
    pub layers_to_transform: Option<OneOrMany<usize>>,
    /// The name of the list of layers, where it is not the first number in a module's name.
    pub layers_pattern: Option<OneOrMany<String>>,
    /// How A and B start: `true`, `false` or `"gaussian"`.
    pub init_lora_weights: InitLoraWeights,
    /// Whether weights are transposed, as in GPT-2; never in this family.
    pub fan_in_fan_out: bool,
    /// Whether PEFT freezes the adapter on loading.
    pub inference_mode: bool,
    /// Fields that this crate does not know or that do not bear on the computation, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A choice of modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modules {
    /// Every linear layer but the head.
    AllLinear,
    /// Names, or ends of names at a dot (`q_proj`, `self_attn.q_proj`).
    List(Vec<String>),
    /// A regular expression that matches the whole name.
    Regex(String),
}

/// Which of the base's biases are trained with the adapter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// All of the model's.
    All,
    /// Those of modules with an adapter.
    LoraOnly,
}

/// A value that PEFT writes bare or as a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// Bare.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// PEFT's `init_lora_weights`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum InitLoraWeights {
    /// `true`: A uniform in ±1/√in, B zero. `false`: B uniform in ±1/√r as well.
    Flag(bool),
    /// `"gaussian"`: A normal with standard deviation 1/r, B zero.
    Named(String),
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            peft_type: "LORA".to_owned(),
            task_type: Some("CAUSAL_LM".to_owned()),
            base_model_name_or_path: None,
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
            use_rslora: false,
            use_dora: false,
            bias: Bias::None,
            modules_to_save: None,
            layers_to_transform: None,
            layers_pattern: None,
            init_lora_weights: InitLoraWeights::Flag(true),
            fan_in_fan_out: false,
            inference_mode: true,
            other: Map::new(),
        }
    }
}

/// Far above any rank that makes sense, small enough that a damaged file cannot ask for all memory.
const MAX_RANK: usize = 1 << 14;

/// PEFT's fields that change the computation in ways that this crate does not compute; they may
/// only stand there unset.
const UNSUPPORTED: [&str; 20] = [
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "kasa_config",
    "layer_replication",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "monteclora_config",
    "runtime_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
    "aqlm_config",
    "osf_config",
];

impl LoraConfig {
    /// Reads and validates the `adapter_config.json` of a directory.
    ///
    /// # Errors
    /// When the file cannot be read, is malformed, or asks for what is not supported.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let path = dir.as_ref().join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(Error::Io { path, source }),
        };
        let config: Self =
            serde_json::from_str(&text).map_err(|source| Error::Json { path, source })?;
        config.validate()?;
        Ok(config)
    }

    /// Writes `adapter_config.json` into a directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let path = dir.as_ref().join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        llm_core::checkpoint::write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        Ok(())
    }

    /// Checks every field that does not depend on the model.
    ///
    /// # Errors
    /// Names the field, with what is accepted and what was found.
    pub fn validate(&self) -> Result<()> {
        if self.peft_type != "LORA" {
            return Err(Error::config("peft_type", "LORA", &self.peft_type));
        }
        let ranks = self
            .rank_pattern
            .iter()
            .map(|(key, rank)| (format!("rank_pattern.{key}"), *rank));
        for (field, rank) in ranks.chain([("r".to_owned(), self.r)]) {
            if !(1..=MAX_RANK).contains(&rank) {
                return Err(Error::config(&field, format!("1 to {MAX_RANK}"), rank));
            }
        }
        let alphas = self.alpha_pattern.values().chain([&self.lora_alpha]);
        if let Some(alpha) = alphas.copied().find(|alpha| !alpha.is_finite()) {
            return Err(Error::config("lora_alpha", "a finite number", alpha));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return Err(Error::config(
                "lora_dropout",
                "0 or more, below 1",
                self.lora_dropout,
            ));
        }
        if self.fan_in_fan_out {
            return Err(Error::config("fan_in_fan_out", "false", true));
        }
        match &self.init_lora_weights {
            InitLoraWeights::Named(name) if name != "gaussian" => {
                return Err(Error::config(
                    "init_lora_weights",
                    "true, false or \"gaussian\"",
                    name,
                ));
            }
            _ => {}
        }
        self.validate_layers()?;
        match UNSUPPORTED
            .iter()
            .find(|field| self.other.get(**field).is_some_and(is_set))
        {
            Some(field) => Err(Error::config(
                field,
                "nothing (it is not supported)",
                &self.other[*field],
            )),
            None => Ok(()),
        }
    }

    fn validate_layers(&self) -> Result<()> {
        let layers = self
            .layers_to_transform
            .as_ref()
            .is_some_and(|l| !l.as_slice().is_empty());
        let by_list = matches!(self.target_modules, None | Some(Modules::List(_)));
        if layers && !by_list {
            return Err(Error::config(
                "layers_to_transform",
                "nothing unless target_modules is a list",
                "layers",
            ));
        }
        let patterns = self
            .layers_pattern
            .as_ref()
            .map_or(&[][..], OneOrMany::as_slice);
        if patterns.iter().any(|pattern| !pattern.is_empty()) && !layers {
            return Err(Error::config(
                "layers_pattern",
                "nothing unless layers_to_transform is given",
                "a pattern",
            ));
        }
        Ok(())
    }

    /// The rank and the scale `s` of a module by its full name.
    ///
    /// # Errors
    /// When a pattern is not a regular expression.
    pub fn scaling(&self, module: &str) -> Result<(usize, f64)> {
        Ok(self.scalings()?.of(module))
    }

    /// [`scaling`](Self::scaling) with the patterns compiled once.
    pub(crate) fn scalings(&self) -> Result<Scalings<'_>> {
        Ok(Scalings {
            config: self,
            ranks: compile("rank_pattern", &self.rank_pattern)?,
            alphas: compile("alpha_pattern", &self.alpha_pattern)?,
        })
    }
}

/// The ranks and alphas of modules by name.
pub(crate) struct Scalings<'a> {
    config: &'a LoraConfig,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

impl Scalings<'_> {
    /// Rank and scale of a module by its full name: the first pattern that matches decides.
    pub(crate) fn of(&self, module: &str) -> (usize, f64) {
        fn first<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
            let matches = |(regex, _): &&(Regex, T)| regex.is_match(module).unwrap_or(false);
            patterns.iter().find(matches).map(|(_, value)| *value)
        }
        let rank = first(&self.ranks, module).unwrap_or(self.config.r);
        let alpha = first(&self.alphas, module).unwrap_or(self.config.lora_alpha);
        let divisor = match self.config.use_rslora {
            true => (rank as f64).sqrt(),
            false => rank as f64,
        };
        (rank, alpha / divisor)
    }
}

/// Patterns that match a module's name from a dot to its end.
fn compile<T: Copy>(field: &str, patterns: &IndexMap<String, T>) -> Result<Vec<(Regex, T)>> {
    let compile = |(pattern, value): (&String, &T)| {
        let regex = targets::compile(field, &format!(r"^(?:(.*\.)?({pattern})$)"))?;
        Ok((regex, *value))
    };
    patterns.iter().map(compile).collect()
}

/// Whether a field says anything: PEFT writes unset ones as null, false or empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(object) => !object.is_empty(),
        Value::Array(array) => !array.is_empty(),
        _ => true,
    }
}

/// PEFT types alpha as an integer.
fn whole_as_integer<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => serializer.serialize_i64(*value as i64),
        false => serializer.serialize_f64(*value),
    }
}

fn wholes_as_integers<S: Serializer>(
    values: &IndexMap<String, f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    struct Alpha(f64);
    impl Serialize for Alpha {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            whole_as_integer(&self.0, serializer)
        }
    }
    serializer.collect_map(values.iter().map(|(key, alpha)| (key, Alpha(*alpha))))
}

impl Serialize for Modules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AllLinear => serializer.serialize_str("all-linear"),
            Self::List(names) => names.serialize(serializer),
            Self::Regex(regex) => serializer.serialize_str(regex),
        }
    }
}

impl<'de> Deserialize<'de> for Modules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match OneOrMany::<String>::deserialize(deserializer)? {
            OneOrMany::One(text) => Self::from(text),
            OneOrMany::Many(names) => Self::List(names),
        })
    }
}

impl From<String> for Modules {
    /// As PEFT reads a bare string: `all-linear` or a regular expression.
    fn from(text: String) -> Self {
        match text.eq_ignore_ascii_case("all-linear") {
            true => Self::AllLinear,
            false => Self::Regex(text),
        }
    }
}
