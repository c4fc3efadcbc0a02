//! `LlamaConfig`: what `config.json` says about a model of the family.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::rope::{RawRope, RopeParameters};
use crate::{Error, Result};

/// The `model_type`s that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelType {
    /// LLaMA 1 to 3 and everything that shares their code.
    Llama,
    /// Mistral: LLaMA with a sliding window.
    Mistral,
    /// Qwen 2 and 2.5: LLaMA with biases on q, k and v.
    Qwen2,
    /// Qwen 3: LLaMA with normalised queries and keys.
    Qwen3,
}

impl ModelType {
    const NAMES: [(&'static str, Self, &'static str); 4] = [
        ("llama", Self::Llama, "LlamaForCausalLM"),
        ("mistral", Self::Mistral, "MistralForCausalLM"),
        ("qwen2", Self::Qwen2, "Qwen2ForCausalLM"),
        ("qwen3", Self::Qwen3, "Qwen3ForCausalLM"),
    ];

    fn parse(name: &str) -> Result<Self> {
        match Self::NAMES.iter().find(|(known, ..)| *known == name) {
            Some((_, model_type, _)) => Ok(*model_type),
            None => Err(Error::config(
                "model_type",
                "llama, mistral, qwen2 or qwen3",
                format_args!("`{name}`"),
            )),
        }
    }

    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    fn architecture(self) -> &'static str {
        Self::NAMES[self as usize].2
    }
}

/// The configuration of a model: `config.json` with every default resolved as transformers does.
///
/// ```
/// let config = llm_core::LlamaConfig::from_json(r#"{
///     "model_type": "llama", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 112,
///     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2
/// }"#)?;
/// assert_eq!(config.head_dim, 16);
/// # Ok::<(), llm_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Which member of the family this is.
    pub model_type: ModelType,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Context length in tokens.
    pub max_position_embeddings: usize,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Rotary position embedding.
    pub rope: RopeParameters,
    /// Whether the head shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// A bias on o.
    pub o_bias: bool,
    /// Biases on gate, up and down.
    pub mlp_bias: bool,
    /// RMSNorm on each head's queries and keys (Qwen 3).
    pub qk_norm: bool,
    /// Tokens that a position sees in a windowed layer, itself included.
    pub sliding_window: Option<usize>,
    /// Which layers are windowed; as many as there are layers.
    pub windowed_layers: Vec<bool>,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Beginning-of-text token.
    pub bos_token_id: Option<u32>,
    /// End-of-text tokens.
    pub eos_token_ids: Vec<u32>,
    /// Padding token.
    pub pad_token_id: Option<u32>,
}

/// The keys of `config.json` that bear on the computation; others are of no consequence.
#[derive(Deserialize)]
struct RawConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default, deserialize_with = "present")]
    num_key_value_heads: Option<Option<usize>>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    original_max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<usize>>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    attention_dropout: Option<f64>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<Value>,
    initializer_range: Option<f64>,
    bos_token_id: Option<Ids>,
    eos_token_id: Option<Ids>,
    pad_token_id: Option<Ids>,
}

/// Distinguishes `null` from an absent key: transformers' defaults apply to the latter only.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// One token id, or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Ids {
    One(i64),
    Many(Vec<i64>),
}

impl Ids {
    /// Negative ids mean "none" in some checkpoints.
    pub(crate) fn into_vec(this: Option<Self>) -> Vec<u32> {
        let ids = match this {
            None => vec![],
            Some(Self::One(id)) => vec![id],
            Some(Self::Many(ids)) => ids,
        };
        ids.into_iter()
            .filter_map(|id| u32::try_from(id).ok())
            .collect()
    }
}

