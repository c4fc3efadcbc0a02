//! The one loop.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Gradients;
use llm_core::LlamaForCausalLM;
use llm_data::{Sample, Samples};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tracing::{debug_span, info_span};

use super::batch::{self, Batch};
use super::checkpoint::{Best, Checkpoints, State};
use super::gradients::{self, Sums};
use super::metrics::{Evaluation, Event, Saved, Skipped, Step};
use super::optimizer::AdamW;
use super::plan::{Planned, plan};
use super::{OnNonfinite, TrainConfig, evaluate, loss_sum, scalar};
use crate::{Error, Result};

/// The ChaCha stream of dropout.
const DROPOUT: u64 = u64::from_be_bytes(*b"dropout\0");

/// Steps that are prepared ahead.
const AHEAD: usize = 2;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// After its last step.
    Finished,
    /// Because the listener wanted it. What was due after the last step, an evaluation perhaps, is left
    /// for the run that goes on.
    Stopped,
}

/// A run of training: a model, what it learns from, and how far it is.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use llm_lora::{Adapter, Checkpoints, LoraConfig, TrainConfig, Trainer, newest_checkpoint};
/// # fn f(mut model: llm_core::LlamaForCausalLM, samples: Vec<llm_data::Sample>) -> llm_lora::Result<()> {
///
/// let adapter = Adapter::attach(&mut model, LoraConfig::default(), 42)?;
/// let newest = newest_checkpoint("run")?;
/// if let Some(checkpoint) = &newest {
///     adapter.restore(&mut model, checkpoint)?;
/// }
/// let config = TrainConfig::default();
/// let mut trainer = Trainer::new(model, &samples, &[], &config)?
///     .with_checkpoints(Checkpoints::new("run", |model, dir| adapter.save(model, dir)).every(100).keep(3));
/// if let Some(checkpoint) = &newest {
///     trainer.resume(checkpoint)?;
/// }
/// trainer.run(|_| ControlFlow::Continue(()))?;
/// adapter.save(&trainer.into_model(), "run")?;
/// # Ok(())
/// # }
/// ```
pub struct Trainer<'a> {
    config: &'a TrainConfig,
    samples: Arc<dyn Samples + 'a>,
    validation: &'a [Sample],
    checkpoints: Option<Checkpoints<'a>>,
    model: LlamaForCausalLM,
    optimizer: AdamW,
    dropout: ChaCha8Rng,
    /// Steps done.
    steps: usize,
    /// Steps that were done when the run was last saved, or resumed.
    saved: Option<usize>,
    best: Option<Best>,
    /// Every step and evaluation.
    history: Vec<Event>,
    /// When the last event ended, so that the seconds of all events sum to the run's.
    clock: Instant,
}

impl<'a> Trainer<'a> {
    /// A run from its start, which trains the parameters of `model` that require gradients.
    ///
    /// # Errors
    /// When the configuration is refused, a sample does not fit the model, or nothing is supervised or
    /// trainable.
    pub fn new(
        model: LlamaForCausalLM,
        samples: impl Samples + 'a,
        validation: &'a [Sample],
        config: &'a TrainConfig,
    ) -> Result<Self> {
        config.validate()?;
        let vocab_size = model.config().vocab_size;
        batch::check(&samples, "training", vocab_size, config.window())?;
        if !validation.is_empty() {
            batch::check(&validation, "validation", vocab_size, usize::MAX)?;
        }
        let mut dropout = ChaCha8Rng::seed_from_u64(config.seed);
        dropout.set_stream(DROPOUT);
        let model = model.train();
        let optimizer = AdamW::new(config, &model);
        if optimizer.trainable() == 0 {
            return Err(Error::NothingTrainable);
        }
        Ok(Self {
            config,
            samples: Arc::new(samples),
            validation,
            checkpoints: None,
            model,
            optimizer,
            dropout,
            steps: 0,
            saved: None,
            best: None,
            history: Vec::new(),
            clock: Instant::now(),
        })
    }

