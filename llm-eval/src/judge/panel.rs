//! Several judges of the same answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::family::{SelfPreference, self_preference};
use super::files::Id;
use super::games::Game;
use super::judgment::{Judged, Judgments};
use crate::error::{Error, Result};
use crate::stats::{
    Majority, Measurement, Outcome, PanelAgreement, Ties, krippendorff_alpha, majority,
    panel_agreement,
};

/// What a panel of judges says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// The judges, in the order in which they come first.
    pub judges: Vec<String>,
    /// The comparisons of pairs.
    pub comparisons: Vec<PanelComparison>,
    /// How far the judges agree on them, a tie being an answer of its own; `None` without
    /// comparisons.
    pub agreement: Option<PanelAgreement>,
    /// The same without the ties.
    pub agreement_without_ties: Option<PanelAgreement>,
    /// The scores of single answers.
    pub scores: Vec<PanelScore>,
    /// Krippendorff's α of the scores, as numbers; `None` without any, or where all are the same.
    pub score_alpha: Option<f64>,
    /// Judges that judge their own family.
    pub self_preference: Vec<SelfPreference>,
}

/// A comparison by several judges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanelComparison {
    /// The question.
    pub question_id: Id,
    /// Its category.
    pub category: String,
    /// The turn, from 1.
    pub turn: usize,
    /// One of the models, the first by name.
    pub model_1: String,
    /// The other one.
    pub model_2: String,
    /// Each judge's outcome for `model_1`, in the judges' order; `None` without a verdict.
    pub votes: Vec<Option<Outcome>>,
    /// What most judges say; a tie where as many say the one as the other.
    pub outcome: Option<Outcome>,
}

/// An answer's scores by several judges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanelScore {
    /// The question.
    pub question_id: Id,
    /// Its category.
    pub category: String,
    /// The turn, from 1.
    pub turn: usize,
    /// The model.
    pub model: String,
    /// Each judge's score, in the judges' order.
    pub scores: Vec<Option<f64>>,
    /// The mean of those there are.
    pub mean: Option<f64>,
}

impl Panel {
    /// The panel of all judges in the judgments, with intervals at `level`. Judgments of one judge
    /// that occur twice count once.
    ///
    /// # Errors
    /// [`Error::TooFew`] for fewer than two judges, [`Error::BadOption`] for a level outside (0, 1).
    pub fn of(judgments: &Judgments, level: f64) -> Result<Self> {
        let mut judges: Vec<String> = Vec::new();
        for row in &judgments.rows {
            if !judges.contains(&row.judge) {
                judges.push(row.judge.clone());
            }
        }
        if judges.len() < 2 {
            return Err(Error::TooFew {
                what: "judges",
                needed: 2,
                given: judges.len(),
            });
        }
        let comparisons = comparisons(&judges, &judgments.games());
        let scores = scores(&judges, judgments);
        let votes = by_judge(&judges, &comparisons, |one| &one.votes);
        let agreement = |ties| match comparisons.is_empty() {
            true => Ok(None),
            false => panel_agreement(&votes, ties, level).map(Some),
        };
        let numbers = by_judge(&judges, &scores, |one| &one.scores);
        Ok(Self {
            agreement: agreement(Ties::Included)?,
            agreement_without_ties: agreement(Ties::Excluded)?,
            score_alpha: krippendorff_alpha(&numbers, Measurement::Interval).ok(),
            self_preference: warnings(judgments, &judges),
            judges,
            comparisons,
            scores,
        })
    }
}

/// Each judge's votes on all items.
fn by_judge<T, V: Copy>(
    judges: &[String],
    items: &[T],
    votes: impl Fn(&T) -> &Vec<Option<V>>,
) -> Vec<Vec<Option<V>>> {
    let of = |judge: usize| items.iter().map(|item| votes(item)[judge]).collect();
    (0..judges.len()).map(of).collect()
}

/// Only what a judge was shown counts against it.
fn warnings(judgments: &Judgments, judges: &[String]) -> Vec<SelfPreference> {
    let mut models: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &judgments.rows {
        let shown = models.entry(&row.judge).or_default();
        match &row.judged {
            Judged::One { model } => shown.extend([&**model]),
            Judged::Two {
                model_a, model_b, ..
            } => shown.extend([&**model_a, &**model_b]),
        }
    }
    let of = |judge: &String| {
        let models = models.get(&**judge).cloned().unwrap_or_default();
        self_preference([&**judge], models)
    };
    judges.iter().flat_map(of).collect()
}

fn comparisons(judges: &[String], games: &[Game]) -> Vec<PanelComparison> {
    let mut found: Vec<PanelComparison> = Vec::new();
    let mut places = BTreeMap::new();
    for game in games {
        let flipped = game.model_1 > game.model_2;
        let (model_1, model_2) = match flipped {
            true => (&game.model_2, &game.model_1),
            false => (&game.model_1, &game.model_2),
        };
        let key = (&game.question_id, game.turn, model_1, model_2);
        let place = *places.entry(key).or_insert_with(|| {
            found.push(PanelComparison {
                question_id: game.question_id.clone(),
                category: game.category.clone(),
                turn: game.turn,
                model_1: model_1.clone(),
                model_2: model_2.clone(),
                votes: vec![None; judges.len()],
                outcome: None,
            });
            found.len() - 1
        });
        let outcome = match flipped {
            true => game.outcome.map(Outcome::swapped),
            false => game.outcome,
        };
        if let Some(judge) = judges.iter().position(|judge| *judge == game.judge) {
            let vote = &mut found[place].votes[judge];
            *vote = vote.or(outcome);
        }
    }
    for one in &mut found {
        one.outcome = match majority(&one.votes) {
            Majority::Label(outcome) => Some(outcome),
            Majority::Tie(_) => Some(Outcome::Tie),
            Majority::None => None,
        };
    }
    found
}

fn scores(judges: &[String], judgments: &Judgments) -> Vec<PanelScore> {
    let mut found: Vec<PanelScore> = Vec::new();
    let mut places = BTreeMap::new();
    for row in &judgments.rows {
        let Judged::One { model } = &row.judged else {
            continue;
        };
        let key = (&row.question_id, row.turn, model);
        let place = *places.entry(key).or_insert_with(|| {
            found.push(PanelScore {
                question_id: row.question_id.clone(),
                category: row.category.clone(),
                turn: row.turn,
                model: model.clone(),
                scores: vec![None; judges.len()],
                mean: None,
            });
            found.len() - 1
        });
        if let Some(judge) = judges.iter().position(|judge| *judge == row.judge) {
            let score = &mut found[place].scores[judge];
            *score = score.or(row.score);
        }
    }
    for one in &mut found {
        let given: Vec<f64> = one.scores.iter().flatten().copied().collect();
        one.mean = crate::stats::mean(&given).ok();
    }
    found
}
