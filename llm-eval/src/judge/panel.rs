//! Several judges of the same answers.

mod truth;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::family::{SelfPreference, self_preference};
use super::figures::{PairFigures, pair_figures};
use super::files::Id;
use super::games::Game;
use super::judgment::{Judged, Judgments};
use crate::error::{Error, Result};
use crate::stats::{
    self, Bootstrap, Majority, Measurement, Outcome, PanelAgreement, Ties, krippendorff_alpha,
    panel_agreement,
};
pub use truth::{JudgeErrors, PanelTruth};

/// What a panel of judges says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// The judges, in the order in which they come first.
    pub judges: Vec<String>,
    /// The comparisons of pairs.
    pub comparisons: Vec<PanelComparison>,
    /// The figures of what most judges say; `judge` is `majority`.
    pub majority: Vec<PairFigures>,
    /// What is true by the errors that each judge seems to make; `None` with fewer than three judges
    /// of pairs, whose errors cannot be told apart.
    pub dawid_skene: Option<PanelTruth>,
    /// How far the judges agree on them, a tie being an answer of its own; `None` without
    /// comparisons.
    pub agreement: Option<PanelAgreement>,
    /// The same without the ties.
    pub agreement_without_ties: Option<PanelAgreement>,
    /// The scores of single answers.
    pub scores: Vec<PanelScore>,
    /// Krippendorff's α of the scores, as numbers; `None` without any, where all are the same, or where
    /// they are on several scales.
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
    /// How likely each outcome is by [`Panel::dawid_skene`], where there is one: the first model
    /// wins, the second wins, a tie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<[f64; 3]>,
}

impl PanelComparison {
    /// The comparison as a game of which only the outcome is known.
    pub(super) fn game(&self, judge: &str, outcome: Option<Outcome>) -> Game {
        Game {
            judge: judge.to_owned(),
            question_id: self.question_id.clone(),
            category: self.category.clone(),
            turn: self.turn,
            model_1: self.model_1.clone(),
            model_2: self.model_2.clone(),
            given: None,
            swapped: None,
            both_orders: false,
            outcome,
            expected: None,
        }
    }
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
    /// The grammar, whose scale the scores are on.
    pub grammar: String,
    /// Each judge's score, in the judges' order.
    pub scores: Vec<Option<f64>>,
    /// The mean of those there are.
    pub mean: Option<f64>,
}

impl Panel {
    /// The panel of all judges in the judgments, with intervals at the bootstrap's level. Judgments
    /// of one judge that occur twice count once.
    ///
    /// # Errors
    /// [`Error::TooFew`] for fewer than two judges, [`Error::BadOption`] for a level outside (0, 1).
    pub fn of(judgments: &Judgments, options: &Bootstrap) -> Result<Self> {
        options.check()?;
        let judges = judgments.judges();
        if judges.len() < 2 {
            return Err(Error::TooFew {
                what: "judges",
                needed: 2,
                given: judges.len(),
            });
        }
        let mut comparisons = comparisons(&judges, &judgments.games());
        let scores = scores(&judges, judgments);
        let votes = by_judge(&judges, &comparisons, |one| &one.votes);
        let agreement = |ties| match comparisons.is_empty() {
            true => Ok(None),
            false => panel_agreement(&votes, ties, options.level).map(Some),
        };
        let agreements = [Ties::Included, Ties::Excluded].map(agreement);
        let [agreement, agreement_without_ties] = agreements;
        let dawid_skene = PanelTruth::of(&judges, &mut comparisons, options)?;
        let numbers = by_judge(&judges, &scores, |one| &one.scores);
        Ok(Self {
            agreement: agreement?,
            agreement_without_ties: agreement_without_ties?,
            majority: pair_figures(&majority_games(&comparisons), options),
            dawid_skene,
            score_alpha: match scores.iter().all(|one| one.grammar == scores[0].grammar) {
                true => krippendorff_alpha(&numbers, Measurement::Interval).ok(),
                false => None,
            },
            self_preference: judges
                .iter()
                .flat_map(|judge| judgments.self_preference(judge))
                .collect(),
            judges,
            comparisons,
            scores,
        })
    }
}

impl Judgments {
    /// The judges, in the order in which they come first.
    pub(crate) fn judges(&self) -> Vec<String> {
        let mut judges: Vec<String> = Vec::new();
        for row in &self.rows {
            if !judges.contains(&row.judge) {
                judges.push(row.judge.clone());
            }
        }
        judges
    }

    /// What most of several judges say of the games; nothing with one judge.
    pub(super) fn majority(&self, games: &[Game]) -> Vec<Game> {
        match &*self.judges() {
            [] | [_] => Vec::new(),
            judges => majority_games(&comparisons(judges, games)),
        }
    }

    /// The models that a judge was shown which are of its own family.
    pub(crate) fn self_preference(&self, judge: &str) -> Vec<SelfPreference> {
        let rows = self.rows.iter().filter(|row| row.judge == judge);
        let models: BTreeSet<&str> = rows.flat_map(|row| row.judged.models()).collect();
        self_preference([judge], models)
    }
}

/// What most judges say, as games of a judge `majority`.
fn majority_games(comparisons: &[PanelComparison]) -> Vec<Game> {
    let game = |one: &PanelComparison| one.game("majority", one.outcome);
    comparisons.iter().map(game).collect()
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
                likely: None,
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
        one.outcome = match stats::majority(&one.votes) {
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
        let key = (&row.question_id, row.turn, model, &row.mode, &row.grammar);
        let place = *places.entry(key).or_insert_with(|| {
            found.push(PanelScore {
                question_id: row.question_id.clone(),
                category: row.category.clone(),
                turn: row.turn,
                model: model.clone(),
                grammar: row.grammar.clone(),
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
        one.mean = stats::mean(&given).ok();
    }
    found
}
