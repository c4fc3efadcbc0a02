//! What each step does, worked out ahead on a thread of its own.

use std::sync::mpsc::SyncSender;

use llm_data::Sample;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::TrainConfig;
use super::batch::Batch;
use super::layout::{Layout, Numbered};
use crate::Result;

/// The ChaCha stream of the first epoch's order; later epochs have those behind it.
const SHUFFLE: u64 = u64::from_be_bytes(*b"shuffle\0");

/// An optimizer step to be done.
pub(super) struct Planned {
    pub(super) batches: Vec<Batch>,
    /// Passes over the data that are done with it.
    pub(super) epoch: f64,
    /// Tokens, padding not counted.
    pub(super) tokens: usize,
    /// Tokens that carry loss.
    pub(super) supervised: usize,
}

/// Sends step after step behind the first `done` ones, epoch after epoch, until nobody listens any more.
pub(super) fn plan(
    samples: &[Sample],
    config: &TrainConfig,
    layout: Layout,
    done: usize,
    steps: &SyncSender<Result<Planned>>,
) {
    let per_epoch = config.steps_per_epoch(samples.len());
    let mut skip = done % per_epoch;
    for epoch in done / per_epoch.. {
        let order = order(samples.len(), epoch, config);
        let steps_left = order.chunks(config.samples_per_step()).enumerate();
        for (index, chosen) in steps_left.skip(std::mem::take(&mut skip)) {
            let numbered = |&index: &usize| Numbered {
                index,
                sample: &samples[index],
            };
            let chosen: Vec<Numbered> = chosen.iter().map(numbered).collect();
            let batches = layout.forwards(&chosen);
            let batches: Result<Vec<_>> = batches.iter().map(Batch::new).collect();
            let planned = batches.map(|batches| Planned {
                epoch: epoch as f64 + (index + 1) as f64 / per_epoch as f64,
                tokens: chosen.iter().map(Numbered::len).sum(),
                supervised: batches.iter().map(|batch| batch.targets.len()).sum(),
                batches,
            });
            if steps.send(planned).is_err() {
                return;
            }
        }
    }
}

/// The order in which an epoch takes the samples.
pub(super) fn order(samples: usize, epoch: usize, config: &TrainConfig) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    if config.shuffle {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(SHUFFLE + epoch as u64);
        order.shuffle(&mut rng);
    }
    order
}
