//! Training: the configuration, and the one loop.

mod batch;
mod gradients;
mod layout;
mod metrics;
mod optimizer;
mod plan;
mod schedule;

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{DType, Gradients, Tensor};
use llm_core::{LlamaForCausalLM, is_cpu};
use llm_data::Sample;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use batch::Batch;
use gradients::Sums;
use layout::Layout;
pub use layout::Packing;
pub use metrics::{Evaluation, Event, Step};
use optimizer::AdamW;
use plan::{Planned, plan};
pub use schedule::{Schedule, Warmup};

use crate::{Error, Result};

/// The ChaCha stream of dropout.
const DROPOUT: u64 = u64::from_be_bytes(*b"dropout\0");

/// Steps that are prepared ahead.
const AHEAD: usize = 2;

/// Tokens of a forward on the CPU, where more would cost memory and gain no speed.
const CPU_TOKENS: usize = 512;

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
            packing: Packing::default(),
            max_tokens_per_forward: None,
            gradient_checkpointing: false,
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
            (
                "max_tokens_per_forward",
                self.max_tokens_per_forward.unwrap_or(1),
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

    /// How samples fall into forwards of `model`.
    fn layout(&self, model: &LlamaForCausalLM, samples: &[Sample]) -> Layout {
        let rows = self.micro_batch_size.max(1);
        let longest = samples.iter().map(|sample| sample.input_ids.len()).max();
        let tokens = match is_cpu(&model.device()) {
            true => CPU_TOKENS,
            false => rows.saturating_mul(longest.unwrap_or(1)),
        };
        Layout {
            packing: self.packing,
            rows,
            tokens: self.max_tokens_per_forward.unwrap_or(tokens),
        }
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

/// The mean loss over all supervised tokens of `samples`, laid out as `config` says, without keeping
/// logits.
///
/// # Errors
/// When no token is supervised, or an id is not in the vocabulary.
pub fn evaluate(model: &LlamaForCausalLM, samples: &[Sample], config: &TrainConfig) -> Result<f64> {
    batch::check(samples, "evaluation", model.config().vocab_size)?;
    let layout = config.layout(model, samples);
    let (mut sum, mut count) = (0.0, 0);
    for rows in layout.forwards(&samples.iter().collect::<Vec<_>>()) {
        let batch = Batch::new(&rows)?;
        if !batch.targets.is_empty() {
            let hidden = model.hidden_states(&batch.tokens, None, None)?;
            sum += scalar(loss_sum(model, hidden, &batch))?;
            count += batch.targets.len();
        }
    }
    Ok(sum / count as f64)
}

/// The loss summed over the supervised tokens, `[1]`, of the final hidden states `[batch, seq, hidden]`.
/// Logits are computed for those only.
fn loss_sum(model: &LlamaForCausalLM, hidden: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let positions = batch.positions(&hidden.device());
    let hidden = hidden.flatten::<2>(0, 1).select(0, positions); // [supervised, hidden]
    model.loss(hidden, &batch.targets)
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
        let model = take(model).train();
        Self {
            config,
            optimizer: AdamW::new(config, &model),
            model,
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
        if self.optimizer.trainable() == 0 {
            return Err(Error::NothingTrainable);
        }
        if !validation.is_empty() {
            let evaluation = self.evaluate(validation, 0.0)?;
            if on_event(&Event::Evaluation(evaluation)).is_break() {
                return Ok(());
            }
        }
        let (config, layout) = (self.config, self.config.layout(&self.model, samples));
        let total_steps = config.total_steps(samples.len());
        thread::scope(|scope| {
            let (sender, steps) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || plan(samples, config, layout, &sender));
            for planned in steps {
                let planned = planned?;
                let step = self.step(&planned, total_steps)?;
                let mut ends = on_event(&Event::Step(step)).is_break() || self.steps == total_steps;
                let due = config
                    .eval_steps
                    .is_some_and(|n| self.steps.is_multiple_of(n));
                if !validation.is_empty() && (due || ends || planned.ends_epoch) {
                    let evaluation = self.evaluate(validation, planned.epoch)?;
                    ends |= on_event(&Event::Evaluation(evaluation)).is_break();
                }
                if ends {
                    break;
                }
            }
            Ok(())
        })
    }

    /// One optimizer step.
    fn step(&mut self, planned: &Planned, total_steps: usize) -> Result<Step> {
        let learning_rate = self.config.learning_rate
            * self.config.schedule.factor(
                self.steps,
                self.config.warmup.steps(total_steps),
                total_steps,
            );
        let mut loss = 0.0;
        let mut sums = Sums::new();
        let batches = planned.batches.iter();
        for batch in batches.filter(|batch| !batch.targets.is_empty()) {
            loss += self.backward(batch, planned.supervised, &mut sums)?;
        }
        let gradients = self.optimizer.gather(sums, &self.model.device().inner());
        let grad_norm = gradients::norm(&gradients).map_or(Ok(0.0), scalar)?;
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
            epoch: planned.epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens: planned.tokens,
            supervised_tokens: planned.supervised,
            seconds: self.lap(),
        })
    }

    /// Adds a forward's share of the gradients to `sums`; returns its share of the mean loss over
    /// `supervised` tokens.
    fn backward(&mut self, batch: &Batch, supervised: usize, sums: &mut Sums) -> Result<f64> {
        let (model, rng) = (&self.model, Some(&mut self.dropout));
        let share = |hidden| loss_sum(model, hidden, batch) / supervised as f64;
        let mut add = |gradients: &mut Gradients| gradients::accumulate(model, gradients, sums);
        if self.config.gradient_checkpointing {
            scalar(model.backward_by_block(&batch.tokens, rng, share, add)?)
        } else {
            let loss = share(model.hidden_states(&batch.tokens, None, rng)?);
            add(&mut loss.backward());
            scalar(loss.inner())
        }
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
        let eval_loss = evaluate(&self.model.valid(), validation, self.config)?;
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
