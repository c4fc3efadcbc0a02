//! Sets of prompts: built in, and replaceable file by file.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use super::prompts::Language;
use crate::error::{Error, Result};
use crate::load::io;

/// A prompt that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltinPrompt {
    /// Its name.
    pub name: &'static str,
    /// The fields that a text which replaces it must mention.
    pub fields: &'static [&'static str],
    /// Its texts in English and Chinese, in the order of [`Language`].
    pub texts: [&'static str; 2],
}

/// A list of prompts: what tells one [`PromptTexts`] from another.
pub trait PromptList {
    /// The prompts.
    const PROMPTS: &'static [BuiltinPrompt];
}

/// Lists prompts with the fields they must mention. Their texts stand beside the source file, in
/// `prompts/en/NAME.txt` and `prompts/zh/NAME.txt`.
///
/// ```ignore
/// const PROMPTS: &[BuiltinPrompt] = llm_data::builtin_prompts! {
///     "answer": "instruction" "input";
///     "greeting": ;
/// };
/// ```
#[macro_export]
macro_rules! builtin_prompts {
    ($($name:literal: $($field:literal)*;)*) => {
        &[$($crate::generate::BuiltinPrompt {
            name: $name,
            fields: &[$($field),*],
            texts: [
                include_str!(concat!("prompts/en/", $name, ".txt")),
                include_str!(concat!("prompts/zh/", $name, ".txt")),
            ],
        }),*]
    };
}

/// The prompts of a list in one language. Fields are written `{{name}}`.
///
/// ```
/// use llm_data::generate::{BuiltinPrompt, Language, PromptList, PromptTexts};
///
/// #[derive(Debug)]
/// struct Greetings;
///
/// impl PromptList for Greetings {
///     const PROMPTS: &'static [BuiltinPrompt] = &[BuiltinPrompt {
///         name: "hello",
///         fields: &["whom"],
///         texts: ["Greet {{whom}}.", "问候{{whom}}。"],
///     }];
/// }
///
/// let prompts = PromptTexts::<Greetings>::builtin(Language::En);
/// assert_eq!(prompts.fill("hello", &[("whom", "{{whom}}")]), "Greet {{whom}}.");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTexts<L> {
    language: Language,
    texts: BTreeMap<&'static str, String>,
    list: PhantomData<L>,
}

impl<L: PromptList> PromptTexts<L> {
    /// The prompts that are built in.
    pub fn builtin(language: Language) -> Self {
        let text = |prompt: &BuiltinPrompt| prompt.texts[language as usize].trim_end().to_owned();
        let prompts = L::PROMPTS.iter();
        Self {
            language,
            texts: prompts.map(|prompt| (prompt.name, text(prompt))).collect(),
            list: PhantomData,
        }
    }

    /// The prompts that are built in, and in the place of each the file `NAME.txt` that `directory`
    /// may hold.
    ///
    /// # Errors
    /// [`Error::Prompt`] for a `.txt` file that is no prompt's name or lacks one of its fields,
    /// [`Error::Io`].
    pub fn from_dir(language: Language, directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let mut prompts = Self::builtin(language);
        let entries = std::fs::read_dir(directory).map_err(|source| io(directory, source))?;
        for entry in entries {
            let path = entry.map_err(|source| io(directory, source))?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                prompts.take_file(&path)?;
            }
        }
        Ok(prompts)
    }

    fn take_file(&mut self, path: &Path) -> Result<()> {
        let wrong = |reason| Error::Prompt {
            path: path.to_owned(),
            reason,
        };
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let mut prompts = L::PROMPTS.iter();
        let Some(prompt) = prompts.find(|prompt| Some(prompt.name) == stem) else {
            let names: Vec<_> = L::PROMPTS.iter().map(|prompt| prompt.name).collect();
            let names = names.join(", ");
            return Err(wrong(format!("no such prompt, expected one of: {names}")));
        };
        let text = std::fs::read_to_string(path).map_err(|source| io(path, source))?;
        let absent = |field: &&&str| !text.contains(&format!("{{{{{field}}}}}"));
        if let Some(field) = prompt.fields.iter().find(absent) {
            return Err(wrong(format!("the field {{{{{field}}}}} is missing")));
        }
        self.texts.insert(prompt.name, text.trim_end().to_owned());
        Ok(())
    }

    /// The language.
    pub fn language(&self) -> Language {
        self.language
    }

    /// A prompt with its fields unfilled; none of another name than the list's.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Puts a text in the place of a prompt and returns what was there; none, where the list has no
    /// such prompt, and then nothing changes.
    pub fn replace(&mut self, name: &str, text: String) -> Option<String> {
        let prompt = self.texts.get_mut(name)?;
        Some(std::mem::replace(prompt, text))
    }

    /// A prompt with its fields filled, as by [`fill_fields`]; empty where there is no such prompt.
    pub fn fill(&self, name: &str, fields: &[(&str, &str)]) -> String {
        fill_fields(self.text(name).unwrap_or_default(), ["{{", "}}"], fields)
    }
}

/// Fills fields between the marks in one pass: what a value says is never taken for a field, and
/// marks around other names stay.
pub fn fill_fields(template: &str, [open, close]: [&str; 2], fields: &[(&str, &str)]) -> String {
    let mut rest = template;
    let mut filled = String::with_capacity(template.len());
    while let Some(start) = rest.find(open) {
        let (before, after) = rest.split_at(start);
        filled.push_str(before);
        let inside = &after[open.len()..];
        let named = inside.find(close).and_then(|end| {
            let value = fields.iter().find(|(name, _)| *name == &inside[..end])?.1;
            Some((value, &inside[end + close.len()..]))
        });
        let (value, following) = named.unwrap_or((open, inside));
        filled.push_str(value);
        rest = following;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_taken_for_fields_and_other_braces_stay() {
        let fields = [
            ("question", "{answer} {x}"),
            ("answer", "f(){ {question} }"),
        ];
        let filled = fill_fields("{{question}} {answer} {other} {", ["{", "}"], &fields);
        assert_eq!(filled, "{{answer} {x}} f(){ {question} } {other} {");
    }
}
