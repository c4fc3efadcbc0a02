//! Judgments as this crate keeps them: one JSON object a line.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::{Id, Place, Row, read_rows, take, take_optional, write_rows};
use crate::error::{Error, Result};
use crate::stats::{ExpectedPreference, Outcome};
use crate::verdict::{Preference, Reason, Verdict};

/// No scale goes further; sums of such scores are finite.
pub(super) const MAX_SCORE: f64 = 1e9;

/// Whose answers were judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Judged {
    /// Two models' answers.
    Two {
        /// Whose answer stood first in this judgment.
        model_a: String,
        /// Whose stood second.
        model_b: String,
        /// Which of the pair's two judgments it is.
        order: Order,
    },
    /// One model's answer.
    One {
        /// The model.
        model: String,
    },
}

impl Judged {
    /// The model, or both.
    pub(crate) fn models(&self) -> Vec<&str> {
        match self {
            Self::One { model } => vec![model],
            Self::Two {
                model_a, model_b, ..
            } => vec![model_a, model_b],
        }
    }
}

/// Which of a pair's two judgments it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The first one.
    Given,
    /// The one with the answers exchanged.
    Swapped,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unscored {
    /// The server gave no reply.
    #[error("no reply")]
    NoReply,
    /// The server's filter withheld the reply.
    #[error("the reply was withheld by a filter")]
    Withheld,
    /// A score where a preference was asked for, or the other way round.
    #[error("the verdict is not of the kind asked for")]
    WrongKind,
    /// The reply has no verdict in the grammar.
    #[error("{0}")]
    Unparsed(Reason),
}

/// A judgment. A file of them holds one JSON object a line, with these keys:
///
/// `question_id`, `category`, `turn` (from 1), `mode` (`single`, `rubric`, `pair`), `grammar`,
/// `judge`; `model`, or `model_a`, `model_b` (whose answer stood first and second) and `order`
/// (`given`, `swapped`); `prompt` (its name), `prompt_hash`, `reference` (whether one was shown),
/// `attempt` (1 where the judge was asked again), `verdict` (`{"score": 7}`, `{"pair": [8, 9]}`,
/// `{"preference": "A>B"}`, `{"scores": {"clarity": 7}}`, or null), `score` (of one answer),
/// `unscored` (why there is no verdict), `reply` (as it came), `first_reply` (the one that was asked
/// for again), `schema` (whether the server took the JSON schema, where one was asked for), `expected`
/// (`{"value": 0.83, "mass": 0.99}`, where there are log-probabilities: the verdict on average).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgment {
    /// The question.
    pub question_id: Id,
    /// Its category.
    pub category: String,
    /// The turn judged, from 1.
    pub turn: usize,
    /// `single`, `rubric` or `pair`.
    pub mode: String,
    /// The grammar, with its range or criteria where they are not the usual ones.
    pub grammar: String,
    /// The judge.
    pub judge: String,
    /// Whose answers were judged.
    #[serde(flatten)]
    pub judged: Judged,
    /// The prompt's name.
    pub prompt: String,
    /// The BLAKE3 hash of the prompt's messages, in hex.
    pub prompt_hash: String,
    /// Whether a reference answer was shown.
    pub reference: bool,
    /// 0, or 1 where the judge was asked again.
    pub attempt: u64,
    /// The verdict, A being the answer that stood first.
    pub verdict: Option<Verdict>,
    /// One answer's score; a rubric's is the weighted mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unscored: Option<Unscored>,
    /// The reply as it came; `None` where none did.
    pub reply: Option<String>,
    /// The reply without a verdict after which the judge was asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_reply: Option<String>,
    /// Whether the server took the JSON schema; `None` where none was asked for, or no reply came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<bool>,
    /// The verdict on average, by the judge's log-probabilities: one answer's score, or what the answer
    /// that stood first gets (a win 1, a tie ½). `None` without them, and where they do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedPreference>,
}

/// What two judgments of one judge have in common of which only the first counts: the question, the
/// turn, and the answers in their places; of one answer also the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity<'a> {
    judge: &'a str,
    question: &'a Id,
    turn: usize,
    models: (&'a str, &'a str),
    scale: (&'a str, &'a str),
}

