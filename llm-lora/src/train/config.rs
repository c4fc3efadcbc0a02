//! How to train.

use llm_core::{LlamaForCausalLM, is_cpu};
use llm_data::Samples;

use super::layout::{Layout, Numbered, Packing};
use super::plan;
use super::schedule::{Schedule, Warmup};
use crate::{Error, Result};

/// Tokens of a forward on the CPU, where more would cost memory and gain no speed.
const CPU_TOKENS: usize = 512;

/// What to do about a step whose loss or gradient is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnNonfinite {
    /// End the run with [`Error::NonFinite`]; the model is what the step before left.
    #[default]
    Stop,
    /// Leave the step out, report it as [`Event::Skipped`](crate::Event::Skipped), and go on.
    Skip,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// The peak learning rate.
    pub learning_rate: f64,
    /// What becomes of it after the warm-up.
    pub schedule: Schedule,
    /// Steps in which it grows from 0.
    pub warmup: Warmup,
    /// AdamW's decoupled weight decay; applies to matrices, not to norms and biases.
    pub weight_decay: f64,
    /// AdamW's decay rates of the moments.
    pub betas: [f64; 2],
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// The gradient's norm over all parameters is cut to this; `None` leaves it.
    pub max_grad_norm: Option<f64>,
    /// Samples in one forward, or what comes to as many where `packing` lays them out anew.
    pub micro_batch_size: usize,
    /// Micro-batches for one optimizer step.
    pub gradient_accumulation_steps: usize,
    /// How the samples of a step are laid out.
    pub packing: Packing,
    /// The most tokens of a packed or bucketed forward; `None` is 512 on the CPU, and elsewhere as many
    /// as a micro-batch of the longest sample has.
    pub max_tokens_per_forward: Option<usize>,
    /// Whether the backward keeps only what goes into each decoder layer and computes the rest once more:
    /// a quarter slower, for memory that hardly grows with the tokens of a forward.
    pub gradient_checkpointing: bool,
    /// Passes over the data.
    pub num_epochs: usize,
    /// Optimizer steps, which end the training before or beyond `num_epochs`.
    pub max_steps: Option<usize>,
    /// Evaluate every so many steps, beside the start, each epoch's end and the last step.
    pub eval_steps: Option<usize>,
    /// What to do about a step whose loss or gradient is NaN or infinite.
    pub on_nonfinite: OnNonfinite,
    /// Whether each epoch takes the samples in an order of its own.
    pub shuffle: bool,
    /// So many samples are shuffled at a time, rounded up to whole steps; `None` is all of them. With a window
    /// and `max_steps`, training begins when a window is encoded, and a set need not be known to its end.
    pub shuffle_window: Option<usize>,
    /// Seed of order and dropout.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            schedule: Schedule::Cosine,
            warmup: Warmup::Ratio(0.03),
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            max_grad_norm: Some(1.0),
            micro_batch_size: 4,
            gradient_accumulation_steps: 1,
            packing: Packing::default(),
            max_tokens_per_forward: None,
            gradient_checkpointing: false,
            num_epochs: 3,
            max_steps: None,
            eval_steps: None,
            on_nonfinite: OnNonfinite::default(),
            shuffle: true,
            shuffle_window: None,
            seed: 42,
        }
    }
}

