//! FastChat's `llm_judge` (MT-bench).

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::Id;
use super::row::row;

row! {
    /// A line of `question.jsonl`.
    Question {
        /// Its identifier.
        question_id: Id,
        /// Its category.
        category: String,
        /// What the user says, turn by turn.
        turns: Vec<String>,
        ? /// Reference answers, turn by turn.
        reference: Vec<String>,
    }
}

row! {
    /// A line of `model_answer/<model>.jsonl` or of `reference_answer/<judge>.jsonl`.
    ModelAnswer {
        /// The question.
        question_id: Id,
        /// The answer's own identifier.
        answer_id: String,
        /// The model.
        model_id: String,
        /// The answers; FastChat judges the first one.
        choices: Vec<Choice>,
        ? /// When, in seconds since 1970.
        tstamp: Number,
    }
}

/// One of a model's answers to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Its number, from 0.
    pub index: u64,
    /// What the model says, turn by turn.
    pub turns: Vec<String>,
    /// The fields that the layout does not know.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, Value>,
}

/// A judge: its model and its prompt's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Judge(pub String, pub String);

row! {
    /// A line of `model_judgment/<judge>_single.jsonl`.
    SingleJudgment {
        /// The question.
        question_id: Id,
        /// The model that answered.
        model: String,
        /// The score; −1 where the reply has none.
        score: Option<Number>,
        ? /// The judge.
        judge: Judge,
        ? /// What the judge was shown.
        user_prompt: String,
        ? /// What it replied.
        judgment: String,
        ? /// The turn judged, from 1.
        turn: u32,
        ? /// When, in seconds since 1970.
        tstamp: Number,
    }
}

row! {
    /// A line of `model_judgment/<judge>_pair.jsonl`: two games, the second one with the answers
    /// exchanged.
    PairJudgment {
        /// The question.
        question_id: Id,
        /// The model shown first in the first game.
        model_1: String,
        /// The model shown second in the first game.
        model_2: String,
        /// The first game's winner: `model_1`, `model_2`, `tie` or `error`.
        g1_winner: String,
        /// The second game's winner.
        g2_winner: String,
        ? /// The judge.
        judge: Judge,
        ? /// What the judge was shown in the first game.
        g1_user_prompt: String,
        ? /// What it replied in the first game.
        g1_judgment: String,
        ? /// What the judge was shown in the second game.
        g2_user_prompt: String,
        ? /// What it replied in the second game.
        g2_judgment: String,
        ? /// The turn judged, from 1.
        turn: u32,
        ? /// When, in seconds since 1970.
        tstamp: Number,
    }
}

row! {
    /// A line of `judge_prompts.jsonl`.
    JudgePrompt {
        /// Its name, as `pair-v2`.
        name: String,
        /// `single` or `pairwise`.
        kind ("type"): String,
        /// The system prompt.
        system_prompt: String,
        /// The prompt, with places like `{question}`.
        prompt_template: String,
        /// What it is for.
        description: String,
        /// The categories it is for.
        category: String,
        /// `[[rating]]` or `[[A]]`.
        output_format: String,
    }
}
