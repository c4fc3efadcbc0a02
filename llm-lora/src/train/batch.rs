//! Samples to the model's input and the targets of the loss.

use burn::tensor::{Device, Int, Tensor, TensorData};
use llm_core::TokenBatch;
use llm_data::Sample;

use crate::{Error, Result};

/// Some samples, filled up to one length.
#[derive(Debug)]
pub(super) struct Batch {
    /// `[samples, longest]`.
    pub(super) tokens: TokenBatch,
    /// How many tokens carry loss.
    pub(super) supervised: usize,
    /// Indices into the flat batch of the tokens before supervised ones.
    positions: Vec<i32>,
    /// The supervised tokens.
    targets: Vec<i32>,
}

impl Batch {
    pub(super) fn new(samples: &[&Sample]) -> Result<Self> {
        let rows: Vec<_> = samples
            .iter()
            .map(|sample| sample.input_ids.clone())
            .collect();
        let tokens = TokenBatch::right_padded(&rows, 0)?;
        let [_, width] = tokens.dims();
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (row, sample) in samples.iter().enumerate() {
            for (position, target) in supervised(sample) {
                positions.push((row * width + position) as i32);
                targets.push(target as i32);
            }
        }
        Ok(Self {
            tokens,
            supervised: targets.len(),
            positions,
            targets,
        })
    }

    pub(super) fn positions(&self, device: &Device) -> Tensor<1, Int> {
        indices(&self.positions, device)
    }

    pub(super) fn targets(&self, device: &Device) -> Tensor<1, Int> {
        indices(&self.targets, device)
    }
}

fn indices(values: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// Each supervised token with the position that predicts it. The first token has none before it.
fn supervised(sample: &Sample) -> impl Iterator<Item = (usize, i64)> {
    let labels = sample.labels.iter().skip(1).copied().enumerate();
    labels.filter(|(_, label)| *label >= 0)
}

/// Refuses a set from which nothing can be learnt, or with a sample that does not fit the model.
pub(super) fn check(samples: &[Sample], set: &'static str, vocab_size: usize) -> Result<()> {
    for (index, sample) in samples.iter().enumerate() {
        let sample_error = |reason| Error::Sample { set, index, reason };
        let (ids, labels) = (sample.input_ids.len(), sample.labels.len());
        if ids != labels || ids == 0 {
            return Err(sample_error(format!("{ids} input_ids, {labels} labels")));
        }
        let ids = sample.input_ids.iter().map(|id| i64::from(*id));
        let out = |id: &i64| *id >= vocab_size as i64;
        if let Some(id) = ids.chain(sample.labels.iter().copied()).find(out) {
            return Err(sample_error(format!(
                "token id {id} in a vocabulary of {vocab_size}"
            )));
        }
    }
    if samples.is_empty() {
        return Err(Error::NothingSupervised(format!("the {set} set is empty")));
    }
    match samples
        .iter()
        .any(|sample| supervised(sample).next().is_some())
    {
        true => Ok(()),
        false => Err(Error::NothingSupervised(format!(
            "all labels of the {set} set are masked"
        ))),
    }
}
