//! Families of models, by their names.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What a word of a name begins with, and whose model it is. The first that fits counts.
const FAMILIES: &[(&str, Option<&str>)] = &[
    // Models that only sound like OpenAI's.
    ("gpt4all", Some("llama")),
    ("gptj", None),
    ("gptneo", None),
    ("gptq", None),
    ("chatglm", Some("glm")),
    ("glm", Some("glm")),
    ("gpt", Some("gpt")),
    ("chatgpt", Some("gpt")),
    ("davinci", Some("gpt")),
    ("o1", Some("gpt")),
    ("o3", Some("gpt")),
    ("o4", Some("gpt")),
    ("claude", Some("claude")),
    ("llama", Some("llama")),
    ("codellama", Some("llama")),
    ("openllama", Some("llama")),
    ("tinyllama", Some("llama")),
    ("vicuna", Some("llama")),
    ("stablevicuna", Some("llama")),
    ("alpaca", Some("llama")),
    ("guanaco", Some("llama")),
    ("koala", Some("llama")),
    ("wizardlm", Some("llama")),
    ("baize", Some("llama")),
    ("belle", Some("llama")),
    ("qwen", Some("qwen")),
    ("qwq", Some("qwen")),
    ("tongyi", Some("qwen")),
    ("mistral", Some("mistral")),
    ("mixtral", Some("mistral")),
    ("ministral", Some("mistral")),
    ("codestral", Some("mistral")),
    ("zephyr", Some("mistral")),
    ("gemini", Some("gemini")),
    ("gemma", Some("gemini")),
    ("palm", Some("gemini")),
    ("bard", Some("gemini")),
    ("deepseek", Some("deepseek")),
    ("phi", Some("phi")),
    ("yi", Some("yi")),
    ("baichuan", Some("baichuan")),
    ("internlm", Some("internlm")),
    ("command", Some("command")),
    ("grok", Some("grok")),
    ("kimi", Some("kimi")),
    ("moonshot", Some("kimi")),
    ("smollm", Some("smollm")),
    ("falcon", Some("falcon")),
    ("dolly", Some("pythia")),
    ("pythia", Some("pythia")),
];

/// The families that a model's name tells of, such as `deepseek` and `qwen` of
/// `DeepSeek-R1-Distill-Qwen-7B`; none of a name that says nothing.
///
/// ```
/// use llm_eval::judge::families;
///
/// assert!(families("lmsys/vicuna-13b-v1.5").contains("llama"));
/// assert!(families("gpt-j-6b").is_empty());
/// ```
pub fn families(name: &str) -> BTreeSet<&'static str> {
    let name = name.to_lowercase();
    // These are written with and without a hyphen.
    let name = name.replace("gpt-j", "gptj").replace("gpt-neo", "gptneo");
    let words = name.split(|c: char| !c.is_alphanumeric());
    let family = |word: &str| {
        let fits = |(start, _): &&(&str, _)| {
            word.strip_prefix(start).is_some_and(|rest| {
                // Short names are whole words: `yi`, not `yields`; `o1`, not `o100`.
                let more = |c: char| match start.len() {
                    2 => c.is_alphanumeric(),
                    _ => c.is_alphabetic() && start.len() < 5,
                };
                !rest.starts_with(more)
            })
        };
        FAMILIES.iter().find(fits)?.1
    };
    words.filter_map(family).collect()
}

/// A judge and a model of one family: judges are known to prefer answers like their own
/// (arXiv:2404.13076).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfPreference {
    /// The judge.
    pub judge: String,
    /// The model that it judges.
    pub model: String,
    /// Their family; the whole name where they are the same model.
    pub family: String,
}

/// Which judges and models share a family, or are the same.
pub fn self_preference<'a>(
    judges: impl IntoIterator<Item = &'a str>,
    models: impl IntoIterator<Item = &'a str> + Clone,
) -> Vec<SelfPreference> {
    let mut shared = Vec::new();
    for judge in judges {
        for model in models.clone() {
            let family = match judge.eq_ignore_ascii_case(model) {
                true => Some(model),
                false => families(judge)
                    .intersection(&families(model))
                    .next()
                    .copied(),
            };
            shared.extend(family.map(|family| SelfPreference {
                judge: judge.to_owned(),
                model: model.to_owned(),
                family: family.to_owned(),
            }));
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_by_words() {
        let cases = [
            ("gpt-4-0613", "gpt"),
            ("openai/o3-mini", "gpt"),
            ("text-davinci-003", "gpt"),
            ("claude-3-opus-20240229", "claude"),
            ("meta-llama/Llama-3.1-8B", "llama"),
            ("alpaca-13b", "llama"),
            ("Chinese-Alpaca-7B", "llama"),
            ("gpt4all-13b-snoozy", "llama"),
            ("Qwen2.5-7B-Instruct", "qwen"),
            ("Mixtral-8x7B", "mistral"),
            ("gemma-2-9b-it", "gemini"),
            ("deepseek-chat", "deepseek"),
            ("chatglm3-6b", "glm"),
            ("glm-4", "glm"),
            ("Yi-34B", "yi"),
            ("gpt-neox-20b", ""),
            ("gpt-j-6b", ""),
            ("yields-1b", ""),
            ("stablelm-tuned-alpha-7b", ""),
            ("", ""),
        ];
        for (name, expected) in cases {
            let expected = (!expected.is_empty()).then_some(expected);
            assert_eq!(families(name), expected.into_iter().collect(), "{name}");
        }
        let both = families("DeepSeek-R1-Distill-Qwen-7B");
        assert_eq!(both, ["deepseek", "qwen"].into());
    }

    #[test]
    fn a_judge_is_warned_of_its_kin_and_of_itself() {
        let models = ["vicuna-13b", "gpt-3.5-turbo", "judge-x"];
        let found = self_preference(["gpt-4", "judge-x"], models);
        let names: Vec<_> = found
            .iter()
            .map(|one| (&*one.judge, &*one.model, &*one.family))
            .collect();
        assert_eq!(
            names,
            [
                ("gpt-4", "gpt-3.5-turbo", "gpt"),
                ("judge-x", "judge-x", "judge-x")
            ]
        );
    }
}