    /// Lets the run save itself.
    pub fn with_checkpoints(mut self, checkpoints: Checkpoints<'a>) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Takes over the state of a checkpoint: optimizer, random stream, position in the data, history.
    /// The trained parameters are the model's own, which must have been read from the checkpoint before
    /// ([`Adapter::restore`](crate::Adapter::restore), or loading it as a model).
    ///
    /// # Errors
    /// When a file is absent, malformed or not of a run over the same parameters and as many samples.
    pub fn resume(&mut self, checkpoint: &Path) -> Result<()> {
        let _span = info_span!("resume").entered();
        let (state, mut history) = State::read(checkpoint, self.known_samples()?)?;
        let dropout_position = state.dropout_position(checkpoint)?;
        let optimizer = State::optimizer(checkpoint)?;
        self.optimizer.restore(&optimizer, state.optimizer_steps)?;
        self.dropout.set_word_pos(dropout_position);
        let total_steps = self.total_steps()?;
        for event in &mut history {
            if let Event::Step(step) = event {
                step.total_steps = total_steps;
            }
        }
        self.steps = state.step;
        self.saved = Some(state.step);
        self.best = state.best;
        self.history = history;
        self.clock = Instant::now();
        Ok(())
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Steps that the run has in all. Waits for all samples where it depends on their number.
    ///
    /// # Errors
    /// When something is wrong with samples to come.
    pub fn total_steps(&self) -> Result<usize> {
        self.config.steps_of(&*self.samples)
    }

    /// Every step, evaluation and left-out step, those before a resumption too: the rows of
    /// `metrics.jsonl`.
    pub fn history(&self) -> &[Event] {
        &self.history
    }

    /// The lowest evaluation loss behind the first step, and where it was. A run that saves itself regularly
    /// has a checkpoint there.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    /// The model.
    pub fn into_model(self) -> LlamaForCausalLM {
        self.model.valid()
    }

    /// Trains until the last step, or until `on_event`, which hears of everything that happens, wants to
    /// stop; a run with checkpoints is then saved. Evaluates before the first step, every
    /// `eval_steps`, at each epoch's end and after the last step. Regular checkpoints are written when they
    /// are due, at each evaluation whose loss is the lowest so far, and after the last step.
    ///
    /// # Errors
    /// When loss or gradient are not finite and [`TrainConfig::on_nonfinite`] says so, or a checkpoint
    /// cannot be written. Earlier checkpoints are then as they were.
    pub fn run(&mut self, mut on_event: impl FnMut(&Event) -> ControlFlow<()>) -> Result<Outcome> {
        let (config, samples, done) = (self.config, Arc::clone(&self.samples), self.steps);
        let layout = config.layout(&self.model, &*samples);
        let total_steps = config.steps_of(&*samples)?;
        let _span = info_span!("train", total_steps).entered();
        let model = (layout, self.model.config().vocab_size);
        thread::scope(|scope| {
            let (sender, planned) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || plan(&*samples, config, model, done, &sender));
            let mut stop = false;
            loop {
                if !stop && self.evaluation_is_due(total_steps)? {
                    let event = self.evaluate()?;
                    stop |= on_event(&event).is_break();
                }
                if self.save_is_due(stop, total_steps)
                    && let Some(saved) = self.save()?
                {
                    stop |= on_event(&Event::Saved(saved)).is_break();
                }
                if stop {
                    return Ok(Outcome::Stopped);
                }
                if self.steps >= total_steps {
                    return Ok(Outcome::Finished);
                }
                let Ok(planned) = planned.recv() else {
                    return Ok(Outcome::Stopped);
                };
                let event = self.step(&planned?, total_steps)?;
                stop |= on_event(&event).is_break();
            }
        })
    }

    /// Whether the model has to be evaluated as it is now.
    fn evaluation_is_due(&self, total_steps: usize) -> Result<bool> {
        let done = |event: &Event| matches!(event, Event::Evaluation(e) if e.step == self.steps);
        if self.validation.is_empty() || self.history.last().is_some_and(done) {
            return Ok(false);
        }
        let every = |steps: usize| self.steps.is_multiple_of(steps);
        let regular = self.config.eval_steps.is_some_and(every) || self.steps == total_steps;
        Ok(regular || self.epochs()?.fract() == 0.0)
    }

    /// Passes over the data that are done. Where samples are shuffled by windows, only the first step, and the
    /// last of a pass, have a whole number.
    fn epochs(&self) -> Result<f64> {
        // What the steps took, and one more: where that is not all, the first pass is not done.
        let taken = self.steps.saturating_mul(self.config.samples_per_step());
        let ready = self.samples.wait_for(taken.saturating_add(1))?;
        let per_epoch = self.config.steps_per_epoch(ready.count).max(1);
        Ok(match ready.all {
            true => self.steps as f64 / per_epoch as f64,
            false if self.steps == 0 => 0.0,
            false => 0.5,
        })
    }

    /// The number of samples; none where a run need not know it.
    fn known_samples(&self) -> Result<Option<usize>> {
        match self.config.shuffle_window {
            Some(_) => Ok(None),
            None => Ok(Some(self.samples.count()?)),
        }
    }

    fn save_is_due(&self, stops: bool, total_steps: usize) -> bool {
        let Some(checkpoints) = &self.checkpoints else {
            return false;
        };
        let is_best = self.best.is_some_and(|best| best.step == self.steps);
        let regular = checkpoints.is_regular() && (is_best || self.steps == total_steps);
        let due = stops || regular || checkpoints.is_due(self.steps);
        due && self.saved != Some(self.steps)
    }

    /// One optimizer step.
    fn step(&mut self, planned: &Planned, total_steps: usize) -> Result<Event> {
        let _span = debug_span!("step", step = self.steps + 1).entered();
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
            let share = self.backward(batch, planned.supervised, &mut sums)?;
            if !share.is_finite() {
                return self.not_finite(planned, "loss", share, batch.samples.clone());
            }
            loss += share;
        }
        let gradients = self.optimizer.gather(sums, &self.model.device().inner());
        let grad_norm = gradients::norm(&gradients).map_or(Ok(0.0), scalar)?;
        if !grad_norm.is_finite() {
            let all = planned.batches.iter().flat_map(|batch| &batch.samples);
            let all = all.copied().collect();
            return self.not_finite(planned, "gradient norm", grad_norm, all);
        }

        // The small constant is torch's (`clip_grad_norm_`).
        let clip = self
            .config
            .max_grad_norm
            .map_or(1.0, |most| (most / (grad_norm + 1e-6)).min(1.0));
        self.optimizer
            .step(&mut self.model, gradients, learning_rate, clip);
        self.steps += 1;
        let step = Step {
            step: self.steps,
            total_steps,
            epoch: planned.epoch,
            loss,
            learning_rate,
            grad_norm,
            tokens: planned.tokens,
            supervised_tokens: planned.supervised,
            seconds: self.lap(),
        };
        Ok(self.remember(Event::Step(step)))
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

    /// What becomes of a step that cannot be done.
    fn not_finite(
        &mut self,
        planned: &Planned,
        what: &'static str,
        value: f64,
        samples: Vec<usize>,
    ) -> Result<Event> {
        let step = self.steps + 1;
        match self.config.on_nonfinite {
            OnNonfinite::Stop => Err(Error::NonFinite {
                step,
                what,
                value,
                samples,
            }),
            OnNonfinite::Skip => {
                self.steps = step;
                let skipped = Skipped {
                    step,
                    epoch: planned.epoch,
                    skipped: what.to_owned(),
                    samples,
                    seconds: self.lap(),
                };
                Ok(self.remember(Event::Skipped(skipped)))
            }
        }
    }

    fn evaluate(&mut self) -> Result<Event> {
        let _span = info_span!("evaluate", step = self.steps).entered();
        let eval_loss = evaluate(&self.model.valid(), self.validation, self.config)?;
        if !eval_loss.is_finite() && self.config.on_nonfinite == OnNonfinite::Stop {
            return Err(Error::NonFinite {
                step: self.steps,
                what: "evaluation loss",
                value: eval_loss,
                samples: Vec::new(),
            });
        }
        // Comparing with NaN is false: a model that is out of its mind is never the best.
        let is_better = |best: Best| eval_loss < best.eval_loss;
        if self.steps > 0 && self.best.map_or(eval_loss.is_finite(), is_better) {
            self.best = Some(Best {
                step: self.steps,
                eval_loss,
            });
            // A checkpoint that a stopped run has left here does not know it.
            self.saved = None;
        }
        let epochs = self.epochs()?;
        let evaluation = Evaluation {
            step: self.steps,
            epoch: match self.config.shuffle_window {
                None => epochs,
                Some(_) => epochs.floor(),
            },
            eval_loss,
            seconds: self.lap(),
        };
        Ok(self.remember(Event::Evaluation(evaluation)))
    }

    fn save(&mut self) -> Result<Option<Saved>> {
        let Some(checkpoints) = &self.checkpoints else {
            return Ok(None);
        };
        let _span = info_span!("save", step = self.steps).entered();
        // Every step from such values on would be left out, and sound checkpoints go for its sake.
        let soundness = self.optimizer.soundness().map_or(Ok(0.0), scalar)?;
        if !soundness.is_finite() {
            return Err(Error::NonFinite {
                step: self.steps,
                what: "sum of the trained values",
                value: soundness,
                samples: Vec::new(),
            });
        }
        let state = State {
            step: self.steps,
            samples: self.known_samples()?,
            optimizer_steps: self.optimizer.steps(),
            dropout_position: self.dropout.get_word_pos().to_string(),
            best: self.best,
        };
        let tensors = self.optimizer.tensors()?;
        let model = self.model.valid();
        let checkpoint = checkpoints.save(&model, &state, &tensors, &self.history)?;
        self.saved = Some(self.steps);
        Ok(Some(Saved {
            step: self.steps,
            checkpoint,
            seconds: self.lap(),
        }))
    }

    fn remember(&mut self, event: Event) -> Event {
        self.history.push(event.clone());
        event
    }

    fn lap(&mut self) -> f64 {
        let last = std::mem::replace(&mut self.clock, Instant::now());
        (self.clock - last).as_secs_f64()
    }
}
