//! The files of Vicuna's first evaluation.

use serde_json::{Map, Number, Value};

use super::Id;
use super::row::row;

row! {
    /// A line of `question.jsonl`.
    VicunaQuestion {
        /// Its identifier.
        question_id: Id,
        /// What the user asks.
        text: String,
        /// Its category.
        category: String,
    }
}

row! {
    /// A line of `answer/answer_<model>.jsonl`.
    VicunaAnswer {
        /// The answer's own identifier.
        answer_id: String,
        /// The question.
        question_id: Id,
        /// The model.
        model_id: String,
        /// The answer.
        text: String,
        ? /// Whatever the model's settings were.
        metadata: Map<String, Value>,
    }
}

row! {
    /// A line of `review/…/review_<model>_<model>.jsonl`.
    VicunaReview {
        /// The question.
        question_id: Id,
        /// The first answer's identifier.
        answer1_id: String,
        /// The second answer's identifier.
        answer2_id: String,
        /// Both scores; −1 where the reply has none.
        score: [Number; 2],
        ? /// The review's own identifier.
        review_id: String,
        ? /// What the reviewer replied.
        text: String,
        ? /// The reviewer: a name, or a number in files of the original script.
        reviewer_id: Id,
        ? /// Whatever the reviewer's settings were.
        metadata: Map<String, Value>,
    }
}
