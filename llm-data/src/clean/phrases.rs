//! Lists of phrases and of special texts.

use std::borrow::Cow;
use std::path::PathBuf;

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::{Conversation, Role};

use super::verdict::{Found, Verdict};

/// Whose messages a step looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// The user's.
    User,
    /// The assistant's.
    Assistant,
    /// Everyone's, the system text included.
    #[default]
    Anyone,
}

impl Speaker {
    pub(super) fn is(self, role: Role) -> bool {
        match self {
            Self::User => role == Role::User,
            Self::Assistant => role == Role::Assistant,
            Self::Anyone => true,
        }
    }
}

/// A list of phrases, one a line, without regard to case; `#` begins a comment, `^` says that the
/// message begins with the phrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhraseList {
    /// Refusals and talk of being a model, en and zh: ours.
    Refusals,
    /// Names of models and of who offers them: ours.
    Providers,
    /// What a service says instead of an answer ("Too many requests in 1 hour"): ours.
    Errors,
    /// A file of the user's.
    File(PathBuf),
    /// Phrases in place.
    Phrases(Vec<String>),
}

impl PhraseList {
    fn reason(&self) -> &'static str {
        match self {
            Self::Refusals => "refusal",
            Self::Providers => "provider_name",
            Self::Errors => "service_error",
            Self::File(_) | Self::Phrases(_) => "phrase",
        }
    }

    fn phrases(&self) -> Result<Vec<String>> {
        Ok(match self {
            Self::Refusals => lines(include_str!("lists/refusals.txt")),
            Self::Providers => lines(include_str!("lists/providers.txt")),
            Self::Errors => lines(include_str!("lists/errors.txt")),
            Self::File(path) => {
                let text = std::fs::read_to_string(path);
                lines(&text.map_err(|source| Error::Io {
                    path: path.clone(),
                    source,
                })?)
            }
            Self::Phrases(phrases) => phrases.clone(),
        })
    }
}

/// The special texts of our list.
pub(super) fn special_texts() -> Vec<String> {
    lines(include_str!("lists/special_texts.txt"))
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.trim_start_matches('\u{FEFF}').lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Options of [`Step::Phrases`](super::Step).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phrases {
    /// What is looked for.
    pub list: PhraseList,
    /// In whose messages. Default everyone's.
    #[serde(default)]
    pub speaker: Speaker,
    /// Whether a phrase that begins or ends with an ASCII letter or digit has none beside it.
    /// Default true.
    #[serde(default = "crate::yes")]
    pub whole_words: bool,
}

/// [`Phrases`], compiled.
pub(super) struct PhraseFinder {
    regex: Regex,
    reason: &'static str,
    speaker: Speaker,
}

impl PhraseFinder {
    pub(super) fn new(options: &Phrases) -> Result<Self> {
        let phrases = options.list.phrases()?;
        let patterns: Vec<String> = phrases
            .iter()
            .filter(|phrase| !phrase.trim_start_matches('^').is_empty())
            .map(|phrase| pattern(phrase, options.whole_words))
            .collect();
        let wrong = |got| Error::option("list", "phrases, in all under some megabytes", got);
        if patterns.is_empty() {
            return Err(wrong("none".to_owned()));
        }
        let regex = Regex::new(&format!("(?i){}", patterns.join("|")));
        Ok(Self {
            regex: regex.map_err(|error| wrong(error.to_string()))?,
            reason: options.list.reason(),
            speaker: options.speaker,
        })
    }

    pub(super) fn check(&self, conversation: &Conversation) -> Verdict {
        let messages = conversation.messages.iter();
        for message in messages.filter(|message| self.speaker.is(message.role)) {
            let mut text = Cow::Borrowed(message.content.as_str());
            if text.contains('’') {
                text = Cow::Owned(text.replace('’', "'"));
            }
            if let Some(found) = self.regex.find(&text) {
                return Err(Found::at(self.reason, &text, found.range()));
            }
        }
        Ok(Vec::new())
    }
}

fn pattern(phrase: &str, whole_words: bool) -> String {
    let (start, phrase) = match phrase.strip_prefix('^') {
        Some(phrase) => (r"\A\s*", phrase),
        None => ("", phrase),
    };
    let edge = |character: Option<char>| match character {
        Some(character) if whole_words && character.is_ascii_alphanumeric() => r"(?-u:\b)",
        _ => "",
    };
    let (before, after) = (edge(phrase.chars().next()), edge(phrase.chars().last()));
    let phrase = regex::escape(&phrase.replace('’', "'"));
    format!("{start}{before}{phrase}{after}")
}

/// What becomes of a special token's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialAction {
    /// `</s>` becomes `<|/s|>`, as FastChat's `optional_replace.py` writes it; of two characters
    /// `a|b`, of one a space.
    #[default]
    Break,
    /// The text is cut out; one that this leaves is broken.
    Remove,
    /// The record is dropped.
    Drop,
}

