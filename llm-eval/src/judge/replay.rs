//! The published figures, recomputed from saved judgments without asking any judge.
//!
//! The fields of [`Replay`] are the keys of its JSON. Where they exist, the figures equal those of
//! the systems' own scripts: FastChat's `show_result.py`, AlpacaEval's `get_winrate`, Arena-Hard's
//! `show_result.py`, and the sums of Vicuna's first evaluation.

mod alpaca;
mod arena_hard;
mod fastchat;
mod read;
mod tally;
mod vicuna;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::files::{Format, Id};
use crate::error::Result;

pub use tally::{Mean, Outcomes};

/// What is done with a judgment of which there is already one, of the same question, model, turn and
/// judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// Each counts, as with the systems' own scripts.
    #[default]
    Keep,
    /// The first one counts.
    First,
    /// The last one counts.
    Last,
}

/// How judgments become figures.
#[derive(Debug, Clone)]
pub struct Options {
    /// The questions' categories, where the judgments have none.
    pub categories: BTreeMap<Id, String>,
    /// What is done with duplicates.
    pub duplicates: OnDuplicate,
    /// FastChat's pairs: only those with this model count, and it gets no figures of its own.
    pub baseline: Option<String>,
    /// Arena-Hard: how many battles a verdict by far counts for.
    pub weight: usize,
    /// Arena-Hard: how many resamples the interval is from.
    pub resamples: usize,
    /// Arena-Hard: the resamples' seed.
    pub seed: u64,
}

impl Default for Options {
    /// All pairs, duplicates kept, weight 3, 1000 resamples.
    fn default() -> Self {
        Self {
            categories: BTreeMap::new(),
            duplicates: OnDuplicate::Keep,
            baseline: None,
            weight: 3,
            resamples: 1000,
            seed: 0,
        }
    }
}

/// The figures of one or several files of judgments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// The files' format.
    pub format: Format,
    /// The rows read.
    pub rows: usize,
    /// Those of them, duplicates that do not count aside, without a verdict: no figure has them. In
    /// Arena-Hard v0.1 those in which a game has none; the other game counts.
    pub unparsable: usize,
    /// Judgments that occur more than once.
    pub duplicates: Duplicates,
    /// The figures by model.
    pub models: BTreeMap<String, ModelFigures>,
    /// How the verdicts depend on the answers' places, where each pair was judged in both orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// Judgments of the same question, model, turn and judge.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Duplicates {
    /// The rows of which an earlier one is the same.
    pub count: usize,
    /// The first of them.
    pub first: Vec<Duplicate>,
}

/// A judgment that occurs twice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Duplicate {
    /// What both judge.
    pub key: String,
    /// File and line of the earlier one.
    pub earlier: String,
    /// File and line of the later one.
    pub later: String,
}

/// A model's figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelFigures {
    /// Over all rows.
    #[serde(flatten)]
    pub all: Group,
    /// The rows about this model without a verdict.
    pub unparsable: usize,
    /// By turn.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<u32, Group>,
    /// By category.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, Group>,
    /// Vicuna: the sum of the model's scores divided by that of its opponents' (its "92 %").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_of_sums: Option<f64>,
    /// AlpacaEval's own figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpaca_eval: Option<AlpacaEval>,
}

/// The figures of some of a model's rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Group {
    /// Its scores, where it got some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Mean>,
    /// Its comparisons, where it was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// Arena-Hard's own figures: over all rows in v0.1, by category in v2.0, which has a baseline for
    /// each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arena_hard: Option<ArenaHard>,
}

/// AlpacaEval's figures, under its names; rates are per cent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlpacaEval {
    /// The mean preference.
    pub win_rate: Option<f64>,
    /// The standard error of that mean, rows taken as independent.
    pub standard_error: Option<f64>,
    /// Preferences above one half.
    pub n_wins: u64,
    /// Preferences below one half.
    pub n_wins_base: u64,
    /// Preferences of exactly one half.
    pub n_draws: u64,
    /// All preferences.
    pub n_total: u64,
    /// The mean of the preferences rounded to win, draw or loss.
    pub discrete_win_rate: Option<f64>,
    /// The mean length of the model's answers in characters, rounded down.
    pub avg_length: Option<u64>,
}

/// Arena-Hard's figures; the score is per cent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArenaHard {
    /// The win rate against the baseline, a verdict by far counting several times and a tie half.
    pub score: f64,
    /// The lower end of the bootstrap interval; `null` without resamples.
    pub lower: Option<f64>,
    /// The upper end of the bootstrap interval; `null` without resamples.
    pub upper: Option<f64>,
    /// The interval's level: .95 for v0.1, .9 for v2.0.
    pub level: f64,
    /// The battles, weights included.
    pub battles: usize,
}

/// How verdicts depend on the answers' places.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Position {
    /// Pairs in both of whose games the same model won, or none.
    pub consistent: usize,
    /// Pairs whose games have different winners.
    pub inconsistent: usize,
    /// Games won by the answer shown first.
    pub first: usize,
    /// Games won by the answer shown second.
    pub second: usize,
    /// `consistent` among all pairs.
    pub consistency: Option<f64>,
    /// `first` among the games that somebody won; ½ without a preference for a place.
    pub first_slot_share: Option<f64>,
}

/// The figures of files of one format.
///
/// # Errors
///
/// When a file cannot be read, or a record lacks a field or has a wrong one.
pub fn replay(paths: &[impl AsRef<Path>], format: Format, options: &Options) -> Result<Replay> {
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    match format {
        Format::FastchatSingle => fastchat::single(&paths, options),
        Format::FastchatPair => fastchat::pair(&paths, options),
        Format::Vicuna => vicuna::replay(&paths, options),
        Format::AlpacaEval => alpaca::replay(&paths, options),
        Format::ArenaHard => arena_hard::replay(&paths, options),
    }
}
