//! Training: the configuration, and the one loop.

mod batch;
mod gradients;
mod metrics;
mod optimizer;
mod schedule;

use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use llm_core::LlamaForCausalLM;
use llm_core::ops::cross_entropy_sum;
use llm_data::Sample;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use batch::Batch;
pub use metrics::{Evaluation, Event, Step};
use optimizer::AdamW;
pub use schedule::{Schedule, Warmup};

use crate::{Error, Result};

/// The ChaCha streams of training.
const DROPOUT: u64 = u64::from_be_bytes(*b"dropout\0");
const SHUFFLE: u64 = u64::from_be_bytes(*b"shuffle\0");

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
    /// Samples in one forward.
    pub micro_batch_size: usize,
    /// Forwards for one optimizer step.
    pub gradient_accumulation_steps: usize,
    /// Passes over the data.
    pub num_epochs: usize,
    /// Optimizer steps, which end the training before or beyond `num_epochs`.
    pub max_steps: Option<usize>,
    /// Evaluate every so many steps, beside the start, each epoch's end and the last step.
    pub eval_steps: Option<usize>,
    /// Whether each epoch takes the samples in an order of its own.
    pub shuffle: bool,
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
            num_epochs: 3,
            max_steps: None,
            eval_steps: None,
            shuffle: true,
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
            ("num_epochs", self.num_epochs),
            ("max_steps", self.max_steps.unwrap_or(1)),
            ("eval_steps", self.eval_steps.unwrap_or(1)),
        ];
        for (field, count) in counts {
            check(field, count > 0, "1 or more", count as f64)?;
        }
        let from_zero = |x: f64| x.is_finite() && x >= 0.0;
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

    /// Samples in one optimizer step.
    fn samples_per_step(&self) -> usize {
        self.micro_batch_size
            .saturating_mul(self.gradient_accumulation_steps)
            .max(1)
    }

    /// Optimizer steps over `samples` samples.
    pub fn total_steps(&self, samples: usize) -> usize {
        let by_epochs = self
            .num_epochs
            .saturating_mul(samples.div_ceil(self.samples_per_step()));
        self.max_steps.unwrap_or(by_epochs)
    }
}

/// Trains the parameters of `model` that require gradients on `samples`.
///
/// The loss of a step is summed over its supervised tokens and divided by their number over the whole
/// accumulated batch, so that how samples fall into micro-batches does not matter. `on_event` hears of
/// every step and evaluation, and can end the training.
///
/// # Errors
/// When the configuration is refused, a sample does not fit the model, nothing is supervised or
/// trainable, or loss or gradient are not finite. The model then is what the last step left.
pub fn train(
    model: &mut LlamaForCausalLM,
    samples: &[Sample],
    validation: &[Sample],
    config: &TrainConfig,
    mut on_event: impl FnMut(&Event) -> ControlFlow<()>,
) -> Result<()> {
    config.validate()?;
    let vocab_size = model.config().vocab_size;
    batch::check(samples, "training", vocab_size)?;
    if !validation.is_empty() {
        batch::check(validation, "validation", vocab_size)?;
    }
    let mut trainer = Trainer::new(model, config);
    let result = trainer.run(samples, validation, &mut on_event);
    *model = trainer.model.valid();
    result
}

/// Moves a model out and leaves an unallocated one in its place, so that no tensor has two owners
/// while it is replaced.
fn take(model: &mut LlamaForCausalLM) -> LlamaForCausalLM {
    let empty = LlamaForCausalLM::new(model.config(), &model.device());
    std::mem::replace(model, empty)
}

/// The order in which an epoch takes the samples.
fn order(samples: usize, epoch: usize, config: &TrainConfig) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    if config.shuffle {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(SHUFFLE + epoch as u64);
        order.shuffle(&mut rng);
    }
    order
}

/// The mean loss over all supervised tokens of `samples`, without keeping logits.
///
/// # Errors
/// When no token is supervised, or an id is not in the vocabulary.
pub fn evaluate(
    model: &LlamaForCausalLM,
    samples: &[Sample],
    micro_batch_size: usize,
) -> Result<f64> {
    batch::check(samples, "evaluation", model.config().vocab_size)?;
    let (mut sum, mut count) = (0.0, 0);
    for samples in samples.chunks(micro_batch_size.max(1)) {
        let batch = Batch::new(&samples.iter().collect::<Vec<_>>())?;
        if batch.supervised > 0 {
            sum += scalar(loss_sum(model, &batch, None)?)?;
            count += batch.supervised;
        }
    }
    Ok(sum / count as f64)
}

/// The loss summed over the supervised tokens, `[1]`. Logits are computed for those only.
fn loss_sum(
    model: &LlamaForCausalLM,
    batch: &Batch,
    rng: Option<&mut ChaCha8Rng>,
) -> Result<Tensor<1>> {
    let hidden = model.hidden_states(&batch.tokens, None, rng)?; // [batch, seq, hidden]
    let device = hidden.device();
    let hidden = hidden
        .flatten::<2>(0, 1)
        .select(0, batch.positions(&device)); // [supervised, hidden]
    Ok(cross_entropy_sum(
        model.logits(hidden),
        batch.targets(&device),
    ))
}

