//! Both orders of a pair as one comparison.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::files::Id;
use super::judgment::{Judged, Judgment, Judgments, Order};
use crate::stats::Outcome;

/// A comparison of two models' answers by one judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Game {
    /// The judge.
    pub judge: String,
    /// The question.
    pub question_id: Id,
    /// Its category.
    pub category: String,
    /// The turn, from 1.
    pub turn: usize,
    /// The model that stood first in the order given.
    pub model_1: String,
    /// The other one.
    pub model_2: String,
    /// The place that won in the order given; `None` where there is no verdict.
    pub given: Option<Outcome>,
    /// The place that won with the answers exchanged.
    pub swapped: Option<Outcome>,
    /// Whether the judge was asked in both orders.
    pub both_orders: bool,
    /// The result for `model_1`: the verdict that both orders share. Where they disagree it is a
    /// tie; where one is missing there is none.
    pub outcome: Option<Outcome>,
    /// What `model_1` gets on average by the judge's log-probabilities (a win 1, a tie ½), the mean of
    /// both orders; `None` where they are missing in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
}

impl Game {
    /// The places that won in the two orders, where there are both verdicts.
    pub fn places(&self) -> Option<(Outcome, Outcome)> {
        Some((self.given?, self.swapped?))
    }

    /// Whether the verdicts of the two orders disagree.
    pub fn is_inconsistent(&self) -> bool {
        self.places()
            .is_some_and(|(given, swapped)| given != swapped.swapped())
    }

    /// The same from the other model's side.
    #[must_use]
    pub fn turned(&self) -> Self {
        Self {
            model_1: self.model_2.clone(),
            model_2: self.model_1.clone(),
            given: self.swapped,
            swapped: self.given,
            outcome: self.outcome.map(Outcome::swapped),
            expected: self.expected.map(|expected| 1.0 - expected),
            ..self.clone()
        }
    }
}

/// What the two orders say together about the answer that stood first in the order given.
pub(super) fn combined(given: Outcome, swapped: Outcome) -> Outcome {
    match given == swapped.swapped() {
        true => given,
        false => Outcome::Tie,
    }
}

/// A pair's judgments of one judge on one turn.
#[derive(Default)]
pub(super) struct Orders<'a> {
    pub(super) given: Option<&'a Judgment>,
    pub(super) swapped: Option<&'a Judgment>,
}

type Key<'a> = (&'a str, &'a Id, usize, &'a str, &'a str);

impl Judgments {
    /// The comparisons of pairs, in the order of their first rows. Of rows that occur twice the first
    /// counts.
    pub fn games(&self) -> Vec<Game> {
        self.orders().iter().filter_map(Orders::game).collect()
    }

    /// How many rows repeat another one's question, turn, judge and answers in their places, and of
    /// one answer the scale.
    pub fn duplicates(&self) -> usize {
        let mut seen = HashSet::new();
        let rows = self.rows.iter();
        rows.filter(|row| !seen.insert(row.identity())).count()
    }

    /// A pair is turned as it is seen first, whoever judged it then: of two runs that met the models
    /// the other way round the verdicts go together.
    pub(super) fn orders(&self) -> Vec<Orders<'_>> {
        let mut games: Vec<Orders<'_>> = Vec::new();
        let mut places: HashMap<Key<'_>, usize> = HashMap::new();
        let mut pairs: HashSet<(&str, &str)> = HashSet::new();
        for row in &self.rows {
            let Judged::Two {
                model_a,
                model_b,
                order,
            } = &row.judged
            else {
                continue;
            };
            let (shown, turned) = ((&**model_a, &**model_b), (&**model_b, &**model_a));
            if !pairs.contains(&shown) && !pairs.contains(&turned) {
                let given = if *order == Order::Given {
                    shown
                } else {
                    turned
                };
                pairs.insert(given);
            }
            let given = pairs.contains(&shown);
            let (first, second) = if given { shown } else { turned };
            let key = (&*row.judge, &row.question_id, row.turn, first, second);
            let place = *places.entry(key).or_insert_with(|| {
                games.push(Orders::default());
                games.len() - 1
            });
            let slot = match given {
                true => &mut games[place].given,
                false => &mut games[place].swapped,
            };
            slot.get_or_insert(row);
        }
        games
    }
}

impl Orders<'_> {
    pub(super) fn game(&self) -> Option<Game> {
        let row = self.given.or(self.swapped)?;
        let Judged::Two {
            model_a, model_b, ..
        } = &row.judged
        else {
            return None;
        };
        let (model_1, model_2) = match self.given {
            Some(_) => (model_a, model_b),
            None => (model_b, model_a),
        };
        let given = self.given.and_then(Judgment::outcome);
        let swapped = self.swapped.and_then(Judgment::outcome);
        let outcome = match (self.given, self.swapped) {
            (Some(_), Some(_)) => given.zip(swapped).map(|(one, two)| combined(one, two)),
            (Some(_), None) => given,
            (None, _) => swapped.map(Outcome::swapped),
        };
        let value = |row: &Judgment| row.expected.map(|expected| expected.value);
        let expected = match (self.given, self.swapped) {
            (Some(one), Some(two)) => value(one).zip(value(two)).map(|(a, b)| (a + 1.0 - b) / 2.0),
            (Some(one), None) => value(one),
            (None, two) => two.and_then(value).map(|b| 1.0 - b),
        };
        Some(Game {
            judge: row.judge.clone(),
            question_id: row.question_id.clone(),
            category: row.category.clone(),
            turn: row.turn,
            model_1: model_1.clone(),
            model_2: model_2.clone(),
            given,
            swapped,
            both_orders: self.given.is_some() && self.swapped.is_some(),
            outcome,
            expected,
        })
    }
}
