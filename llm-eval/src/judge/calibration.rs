//! Judges against people's labels, and win rates and scores corrected by them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::figures::grouped;
use super::files::Id;
use super::games::Game;
use super::human::{HumanLabel, Opinion};
use super::judgment::{Judged, Judgments};
use crate::error::{Error, Result};
use crate::stats::{
    self, Agreement, Bootstrap, Estimate, Majority, Measurement, Outcome, PowerTuning,
    PredictionPowered, Ties, agreement, krippendorff_alpha, prediction_powered,
};

/// How far judges agree with people, and what people would say of everything that was judged. The
/// labelled questions are to be drawn at random.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// People's labels.
    pub labels: usize,
    /// Those of them of which no judge has a verdict.
    pub unmatched: usize,
    /// The comparisons of each judge, and of the majority where there are several.
    pub pairs: Vec<PairCalibration>,
    /// The scores of each judge.
    pub scores: Vec<ScoreCalibration>,
}

/// A judge's comparisons of two models against people's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairCalibration {
    /// The judge; `majority` is that of the panel.
    pub judge: String,
    /// The model whose wins are counted.
    pub model_1: String,
    /// The other one.
    pub model_2: String,
    /// How often judge and people (the majority of them) agree; `None` without common comparisons.
    pub agreement: Option<Agreement>,
    /// The same where neither says tie.
    pub agreement_without_ties: Option<Agreement>,
    /// The adjusted win rate.
    pub win_rate: Corrected,
}

/// A judge's scores of a model against people's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreCalibration {
    /// The judge.
    pub judge: String,
    /// The model.
    pub model: String,
    /// The grammar, whose scale the scores are on.
    pub grammar: String,
    /// Krippendorff's α of judge and people (their mean), the scores as numbers.
    pub alpha: Option<f64>,
    /// The mean score.
    pub mean: Corrected,
}

/// A mean over questions as people would give it. It is of the turns of which people labelled most
/// questions: with labels of first turns it says nothing of second ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Corrected {
    /// The turns.
    pub turns: Vec<usize>,
    /// Questions with labels of people and of the judge on each of them.
    pub labelled: usize,
    /// The other questions, which count as judged alone.
    pub judged_alone: usize,
    /// The judge's mean over all questions, uncorrected; `None` without verdicts.
    pub judge: Option<f64>,
    /// People's mean over the labelled ones, with a normal interval.
    pub people: Option<Estimate>,
    /// From both, by prediction-powered inference; `None` with fewer than two questions of either
    /// kind.
    pub corrected: Option<PredictionPowered>,
}

impl Judgments {
    /// Compares the judges with people's labels, and corrects their figures by them.
    ///
    /// # Errors
    /// [`Error::TooFew`] where no label is of anything judged; [`Error::BadOption`] for a level
    /// outside (0, 1).
    pub fn calibrate(&self, labels: &[HumanLabel], options: &Bootstrap) -> Result<Calibration> {
        options.check()?;
        let people = People::of(labels);
        let mut games = self.games();
        games.extend(self.majority(&games));
        let unmatched = people.unmatched(&games, self);
        if unmatched == labels.len() {
            return Err(Error::TooFew {
                what: "people's labels of what was judged",
                needed: 1,
                given: 0,
            });
        }
        Ok(Calibration {
            labels: labels.len(),
            unmatched,
            pairs: pairs(&games, &people, options.level),
            scores: scores(self, &people, options.level),
        })
    }
}

/// People's labels by what they are of.
struct People<'a> {
    /// By question, turn and models, the first by name first: outcomes for it.
    pairs: BTreeMap<(&'a Id, usize, &'a str, &'a str), Vec<Outcome>>,
    scores: BTreeMap<(&'a Id, usize, &'a str), Vec<f64>>,
}

impl<'a> People<'a> {
    fn of(labels: &'a [HumanLabel]) -> Self {
        let mut people = Self {
            pairs: BTreeMap::new(),
            scores: BTreeMap::new(),
        };
        for label in labels {
            let (question, turn) = (&label.question_id, label.turn);
            match &label.opinion {
                Opinion::Pair {
                    model_a,
                    model_b,
                    outcome,
                } => {
                    let (models, outcome) = match model_a > model_b {
                        true => ((&**model_b, &**model_a), outcome.swapped()),
                        false => ((&**model_a, &**model_b), *outcome),
                    };
                    let key = (question, turn, models.0, models.1);
                    people.pairs.entry(key).or_default().push(outcome);
                }
                Opinion::Score { model, score } => {
                    let key = (question, turn, &**model);
                    people.scores.entry(key).or_default().push(*score);
                }
            }
        }
        people
    }

    /// What people say of a game, for its first model.
    fn outcomes(&self, game: &Game) -> Option<Vec<Outcome>> {
        let (one, two) = (&*game.model_1, &*game.model_2);
        let flipped = one > two;
        let (first, second) = if flipped { (two, one) } else { (one, two) };
        let key = (&game.question_id, game.turn, first, second);
        let outcomes = self.pairs.get(&key)?.iter();
        let turned = outcomes.map(|one| if flipped { one.swapped() } else { *one });
        Some(turned.collect())
    }

    /// How many labels are of nothing that has a verdict.
    fn unmatched(&self, games: &[Game], judgments: &Judgments) -> usize {
        let mut left = (self.pairs.clone(), self.scores.clone());
        for game in games.iter().filter(|game| game.outcome.is_some()) {
            for (one, two) in [
                (&game.model_1, &game.model_2),
                (&game.model_2, &game.model_1),
            ] {
                left.0
                    .remove(&(&game.question_id, game.turn, &**one, &**two));
            }
        }
        for row in &judgments.rows {
            if let (Judged::One { model }, Some(_)) = (&row.judged, row.score) {
                left.1.remove(&(&row.question_id, row.turn, &**model));
            }
        }
        let pairs: usize = left.0.values().map(Vec::len).sum();
        pairs + left.1.values().map(Vec::len).sum::<usize>()
    }
}

