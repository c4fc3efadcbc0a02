//! What ratings come from, and their unit.

use serde::{Deserialize, Serialize};

use super::super::linalg::logistic;
use super::super::outcome::Outcome;
use super::super::summary::check_count;
use crate::{Error, Result};

/// Two models' answers to the same question, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Battle {
    /// The one model.
    pub first: String,
    /// The other.
    pub second: String,
    /// Which was better.
    pub outcome: Outcome,
    /// How many battles it counts as: 1 mostly; Arena-Hard counts `A>>B` as 3.
    pub weight: f64,
    /// The question: battles with the same are not independent. `None`: independent of all others.
    pub cluster: Option<String>,
}

impl Battle {
    /// A battle of weight 1, independent of all others.
    pub fn new(first: impl Into<String>, second: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            first: first.into(),
            second: second.into(),
            outcome,
            weight: 1.0,
            cluster: None,
        }
    }

    /// The same battle, of this question.
    #[must_use]
    pub fn about(self, question: impl Into<String>) -> Self {
        Self {
            cluster: Some(question.into()),
            ..self
        }
    }

    /// The same battle, counting as so many.
    #[must_use]
    pub fn weighing(self, weight: f64) -> Self {
        Self { weight, ..self }
    }
}

pub(crate) fn check_battles(battles: &[Battle]) -> Result<()> {
    check_count("battles", battles.len(), 1)?;
    for (index, battle) in battles.iter().enumerate() {
        if battle.first == battle.second {
            return Err(Error::SelfBattle(battle.first.clone()));
        }
        if !(battle.weight > 0.0 && battle.weight.is_finite()) {
            return Err(Error::BadValue {
                what: "weights of battles",
                index,
                value: battle.weight,
                reason: "must be above 0",
            });
        }
    }
    Ok(())
}

/// The unit of ratings: `scale` points more are odds of `base` to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RatingScale {
    /// 10.
    pub base: f64,
    /// 400.
    pub scale: f64,
    /// The mean rating where there is no anchor, and where Elo starts: 1000.
    pub init: f64,
    /// A model and the rating that it gets, the others with it: the Arena has had
    /// mixtral-8x7b-instruct-v0.1 at 1114, FastChat 0.2.36 llama-13b at 800.
    pub anchor: Option<(String, f64)>,
}

impl Default for RatingScale {
    fn default() -> Self {
        Self {
            base: 10.0,
            scale: 400.0,
            init: 1000.0,
            anchor: None,
        }
    }
}

impl RatingScale {
    /// The probability that the first wins, ties counting half: 1 / (1 + base^((second − first) /
    /// scale)).
    pub fn win_probability(&self, first: f64, second: f64) -> f64 {
        logistic((first - second) / self.points())
    }

    /// Points per unit of natural log-odds.
    pub(crate) fn points(&self) -> f64 {
        self.scale / self.base.ln()
    }

    /// What all ratings must rise by for the anchor to have its rating.
    pub(crate) fn shift(&self, rating: impl Fn(&str) -> Option<f64>) -> Result<f64> {
        match &self.anchor {
            None => Ok(0.0),
            Some((model, wanted)) => {
                let has = rating(model).ok_or_else(|| Error::UnknownModel(model.clone()))?;
                Ok(wanted - has)
            }
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let bad = |name, value, reason| {
            Err(Error::BadOption {
                name,
                value,
                reason,
            })
        };
        if !(self.base > 1.0 && self.base.is_finite()) {
            return bad("base", self.base, "must be above 1");
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return bad("scale", self.scale, "must be above 0");
        }
        if !self.init.is_finite() {
            return bad("init", self.init, "must be finite");
        }
        match &self.anchor {
            Some((_, rating)) if !rating.is_finite() => bad("anchor", *rating, "must be finite"),
            _ => Ok(()),
        }
    }
}
