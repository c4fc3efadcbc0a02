//! Whether one model is better than another.

use std::collections::BTreeMap;

use serde::Serialize;

use super::estimates::distinct;
use super::figures::grouped;
use super::files::Id;
use super::games::Game;
use super::judgment::Judgments;
use crate::error::Result;
use crate::stats::{Bootstrap, Estimate, SignFlipOptions, Significance, compare, sign_flip_test};

/// From so many questions on the bootstrap is trusted.
const FEW: usize = 10;

/// How far two models lie apart on the questions and turns that a judge judged of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The judge.
    pub judge: String,
    /// One of the models.
    pub model_1: String,
    /// The other one.
    pub model_2: String,
    /// The questions.
    pub questions: usize,
    /// Of scores: the first model's mean less the second's. Of pairs: the first model's adjusted win
    /// rate less the second's.
    pub difference: f64,
    /// The difference with its error, by the paired bootstrap of questions; `None` where all questions
    /// say the same, or with fewer than ten.
    pub estimate: Option<Estimate>,
    /// How likely a difference this far from 0 is without one: by the bootstrap, and where that has
    /// no estimate by the sign-flip test.
    pub p_value: f64,
    /// What can be told.
    pub verdict: Significance,
}

impl Difference {
    /// What can be told, in words.
    pub fn words(&self) -> String {
        match self.verdict {
            Significance::FirstHigher => format!("{} is better", self.model_1),
            Significance::SecondHigher => format!("{} is better", self.model_2),
            Significance::NotSignificantlyDifferent => self.verdict.to_string(),
        }
    }
}

/// What the differences of two models, by judge, are made from.
type Items<'a> = (Vec<f64>, Vec<f64>, Vec<&'a Id>);

/// Of scores, every two models of a judge on one scale.
pub(super) fn of_scores(judgments: &Judgments, options: &Bootstrap) -> Result<Vec<Difference>> {
    let groups = judgments.scored();
    let mut found = Vec::new();
    for (place, ((scale, first), ours)) in groups.iter().enumerate() {
        let others = groups[place + 1..].iter();
        for ((_, second), theirs) in others.filter(|((other, _), _)| other == scale) {
            let theirs: BTreeMap<_, f64> = theirs
                .iter()
                .filter_map(|row| Some(((&row.question_id, row.turn), row.score?)))
                .collect();
            let mut items = Items::default();
            for row in ours {
                let other = theirs.get(&(&row.question_id, row.turn));
                if let (Some(score), Some(other)) = (row.score, other) {
                    items.0.push(score);
                    items.1.push(*other);
                    items.2.push(&row.question_id);
                }
            }
            found.extend(difference([scale.judge, first, second], &items, options)?);
        }
    }
    Ok(found)
}

/// Of comparisons, every pair of a judge.
pub(super) fn of_games(games: &[Game], options: &Bootstrap) -> Result<Vec<Difference>> {
    let names = |game| {
        let game: &Game = game;
        (&game.judge, &game.model_1, &game.model_2)
    };
    let mut found = Vec::new();
    for ((judge, model_1, model_2), games) in grouped(games.iter().map(|game| (names(game), game)))
    {
        let mut items = Items::default();
        for game in games {
            if let Some(outcome) = game.outcome {
                items.0.push(outcome.score());
                items.1.push(outcome.swapped().score());
                items.2.push(&game.question_id);
            }
        }
        found.extend(difference([judge, model_1, model_2], &items, options)?);
    }
    Ok(found)
}

/// `None` with fewer than two questions.
fn difference(
    [judge, model_1, model_2]: [&str; 3],
    (first, second, clusters): &Items<'_>,
    options: &Bootstrap,
) -> Result<Option<Difference>> {
    let questions = distinct(clusters);
    if questions < 2 {
        return Ok(None);
    }
    let compared = compare(first, second, clusters, options)?;
    let estimate = compared.difference;
    let flips = SignFlipOptions {
        level: options.level,
        seed: options.seed,
        ..SignFlipOptions::default()
    };
    let spread = questions >= FEW && estimate.standard_error > 0.0;
    let (p_value, verdict) = match spread {
        true => (compared.p_value, compared.verdict),
        false => {
            let test = sign_flip_test(first, second, clusters, &flips)?;
            (test.p_value, test.verdict)
        }
    };
    Ok(Some(Difference {
        judge: judge.to_owned(),
        model_1: model_1.to_owned(),
        model_2: model_2.to_owned(),
        questions,
        difference: estimate.value,
        estimate: spread.then_some(estimate),
        p_value,
        verdict,
    }))
}
