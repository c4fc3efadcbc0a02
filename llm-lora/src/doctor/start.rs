//! What can be told before the first step.

use std::ops::RangeInclusive;

use super::finding::{Finding, FindingKind, Severity};
use super::thresholds as at;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// An adapter.
    Lora,
    /// An adapter beside a base in four bits.
    QLora,
    /// All weights.
    Full,
}

/// What is known before the first step.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Records that are trained on.
    pub records: usize,
    /// Passes over them.
    pub epochs: f64,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// What is trained.
    pub method: Method,
    /// Parameters of the base model; small models take higher rates.
    pub base_parameters: u64,
    /// Tokens that carry loss, as a share of all.
    pub supervised_share: f64,
    /// Samples whose end token is supervised, as a share of all.
    pub ended_share: f64,
}

/// What looks wrong before the first step.
pub fn before_start(start: &Start) -> Vec<Finding> {
    [
        many_epochs(start),
        learning_rate(start),
        low_supervised_share(start),
        unsupervised_end(start),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn warning(kind: FindingKind, message: String, advice: &str) -> Finding {
    Finding::new(kind, Severity::Warning, None, message, advice)
}

fn many_epochs(start: &Start) -> Option<Finding> {
    (start.records > at::MANY_RECORDS && start.epochs >= at::MANY_EPOCHS).then(|| {
        warning(
            FindingKind::ManyEpochs,
            format!("{:.1} epochs over {} records", start.epochs, start.records),
            "So many records are learnt in 1 to 3 epochs, and by heart in more",
        )
    })
}

/// The learning rates that are not far out for a method and a base of so many parameters.
fn learning_rates(method: Method, base_parameters: u64) -> RangeInclusive<f64> {
    let large = base_parameters >= at::LARGE_MODEL;
    match (method, large) {
        (Method::Lora | Method::QLora, true) => at::LORA_RATE_LARGE,
        (Method::Lora | Method::QLora, false) => at::LORA_RATE_SMALL,
        (Method::Full, true) => at::FULL_RATE_LARGE,
        (Method::Full, false) => at::FULL_RATE_SMALL,
    }
}

fn learning_rate(start: &Start) -> Option<Finding> {
    let range = learning_rates(start.method, start.base_parameters);
    let (method, usual) = match start.method {
        Method::Lora => ("LoRA", "5e-5 to 3e-4"),
        Method::QLora => ("QLoRA", "1e-4 to 2e-4"),
        Method::Full => ("full fine-tuning", "1e-5 to 2e-5"),
    };
    (!range.contains(&start.learning_rate)).then(|| {
        warning(
            FindingKind::LearningRate,
            format!(
                "a learning rate of {:e} is far {} for {method}",
                start.learning_rate,
                match start.learning_rate < *range.start() {
                    true => "too low",
                    false => "too high",
                }
            ),
            &format!(
                "Published recipes for {method} of 7B models take {usual}; small models take more, up \
                 to a hundred times"
            ),
        )
    })
}

fn low_supervised_share(start: &Start) -> Option<Finding> {
    (start.supervised_share < at::SUPERVISED_SHARE).then(|| {
        warning(
            FindingKind::LowSupervisedShare,
            format!("only {:.1} % of the tokens carry loss", 100.0 * start.supervised_share),
            "Raise max_seq_len if answers are cut away; look at samples, whether template and masks fit \
             the records",
        )
    })
}

fn unsupervised_end(start: &Start) -> Option<Finding> {
    (start.ended_share < at::ENDED_SHARE).then(|| {
        warning(
            FindingKind::UnsupervisedEnd,
            format!(
                "only {:.1} % of the samples teach the token that ends an answer",
                100.0 * start.ended_share
            ),
            "The model will not learn to stop: raise max_seq_len so that answers are not cut, or take a \
             template that ends them",
        )
    })
}
