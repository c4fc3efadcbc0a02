//! The figures of judgments, from the judgments alone.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::difference::{self, Difference};
use super::estimates::{estimate, rate};
use super::files::Id;
use super::games::Game;
use super::judgment::{Judged, Judgment, Judgments, Unscored};
use super::ratings::{RatingFigures, ratings};
use crate::error::Result;
use crate::stats::{self, Bootstrap, Outcomes, PositionBias};

/// The figures of judgments.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// How many judgments there are.
    pub judgments: usize,
    /// Those for which the judge was asked twice.
    pub asked_again: usize,
    /// Those without a verdict.
    pub unscored: usize,
    /// The same, by reason.
    pub unscored_by_reason: BTreeMap<String, usize>,
    /// Rows that occur twice, of which the first counts.
    pub duplicates: usize,
    /// The scores of each judge for each model.
    pub scores: Vec<ScoreFigures>,
    /// Whether one of every two models that a judge scored is better.
    pub score_differences: Vec<Difference>,
    /// The comparisons of each judge for each pair of models.
    pub pairs: Vec<PairFigures>,
    /// Whether one of them is better.
    pub pair_differences: Vec<Difference>,
    /// The models' ratings from each judge's comparisons.
    pub ratings: Vec<RatingFigures>,
    /// What each judge's verdicts on pairs owe to the places of the answers; without those who
    /// judged fewer than two pairs in both orders.
    pub positions: BTreeMap<String, PositionBias>,
}

/// A judge's scores for a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreFigures {
    /// The judge.
    pub judge: String,
    /// The model.
    pub model: String,
    /// `single` or `rubric`.
    pub mode: String,
    /// The grammar, whose scale the scores are on.
    pub grammar: String,
    /// All of them.
    pub overall: Scores,
    /// By category.
    pub categories: BTreeMap<String, Scores>,
    /// By turn, from 1.
    pub turns: BTreeMap<usize, Scores>,
}

/// Scores.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scores {
    /// How many there are.
    pub scored: usize,
    /// How many judgments have none.
    pub unscored: usize,
    /// Their sum.
    pub sum: f64,
    /// Their mean; `None` without any.
    pub mean: Option<f64>,
    /// The mean with its error, the turns of a question taken together; `None` with fewer than two
    /// questions.
    pub estimate: Option<stats::Estimate>,
    /// The expected scores, where judgments have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
}

/// Expected verdicts, by a judge's log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// How many there are.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The mean with its error, the turns of a question taken together; `None` with fewer than two
    /// questions.
    pub estimate: Option<stats::Estimate>,
}

impl Expected {
    /// `None` without values, each of which comes with its question.
    fn of<'a>(values: impl Iterator<Item = (f64, &'a Id)>, options: &Bootstrap) -> Option<Self> {
        let (values, questions): (Vec<f64>, Vec<&Id>) = values.unzip();
        Some(Self {
            n: values.len(),
            mean: stats::mean(&values).ok()?,
            estimate: estimate(&values, &questions, options),
        })
    }
}

/// A judge's comparisons of two models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairFigures {
    /// The judge.
    pub judge: String,
    /// The model whose wins are counted.
    pub model_1: String,
    /// The other one.
    pub model_2: String,
    /// All of them.
    pub overall: Comparisons,
    /// By category.
    pub categories: BTreeMap<String, Comparisons>,
    /// By turn, from 1.
    pub turns: BTreeMap<usize, Comparisons>,
}

/// Comparisons, from the first model's side.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Comparisons {
    /// Wins, losses and ties.
    pub outcomes: Outcomes,
    /// Those of the ties in which the two orders disagree.
    pub inconsistent: usize,
    /// Comparisons without a verdict in one order or both.
    pub unscored: usize,
    /// (wins + ties / 2) / all; `None` without outcomes.
    pub adjusted_win_rate: Option<f64>,
    /// The same with its error, the turns of a question taken together; `None` with fewer than two
    /// questions.
    pub estimate: Option<stats::Estimate>,
    /// The expected preferences for the first model, the mean of both orders, where judgments have
    /// them: beside the adjusted win rate, what the judge's doubts add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
}

impl Judgments {
    /// The figures. No judge is asked: saved judgments give the same, and the same seed draws the
    /// same on every machine. The bootstrap compares models; all intervals are at its level.
    ///
    /// # Errors
    /// [`Error::BadOption`](crate::Error::BadOption) for a level outside (0, 1),
    /// [`Error::TooFew`](crate::Error::TooFew) for fewer than two resamples.
    pub fn figures(&self, options: &Bootstrap) -> Result<Figures> {
        options.check()?;
        let level = options.level;
        let games = self.games();
        let reasons = self.rows.iter().filter_map(|row| row.unscored.as_ref());
        let mut unscored_by_reason = BTreeMap::new();
        for reason in reasons.map(Unscored::to_string) {
            *unscored_by_reason.entry(reason).or_default() += 1;
        }
        Ok(Figures {
            judgments: self.rows.len(),
            asked_again: self.rows.iter().filter(|row| row.attempt > 0).count(),
            unscored: unscored_by_reason.values().sum(),
            unscored_by_reason,
            duplicates: self.duplicates(),
            scores: self.score_figures(options),
            score_differences: difference::of_scores(self, options)?,
            pairs: pair_figures(&games, options),
            pair_differences: difference::of_games(&games, options)?,
            ratings: ratings(&games, options),
            positions: positions(&games, level),
        })
    }

