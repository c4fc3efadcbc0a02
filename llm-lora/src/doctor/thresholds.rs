//! Where the doctor draws its lines, and why there.

use super::run::Window;

/// The long smoothing window. Ten steps of four samples are what a usual batch of 32 to 128 averages in
/// one step; steps of single short answers need more of them, for one token can have a loss of 10.
pub(super) const WINDOW: Window = Window {
    steps: 10,
    tokens: 200,
};

/// The short window, which sees a spike of a few steps that ten would blur. One step alone is not
/// judged: a batch of short, odd answers does that in a healthy run.
pub(super) const SPIKE_WINDOW: Window = Window {
    steps: 3,
    tokens: 60,
};

/// A rise is a jump if the smoothed loss is this many times its lowest until then. Healthy runs stay
/// below 1.4, but for those whose loss is near 0 or whose micro-batch is one sample: these reach 2 to 5
/// by chance, which is why [`JUMP_ERRORS`] and [`JUMP_NATS`] must hold, too.
pub(super) const JUMP: f64 = 1.5;

/// The same for the short window, which is noisier.
pub(super) const SPIKE: f64 = 2.0;

/// The same for the first long window against the very first step, whose loss is that of the untouched
/// model: one batch is a poor measure, but without a warm-up the next is already damaged.
pub(super) const FIRST_JUMP: f64 = 2.0;

/// The same for the first short window.
pub(super) const FIRST_SPIKE: f64 = 3.0;

/// Standard errors of such a rise in the long window. The usual 3: nothing is chosen here.
pub(super) const FIRST_JUMP_ERRORS: f64 = 3.0;

/// A rise must be as many standard errors of the difference of both windows. Far more than the usual 3,
/// because the lowest of all earlier windows is compared with each later one.
pub(super) const JUMP_ERRORS: f64 = 5.0;

/// A rise of less is none, in nats: a loss that goes from 0.01 to 0.1 is no jump.
pub(super) const JUMP_NATS: f64 = 0.3;

/// An evaluation loss twice in a row this many times its lowest, without a training loss that falls
/// meanwhile, is a divergence too.
pub(super) const EVALUATION_JUMP: f64 = 1.2;

/// A jump is over when the smoothed loss is down at this many times its lowest before, or at half the
/// least rise above it.
pub(super) const BACK: f64 = 1.25;

/// The window in which it must be down: longer than a spike, short enough not to hold the rise itself
/// for long.
pub(super) const BACK_WINDOW: Window = Window {
    steps: 5,
    tokens: 100,
};

/// So many rises with falls between them are an oscillation; fewer can be a spell of bad records.
pub(super) const SWINGS: usize = 3;

/// An epoch's mean loss this many times the lowest epoch's before is a rise. Each epoch has the same
/// samples, so that the mean falls in any run that learns; dropout moves it by a few per cent.
pub(super) const EPOCH_RISE: f64 = 1.1;

/// A rise between epochs of less is none, in nats.
pub(super) const EPOCH_RISE_NATS: f64 = 0.05;

/// So many rises between epochs, with falls between them, are an oscillation: on the same samples there
/// is no bad luck.
pub(super) const EPOCH_SWINGS: usize = 2;

/// A loss that moves by less than this share in an epoch is flat. A rate of 1e-8 moves it by 0.03 %; the
/// least in a healthy run (LoRA, 24 steps, on an instruction-tuned model) was 0.7 %.
pub(super) const FLAT: f64 = 0.002;

/// Steps after the warm-up before a loss can be called flat.
pub(super) const FLAT_STEPS: usize = 30;

/// The window over which a low training loss is smoothed.
pub(super) const LOW_WINDOW: Window = Window {
    steps: 20,
    tokens: 400,
};

/// A smoothed training loss from here down is too low: the model gives the right token a probability of
/// 74 % on average, which free text allows only when it is known by heart. The usual loss of
/// instruction tuning is 0.8 to 1.8.
pub(super) const LOW_LOSS: f64 = 0.3;

