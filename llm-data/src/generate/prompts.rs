//! The programs' prompts: built in, and replaceable file by file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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

/// A prompt: its name, the fields it must mention, its texts in English and Chinese.
type Builtin = (&'static str, &'static [&'static str], [&'static str; 2]);

macro_rules! builtin {
    ($($name:literal: $($field:literal)*;)*) => {
        &[$((
            $name,
            &[$($field),*],
            [
                include_str!(concat!("prompts/en/", $name, ".txt")),
                include_str!(concat!("prompts/zh/", $name, ".txt")),
            ],
        )),*]
    };
}

const BUILTIN: &[Builtin] = builtin! {
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

/// The prompts of one language. Fields are written `{{name}}`.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSet {
    language: Language,
    texts: BTreeMap<&'static str, String>,
}

impl PromptSet {
    /// The crate's own prompts.
    pub fn builtin(language: Language) -> Self {
        let text = |texts: &[&'static str; 2]| texts[language as usize].trim_end().to_owned();
        Self {
            language,
            texts: BUILTIN
                .iter()
                .map(|(name, _, texts)| (*name, text(texts)))
                .collect(),
        }
    }

    /// The crate's own prompts, and in their place what `directory` holds.
    ///
    /// # Errors
    /// [`Error::Prompt`] for a `.txt` file that is no prompt's name or lacks one of its fields,
    /// [`Error::Io`].
    pub fn from_dir(language: Language, directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let mut prompts = Self::builtin(language);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        for entry in std::fs::read_dir(directory).map_err(io(directory))? {
            let path = entry.map_err(io(directory))?.path();
            if path.extension().is_none_or(|extension| extension != "txt") {
                continue;
            }
            let wrong = |reason| Error::Prompt {
                path: path.clone(),
                reason,
            };
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            let Some((name, fields, _)) = BUILTIN.iter().find(|(name, ..)| *name == stem) else {
                let names: Vec<_> = BUILTIN.iter().map(|(name, ..)| *name).collect();
                return Err(wrong(format!(
                    "no such prompt, expected one of: {}",
                    names.join(", ")
                )));
            };
            let text = std::fs::read_to_string(&path).map_err(io(&path))?;
            if let Some(field) = fields
                .iter()
                .find(|field| !text.contains(&format!("{{{{{field}}}}}")))
            {
                return Err(wrong(format!("the field {{{{{field}}}}} is missing")));
            }
            prompts.texts.insert(name, text.trim_end().to_owned());
        }
        Ok(prompts)
    }

    /// The language.
    pub fn language(&self) -> Language {
        self.language
    }

    /// A prompt with its fields unfilled.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// A prompt with its fields filled in one pass: what a value says is never taken for a field.
    pub(crate) fn fill(&self, name: &str, fields: &[(&str, &str)]) -> String {
        let mut rest = self.text(name).unwrap_or_default();
        let mut filled = String::new();
        while let Some(start) = rest.find("{{") {
            let (before, after) = rest.split_at(start);
            filled.push_str(before);
            let named = after.find("}}").and_then(|end| {
                let name = &after[2..end];
                let value = fields.iter().find(|(field, _)| *field == name)?.1;
                Some((value, end + 2))
            });
            let (value, end) = named.unwrap_or((&after[..2], 2));
            filled.push_str(value);
            rest = &after[end..];
        }
        filled + rest
    }
}