fn scalar(tensor: Tensor<1>) -> Result<f64> {
    let value = tensor.cast(DType::F32).try_into_scalar::<f32>();
    Ok(f64::from(value.map_err(llm_core::Error::from)?))
}

/// What a run carries from step to step.
struct Trainer<'a> {
    config: &'a TrainConfig,
    model: LlamaForCausalLM,
    optimizer: AdamW,
    dropout: ChaCha8Rng,
    /// Steps done.
    steps: usize,
    /// When the last event ended, so that the seconds of all events sum to the run's.
    clock: Instant,
}

impl<'a> Trainer<'a> {
    fn new(model: &mut LlamaForCausalLM, config: &'a TrainConfig) -> Self {
        let mut dropout = ChaCha8Rng::seed_from_u64(config.seed);
        dropout.set_stream(DROPOUT);
        Self {
            config,
            model: take(model).train(),
            optimizer: AdamW::new(config),
            dropout,
            steps: 0,
            clock: Instant::now(),
        }
    }

    /// Every epoch, step and evaluation.
    fn run(
        &mut self,
        samples: &[Sample],
        validation: &[Sample],
        on_event: &mut impl FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<()> {
        if gradients::trainable(&self.model) == 0 {
            return Err(Error::NothingTrainable);
        }
        let total_steps = self.config.total_steps(samples.len());
        let steps_per_epoch = samples.len().div_ceil(self.config.samples_per_step());
        if !validation.is_empty() {
            let evaluation = self.evaluate(validation, 0.0)?;
            if on_event(&Event::Evaluation(evaluation)).is_break() {
                return Ok(());
            }
        }
        let mut epoch = 0;
        loop {
            let order = order(samples.len(), epoch, self.config);
            for (index, chosen) in order.chunks(self.config.samples_per_step()).enumerate() {
                let chosen: Vec<&Sample> = chosen.iter().map(|sample| &samples[*sample]).collect();
                let progress = epoch as f64 + (index + 1) as f64 / steps_per_epoch as f64;
                let step = self.step(&chosen, progress, total_steps)?;
                let mut ends = on_event(&Event::Step(step)).is_break() || self.steps == total_steps;
                let due = self
                    .config
                    .eval_steps
                    .is_some_and(|n| self.steps.is_multiple_of(n));
                if !validation.is_empty() && (due || ends || index + 1 == steps_per_epoch) {
                    let evaluation = self.evaluate(validation, progress)?;
                    ends |= on_event(&Event::Evaluation(evaluation)).is_break();
                }
                if ends {
                    return Ok(());
                }
            }
            epoch += 1;
        }
    }

    /// One optimizer step over `samples`.
    fn step(&mut self, samples: &[&Sample], epoch: f64, total_steps: usize) -> Result<Step> {
        let learning_rate = self.config.learning_rate
            * self.config.schedule.factor(
                self.steps,
                self.config.warmup.steps(total_steps),
                total_steps,
            );
        let micro_batches = samples.chunks(self.config.micro_batch_size);
        let micro_batches: Vec<Batch> = micro_batches.map(Batch::new).collect::<Result<_>>()?;
        let supervised: usize = micro_batches.iter().map(|batch| batch.supervised).sum();

        let mut loss = 0.0;
        let mut gradients = GradientsParams::new();
        for batch in micro_batches.iter().filter(|batch| batch.supervised > 0) {
            let sum = loss_sum(&self.model, batch, Some(&mut self.dropout))?;
            let part = sum / supervised as f64;
            gradients::accumulate(&self.model, &mut part.backward(), &mut gradients);
            loss += scalar(part)?;
        }
        let grad_norm = scalar(gradients::norm(&self.model, &gradients))?;
        self.check_finite("loss", loss)?;
        self.check_finite("gradient norm", grad_norm)?;

        // The small constant is torch's (`clip_grad_norm_`).
        let clip = self
            .config
            .max_grad_norm
            .map_or(1.0, |most| (most / (grad_norm + 1e-6)).min(1.0));
        self.optimizer
            .step(&mut self.model, gradients, learning_rate, clip);
        self.steps += 1;
        Ok(Step {
            step: self.steps,
            total_steps,
            epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens: samples.iter().map(|sample| sample.input_ids.len()).sum(),
            supervised_tokens: supervised,
            seconds: self.lap(),
        })
    }

    fn check_finite(&self, what: &'static str, value: f64) -> Result<()> {
        match value.is_finite() {
            true => Ok(()),
            false => Err(Error::NonFinite {
                step: self.steps + 1,
                what,
                value,
            }),
        }
    }

    fn evaluate(&mut self, validation: &[Sample], epoch: f64) -> Result<Evaluation> {
        let eval_loss = evaluate(
            &self.model.valid(),
            validation,
            self.config.micro_batch_size,
        )?;
        Ok(Evaluation {
            step: self.steps,
            epoch,
            eval_loss,
            seconds: self.lap(),
        })
    }

    fn lap(&mut self) -> f64 {
        let last = std::mem::replace(&mut self.clock, Instant::now());
        (self.clock - last).as_secs_f64()
    }
}