/// With an evaluation a low training loss is harmless until the evaluation loss is this many times as
/// large: data that is easy has a low loss on both sides.
pub(super) const LOW_GAP: f64 = 10.0;

/// Overfitting: the evaluation loss twice in a row this many times its minimum. In healthy runs of the
/// bundled model it wavers by up to 5 % from epoch to epoch.
pub(super) const GAP: f64 = 1.05;

/// Overfitting seen in a single evaluation.
pub(super) const GAP_AT_ONCE: f64 = 1.1;

/// An evaluation loss that rises by less is none that rises, in nats.
pub(super) const GAP_NATS: f64 = 0.03;

/// Steps that an epoch needs to have a shape.
pub(super) const STAIR_STEPS: usize = 10;

/// A stair: the loss falls from the end of an epoch to the begin of the next by this share more than
/// within the next. On 100 records of Alpaca the stairs are 4 to 11 %.
pub(super) const STAIR: f64 = 0.04;

/// A stair of less is none, in nats.
pub(super) const STAIR_NATS: f64 = 0.05;

/// A stair must be as many standard errors of the difference of both halves.
pub(super) const STAIR_ERRORS: f64 = 3.0;

/// So many stairs are a staircase.
pub(super) const STAIRS: usize = 2;

/// With an evaluation an epoch's stair counts only if the evaluation loss has not fallen below this
/// share of the epoch's before: what helps unseen records is learning.
pub(super) const STAIR_FALL: f64 = 0.98;

/// With an evaluation a staircase is harmless until the evaluation loss is this many times its lowest.
pub(super) const STAIR_EVALUATION: f64 = 1.05;

/// So many gradients of exactly 0 are no accident.
pub(super) const ZERO_GRADIENTS: usize = 3;

/// When this share of all steps had no supervised token or was skipped, the run is of no use.
pub(super) const LOST_STEPS: f64 = 0.1;

/// Records from which many epochs are too many; Alpaca's 52,000 took 3.
pub(super) const MANY_RECORDS: usize = 10_000;

/// Epochs that are too many for so many records.
pub(super) const MANY_EPOCHS: f64 = 5.0;

/// Share of the tokens that carry loss below which a run is mostly wasted. Alpaca has about 70 % in
/// ChatML, the bundled records with their short answers 11 %.
pub(super) const SUPERVISED_SHARE: f64 = 0.05;

/// Share of the samples whose end token is supervised, below which the model does not learn to stop.
pub(super) const ENDED_SHARE: f64 = 0.95;

/// Parameters of the base from which the rates of 7B models are a measure. SmolLM2 of 1.7B was
/// instruction-tuned in full at 3e-4, fifteen times Alpaca's rate; the bundled model of 1.4M takes LoRA
/// at 3e-3.
pub(super) const LARGE_MODEL: u64 = 3_000_000_000;

/// LoRA and QLoRA on large models. Published: BELLE 8e-6 to 3e-4, Baize 5e-5 to 2e-4,
/// Chinese-LLaMA-Alpaca 1e-4 to 2e-4, QLoRA 1e-4 (33B, 65B) and 2e-4 (7B, 13B), alpaca-lora 3e-4. About a
/// factor of ten beyond both.
pub(super) const LORA_RATE_LARGE: std::ops::RangeInclusive<f64> = 1e-6..=3e-3;

/// LoRA on smaller models: ten times as much; the bundled one diverges from 1.5e-2 on.
pub(super) const LORA_RATE_SMALL: std::ops::RangeInclusive<f64> = 1e-6..=3e-2;

/// Full fine-tuning of large models. Published: Alpaca and Vicuna 2e-5, BELLE 8e-6; a factor of ten
/// beyond is LoRA's rate, the usual slip.
pub(super) const FULL_RATE_LARGE: std::ops::RangeInclusive<f64> = 1e-7..=1e-4;

/// Full fine-tuning of smaller models; the bundled one takes 1e-3 and is damaged by 5e-3.
pub(super) const FULL_RATE_SMALL: std::ops::RangeInclusive<f64> = 1e-7..=4e-3;
