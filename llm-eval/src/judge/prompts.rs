//! The judge's prompts: built in, replaceable file by file, or FastChat's.

use std::collections::BTreeMap;
use std::path::Path;

use llm_data::generate::{BuiltinPrompt, Language, PromptList, PromptTexts};

use super::files::{JudgePrompt, read_rows};
use crate::error::{Error, Result};

/// The judge's prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JudgePrompts;

impl PromptList for JudgePrompts {
    const PROMPTS: &'static [BuiltinPrompt] = llm_data::builtin_prompts! {
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
}

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
    texts: PromptTexts<JudgePrompts>,
    fastchat: Option<BTreeMap<String, JudgePrompt>>,
}

impl Prompts {
    /// The crate's own prompts.
    pub fn builtin(language: Language) -> Self {
        Self {
            texts: PromptTexts::builtin(language),
            fastchat: None,
        }
    }

    /// The crate's own prompts, and in their place what `directory` holds.
    ///
    /// # Errors
    /// [`Error::Prompt`] for a `.txt` file that is no prompt's name or lacks one of its fields,
    /// [`Error::Io`].
    pub fn from_dir(language: Language, directory: impl AsRef<Path>) -> Result<Self> {
        Ok(Self {
            texts: PromptTexts::from_dir(language, directory).map_err(|error| match error {
                llm_data::Error::Prompt { path, reason } => Error::Prompt { path, reason },
                llm_data::Error::Io { path, source } => Error::Io { path, source },
                other => other.into(),
            })?,
            fastchat: None,
        })
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
        self.texts.text(name)
    }

    /// With `instruction` in the place of what `single` says to judge by.
    pub(crate) fn instructed(mut self, instruction: &str) -> Self {
        let text = self.fill("instructed", &[("instruction", instruction)]);
        self.texts.replace("single", text);
        self
    }

    /// FastChat's prompts, where these are they.
    pub(super) fn fastchat_prompts(&self) -> Option<&BTreeMap<String, JudgePrompt>> {
        self.fastchat.as_ref()
    }

    /// One of the crate's prompts with its fields filled.
    pub(super) fn fill(&self, name: &str, fields: &[(&str, &str)]) -> String {
        self.texts.fill(name, fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_prompts_have_their_fields_in_both_languages() {
        for BuiltinPrompt {
            name,
            fields,
            texts,
        } in JudgePrompts::PROMPTS
        {
            for text in texts {
                for field in *fields {
                    let field = format!("{{{{{field}}}}}");
                    assert!(text.contains(&field), "{name}: {field}");
                }
                assert!(!text.trim().is_empty(), "{name}");
            }
        }
    }
}
