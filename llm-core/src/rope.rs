//! Frequencies of the rotary position embedding, for every scaling that the family uses.
//!
//! Source: `modeling_rope_utils.py` of transformers 5.23; YaRN is Peng et al. 2023
//! (<https://arxiv.org/abs/2309.00071>).

use std::f32::consts::PI;

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

/// `rope_theta` with the scaling of `rope_scaling` (transformers 4) or `rope_parameters` (5).
#[derive(Debug, Clone, PartialEq)]
pub struct RopeParameters {
    /// Base of the frequencies.
    pub rope_theta: f64,
    /// How the frequencies are stretched beyond the pre-training length.
    pub scaling: RopeScaling,
}

/// The scalings of RoPE, by their `rope_type`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// None.
    Default,
    /// Every frequency divided by `factor`.
    Linear {
        /// How many times longer the context becomes.
        factor: f64,
    },
    /// The base grows with the length of the sequence once it exceeds `max_position_embeddings`.
    Dynamic {
        /// How many times longer the context becomes.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are high.
        high_freq_factor: f64,
        /// Context length of the pre-training.
        original_max_position_embeddings: usize,
    },
    /// YaRN: a ramp over dimensions between scaled and unscaled, cos and sin scaled.
    Yarn {
        /// How many times longer the context becomes.
        factor: f64,
        /// Context length of the pre-training.
        original_max_position_embeddings: usize,
        /// Rotations above which a dimension is not scaled.
        beta_fast: f64,
        /// Rotations below which a dimension is fully scaled.
        beta_slow: f64,
        /// What cos and sin are multiplied by.
        attention_factor: f64,
        /// Whether the ramp's ends are rounded to whole dimensions.
        truncate: bool,
    },
}

/// The fields of `rope_scaling` and `rope_parameters`, as they stand in JSON.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(crate) struct RawRope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    r#type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    partial_rotary_factor: Option<f64>,
    mrope_section: Option<Value>,
}

impl RawRope {
    /// Whether it says nothing; transformers then looks elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `outer` values stand beside the object in `config.json`.
    pub(crate) fn resolve(
        self,
        outer_theta: Option<f64>,
        outer_original: Option<usize>,
        max_position_embeddings: usize,
    ) -> Result<RopeParameters> {
        if self.partial_rotary_factor.is_some_and(|share| share != 1.0) {
            return Err(Error::config(
                "partial_rotary_factor",
                "1 (the whole head rotates)",
                self.partial_rotary_factor.unwrap_or_default(),
            ));
        }
        if let Some(sections) = &self.mrope_section {
            return Err(Error::config(
                "mrope_section",
                "nothing (text models only)",
                sections,
            ));
        }
        let rope_theta = self.rope_theta.or(outer_theta).unwrap_or(10_000.0);
        positive("rope_theta", rope_theta)?;
        let original = outer_original
            .or(self.original_max_position_embeddings)
            .unwrap_or(max_position_embeddings);
        if original == 0 {
            return Err(Error::config(
                "original_max_position_embeddings",
                "at least 1",
                0,
            ));
        }
        let kind = self.rope_type.as_deref().or(self.r#type.as_deref());
        let scaling = match kind.unwrap_or("default") {
            "default" => RopeScaling::Default,
            "linear" => RopeScaling::Linear {
                factor: self.factor()?,
            },
            "dynamic" => RopeScaling::Dynamic {
                factor: self.factor()?,
            },
            "llama3" => RopeScaling::Llama3 {
                factor: self.factor()?,
                low_freq_factor: required("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: required("high_freq_factor", self.high_freq_factor)?,
                original_max_position_embeddings: original,
            },
            "yarn" => self.yarn(original, max_position_embeddings)?,
            other => {
                return Err(Error::config(
                    "rope_type",
                    "default, linear, dynamic, llama3 or yarn",
                    format_args!("`{other}`"),
                ));
            }
        };
        Ok(RopeParameters {
            rope_theta,
            scaling,
        })
    }

    fn factor(&self) -> Result<f64> {
        required("factor", self.factor)
    }

    fn yarn(&self, original: usize, max_position_embeddings: usize) -> Result<RopeScaling> {
        let factor = self
            .factor
            .unwrap_or(max_position_embeddings as f64 / original as f64);
        positive("factor", factor)?;
        let mscale = |weight: f64| match factor <= 1.0 {
            true => 1.0,
            false => 0.1 * weight * factor.ln() + 1.0,
        };
        // Python's truth value: a zero counts as absent.
        let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
        let attention_factor = match (
            self.attention_factor,
            given(self.mscale),
            given(self.mscale_all_dim),
        ) {
            (Some(factor), _, _) => factor,
            (None, Some(scale), Some(all_dim)) => mscale(scale) / mscale(all_dim),
            (None, _, _) => mscale(1.0),
        };
        Ok(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: original,
            beta_fast: given(self.beta_fast).unwrap_or(32.0),
            beta_slow: given(self.beta_slow).unwrap_or(1.0),
            attention_factor,
            truncate: self.truncate.unwrap_or(true),
        })
    }
}

fn required(field: &str, value: Option<f64>) -> Result<f64> {
    let value = value.ok_or_else(|| Error::config(field, "a number", "nothing"))?;
    positive(field, value)?;
    Ok(value)
}

fn positive(field: &str, value: f64) -> Result<()> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(Error::config(field, "a positive number", value)),
    }
}

