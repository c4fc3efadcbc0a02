//! What each step does, worked out ahead on a thread of its own.

use std::borrow::Cow;
use std::iter;
use std::sync::mpsc::SyncSender;

use llm_data::{Ready, Sample, Samples};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::TrainConfig;
use super::batch::{self, Batch};
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
    samples: &dyn Samples,
    config: &TrainConfig,
    model: (Layout, usize),
    done: usize,
    steps: &SyncSender<Result<Planned>>,
) {
    let mut skip = done;
    for epoch in 0.. {
        for chosen in epoch_steps(samples, config, epoch) {
            if skip > 0 && chosen.is_ok() {
                skip -= 1;
                continue;
            }
            let planned = chosen.and_then(|chosen| prepare(&chosen, samples, model));
            let failed = planned.is_err();
            if steps.send(planned).is_err() || failed {
                return;
            }
        }
    }
}

fn prepare(
    chosen: &Chosen,
    samples: &dyn Samples,
    (layout, vocab_size): (Layout, usize),
) -> Result<Planned> {
    let fetched = chosen.fetch(samples)?;
    let all = chosen.numbered(&fetched);
    for Numbered { index, sample } in &all {
        batch::check_sample(sample, "training", *index, vocab_size)?;
    }
    let forwards = layout.forwards(&all);
    let batches: Vec<Batch> = forwards.iter().map(Batch::new).collect::<Result<_>>()?;
    Ok(Planned {
        epoch: chosen.epoch,
        tokens: all.iter().map(Numbered::len).sum(),
        supervised: batches.iter().map(|batch| batch.targets.len()).sum(),
        batches,
    })
}

/// The samples of one step.
pub(super) struct Chosen {
    indices: Vec<usize>,
    /// Passes over the data that are done with it; whole ones where the order is by windows, when it need not
    /// be known how long a pass is.
    epoch: f64,
}

impl Chosen {
    pub(super) fn fetch<'a>(&self, samples: &'a dyn Samples) -> Result<Vec<Cow<'a, Sample>>> {
        let indices = self.indices.iter();
        Ok(indices
            .map(|&index| samples.get(index))
            .collect::<llm_data::Result<_>>()?)
    }

    /// What was fetched, with the indices.
    pub(super) fn numbered<'a>(&self, fetched: &'a [Cow<'_, Sample>]) -> Vec<Numbered<'a>> {
        let all = self.indices.iter().zip(fetched);
        all.map(|(&index, sample)| Numbered { index, sample })
            .collect()
    }
}

/// The steps of an epoch: the samples in their order, or shuffled, all or window by window. A window is
/// waited for together with the sample behind it, so that an epoch's last step is known to be it.
pub(super) fn epoch_steps<'a>(
    samples: &'a dyn Samples,
    config: &'a TrainConfig,
    epoch: usize,
) -> impl Iterator<Item = Result<Chosen>> + 'a {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    rng.set_stream(SHUFFLE.wrapping_add(epoch as u64));
    let (mut start, mut ended) = (0_usize, false);
    let windows = iter::from_fn(move || {
        if ended {
            return None;
        }
        let end = start.saturating_add(config.window());
        let ready = match samples.wait_for(end.saturating_add(1)) {
            Ok(ready) => ready,
            Err(error) => {
                ended = true;
                return Some(Err(error.into()));
            }
        };
        let end = end.min(ready.count);
        ended = end == ready.count;
        let mut order: Vec<usize> = (start..end).collect();
        if config.shuffle {
            order.shuffle(&mut rng);
        }
        start = end;
        Some(Ok((order, ready, ended)))
    });
    let per_step = config.samples_per_step();
    let mut done = 0;
    windows.flat_map(move |window: Result<(Vec<usize>, Ready, bool)>| {
        let (order, ready, last) = match window {
            Ok(window) => window,
            Err(error) => return vec![Err(error)],
        };
        let steps = order.len().div_ceil(per_step);
        let chosen = |(index, indices): (usize, &[usize])| {
            let part = match config.shuffle_window {
                None => (done + index + 1) as f64 / config.steps_per_epoch(ready.count) as f64,
                Some(_) => f64::from(u8::from(last && index + 1 == steps)),
            };
            Ok(Chosen {
                indices: indices.to_vec(),
                epoch: epoch as f64 + part,
            })
        };
        let all = order.chunks(per_step).enumerate().map(chosen).collect();
        done += steps;
        all
    })
}
