//! BELLE's evaluation set and its prompts.

use super::row::row;

row! {
    /// A line of `eval_set.json`.
    BelleItem {
        /// The question.
        question: String,
        /// The reference answer.
        std_answer: String,
        /// The class as the file writes it; compare [`belle_class`]es.
        class ("class"): String,
    }
}

row! {
    /// A line of `eval_prompt.json`: how a class is judged.
    BellePrompt {
        /// The class as the file writes it; compare [`belle_class`]es.
        class ("class"): String,
        /// What the judge is told.
        prompt: String,
    }
}

/// A class by the name that both files share: lower case, a space for the no-break space.
///
/// ```
/// assert_eq!(llm_eval::judge::files::belle_class("closed\u{a0}QA"), "closed qa");
/// ```
pub fn belle_class(class: &str) -> String {
    class
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}
