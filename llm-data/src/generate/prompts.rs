//! The programs' prompts: built in, and replaceable file by file.

use serde::{Deserialize, Serialize};

use super::prompt_texts::{BuiltinPrompt, PromptList, PromptTexts};

/// The language that data is generated in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

/// The prompts of the programs that generate data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationPrompts;

impl PromptList for GenerationPrompts {
    const PROMPTS: &'static [BuiltinPrompt] = crate::builtin_prompts! {
        "self_instruct": "asked" "tasks" "next";
        "answer": "instruction" "input";
        "answer_plain": "instruction";
        "evolve": "method" "instruction";
        "evolve_constraints": ;
        "evolve_deepen": ;
        "evolve_concretise": ;
        "evolve_reasoning": ;
        "evolve_complicate_input": ;
        "evolve_breadth": "instruction";
        "evolve_equal": "first" "second";
        "self_chat": "topic";
        "augment_paraphrase": "task" "mistakes";
        "augment_instance": "task" "mistakes";
    };
}

/// The prompts of the programs that generate data, in one language. Fields are written `{{name}}`.
///
/// A directory may hold a file `NAME.txt` for each prompt that it replaces: `self_instruct`,
/// `answer`, `answer_plain`, `evolve`, `evolve_constraints`, `evolve_deepen`, `evolve_concretise`,
/// `evolve_reasoning`, `evolve_complicate_input`, `evolve_breadth`, `evolve_equal`, `self_chat`,
/// `augment_paraphrase`, `augment_instance`.
///
/// ```
/// use llm_data::generate::{Language, PromptSet};
///
/// let prompts = PromptSet::builtin(Language::En);
/// assert!(prompts.text("answer").is_some_and(|text| text.contains("{{instruction}}")));
/// ```
pub type PromptSet = PromptTexts<GenerationPrompts>;
