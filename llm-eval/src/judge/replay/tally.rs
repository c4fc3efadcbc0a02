//! Scores and outcomes, counted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Group, ModelFigures, Position};
use crate::stats;
use crate::verdict::Preference;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A mean with its uncertainty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mean {
    /// The values.
    pub n: usize,
    /// Their sum.
    pub sum: f64,
    /// Their mean; `null` without any.
    pub mean: Option<f64>,
    /// The sample standard deviation divided by √n; `null` below two values.
    pub standard_error: Option<f64>,
    /// The 95 % interval of the normal distribution.
    pub interval: Option<[f64; 2]>,
}

impl Mean {
    pub(super) fn of(values: &[f64]) -> Self {
        let mean = stats::mean(values).ok();
        let error = stats::standard_error(values).ok();
        let interval = mean
            .zip(error)
            .map(|(mean, error)| [mean - Z * error, mean + Z * error]);
        Self {
            n: values.len(),
            sum: values.iter().sum(),
            mean,
            standard_error: error,
            interval,
        }
    }
}

/// Wins, losses and ties. The rates are fractions of `n`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcomes {
    /// The comparisons.
    pub n: usize,
    /// Won.
    pub wins: usize,
    /// Lost.
    pub losses: usize,
    /// Neither; pairs whose two orders disagree are ties.
    pub ties: usize,
    /// The ties of pairs whose two orders disagree.
    pub inconsistent: usize,
    /// wins / n.
    pub win_rate: Option<f64>,
    /// losses / n.
    pub loss_rate: Option<f64>,
    /// (wins + ties / 2) / n.
    pub win_rate_adjusted: Option<f64>,
    /// The standard error of `win_rate_adjusted`.
    pub standard_error: Option<f64>,
    /// The 95 % interval of `win_rate_adjusted`, within 0 and 1.
    pub interval: Option<[f64; 2]>,
}

/// How a comparison ended for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Win,
    Loss,
    Tie,
    Inconsistent,
}

impl Outcome {
    pub(super) fn reversed(self) -> Self {
        match self {
            Self::Win => Self::Loss,
            Self::Loss => Self::Win,
            other => other,
        }
    }

    fn credit(self) -> f64 {
        match self {
            Self::Win => 1.0,
            Self::Loss => 0.0,
            Self::Tie | Self::Inconsistent => 0.5,
        }
    }
}

impl Outcomes {
    fn of(outcomes: &[Outcome]) -> Self {
        let count = |wanted: Outcome| outcomes.iter().filter(|&&one| one == wanted).count();
        let (n, inconsistent) = (outcomes.len(), count(Outcome::Inconsistent));
        let (wins, losses, ties) = (
            count(Outcome::Win),
            count(Outcome::Loss),
            count(Outcome::Tie) + inconsistent,
        );
        let rate = |count: f64| (n > 0).then(|| count / n as f64);
        let credits = Mean::of(&outcomes.iter().map(|one| one.credit()).collect::<Vec<_>>());
        Self {
            n,
            wins,
            losses,
            ties,
            inconsistent,
            win_rate: rate(wins as f64),
            loss_rate: rate(losses as f64),
            win_rate_adjusted: rate(wins as f64 + 0.5 * ties as f64),
            standard_error: credits.standard_error,
            interval: credits
                .interval
                .map(|[low, high]| [low.max(0.0), high.min(1.0)]),
        }
    }
}

/// The scores and outcomes of some rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) scores: Vec<f64>,
    pub(super) outcomes: Vec<Outcome>,
}

impl Tally {
    fn group(&self) -> Group {
        Group {
            score: (!self.scores.is_empty()).then(|| Mean::of(&self.scores)),
            outcomes: (!self.outcomes.is_empty()).then(|| Outcomes::of(&self.outcomes)),
        }
    }
}

/// What a row says about a model.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Entry {
    pub(super) score: Option<f64>,
    pub(super) outcome: Option<Outcome>,
}

/// A model's rows.
#[derive(Debug, Default)]
pub(super) struct ModelTally {
    pub(super) all: Tally,
    pub(super) unparsable: usize,
    turns: BTreeMap<u32, Tally>,
    categories: BTreeMap<String, Tally>,
}

impl ModelTally {
    pub(super) fn add(&mut self, entry: Entry, turn: Option<u32>, category: Option<&str>) {
        let turn = turn.map(|turn| self.turns.entry(turn).or_default());
        let category =
            category.map(|category| self.categories.entry(category.to_owned()).or_default());
        for tally in [Some(&mut self.all), turn, category].into_iter().flatten() {
            tally.scores.extend(entry.score);
            tally.outcomes.extend(entry.outcome);
        }
    }

    pub(super) fn figures(&self) -> ModelFigures {
        ModelFigures {
            all: self.all.group(),
            unparsable: self.unparsable,
            turns: self
                .turns
                .iter()
                .map(|(turn, tally)| (*turn, tally.group()))
                .collect(),
            categories: self
                .categories
                .iter()
                .map(|(name, tally)| (name.clone(), tally.group()))
                .collect(),
            ..ModelFigures::default()
        }
    }
}

impl Position {
    /// Adds a pair: what the judge preferred in each game, as it was shown them.
    pub(super) fn add(&mut self, first_game: Preference, second_game: Preference) {
        if first_game.credit() == second_game.swapped().credit() {
            self.consistent += 1;
        } else {
            self.inconsistent += 1;
        }
        for game in [first_game, second_game] {
            self.first += usize::from(game.credit() == 1.0);
            self.second += usize::from(game.credit() == 0.0);
        }
    }

    /// With the rates.
    pub(super) fn finished(mut self) -> Self {
        let rate = |part: usize, other: usize| {
            (part + other > 0).then(|| part as f64 / (part + other) as f64)
        };
        self.consistency = rate(self.consistent, self.inconsistent);
        self.first_slot_preference = rate(self.first, self.second);
        self
    }
}