impl LlamaConfig {
    /// Reads and validates a `config.json` of transformers 4 or 5.
    ///
    /// # Errors
    /// When the file cannot be read, is not JSON, or describes a model that is refused.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, path)
    }

    /// Parses and validates the text of a `config.json` of transformers 4 or 5.
    ///
    /// # Errors
    /// When the text is not JSON or describes a model that is refused.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text, Path::new("config.json"))
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        let json = |source| Error::Json {
            path: path.to_owned(),
            source,
        };
        // The type first: a model of another kind lacks fields, which says nothing to its owner.
        let kind: Kind = serde_json::from_str(text).map_err(json)?;
        let model_type = ModelType::parse(kind.model_type.as_deref().unwrap_or("(none)"))?;
        Self::from_raw(model_type, serde_json::from_str(text).map_err(json)?)
    }

    fn from_raw(model_type: ModelType, raw: RawConfig) -> Result<Self> {
        refuse_unsupported(&raw)?;
        let head_dim = head_dim(&raw, model_type)?;
        let max_position_embeddings = raw.max_position_embeddings.unwrap_or(match model_type {
            ModelType::Llama => 2048,
            ModelType::Mistral => 4096 * 32,
            ModelType::Qwen2 | ModelType::Qwen3 => 32_768,
        });
        let rope = raw
            .rope_scaling
            .filter(|given| !given.is_empty())
            .or(raw.rope_parameters)
            .unwrap_or_default()
            .resolve(
                raw.rope_theta,
                raw.original_max_position_embeddings,
                max_position_embeddings,
            )?;
        let heads = raw.num_attention_heads;
        let (sliding_window, windowed_layers) = windows(
            model_type,
            raw.sliding_window,
            raw.use_sliding_window.unwrap_or(false),
            raw.max_window_layers.unwrap_or(28),
            raw.layer_types,
            raw.num_hidden_layers,
        )?;
        let attention_bias = raw.attention_bias.unwrap_or(false);
        let config = Self {
            model_type,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: match (raw.num_key_value_heads, model_type) {
                (Some(given), _) => given.unwrap_or(heads),
                (None, ModelType::Llama) => heads,
                (None, ModelType::Mistral) => 8,
                (None, ModelType::Qwen2 | ModelType::Qwen3) => 32,
            },
            head_dim,
            max_position_embeddings,
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            rope,
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(false),
            qkv_bias: match model_type {
                ModelType::Llama | ModelType::Qwen3 => attention_bias,
                ModelType::Mistral => false,
                ModelType::Qwen2 => true,
            },
            o_bias: matches!(model_type, ModelType::Llama | ModelType::Qwen3) && attention_bias,
            mlp_bias: model_type == ModelType::Llama && raw.mlp_bias.unwrap_or(false),
            qk_norm: model_type == ModelType::Qwen3,
            sliding_window,
            windowed_layers,
            initializer_range: raw.initializer_range.unwrap_or(0.02),
            bos_token_id: Ids::into_vec(raw.bos_token_id).first().copied(),
            eos_token_ids: Ids::into_vec(raw.eos_token_id),
            pad_token_id: Ids::into_vec(raw.pad_token_id).first().copied(),
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks every size before anything is allocated.
    ///
    /// # Errors
    /// Names the first field that is out of range, with what is expected and what was found.
    pub fn validate(&self) -> Result<()> {
        // Far beyond every model of the family, small enough that no product of two overflows.
        let bounds = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 18),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 12),
            ("num_attention_heads", self.num_attention_heads, 1 << 12),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 12),
            ("head_dim", self.head_dim, 1 << 14),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                1 << 32,
            ),
            ("sliding_window", self.sliding_window.unwrap_or(1), 1 << 32),
        ];
        for (field, value, most) in bounds {
            if value == 0 || value > most {
                return Err(Error::config(field, format_args!("1 to {most}"), value));
            }
        }
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            return Err(Error::config(
                "num_key_value_heads",
                format_args!(
                    "a divisor of num_attention_heads {}",
                    self.num_attention_heads
                ),
                self.num_key_value_heads,
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(Error::config("head_dim", "an even number", self.head_dim));
        }
        if self.windowed_layers.len() != self.num_hidden_layers {
            return Err(Error::config(
                "layer_types",
                format_args!("{} entries", self.num_hidden_layers),
                self.windowed_layers.len(),
            ));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0) {
            return Err(Error::config(
                "rms_norm_eps",
                "a small positive number",
                self.rms_norm_eps,
            ));
        }
        Ok(())
    }

    /// The window of layer `index`, or `None` where it sees everything before it.
    pub fn window(&self, index: usize) -> Option<usize> {
        self.sliding_window.filter(|_| self.windowed_layers[index])
    }

    /// As a `config.json` that transformers 4 and 5 read; `dtype` is the type on disk.
    pub fn to_json(&self, dtype: &str) -> Map<String, Value> {
        let ids = |ids: &[u32]| match ids {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        };
        let mut object = Map::new();
        let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
        set("architectures", json!([self.model_type.architecture()]));
        set("model_type", json!(self.model_type.name()));
        set("vocab_size", json!(self.vocab_size));
        set("hidden_size", json!(self.hidden_size));
        set("intermediate_size", json!(self.intermediate_size));
        set("num_hidden_layers", json!(self.num_hidden_layers));
        set("num_attention_heads", json!(self.num_attention_heads));
        set("num_key_value_heads", json!(self.num_key_value_heads));
        set("head_dim", json!(self.head_dim));
        set("hidden_act", json!("silu"));
        set(
            "max_position_embeddings",
            json!(self.max_position_embeddings),
        );
        set("rms_norm_eps", json!(self.rms_norm_eps));
        set("rope_theta", json!(self.rope.rope_theta));
        set("rope_scaling", self.rope.scaling_json());
        set("tie_word_embeddings", json!(self.tie_word_embeddings));
        set("attention_bias", json!(self.o_bias));
        set("mlp_bias", json!(self.mlp_bias));
        set("sliding_window", json!(self.sliding_window));
        if matches!(self.model_type, ModelType::Qwen2 | ModelType::Qwen3) {
            set("use_sliding_window", json!(self.sliding_window.is_some()));
            let kind = |windowed: &bool| if *windowed { SLIDING } else { FULL };
            let kinds: Vec<_> = self.windowed_layers.iter().map(kind).collect();
            set("layer_types", json!(kinds));
        }
        set("initializer_range", json!(self.initializer_range));
        set("bos_token_id", json!(self.bos_token_id));
        set("eos_token_id", ids(&self.eos_token_ids));
        set("pad_token_id", json!(self.pad_token_id));
        set("torch_dtype", json!(dtype));
        object
    }
}