fn pairs(games: &[Game], people: &People<'_>, level: f64) -> Vec<PairCalibration> {
    let keyed = games
        .iter()
        .map(|game| ((&game.judge, &game.model_1, &game.model_2), game));
    let groups = grouped(keyed).into_iter();
    groups
        .map(|((judge, model_1, model_2), games)| {
            let (mut values, mut votes) = (Questions::default(), Vec::new());
            for game in games {
                let Some(outcome) = game.outcome else {
                    continue;
                };
                let said = people.outcomes(game);
                let mean = said.as_ref().map(|said| {
                    let scores: Vec<f64> = said.iter().map(|one| one.score()).collect();
                    stats::average(&scores)
                });
                values.add((&game.question_id, game.turn), outcome.score(), mean);
                votes.push((outcome, said.map(|said| most(&said))));
            }
            let judges: Vec<_> = votes.iter().map(|(judge, _)| Some(*judge)).collect();
            let persons: Vec<_> = votes.iter().map(|(_, person)| *person).collect();
            let agreement = |ties| agreement(&judges, &persons, ties, level).ok();
            PairCalibration {
                judge: judge.clone(),
                model_1: model_1.clone(),
                model_2: model_2.clone(),
                agreement: agreement(Ties::Included),
                agreement_without_ties: agreement(Ties::Excluded),
                win_rate: values.corrected(level),
            }
        })
        .collect()
}

/// What most people say; a tie where as many say the one as the other.
fn most(said: &[Outcome]) -> Outcome {
    let votes: Vec<_> = said.iter().copied().map(Some).collect();
    match stats::majority(&votes) {
        Majority::Label(outcome) => outcome,
        Majority::Tie(_) | Majority::None => Outcome::Tie,
    }
}

fn scores(judgments: &Judgments, people: &People<'_>, level: f64) -> Vec<ScoreCalibration> {
    let groups = judgments.scored().into_iter();
    groups
        .map(|((scale, model), rows)| {
            let (mut values, mut ratings) = (Questions::default(), [Vec::new(), Vec::new()]);
            for row in rows {
                let Some(score) = row.score else { continue };
                let key = (&row.question_id, row.turn, &**model);
                let said = people.scores.get(&key).map(|said| stats::average(said));
                values.add((&row.question_id, row.turn), score, said);
                ratings[0].push(Some(score));
                ratings[1].push(said);
            }
            ScoreCalibration {
                judge: scale.judge.to_owned(),
                grammar: scale.grammar.to_owned(),
                model: model.clone(),
                alpha: krippendorff_alpha(&ratings, Measurement::Interval).ok(),
                mean: values.corrected(level),
            }
        })
        .collect()
}

/// Values of judge and people by question and turn.
#[derive(Default)]
struct Questions<'a> {
    questions: BTreeMap<&'a Id, BTreeMap<usize, (f64, Option<f64>)>>,
}

impl<'a> Questions<'a> {
    fn add(&mut self, (question, turn): (&'a Id, usize), judge: f64, people: Option<f64>) {
        let turns = self.questions.entry(question).or_default();
        turns.insert(turn, (judge, people));
    }

    /// The turns of which people labelled most questions; all turns where they labelled none.
    fn turns(&self) -> Vec<usize> {
        let mut sets: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for turns in self.questions.values() {
            let labelled = turns.iter().filter(|(_, (_, people))| people.is_some());
            let labelled: Vec<usize> = labelled.map(|(turn, _)| *turn).collect();
            if !labelled.is_empty() {
                *sets.entry(labelled).or_default() += 1;
            }
        }
        let most = sets.into_iter().max_by_key(|(_, count)| *count);
        most.map_or_else(
            || {
                let turns = self.questions.values().flat_map(BTreeMap::keys).copied();
                turns.collect::<BTreeSet<_>>().into_iter().collect()
            },
            |(turns, _)| turns,
        )
    }

    /// One value a question, the mean of the turns.
    fn corrected(&self, level: f64) -> Corrected {
        let wanted = self.turns();
        let (mut people, mut judge, mut alone) = (vec![], vec![], vec![]);
        for turns in self.questions.values() {
            let values = wanted.iter().filter_map(|turn| turns.get(turn));
            let values: Vec<(f64, Option<f64>)> = values.copied().collect();
            let by_judge: Vec<f64> = values.iter().map(|value| value.0).collect();
            let by_people: Vec<f64> = values.iter().filter_map(|value| value.1).collect();
            if by_judge.is_empty() {
                continue;
            }
            if by_people.len() == wanted.len() {
                judge.push(stats::average(&by_judge));
                people.push(stats::average(&by_people));
            } else {
                alone.push(stats::average(&by_judge));
            }
        }
        let places: Vec<usize> = (0..people.len()).collect();
        let all: Vec<f64> = judge.iter().chain(&alone).copied().collect();
        let tuning = PowerTuning::Estimated;
        Corrected {
            turns: wanted,
            labelled: people.len(),
            judged_alone: alone.len(),
            judge: stats::mean(&all).ok(),
            people: stats::clustered_mean(&people, &places, level).ok(),
            corrected: prediction_powered(&people, &judge, &alone, tuning, level).ok(),
        }
    }
}
