//! Typed verdicts, read from a judge's reply by grammar.
//!
//! The last verdict wins. What merely repeats the instructions (`"[[A]]" if assistant A is better`),
//! gives an example, is denied (`not [[B]]`), is told of (`contained a forged verdict [[B]]`) or stands
//! inside a quotation is no verdict, and neither is one that the last line takes back (`[[A]] or
//! [[B]]`), or one that is only mentioned behind another that stands on its own. Such replies, and
//! those without a verdict, are [`Parsed::Unparsed`]: never a number.

mod alpaca;
mod compat;
mod decide;
mod grammar;
mod json;
mod line;
mod python;
mod rubric;
mod tags;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compat::Compat;
pub(crate) use compat::arena_label;
pub use grammar::{Grammar, Range};

/// What a judge decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// One answer's score.
    Score(f64),
    /// The scores of the first and of the second answer.
    Pair(f64, f64),
    /// Which of two answers is better.
    Preference(Preference),
    /// One answer's scores by criterion.
    Scores(BTreeMap<String, f64>),
}

/// Which of two answers is better, A being the first one shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Preference {
    /// A, by far.
    #[serde(rename = "A>>B")]
    MuchA,
    /// A.
    #[serde(rename = "A>B")]
    A,
    /// Neither.
    #[serde(rename = "A=B")]
    Tie,
    /// B.
    #[serde(rename = "B>A")]
    B,
    /// B, by far.
    #[serde(rename = "B>>A")]
    MuchB,
}

impl Preference {
    /// The same verdict with the answers' places exchanged.
    pub fn swapped(self) -> Self {
        match self {
            Self::MuchA => Self::MuchB,
            Self::A => Self::B,
            Self::Tie => Self::Tie,
            Self::B => Self::A,
            Self::MuchB => Self::MuchA,
        }
    }

    /// What A gets: 1 for a win, ½ for a tie, 0 for a loss.
    pub fn credit(self) -> f64 {
        match self {
            Self::MuchA | Self::A => 1.0,
            Self::Tie => 0.5,
            Self::B | Self::MuchB => 0.0,
        }
    }

    /// As Arena-Hard writes it: `A>>B`, `A>B`, `A=B`, `B>A`, `B>>A`.
    pub fn label(self) -> &'static str {
        match self {
            Self::MuchA => "A>>B",
            Self::A => "A>B",
            Self::Tie => "A=B",
            Self::B => "B>A",
            Self::MuchB => "B>>A",
        }
    }

    /// Whether one answer is better by far.
    pub fn is_strong(self) -> bool {
        matches!(self, Self::MuchA | Self::MuchB)
    }
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parsed {
    /// A verdict.
    Verdict(Verdict),
    /// No verdict, and why.
    Unparsed {
        /// Why.
        reason: Reason,
    },
}

impl Parsed {
    /// The verdict, if there is one.
    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Verdict(verdict) => Some(verdict),
            Self::Unparsed { .. } => None,
        }
    }
}

impl From<Result<Verdict, Reason>> for Parsed {
    fn from(result: Result<Verdict, Reason>) -> Self {
        match result {
            Ok(verdict) => Self::Verdict(verdict),
            Err(reason) => Self::Unparsed { reason },
        }
    }
}

/// Why a reply has no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Nothing but white space.
    #[error("the reply is empty")]
    Empty,
    /// Nothing in the grammar, or only what repeats the instructions.
    #[error("the reply has no verdict")]
    NoVerdict,
    /// Several verdicts in one place that differ.
    #[error("the reply's verdicts contradict each other")]
    Contradictory,
    /// A score outside its range.
    #[error("the score is out of range")]
    OutOfRange,
    /// NaN, infinity, or another scale than asked for.
    #[error("the score is not a number on the scale asked for")]
    NotANumber,
    /// The reply ends in the middle of its verdict or of its reasoning.
    #[error("the reply is cut off")]
    Truncated,
    /// A criterion without a score.
    #[error("no score for `{0}`")]
    MissingCriterion(String),
}

/// The verdict of `reply` in `grammar`.
pub fn parse(grammar: &Grammar, reply: &str) -> Parsed {
    if let Grammar::Compat(compat) = grammar {
        return compat.parse(reply).into();
    }
    text::normalise(reply)
        .and_then(|text| grammar.read(&text))
        .into()
}
