//! What the doctor says.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

/// What is wrong. The serialised names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The loss has not moved: nothing is learnt.
    Flat,
    /// The loss goes up and down instead of falling.
    Oscillation,
    /// The loss rose far above where it had been: a spike if it came back, else a divergence.
    Jump,
    /// The training loss is so low that the records are known by heart.
    LowLoss,
    /// The evaluation loss rises while the training loss falls: overfitting.
    Overfitting,
    /// The training loss falls in steps, where epochs begin: the records are learnt by heart.
    Staircase,
    /// Steps in which no token carried loss.
    NoSupervisedTokens,
    /// Steps whose gradient is exactly 0.
    ZeroGradient,
    /// Steps left out because loss or gradient were not finite.
    SkippedSteps,
    /// Before the start: many passes over many records.
    ManyEpochs,
    /// Before the start: a learning rate that is far out of the method's range.
    LearningRate,
    /// Before the start: hardly a token carries loss.
    LowSupervisedShare,
    /// Before the start: answers whose end is not supervised.
    UnsupervisedEnd,
}

impl FindingKind {
    /// The stable name, as it is serialised.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Oscillation => "oscillation",
            Self::Jump => "jump",
            Self::LowLoss => "low_loss",
            Self::Overfitting => "overfitting",
            Self::Staircase => "staircase",
            Self::NoSupervisedTokens => "no_supervised_tokens",
            Self::ZeroGradient => "zero_gradient",
            Self::SkippedSteps => "skipped_steps",
            Self::ManyEpochs => "many_epochs",
            Self::LearningRate => "learning_rate",
            Self::LowSupervisedShare => "low_supervised_share",
            Self::UnsupervisedEnd => "unsupervised_end",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// The result may be worse than it could be.
    Warning,
    /// The run is of no use as it goes.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something that the doctor sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// Where: optimizer steps from 1, 0 being the evaluation before the first. `None` before the start.
    pub steps: Option<RangeInclusive<usize>>,
    /// What is seen, with its numbers.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    pub(super) fn new(
        kind: FindingKind,
        severity: Severity,
        steps: impl Into<Option<RangeInclusive<usize>>>,
        message: String,
        advice: &str,
    ) -> Self {
        Self {
            kind,
            severity,
            steps: steps.into(),
            message,
            advice: advice.to_owned(),
        }
    }
}

/// `warning: flat (steps 1 to 57): what is seen. What to do.`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.kind)?;
        if let Some(steps) = &self.steps {
            match steps.start() == steps.end() {
                true => write!(f, " (step {})", steps.start())?,
                false => write!(f, " (steps {} to {})", steps.start(), steps.end())?,
            }
        }
        write!(f, ": {}. {}.", self.message, self.advice)
    }
}
