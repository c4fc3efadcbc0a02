//! Whether one model is better than another.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::judge::files::Id;
use crate::judge::{Game, Judged, Judgments};
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

/// Of scores, every two models of a judge.
pub(super) fn of_scores(judgments: &Judgments, level: f64) -> Result<Vec<Difference>> {
    type Scored<'a> = BTreeMap<(&'a str, &'a Id, usize), Option<f64>>;
    let mut models: Vec<((&str, &str), Scored<'_>)> = Vec::new();
    for row in &judgments.rows {
        let Judged::One { model } = &row.judged else {
            continue;
        };
        let place = place_of(&mut models, (&row.judge, model));
        let key = (&*row.mode, &row.question_id, row.turn);
        // Of rows that occur twice the first counts, be it without a score.
        models[place].1.entry(key).or_insert(row.score);
    }
    let mut found = Vec::new();
    for (place, ((judge, first), ours)) in models.iter().enumerate() {
        for ((other, second), theirs) in &models[place + 1..] {
            if judge != other {
                continue;
            }
            let mut items = Items::default();
            for (key, score) in ours {
                if let (Some(score), Some(Some(other))) = (score, theirs.get(key)) {
                    items.0.push(*score);
                    items.1.push(*other);
                    items.2.push(key.1);
                }
            }
            found.extend(difference([judge, first, second], &items, level)?);
        }
    }
    Ok(found)
}

/// Of comparisons, every pair of a judge.
pub(super) fn of_games(games: &[Game], level: f64) -> Result<Vec<Difference>> {
    let mut pairs: Vec<([&str; 3], Items<'_>)> = Vec::new();
    for game in games {
        let Some(outcome) = game.outcome else {
            continue;
        };
        let place = place_of(&mut pairs, [&*game.judge, &game.model_1, &game.model_2]);
        let items = &mut pairs[place].1;
        items.0.push(outcome.score());
        items.1.push(outcome.swapped().score());
        items.2.push(&game.question_id);
    }
    let found = pairs
        .iter()
        .map(|(names, items)| difference(*names, items, level));
    Ok(found
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn place_of<K: PartialEq, V: Default>(groups: &mut Vec<(K, V)>, key: K) -> usize {
    let known = groups.iter().position(|(known, _)| *known == key);
    known.unwrap_or_else(|| {
        groups.push((key, V::default()));
        groups.len() - 1
    })
}

/// `None` with fewer than two questions.
fn difference(
    [judge, model_1, model_2]: [&str; 3],
    (first, second, clusters): &Items<'_>,
    level: f64,
) -> Result<Option<Difference>> {
    let questions = clusters
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    if questions < 2 {
        return Ok(None);
    }
    let options = Bootstrap {
        level,
        ..Bootstrap::default()
    };
    let compared = compare(first, second, clusters, &options)?;
    let estimate = compared.difference;
    let flips = SignFlipOptions {
        level,
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