impl RopeParameters {
    /// The inverse frequencies `[head_dim / 2]` for a sequence of `seq_len` tokens, and the factor
    /// of cos and sin. Only dynamic scaling depends on `seq_len`.
    pub fn frequencies(
        &self,
        head_dim: usize,
        max_position_embeddings: usize,
        seq_len: usize,
    ) -> (Vec<f32>, f32) {
        let plain = |theta: f64| -> Vec<f32> {
            (0..head_dim)
                .step_by(2)
                .map(|i| 1.0 / (theta as f32).powf(i as f32 / head_dim as f32))
                .collect()
        };
        match &self.scaling {
            RopeScaling::Default => (plain(self.rope_theta), 1.0),
            RopeScaling::Linear { factor } => {
                let mut frequencies = plain(self.rope_theta);
                frequencies.iter_mut().for_each(|f| *f /= *factor as f32);
                (frequencies, 1.0)
            }
            RopeScaling::Dynamic { factor } => {
                let stretch =
                    seq_len.max(max_position_embeddings) as f64 / max_position_embeddings as f64;
                let exponent = head_dim as f64 / (head_dim as f64 - 2.0);
                let theta = self.rope_theta * (factor * stretch - (factor - 1.0)).powf(exponent);
                (plain(theta), 1.0)
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let original = *original_max_position_embeddings as f32;
                let (low, high) = (*low_freq_factor as f32, *high_freq_factor as f32);
                let scale = |f: f32| llama3(f, *factor as f32, low, high, original);
                (plain(self.rope_theta).into_iter().map(scale).collect(), 1.0)
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                ..
            } => {
                let ramp = self.yarn_ramp(head_dim);
                let frequencies = plain(self.rope_theta)
                    .into_iter()
                    .zip(ramp)
                    .map(|(f, scaled)| f / *factor as f32 * scaled + f * (1.0 - scaled))
                    .collect();
                (frequencies, *attention_factor as f32)
            }
        }
    }

    /// For each dimension the share (0 to 1) to which YaRN interpolates it.
    fn yarn_ramp(&self, head_dim: usize) -> Vec<f32> {
        let RopeScaling::Yarn {
            original_max_position_embeddings,
            beta_fast,
            beta_slow,
            truncate,
            ..
        } = &self.scaling
        else {
            return vec![0.0; head_dim / 2];
        };
        let original = *original_max_position_embeddings as f64;
        let dimension = |rotations: f64| {
            head_dim as f64 * (original / (rotations * 2.0 * std::f64::consts::PI)).ln()
                / (2.0 * self.rope_theta.ln())
        };
        let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
        if *truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        (0..head_dim / 2)
            .map(|i| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0))
            .collect()
    }

    /// As transformers 4 writes it: `rope_scaling`, `null` where there is none.
    pub(crate) fn scaling_json(&self) -> Value {
        use serde_json::json;
        match &self.scaling {
            RopeScaling::Default => Value::Null,
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            }),
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                attention_factor,
                truncate,
            } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original_max_position_embeddings,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "attention_factor": attention_factor,
                "truncate": truncate,
            }),
        }
    }
}

fn llama3(frequency: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = 2.0 * PI / frequency;
    if wavelength < original / high {
        frequency
    } else if wavelength > original / low {
        frequency / factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}