fn head_dim(raw: &RawConfig, model_type: ModelType) -> Result<usize> {
    let (hidden, heads) = (raw.hidden_size, raw.num_attention_heads);
    match (raw.head_dim, model_type) {
        (Some(dim), _) => Ok(dim),
        (None, ModelType::Qwen3) => Ok(128),
        // `validate` reports it.
        (None, _) if heads == 0 => Ok(0),
        (None, _) if hidden.is_multiple_of(heads) => Ok(hidden / heads),
        (None, _) => Err(Error::config(
            "hidden_size",
            format_args!("a multiple of num_attention_heads {heads}"),
            hidden,
        )),
    }
}

const SLIDING: &str = "sliding_attention";
const FULL: &str = "full_attention";

/// Options that would change the numbers and are not computed here.
fn refuse_unsupported(raw: &RawConfig) -> Result<()> {
    if let Some(act) = raw.hidden_act.as_deref().filter(|act| *act != "silu") {
        return Err(Error::config(
            "hidden_act",
            "`silu`",
            format_args!("`{act}`"),
        ));
    }
    if let Some(dropout) = raw.attention_dropout.filter(|dropout| *dropout != 0.0) {
        return Err(Error::config("attention_dropout", "0", dropout));
    }
    if let Some(share) = raw.partial_rotary_factor.filter(|share| *share != 1.0) {
        return Err(Error::config(
            "partial_rotary_factor",
            "1 (the whole head rotates)",
            share,
        ));
    }
    if let Some(quantization) = &raw.quantization_config {
        let method = quantization.get("quant_method").unwrap_or(&Value::Null);
        if method != "bitsandbytes" {
            let expected = "unquantised weights, or quant_method bitsandbytes";
            return Err(Error::config("quantization_config", expected, method));
        }
    }
    Ok(())
}

/// The window's length, and for each layer whether it applies there.
fn windows(
    model_type: ModelType,
    sliding_window: Option<Option<usize>>,
    use_sliding_window: bool,
    max_window_layers: usize,
    layer_types: Option<Vec<String>>,
    num_hidden_layers: usize,
) -> Result<(Option<usize>, Vec<bool>)> {
    // `validate` reports absurd numbers; nothing as long may be allocated before.
    let layers = num_hidden_layers.min(1 << 12);
    match model_type {
        ModelType::Llama => Ok((None, vec![false; layers])),
        ModelType::Mistral => {
            let window = sliding_window.unwrap_or(Some(4096));
            Ok((window, vec![window.is_some(); layers]))
        }
        ModelType::Qwen2 | ModelType::Qwen3 => {
            let window = sliding_window
                .unwrap_or(Some(4096))
                .filter(|_| use_sliding_window);
            let by_index = (0..layers).map(|i| window.is_some() && i >= max_window_layers);
            let windowed = match layer_types {
                None => by_index.collect::<Vec<bool>>(),
                Some(types) => types
                    .iter()
                    .map(|kind| is_windowed(kind))
                    .collect::<Result<Vec<bool>>>()?,
            };
            match window {
                None if windowed.contains(&true) => Err(Error::config(
                    "layer_types",
                    "no window without use_sliding_window",
                    SLIDING,
                )),
                _ => Ok((window, windowed)),
            }
        }
    }
}

fn is_windowed(kind: &str) -> Result<bool> {
    match kind {
        SLIDING => Ok(true),
        FULL => Ok(false),
        other => Err(Error::config(
            "layer_types",
            format_args!("`{FULL}` or `{SLIDING}`"),
            format_args!("`{other}`"),
        )),
    }
}
