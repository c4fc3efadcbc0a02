//! Proof that two models are one.

use burn::tensor::DType;
use llm_core::{LlamaForCausalLM, TokenBatch};

use crate::{Error, Result};

/// The most tokens that are compared.
const TOKENS: usize = 64;

/// What a model makes of a few tokens, kept to see whether what becomes of it makes the same of them.
#[derive(Debug, Clone)]
pub struct Probe {
    ids: Vec<u32>,
    logits: Vec<f32>,
}

impl Probe {
    /// The logits behind each of the first 64 of `ids`.
    ///
    /// # Errors
    /// When there are no ids, or one is not in the vocabulary.
    pub fn new(model: &LlamaForCausalLM, ids: &[u32]) -> Result<Self> {
        let ids = ids[..ids.len().min(TOKENS)].to_vec();
        let logits = logits(model, &ids)?;
        Ok(Self { ids, logits })
    }

    /// The largest difference from the logits of `model`, relative to the largest logit; infinite where
    /// something is not finite.
    ///
    /// # Errors
    /// When an id is not in the model's vocabulary.
    pub fn difference(&self, model: &LlamaForCausalLM) -> Result<f64> {
        let (mut most, mut scale) = (0.0_f64, f64::MIN_POSITIVE);
        for (before, now) in self.logits.iter().zip(logits(model, &self.ids)?) {
            let (before, now) = (f64::from(*before), f64::from(now));
            if !(before - now).is_finite() {
                return Ok(f64::INFINITY);
            }
            most = most.max((before - now).abs());
            scale = scale.max(before.abs());
        }
        Ok(most / scale)
    }

    /// [`difference`](Self::difference), which must be `within`.
    ///
    /// # Errors
    /// [`Error::NotTheSame`] when it is more; `what` says what has been compared.
    pub fn prove(&self, model: &LlamaForCausalLM, within: f64, what: &str) -> Result<f64> {
        let difference = self.difference(model)?;
        match difference <= within {
            true => Ok(difference),
            false => Err(Error::NotTheSame {
                what: what.to_owned(),
                difference,
                within,
            }),
        }
    }
}

fn logits(model: &LlamaForCausalLM, ids: &[u32]) -> Result<Vec<f32>> {
    let logits = model.forward(&TokenBatch::new(&[ids.to_vec()])?, None)?;
    let values = logits.cast(DType::F32).try_into_vec_as::<f32>();
    values.map_err(|error| llm_core::Error::from(error).into())
}
