//! Arena-Hard's questions, answers and judgments, in the layouts of v0.1 and v2.0.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::Id;
use super::row::{Place, Row, row};
use crate::error::Result;

/// Text in one of v0.1's turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArenaTurn {
    /// The text.
    pub content: String,
    /// The fields that the layout does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

row! {
    /// A line of v0.1's `question.jsonl`.
    ArenaQuestionV01 {
        /// Its identifier.
        question_id: Id,
        /// The benchmark.
        category: String,
        /// The topic's name.
        cluster: String,
        /// What the user says.
        turns: Vec<ArenaTurn>,
    }
}

row! {
    /// A line of v2.0's `question.jsonl`.
    ArenaQuestionV20 {
        /// Its identifier.
        uid: Id,
        /// Its category.
        category: String,
        /// What the user asks.
        prompt: String,
        ? /// Its subcategory.
        subcategory: String,
    }
}

/// A message of a v2.0 answer: its content is text from the user, `{answer: …}` from the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArenaMessage {
    /// `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: Value,
    /// The fields that the layout does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

row! {
    /// A line of v2.0's `model_answer/<model>.jsonl`; v0.1's have the layout of
    /// [`ModelAnswer`](super::ModelAnswer), with [`ArenaTurn`]s.
    ArenaAnswer {
        /// The question.
        uid: Id,
        /// The answer's own identifier.
        ans_id: String,
        /// The model.
        model: String,
        /// The conversation; its last message is the answer.
        messages: Vec<ArenaMessage>,
        ? /// Lengths and Markdown counts, for style control.
        metadata: Map<String, Value>,
        ? /// When, in seconds since 1970.
        tstamp: Number,
    }
}

/// One of the two games of a judgment: the baseline is A in the first, B in the second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArenaGame {
    /// What the judge replied: text in v0.1, `{answer: …}` in v2.0.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub judgment: Value,
    /// The label, as `A>>B`; `null` where the reply has none.
    pub score: Option<String>,
    /// What the judge was shown (`user_prompt` in v0.1, `prompt` in v2.0), and what else there is.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ArenaGame {
    /// What the judge replied.
    pub fn reply(&self) -> Option<&str> {
        self.judgment
            .as_str()
            .or_else(|| self.judgment.get("answer")?.as_str())
    }
}

row! {
    /// A line of v0.1's `model_judgment/<judge>/<model>.jsonl`.
    ArenaJudgmentV01 {
        /// The question.
        question_id: Id,
        /// The model.
        model: String,
        /// The judge.
        judge: String,
        /// Both games; one when only one order was judged.
        games: Vec<Option<ArenaGame>>,
    }
}

row! {
    /// A line of v2.0's `model_judgment/<judge>/<model>.jsonl`.
    ArenaJudgmentV20 {
        /// The question.
        uid: Id,
        /// The question's category.
        category: String,
        /// The judge.
        judge: String,
        /// The model.
        model: String,
        /// The model that it was compared with.
        baseline: String,
        /// Both games; `null` where the judge could not be reached.
        games: Vec<Option<ArenaGame>>,
    }
}

/// A judgment in either layout.
#[derive(Debug, Clone, PartialEq)]
pub enum ArenaJudgment {
    /// v0.1's, with `question_id`.
    V01(ArenaJudgmentV01),
    /// v2.0's, with `uid`.
    V20(ArenaJudgmentV20),
}

impl ArenaJudgment {
    /// The question.
    pub fn question(&self) -> &Id {
        match self {
            Self::V01(row) => &row.question_id,
            Self::V20(row) => &row.uid,
        }
    }

    /// The model.
    pub fn model(&self) -> &str {
        match self {
            Self::V01(row) => &row.model,
            Self::V20(row) => &row.model,
        }
    }

    /// The judge.
    pub fn judge(&self) -> &str {
        match self {
            Self::V01(row) => &row.judge,
            Self::V20(row) => &row.judge,
        }
    }

    /// The question's category, which v0.1's files do not have.
    pub fn category(&self) -> Option<&str> {
        match self {
            Self::V01(_) => None,
            Self::V20(row) => Some(&row.category),
        }
    }

    /// The games.
    pub fn games(&self) -> &[Option<ArenaGame>] {
        match self {
            Self::V01(row) => &row.games,
            Self::V20(row) => &row.games,
        }
    }
}

impl Row for ArenaJudgment {
    fn from_object(object: Map<String, Value>, place: Place<'_>) -> Result<Self> {
        if object.contains_key("uid") {
            ArenaJudgmentV20::from_object(object, place).map(Self::V20)
        } else {
            ArenaJudgmentV01::from_object(object, place).map(Self::V01)
        }
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        match self {
            Self::V01(row) => row.to_object(),
            Self::V20(row) => row.to_object(),
        }
    }
}
