//! The judge's prompts: built in, replaceable file by file, or FastChat's.

use std::collections::BTreeMap;
use std::path::Path;

use llm_data::generate::Language;

use super::files::{JudgePrompt, read_rows};
use crate::error::{Error, Result};

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
    "system": ;
    "single": "material" "form";
    "pair": "material" "form";
    "rubric": "material" "criteria" "form";
    "instructed": "material" "instruction" "form";
    "reference": ;
    "turns": ;
    "reminder": "form";
    "form_rating": ;
    "form_pair": ;
    "form_arena_hard": ;
    "form_vicuna": ;
    "form_belle": ;
    "form_alpaca_eval": ;
    "form_json_score": ;
    "form_json_winner": ;
    "form_rubric": "lines";
    "form_json_rubric": "scores";
    "audit_weak": ;
    "audit_constant": ;
    "audit_padding": "answer";
    "audit_verbosity": "answer";
    "audit_self_name": "answer" "judge";
    "audit_instruction": "answer";
    "audit_forged_verdict": "answer" "verdict";
    "audit_forged_delimiters": "answer" "verdict";
    "audit_forged_system": "answer" "verdict";
};

/// What a judge is asked with.
///
/// The crate's own prompts put the material between tags with a mark that no text in it has, and the
/// instruction after it. Their fields are written `{{name}}`. A directory may hold a file `NAME.txt`
/// for each one that it replaces:
///
/// - `system`: the system message (`nonce`: the tags' mark);
/// - `single`, `pair`, `rubric`: the user message (`material`: the tagged texts; `notes`: what
///   `reference` and `turns` say, where they apply; `form`; `criteria`, of a rubric; `nonce`);
/// - `instructed`: the same with an instruction from elsewhere (`instruction`), as BELLE's for its classes;
/// - `form_rating`, `form_pair`, `form_arena_hard`, `form_vicuna`, `form_belle`, `form_alpaca_eval`,
///   `form_json_score`, `form_json_winner`, `form_rubric`, `form_json_rubric`: how the verdict is to be
///   written (`min`, `max`; of a rubric `lines`, in JSON `scores`);
/// - `reminder`: what follows when the question is asked again (`form`);
/// - `audit_…`: the texts of [`Audit`](super::Audit)'s probes.
///
/// ```
/// use llm_data::generate::Language;
/// use llm_eval::judge::Prompts;
///
/// let prompts = Prompts::builtin(Language::En);
/// assert!(prompts.text("pair").is_some_and(|text| text.contains("{{material}}")));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    texts: BTreeMap<&'static str, String>,
    fastchat: Option<BTreeMap<String, JudgePrompt>>,
}

impl Prompts {
    /// The crate's own prompts.
    pub fn builtin(language: Language) -> Self {
        let text = |texts: &[&'static str; 2]| texts[language as usize].trim_end().to_owned();
        Self {
            texts: BUILTIN
                .iter()
                .map(|(name, _, texts)| (*name, text(texts)))
                .collect(),
            fastchat: None,
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
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let wrong = |reason| Error::Prompt {
                path: path.clone(),
                reason,
            };
            let known = BUILTIN.iter().find(|(name, ..)| Some(*name) == stem);
            let Some((name, fields, _)) = known else {
                let names: Vec<_> = BUILTIN.iter().map(|(name, ..)| *name).collect();
                let names = names.join(", ");
                return Err(wrong(format!("no such prompt, expected one of: {names}")));
            };
            let text = std::fs::read_to_string(&path).map_err(io(&path))?;
            let absent = |field: &&&str| !text.contains(&format!("{{{{{field}}}}}"));
            if let Some(field) = fields.iter().find(absent) {
                return Err(wrong(format!("the field {{{{{field}}}}} is missing")));
            }
            prompts.texts.insert(name, text.trim_end().to_owned());
        }
        Ok(prompts)
    }

    /// FastChat's `judge_prompts.jsonl`, to judge as it does: `single-v1`, `single-math-v1`,
    /// `pair-v2`, `pair-math-v1` and, for a second turn, these with `-multi-turn`. Its delimiters
    /// carry no mark, so an answer can forge them. The reminder and the audit's texts are the
    /// crate's own, in English.
    ///
    /// # Errors
    /// Those of [`read_rows`]; [`Error::Prompt`] for a name that occurs twice.
    pub fn fastchat(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut prompts = BTreeMap::new();
        for row in read_rows::<JudgePrompt>(path)? {
            let (_, prompt) = row?;
            if let Some(prompt) = prompts.insert(prompt.name.clone(), prompt) {
                return Err(Error::Prompt {
                    path: path.to_owned(),
                    reason: format!("the prompt {} occurs twice", prompt.name),
                });
            }
        }
        Ok(Self {
            fastchat: Some(prompts),
            ..Self::builtin(Language::En)
        })
    }

    /// One of the crate's prompts, or what replaces it, with its fields unfilled.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// With `instruction` in the place of what `single` says to judge by.
    pub(crate) fn instructed(mut self, instruction: &str) -> Self {
        let text = self.fill("instructed", &[("instruction", instruction)]);
        self.texts.insert("single", text);
        self
    }

    /// FastChat's prompts, where these are they.
    pub(super) fn fastchat_prompts(&self) -> Option<&BTreeMap<String, JudgePrompt>> {
        self.fastchat.as_ref()
    }

    /// One of the crate's prompts with its fields filled.
    pub(super) fn fill(&self, name: &str, fields: &[(&str, &str)]) -> String {
        fill(self.text(name).unwrap_or_default(), ["{{", "}}"], fields)
    }
}

/// Fills fields in one pass: what a value says is never taken for a field, and marks around other
/// names stay.
pub(super) fn fill(template: &str, [open, close]: [&str; 2], fields: &[(&str, &str)]) -> String {
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
        let filled = fill("{{question}} {answer} {other} {", ["{", "}"], &fields);
        assert_eq!(filled, "{{answer} {x}} f(){ {question} } {other} {");
    }

    #[test]
    fn the_builtin_prompts_have_their_fields_in_both_languages() {
        for (name, fields, texts) in BUILTIN {
            for text in texts {
                for field in *fields {
                    assert!(
                        text.contains(&format!("{{{{{field}}}}}")),
                        "{name}: {field}"
                    );
                }
                assert!(!text.trim().is_empty(), "{name}");
            }
        }
    }
}
