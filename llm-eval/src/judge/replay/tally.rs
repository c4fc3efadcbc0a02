//! Scores and outcomes, counted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Group, ModelFigures, Position};
use crate::judge::files::Id;
use crate::stats::{self, Outcome};
use crate::verdict::Preference;

/// How often the intervals hold the truth.
const LEVEL: f64 = 0.95;

/// A mean with its uncertainty, rows about the same question taken together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mean {
    /// The values.
    pub n: usize,
    /// Their sum.
    pub sum: f64,
    /// Their mean; `null` without any.
    pub mean: Option<f64>,
    /// The mean's standard error, clustered by question ([`clustered_mean`](stats::clustered_mean));
    /// `null` with fewer than two questions.
    pub standard_error: Option<f64>,
    /// The 95 % interval of the normal distribution.
    pub interval: Option<[f64; 2]>,
}

impl Mean {
    fn of(values: &[f64], questions: &[usize]) -> Self {
        let estimate = stats::clustered_mean(values, questions, LEVEL).ok();
        Self {
            n: values.len(),
            sum: values.iter().sum(),
            mean: stats::mean(values).ok(),
            standard_error: estimate.map(|estimate| estimate.standard_error),
            interval: estimate.map(|estimate| ends(estimate.interval)),
        }
    }
}

fn ends(interval: stats::Interval) -> [f64; 2] {
    [interval.low, interval.high]
}

/// Wins, losses and ties. The rates are fractions of `n`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcomes {
    /// The comparisons.
    pub n: usize,
    /// Won.
    pub wins: u64,
    /// Lost.
    pub losses: u64,
    /// Neither; pairs whose two orders disagree are ties.
    pub ties: u64,
    /// The ties of pairs whose two orders disagree.
    pub inconsistent: usize,
    /// wins / n.
    pub win_rate: Option<f64>,
    /// losses / n.
    pub loss_rate: Option<f64>,
    /// (wins + ties / 2) / n.
    pub win_rate_adjusted: Option<f64>,
    /// The standard error of `win_rate_adjusted`, clustered by question; `null` with fewer than two
    /// questions.
    pub standard_error: Option<f64>,
    /// The 95 % interval of `win_rate_adjusted`, within 0 and 1; Wilson's, with a trial a question,
    /// where all are won or all are lost.
    pub interval: Option<[f64; 2]>,
}

impl Outcomes {
    fn of(outcomes: &[Outcome], inconsistent: usize, questions: &[usize]) -> Self {
        let counts: stats::Outcomes = outcomes.iter().copied().collect();
        let scores: Vec<f64> = outcomes.iter().map(|outcome| outcome.score()).collect();
        let mean = Mean::of(&scores, questions);
        let all_alike = counts.wins == counts.total() || counts.losses == counts.total();
        let interval = mean.interval.and_then(|[low, high]| {
            if !all_alike {
                return Some([low.max(0.0), high.min(1.0)]);
            }
            let trials = distinct(questions);
            let won = if counts.wins > 0 { trials } else { 0 };
            stats::wilson(won, trials, LEVEL).ok().map(ends)
        });
        Self {
            n: outcomes.len(),
            wins: counts.wins,
            losses: counts.losses,
            ties: counts.ties,
            inconsistent,
            win_rate: counts.win_rate().ok(),
            loss_rate: counts.loss_rate().ok(),
            win_rate_adjusted: counts.adjusted_win_rate().ok(),
            standard_error: mean.standard_error,
            interval,
        }
    }
}

fn distinct(questions: &[usize]) -> u64 {
    let mut questions = questions.to_vec();
    questions.sort_unstable();
    questions.dedup();
    questions.len() as u64
}

/// Values and the questions that they are about.
#[derive(Debug)]
struct Clustered<T> {
    values: Vec<T>,
    questions: Vec<usize>,
}

impl<T> Default for Clustered<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            questions: Vec::new(),
        }
    }
}

impl<T> Clustered<T> {
    fn add(&mut self, question: usize, value: Option<T>) {
        if let Some(value) = value {
            self.values.push(value);
            self.questions.push(question);
        }
    }
}

/// The scores and outcomes of some rows.
#[derive(Debug, Default)]
struct Tally {
    scores: Clustered<f64>,
    outcomes: Clustered<Outcome>,
    inconsistent: usize,
}

impl Tally {
    fn group(&self) -> Group {
        let Self {
            scores, outcomes, ..
        } = self;
        Group {
            score: (!scores.values.is_empty()).then(|| Mean::of(&scores.values, &scores.questions)),
            outcomes: (!outcomes.values.is_empty())
                .then(|| Outcomes::of(&outcomes.values, self.inconsistent, &outcomes.questions)),
            arena_hard: None,
        }
    }
}

/// What a row says about a model.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Entry {
    pub(super) score: Option<f64>,
    /// How the model, as the first of two, fared.
    pub(super) outcome: Option<Outcome>,
    /// Whether the outcome is a tie because the two orders disagree.
    pub(super) inconsistent: bool,
}

/// A model's rows.
#[derive(Debug, Default)]
pub(super) struct ModelTally {
    pub(super) unparsable: usize,
    all: Tally,
    turns: BTreeMap<u32, Tally>,
    categories: BTreeMap<String, Tally>,
    /// The questions, by the order in which they came.
    questions: BTreeMap<Id, usize>,
}

impl ModelTally {
    pub(super) fn add(
        &mut self,
        question: &Id,
        entry: Entry,
        turn: Option<u32>,
        category: Option<&str>,
    ) {
        let known = self.questions.len();
        let question = match self.questions.get(question) {
            Some(&number) => number,
            None => *self.questions.entry(question.clone()).or_insert(known),
        };
        let turn = turn.map(|turn| self.turns.entry(turn).or_default());
        let category =
            category.map(|category| self.categories.entry(category.to_owned()).or_default());
        for tally in [Some(&mut self.all), turn, category].into_iter().flatten() {
            tally.scores.add(question, entry.score);
            tally.outcomes.add(question, entry.outcome);
            tally.inconsistent += usize::from(entry.inconsistent);
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
        self.first_slot_share = rate(self.first, self.second);
        self
    }
}