    /// The judgments of single answers by judge, scale and model; of rows that occur twice the first.
    pub(super) fn scored(&self) -> Vec<((Scale<'_>, &String), Vec<&Judgment>)> {
        let mut seen = HashSet::new();
        let scored = self.rows.iter().filter_map(|row| match &row.judged {
            Judged::One { model } => {
                let once = seen.insert(row.identity());
                once.then_some(((row.scale(), model), row))
            }
            Judged::Two { .. } => None,
        });
        grouped(scored)
    }

    fn score_figures(&self, options: &Bootstrap) -> Vec<ScoreFigures> {
        let groups = self.scored().into_iter();
        groups
            .map(|((scale, model), rows)| {
                let figure = |rows: &[_]| scores(rows, options);
                ScoreFigures {
                    judge: scale.judge.to_owned(),
                    model: model.clone(),
                    mode: scale.mode.to_owned(),
                    grammar: scale.grammar.to_owned(),
                    overall: figure(&rows),
                    categories: each(&rows, |row| row.category.clone(), figure),
                    turns: each(&rows, |row| row.turn, figure),
                }
            })
            .collect()
    }
}

/// What scores of one scale have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Scale<'a> {
    pub(super) judge: &'a str,
    pub(super) mode: &'a str,
    pub(super) grammar: &'a str,
}

impl Judgment {
    pub(super) fn scale(&self) -> Scale<'_> {
        Scale {
            judge: &self.judge,
            mode: &self.mode,
            grammar: &self.grammar,
        }
    }
}

fn scores(rows: &[&Judgment], options: &Bootstrap) -> Scores {
    let scored = rows
        .iter()
        .filter_map(|row| Some((row.score?, &row.question_id)));
    let (values, questions): (Vec<f64>, Vec<_>) = scored.unzip();
    let expected = rows
        .iter()
        .filter_map(|row| Some((row.expected?.value, &row.question_id)));
    Scores {
        expected: Expected::of(expected, options),
        scored: values.len(),
        unscored: rows.len() - values.len(),
        sum: values.iter().sum(),
        mean: stats::mean(&values).ok(),
        estimate: estimate(&values, &questions, options),
    }
}

/// The figures of games by judge and pair of models, in the order in which these come first.
pub(super) fn pair_figures(games: &[Game], options: &Bootstrap) -> Vec<PairFigures> {
    let keyed = games
        .iter()
        .map(|game| ((&game.judge, &game.model_1, &game.model_2), game));
    let groups = grouped(keyed);
    groups
        .into_iter()
        .map(|((judge, model_1, model_2), games)| {
            let figure = |games: &[_]| comparisons(games, options);
            PairFigures {
                judge: judge.clone(),
                model_1: model_1.clone(),
                model_2: model_2.clone(),
                overall: figure(&games),
                categories: each(&games, |game| game.category.clone(), figure),
                turns: each(&games, |game| game.turn, figure),
            }
        })
        .collect()
}

/// The first model's scores of games with an outcome, and their questions.
fn decided<'a>(games: &[&'a Game]) -> (Vec<f64>, Vec<&'a Id>) {
    let decided = games.iter();
    decided
        .filter_map(|game| Some((game.outcome?.score(), &game.question_id)))
        .unzip()
}

pub(super) fn comparisons(games: &[&Game], options: &Bootstrap) -> Comparisons {
    let (values, questions) = decided(games);
    let outcomes: Outcomes = games.iter().filter_map(|game| game.outcome).collect();
    let expected = games
        .iter()
        .filter_map(|game| Some((game.expected?, &game.question_id)));
    Comparisons {
        expected: Expected::of(expected, options),
        inconsistent: games.iter().filter(|game| game.is_inconsistent()).count(),
        unscored: games.len() - values.len(),
        adjusted_win_rate: outcomes.adjusted_win_rate().ok(),
        estimate: rate(&values, &questions, options),
        outcomes,
    }
}

fn positions(games: &[Game], level: f64) -> BTreeMap<String, PositionBias> {
    let groups = grouped(games.iter().map(|game| (&game.judge, game)));
    let bias = |(judge, games): (&String, Vec<&Game>)| {
        let places: Vec<_> = games.iter().filter_map(|game| game.places()).collect();
        Some((judge.clone(), PositionBias::of(&places, level).ok()?))
    };
    groups.into_iter().filter_map(bias).collect()
}

/// The items by key, keys in the order in which they come first.
pub(super) fn grouped<K: PartialEq, T>(items: impl Iterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, item) in items {
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// A figure for each key.
pub(super) fn each<'a, T, K: Ord, F>(
    items: &[&'a T],
    key: impl Fn(&T) -> K,
    figure: impl Fn(&[&'a T]) -> F,
) -> BTreeMap<K, F> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for item in items {
        groups.entry(key(item)).or_default().push(item);
    }
    let figures = groups.into_iter().map(|(key, group)| (key, figure(&group)));
    figures.collect()
}