impl Judgment {
    pub(crate) fn identity(&self) -> Identity<'_> {
        let (models, scale) = match &self.judged {
            Judged::One { model } => ((&**model, ""), (&*self.mode, &*self.grammar)),
            Judged::Two {
                model_a, model_b, ..
            } => ((&**model_a, &**model_b), ("", "")),
        };
        Identity {
            judge: &self.judge,
            question: &self.question_id,
            turn: self.turn,
            models,
            scale,
        }
    }

    /// Which place won, of a pair.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.verdict.as_ref()? {
            Verdict::Pair(a, b) if a > b => Some(Outcome::First),
            Verdict::Pair(a, b) if a < b => Some(Outcome::Second),
            Verdict::Pair(..) | Verdict::Preference(Preference::Tie) => Some(Outcome::Tie),
            Verdict::Preference(Preference::MuchA | Preference::A) => Some(Outcome::First),
            Verdict::Preference(Preference::MuchB | Preference::B) => Some(Outcome::Second),
            Verdict::Score(_) | Verdict::Scores(_) => None,
        }
    }

    /// The field that does not go with the others, and why.
    fn inconsistency(&self) -> Option<(&'static str, &'static str)> {
        let pair = matches!(self.judged, Judged::Two { .. });
        let expected = self.expected.map_or(0.0, |expected| expected.value);
        let share = (0.0..=1.0).contains(&expected);
        match (&self.verdict, &self.unscored) {
            _ if !matches!(&*self.mode, "single" | "rubric" | "pair") => {
                Some(("mode", "expected single, rubric or pair"))
            }
            _ if (self.mode == "pair") != pair => Some(("mode", "not that of the models")),
            (None, None) => Some(("unscored", "missing, and so is the verdict")),
            (Some(_), Some(_)) => Some(("unscored", "there is a verdict")),
            (Some(_), None) if pair != self.outcome().is_some() => {
                Some(("verdict", "not of the mode's kind"))
            }
            (Some(_), None) if pair == self.score.is_some() => {
                Some(("score", "belongs to verdicts on one answer"))
            }
            _ if self
                .score
                .is_some_and(|score| score.is_nan() || score.abs() > MAX_SCORE) =>
            {
                Some(("score", "not a number up to a billion"))
            }
            (None, _) if self.expected.is_some() => Some(("expected", "there is no verdict")),
            _ if pair && !share => Some(("expected", "not from 0 to 1")),
            _ => None,
        }
    }
}

impl Row for Judgment {
    fn from_object(object: Map<String, Value>, place: Place<'_>) -> Result<Self> {
        let field = |field: String, reason: String| Error::Field {
            path: place.path.to_owned(),
            line: place.line,
            field,
            reason,
        };
        let object = Value::Object(object);
        let row = Self::deserialize(&object).map_err(|error| {
            named(object, place)
                .err()
                .unwrap_or_else(|| field("model".to_owned(), error.to_string()))
        })?;
        match row.inconsistency() {
            None => Ok(row),
            Some((name, reason)) => Err(field(name.to_owned(), reason.to_owned())),
        }
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        match serde_json::to_value(self)? {
            Value::Object(object) => Ok(object),
            _ => Ok(Map::new()),
        }
    }
}

/// The error of the field for which an object is no judgment; that of the models' own is left.
fn named(object: Value, place: Place<'_>) -> Result<()> {
    let Value::Object(mut object) = object else {
        return Ok(());
    };
    let object = &mut object;
    take::<Id>(object, "question_id", place)?;
    for name in [
        "category",
        "mode",
        "grammar",
        "judge",
        "prompt",
        "prompt_hash",
    ] {
        take::<String>(object, name, place)?;
    }
    take::<usize>(object, "turn", place)?;
    take::<bool>(object, "reference", place)?;
    take::<u64>(object, "attempt", place)?;
    take_optional::<Option<Verdict>>(object, "verdict", place)?;
    take_optional::<Option<f64>>(object, "score", place)?;
    take_optional::<Option<Unscored>>(object, "unscored", place)?;
    for name in ["reply", "first_reply"] {
        take_optional::<Option<String>>(object, name, place)?;
    }
    Ok(())
}

/// Judgments of one judge or several.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgments {
    /// One a row.
    pub rows: Vec<Judgment>,
}

impl Judgments {
    /// Reads a file of [`Judgment`]s.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Line`], [`Error::Field`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let rows = read_rows::<Judgment>(path)?;
        let rows = rows.map(|row| Ok(row?.1)).collect::<Result<_>>()?;
        Ok(Self { rows })
    }

    /// Writes them, and nothing to `path` unless all of them could be written.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Line`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_rows(path, &self.rows)
    }
}