impl TrainConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let check = |field: &str, holds: bool, expected: &str, got: f64| match holds {
            true => Ok(()),
            false => Err(Error::config(field, expected, got)),
        };
        let counts = [
            ("micro_batch_size", self.micro_batch_size),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps,
            ),
            (
                "max_tokens_per_forward",
                self.max_tokens_per_forward.unwrap_or(1),
            ),
            ("num_epochs", self.num_epochs),
            ("max_steps", self.max_steps.unwrap_or(1)),
            ("eval_steps", self.eval_steps.unwrap_or(1)),
            ("shuffle_window", self.shuffle_window.unwrap_or(1)),
        ];
        for (field, count) in counts {
            check(field, count > 0, "1 or more", count as f64)?;
        }
        let from_zero = |x: f64| (0.0..=f64::from(f32::MAX)).contains(&x);
        for (field, value) in [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("epsilon", self.epsilon),
        ] {
            check(field, from_zero(value), "0 or more", value)?;
        }
        for beta in self.betas {
            check(
                "betas",
                (0.0..1.0).contains(&beta),
                "0 or more, below 1",
                beta,
            )?;
        }
        let norm = self.max_grad_norm.unwrap_or(1.0);
        check(
            "max_grad_norm",
            norm.is_finite() && norm > 0.0,
            "a number above 0",
            norm,
        )?;
        self.warmup.validate()
    }

    /// How samples fall into forwards of `model`.
    pub(super) fn layout(&self, model: &LlamaForCausalLM, samples: &dyn Samples) -> Layout {
        let rows = self.micro_batch_size.max(1);
        let tokens = match is_cpu(&model.device()) {
            true => CPU_TOKENS,
            false => rows.saturating_mul(samples.longest().max(1)),
        };
        Layout {
            packing: self.packing,
            rows,
            tokens: self.max_tokens_per_forward.unwrap_or(tokens),
        }
    }

    /// The most tokens of a forward in the first epoch (or its first window, or as much of it as is trained),
    /// padding included, and the most that carry loss.
    pub(crate) fn largest_forward(
        &self,
        model: &LlamaForCausalLM,
        samples: &dyn Samples,
    ) -> Result<[usize; 2]> {
        let layout = self.layout(model, samples);
        let mut largest = [0; 2];
        let steps = self.steps_of(samples)?;
        let steps = steps.min(self.window().div_ceil(self.samples_per_step()));
        for chosen in plan::epoch_steps(samples, self, 0).take(steps) {
            let chosen = chosen?;
            let fetched = chosen.fetch(samples)?;
            for rows in layout.forwards(&chosen.numbered(&fetched)) {
                let width = |row: &Vec<Numbered>| row.iter().map(Numbered::len).sum::<usize>();
                let tokens = rows.len() * rows.iter().map(width).max().unwrap_or(0);
                let all = rows.iter().flatten();
                let supervised = all.map(|row| row.sample.supervised_tokens()).sum();
                largest = [largest[0].max(tokens), largest[1].max(supervised)];
            }
        }
        Ok(largest)
    }

    /// Samples that are shuffled at a time: whole steps.
    pub(crate) fn window(&self) -> usize {
        let steps = |window: usize| window.div_ceil(self.samples_per_step());
        self.shuffle_window.map_or(usize::MAX, |window| {
            steps(window).saturating_mul(self.samples_per_step())
        })
    }

    /// Optimizer steps of a run over samples that need not be known to their end.
    pub(super) fn steps_of(&self, samples: &dyn Samples) -> Result<usize> {
        match self.max_steps {
            Some(steps) => Ok(steps),
            None => Ok(self.total_steps(samples.count()?)),
        }
    }

    /// Samples in one optimizer step.
    pub(super) fn samples_per_step(&self) -> usize {
        self.micro_batch_size
            .saturating_mul(self.gradient_accumulation_steps)
            .max(1)
    }

    /// Optimizer steps of one pass over `samples` samples.
    pub fn steps_per_epoch(&self, samples: usize) -> usize {
        samples.div_ceil(self.samples_per_step())
    }

    /// Passes over `samples` samples, the last one perhaps in part.
    pub fn epochs(&self, samples: usize) -> f64 {
        self.total_steps(samples) as f64 / self.steps_per_epoch(samples).max(1) as f64
    }

    /// Optimizer steps of a run over `samples` samples.
    pub fn total_steps(&self, samples: usize) -> usize {
        let by_epochs = self
            .num_epochs
            .saturating_mul(self.steps_per_epoch(samples));
        self.max_steps.unwrap_or(by_epochs)
    }
}