/// Options of [`Step::SpecialTexts`](super::Step).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpecialTexts {
    /// The texts; none of them for our list of the usual ones.
    pub texts: Vec<String>,
    /// What becomes of them.
    pub action: SpecialAction,
}

/// [`SpecialTexts`], compiled.
pub(super) struct SpecialFinder {
    regex: Regex,
    action: SpecialAction,
}

impl SpecialFinder {
    pub(super) fn new(options: &SpecialTexts) -> Result<Self> {
        let mut texts = if options.texts.is_empty() {
            special_texts()
        } else {
            options.texts.clone()
        };
        let expected = "texts that are not empty, in all under some megabytes";
        let wrong = |got| Error::option("texts", expected, got);
        if texts.iter().any(String::is_empty) {
            return Err(wrong("an empty one".to_owned()));
        }
        // The longest wins, where one begins with another.
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let texts: Vec<String> = texts.iter().map(|text| regex::escape(text)).collect();
        let regex = Regex::new(&texts.join("|"));
        Ok(Self {
            regex: regex.map_err(|error| wrong(error.to_string()))?,
            action: options.action,
        })
    }

    pub(super) fn apply(&self, conversation: &mut Conversation) -> Verdict {
        let mut changes = Vec::new();
        for message in &mut conversation.messages {
            let Some(found) = self.regex.find(&message.content) else {
                continue;
            };
            let found = Found::at("special_text", &message.content, found.range());
            if self.action == SpecialAction::Drop {
                return Err(found);
            }
            changes.push(found);
            let mut text = Cow::Borrowed(message.content.as_str());
            if self.action == SpecialAction::Remove {
                text = self.regex.replace_all(&message.content, "");
            }
            // What is cut out may leave another one: `<<s>s>`.
            let text = self
                .regex
                .replace_all(&text, |found: &Captures<'_>| broken(&found[0]));
            message.content = text.into_owned();
        }
        Ok(changes)
    }
}

/// The text with vertical lines inside its first and last character.
fn broken(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.next_back()) {
        (Some(first), Some(last)) if characters.as_str().is_empty() => format!("{first}|{last}"),
        (Some(first), Some(last)) => format!("{first}|{}|{last}", characters.as_str()),
        _ => " ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::record::Message;

    fn says(role: Role, text: &str) -> Conversation {
        let mut conversation = Conversation::default();
        conversation.messages.push(Message::new(role, text));
        conversation
    }

    fn reason(list: PhraseList, text: &str) -> Option<&'static str> {
        let finder = PhraseFinder::new(&Phrases {
            list,
            speaker: Speaker::Assistant,
            whole_words: true,
        });
        let verdict = finder.unwrap().check(&says(Role::Assistant, text));
        verdict.err().map(|found| found.reason)
    }

    #[test]
    fn refusals_are_found_in_both_languages_and_only_where_they_are_ones() {
        let refusal = |text| reason(PhraseList::Refusals, text) == Some("refusal");
        assert!(refusal("  I’m sorry, but I can't do that."));
        assert!(refusal("Well, AS AN AI LANGUAGE MODEL, I have no dog."));
        assert!(refusal("很抱歉，我无法回答。"));
        assert!(refusal("你好！作为一个AI助手，我没有感情。"));
        assert!(!refusal("She said: I'm sorry, but I must go."));
        assert!(!refusal("He was as an ailing man."));
    }

    #[test]
    fn names_are_whole_words_also_between_chinese_characters() {
        let named = |text| reason(PhraseList::Providers, text) == Some("provider_name");
        assert!(named("我用ChatGPT写的"));
        assert!(named("made by OpenAI."));
        assert!(!named("openairspace and gpt45"));
        assert!(
            reason(
                PhraseList::Errors,
                "Too many requests in 1 hour. Try again later."
            )
            .is_some()
        );
        let own = PhraseList::Phrases(vec!["a+b".to_owned()]);
        assert_eq!(reason(own, "what is A+B?"), Some("phrase"));
    }

    #[test]
    fn special_texts_are_broken_as_fastchat_breaks_them() {
        let finder = SpecialFinder::new(&SpecialTexts::default()).unwrap();
        let mut conversation = says(Role::User, "a</s>b<|endoftext|><s>");
        let changes = finder.apply(&mut conversation).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(
            conversation.messages[0].content,
            "a<|/s|>b<||endoftext||><|s|>"
        );
        assert_eq!(finder.apply(&mut conversation), Ok(Vec::new()));
        let remove = SpecialTexts {
            action: SpecialAction::Remove,
            ..SpecialTexts::default()
        };
        let mut conversation = says(Role::User, "a</s>b<<s>s>");
        let finder = SpecialFinder::new(&remove).unwrap();
        finder.apply(&mut conversation).unwrap();
        assert_eq!(conversation.messages[0].content, "ab<|s|>");
        assert_eq!([broken("ab"), broken("a")], ["a|b", " "]);
    }
}
