//! Samples to the model's input and the targets of the loss.

use burn::tensor::{Device, Int, Tensor, TensorData};
use llm_core::TokenBatch;
use llm_data::{Sample, Samples};

use super::layout::{Numbered, Rows};
use crate::{Error, Result};

/// The samples of one forward.
#[derive(Debug)]
pub(super) struct Batch {
    /// `[rows, longest]`.
    pub(super) tokens: TokenBatch,
    /// Indices into the flat batch of the tokens before supervised ones.
    positions: Vec<i32>,
    /// The supervised tokens.
    pub(super) targets: Vec<u32>,
    /// The samples, by their index in the set.
    pub(super) samples: Vec<usize>,
}

impl Batch {
    pub(super) fn new(rows: &Rows) -> Result<Self> {
        let ids = |row: &Vec<Numbered>| {
            let ids = row.iter().map(|numbered| numbered.sample.input_ids.clone());
            ids.collect::<Vec<_>>()
        };
        let ids: Vec<_> = rows.iter().map(ids).collect();
        let tokens = TokenBatch::packed(&ids, 0)?;
        let [_, width] = tokens.dims();
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            let mut start = index * width;
            for Numbered { sample, .. } in row {
                for (position, target) in supervised(sample) {
                    positions.push((start + position) as i32);
                    targets.push(target as u32);
                }
                start += sample.input_ids.len();
            }
        }
        Ok(Self {
            tokens,
            positions,
            targets,
            samples: rows.iter().flatten().map(|row| row.index).collect(),
        })
    }

    pub(super) fn positions(&self, device: &Device) -> Tensor<1, Int> {
        let data = TensorData::new(self.positions.clone(), [self.positions.len()]);
        Tensor::from_data(data, device)
    }
}

/// Each supervised token with the position that predicts it. The first token has none before it.
fn supervised(sample: &Sample) -> impl Iterator<Item = (usize, i64)> {
    let labels = sample.labels.iter().skip(1).copied().enumerate();
    labels.filter(|(_, label)| *label >= 0)
}

/// Refuses a set from which nothing can be learnt, or with a sample that does not fit the model. Of a set
/// that is read window by window, the first one is looked at.
pub(super) fn check(
    samples: &dyn Samples,
    set: &'static str,
    vocab_size: usize,
    window: usize,
) -> Result<()> {
    let count = samples.wait_for(window)?.count.min(window);
    let mut learns = false;
    for index in 0..count {
        let sample = samples.get(index)?;
        check_sample(&sample, set, index, vocab_size)?;
        learns |= supervised(&sample).next().is_some();
    }
    match (count, learns) {
        (0, _) => Err(Error::NothingSupervised(format!("the {set} set is empty"))),
        (_, true) => Ok(()),
        (_, false) => Err(Error::NothingSupervised(format!(
            "all labels of the {set} set are masked"
        ))),
    }
}

/// Refuses a sample that does not fit the model.
pub(super) fn check_sample(
    sample: &Sample,
    set: &'static str,
    index: usize,
    vocab_size: usize,
) -> Result<()> {
    let sample_error = |reason| Error::Sample { set, index, reason };
    let (ids, labels) = (sample.input_ids.len(), sample.labels.len());
    if ids != labels || ids == 0 {
        return Err(sample_error(format!("{ids} input_ids, {labels} labels")));
    }
    let ids = sample.input_ids.iter().map(|id| i64::from(*id));
    let out = |id: &i64| *id >= vocab_size as i64;
    match ids.chain(sample.labels.iter().copied()).find(out) {
        Some(id) => Err(sample_error(format!(
            "token id {id} in a vocabulary of {vocab_size}"
        ))),
        None => Ok(()),
    }
}
