//! What people say of the same answers.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::files::{Id, Place, Row, read_rows};
use crate::error::{Error, Result};
use crate::stats::Outcome;

/// A person's label. A file of them holds one JSON object a line: `question_id`, `turn` (from 1; 1
/// where it is missing), and of a pair `model_a`, `model_b`, `winner` (`model_a`, `model_b`, or
/// `tie` with whatever follows), as FastChat's human judgments have them; of one answer `model` and
/// `score`. Other fields are not read.
#[derive(Debug, Clone, PartialEq)]
pub struct HumanLabel {
    /// The question.
    pub question_id: Id,
    /// The turn, from 1.
    pub turn: usize,
    /// What the person says.
    pub opinion: Opinion,
}

/// What a person says of an answer, or of two.
#[derive(Debug, Clone, PartialEq)]
pub enum Opinion {
    /// Which of two answers is better.
    Pair {
        /// The first model.
        model_a: String,
        /// The second one.
        model_b: String,
        /// The outcome.
        outcome: Outcome,
    },
    /// How good an answer is, on the judge's scale.
    Score {
        /// The model.
        model: String,
        /// Its score.
        score: f64,
    },
}

/// Reads a file of [`HumanLabel`]s. An answer that several people labelled has several.
///
/// # Errors
/// Those of [`read_rows`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<HumanLabel>> {
    read_rows::<HumanLabel>(path)?
        .map(|row| Ok(row?.1))
        .collect()
}

impl Row for HumanLabel {
    fn from_object(object: Map<String, Value>, place: Place<'_>) -> Result<Self> {
        let field = |field: &str, reason: String| Error::Field {
            path: place.path.to_owned(),
            line: place.line,
            field: field.to_owned(),
            reason,
        };
        let text = |name: &str| match object.get(name).and_then(Value::as_str) {
            Some(text) => Ok(text.to_owned()),
            None => Err(field(name, "expected a text".to_owned())),
        };
        let question_id = object.get("question_id").cloned().unwrap_or_default();
        let question_id = serde_json::from_value(question_id)
            .map_err(|_| field("question_id", "expected a number or a text".to_owned()))?;
        let turn = match object.get("turn").map(Value::as_u64) {
            None => Some(1),
            Some(turn) => turn.and_then(|turn| usize::try_from(turn).ok()),
        };
        let turn = turn.filter(|turn| *turn > 0);
        let turn = turn.ok_or_else(|| field("turn", "expected a number from 1".to_owned()))?;
        let opinion = if object.contains_key("winner") {
            let outcome = match &*text("winner")? {
                "model_a" => Outcome::First,
                "model_b" => Outcome::Second,
                tie if tie.starts_with("tie") => Outcome::Tie,
                other => {
                    let reason = format!("expected model_a, model_b or tie, got {other}");
                    return Err(field("winner", reason));
                }
            };
            Opinion::Pair {
                model_a: text("model_a")?,
                model_b: text("model_b")?,
                outcome,
            }
        } else {
            let score = object.get("score").and_then(Value::as_f64);
            Opinion::Score {
                model: text("model")?,
                score: score.ok_or_else(|| field("score", "expected a number".to_owned()))?,
            }
        };
        Ok(Self {
            question_id,
            turn,
            opinion,
        })
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        let mut object = match &self.opinion {
            Opinion::Pair {
                model_a,
                model_b,
                outcome,
            } => {
                let winner = match outcome {
                    Outcome::First => "model_a",
                    Outcome::Second => "model_b",
                    Outcome::Tie => "tie",
                };
                json!({"model_a": model_a, "model_b": model_b, "winner": winner})
            }
            Opinion::Score { model, score } => json!({"model": model, "score": score}),
        };
        object["question_id"] = serde_json::to_value(&self.question_id)?;
        object["turn"] = json!(self.turn);
        match object {
            Value::Object(object) => Ok(object),
            _ => Ok(Map::new()),
        }
    }
}
