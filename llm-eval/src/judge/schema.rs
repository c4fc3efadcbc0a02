//! The JSON schema of a verdict, within what OpenAI's structured outputs take: every field required,
//! no other one allowed.

use serde_json::{Map, Value, json};

use super::forms::Form;
use super::task::Mode;
use crate::verdict::Range;

/// The body's field for it.
pub(super) const FIELD: &str = "response_format";

/// The most scores that are listed one by one.
const LISTED: f64 = 100.0;

impl Form {
    /// The `response_format` of a form in JSON. The explanation comes first, so that a judge thinks
    /// before it decides.
    pub(super) fn schema(self, mode: &Mode) -> Option<Value> {
        let (name, verdict) = match (self, mode) {
            (Self::Json(_), Mode::Pair(_)) => {
                let winner = json!({"type": "string", "enum": ["A", "B", "tie"]});
                ("winner", winner)
            }
            (Self::Json(range), _) => ("score", score(range)),
            (Self::JsonRubric(range), Mode::Rubric(criteria)) => {
                let scores = criteria.iter().map(|one| (one.name.clone(), score(range)));
                ("scores", object(scores.collect()))
            }
            _ => return None,
        };
        let explanation = ("explanation".to_owned(), json!({"type": "string"}));
        let schema = object(Map::from_iter([explanation, (name.to_owned(), verdict)]));
        Some(json!({
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": true, "schema": schema},
        }))
    }
}

fn object(properties: Map<String, Value>) -> Value {
    let required: Vec<_> = properties.keys().cloned().collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A score. Whole numbers are listed, which every server understands; limits of other numbers, such as
/// those from 0 to 1, are not known to all, but then the grammar still refuses what is outside.
fn score(range: Range) -> Value {
    let (min, max) = (range.min(), range.max());
    let whole = min.fract() == 0.0 && max.fract() == 0.0;
    if whole && (2.0..=LISTED).contains(&(max - min)) {
        let scores: Vec<_> = (min as i64..=max as i64).collect();
        return json!({"type": "integer", "enum": scores});
    }
    json!({"type": "number", "minimum": min, "maximum": max})
}
