//! Training: the configuration, the one loop, checkpoints.

mod batch;
mod checkpoint;
mod config;
mod gradients;
mod layout;
mod metrics;
mod optimizer;
mod plan;
mod schedule;
mod trainer;

use std::ops::ControlFlow;

use burn::tensor::{DType, Tensor};
use llm_core::LlamaForCausalLM;
use llm_data::{Sample, Samples};

use batch::Batch;
pub use checkpoint::{
    Best, Checkpoints, list_checkpoints, newest_checkpoint, remove_unfinished, verify_checkpoint,
};
pub use config::{OnNonfinite, TrainConfig};
pub use layout::Packing;
pub use metrics::{Evaluation, Event, Saved, Skipped, Step, read_metrics, write_metrics};
pub use schedule::{Schedule, Warmup};
pub use trainer::{Outcome, Trainer};

use crate::Result;

/// Trains the parameters of `model` that require gradients on `samples`: a [`Trainer`] without
/// checkpoints.
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
    samples: impl Samples,
    validation: &[Sample],
    config: &TrainConfig,
    on_event: impl FnMut(&Event) -> ControlFlow<()>,
) -> Result<()> {
    let mut trainer = Trainer::new(model.clone(), samples, validation, config)?;
    take(model);
    let result = trainer.run(on_event);
    *model = trainer.into_model();
    result.map(drop)
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
    batch::check(
        &samples,
        "evaluation",
        model.config().vocab_size,
        usize::MAX,
    )?;
    let layout = config.layout(model, &samples);
    let (mut sum, mut count) = (0.0, 0);
    for rows in layout.forwards(&layout::numbered(samples)) {
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
