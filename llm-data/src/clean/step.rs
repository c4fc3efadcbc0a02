//! The steps by name, and the presets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::Conversation;
use crate::tokenizer::Tokenizer;

use super::alpaca;
use super::code::{Code, CodeFilter};
use super::html::{Html, strip_leftovers};
use super::minhash::MinHash;
use super::personal::{PersonalData, PersonalFinder};
use super::phrases::{PhraseFinder, PhraseList, Phrases, Speaker, SpecialFinder, SpecialTexts};
use super::simhash::SimHash;
use super::text::{
    Language, LanguageFilter, Length, reject, repeated_digit, strip_controls, wrong_list,
};
use super::turns::{Turns, cut_empty};
use super::verdict::{Found, Verdict};
use super::whole::{Compared, Contamination, Whole};

/// One step of a [`Pipeline`](super::Pipeline), with its options; in a configuration
/// `{"step": "length", "min_words": 3}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Step {
    /// Strips a leading answer and a trailing question; drops a conversation of one message, or in
    /// which user and assistant, who may call functions, do not take turns.
    Turns(Turns),
    /// Drops a conversation with a phrase of a list: refusals, names of providers, one's own.
    Phrases(Phrases),
    /// Makes Markdown of HTML.
    Html(Html),
    /// Removes the labels of ShareGPT's buttons and counters.
    Leftovers {},
    /// Ends a conversation before its first empty message.
    EmptyTurns {},
    /// Breaks up the texts of special tokens and endings, such as `</s>`.
    SpecialTexts(SpecialTexts),
    /// Removes control characters; line ends become line feeds.
    ControlCharacters {},
    /// Drops a conversation with a digit `run` times on end.
    RepeatedDigits {
        /// The shortest run. Default 9.
        #[serde(default = "nine")]
        run: usize,
    },
    /// Drops a conversation with a list that is numbered 1, 1.
    WrongLists {},
    /// Drops conversations by their language.
    Language(Language),
    /// Drops conversations by their length.
    Length(Length),
    /// Drops or mends the faults of Alpaca's data.
    AlpacaFaults {},
    /// Drops conversations whose answers RedPajama would not take for code.
    Code(Code),
    /// Drops a conversation with one of these fields beside its messages, unless it is null.
    WithoutFields {
        /// Their names.
        fields: Vec<String>,
    },
    /// Masks personal data, or drops the conversations that have any.
    PersonalData(PersonalData),
    /// Drops all but the first of the conversations with the same text.
    ExactDuplicates {
        /// The texts that are compared. Default the whole conversations.
        #[serde(default)]
        compare: Compared,
        /// Whether case, punctuation and white space are no difference. Default true.
        #[serde(default = "crate::yes")]
        normalise: bool,
    },
    /// Drops all but the first of each cluster of [`near_duplicates`](super::near_duplicates).
    NearDuplicates {
        /// The texts that are compared. Default the whole conversations.
        #[serde(default)]
        compare: Compared,
        /// How they are.
        #[serde(default)]
        minhash: MinHash,
    },
    /// Drops all but the first of each cluster of [`simhash_duplicates`](super::simhash_duplicates).
    SimhashDuplicates {
        /// The texts that are compared. Default the whole conversations.
        #[serde(default)]
        compare: Compared,
        /// How they are.
        #[serde(default)]
        simhash: SimHash,
    },
    /// Drops conversations that share a text or 13 words on end with an evaluation set.
    Contamination(Contamination),
}

fn nine() -> usize {
    9
}

/// The names of the presets.
const PRESETS: &str = "fastchat, redpajama, redpajama-books, alpaca-cleaned";

impl Step {
    /// The step's name in accounts and configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Turns(_) => "turns",
            Self::Phrases(_) => "phrases",
            Self::Html(_) => "html",
            Self::Leftovers {} => "leftovers",
            Self::EmptyTurns {} => "empty_turns",
            Self::SpecialTexts(_) => "special_texts",
            Self::ControlCharacters {} => "control_characters",
            Self::RepeatedDigits { .. } => "repeated_digits",
            Self::WrongLists {} => "wrong_lists",
            Self::Language(_) => "language",
            Self::Length(_) => "length",
            Self::AlpacaFaults {} => "alpaca_faults",
            Self::Code(_) => "code",
            Self::WithoutFields { .. } => "without_fields",
            Self::PersonalData(_) => "personal_data",
            Self::ExactDuplicates { .. } => "exact_duplicates",
            Self::NearDuplicates { .. } => "near_duplicates",
            Self::SimhashDuplicates { .. } => "simhash_duplicates",
            Self::Contamination(_) => "contamination",
        }
    }

    /// The files that the step reads: a list of phrases, evaluation sets.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Phrases(Phrases {
                list: PhraseList::File(path),
                ..
            }) => vec![path],
            Self::Contamination(options) => {
                options.evaluation.iter().map(PathBuf::as_path).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The steps that others cleaned their data with:
    ///
    /// - `fastchat`: Vicuna's, `clean_sharegpt.py`, then `optional_clean.py --reduce-rep` and
    ///   `filter_wrong_format.py`. Four differences: a message without HTML elements is no HTML and
    ///   stays as it is; names and order are judged in the whole conversation, not only before an
    ///   empty message; the 16 characters that it must have do not include a question before that
    ///   one; conversations are not compared by their id.
    /// - `redpajama`: the rules for GitHub. Needs a tokenizer.
    /// - `redpajama-books`: near-duplicates by SimHash.
    /// - `alpaca-cleaned`: the faults that can be told by rule, and control characters.
    ///
    /// # Errors
    /// [`Error::Option`] for another name.
    pub fn preset(name: &str) -> Result<Vec<Self>> {
        Ok(match name {
            "fastchat" => vec![
                Self::Turns(Turns { keep_system: false }),
                Self::Phrases(Phrases {
                    list: PhraseList::Phrases(vec!["openai".to_owned(), "chatgpt".to_owned()]),
                    speaker: Speaker::Anyone,
                    whole_words: false,
                }),
                Self::Html(Html::default()),
                Self::Leftovers {},
                Self::EmptyTurns {},
                Self::Length(Length {
                    min_characters: Some(16),
                    ..Length::default()
                }),
                Self::WithoutFields {
                    fields: vec!["plugins".to_owned()],
                },
                Self::ExactDuplicates {
                    compare: Compared::FirstTurn,
                    normalise: false,
                },
                Self::RepeatedDigits { run: 9 },
                Self::WrongLists {},
            ],
            "redpajama" => vec![
                Self::ExactDuplicates {
                    compare: Compared::Conversation,
                    normalise: false,
                },
                Self::Code(Code::default()),
            ],
            "redpajama-books" => vec![Self::SimhashDuplicates {
                compare: Compared::Conversation,
                simhash: SimHash::default(),
            }],
            "alpaca-cleaned" => vec![Self::ControlCharacters {}, Self::AlpacaFaults {}],
            _ => return Err(Error::option("preset", PRESETS, name)),
        })
    }

    /// Checks and compiles the step.
    pub(super) fn prepare(&self, tokenizer: Option<&Arc<Tokenizer>>) -> Result<Rule> {
        Ok(match self.clone() {
            Self::Turns(turns) => each(move |one| turns.apply(one)),
            Self::Phrases(options) => {
                let finder = PhraseFinder::new(&options)?;
                each(move |one| finder.check(one))
            }
            Self::Html(html) => each(move |one| html.apply(one)),
            Self::Leftovers {} => each(strip_leftovers),
            Self::EmptyTurns {} => each(cut_empty),
            Self::SpecialTexts(options) => {
                let finder = SpecialFinder::new(&options)?;
                each(move |one| finder.apply(one))
            }
            Self::ControlCharacters {} => each(strip_controls),
            Self::RepeatedDigits { run: 0 } => {
                return Err(Error::option("run", "a number from 1", 0));
            }
            Self::RepeatedDigits { run } => {
                each(move |one| reject(one, "repeated_digits", |text| repeated_digit(text, run)))
            }
            Self::WrongLists {} => each(|one| reject(one, "wrong_list", wrong_list)),
            Self::Language(options) => {
                let filter = LanguageFilter::new(&options)?;
                each(move |one| filter.check(one))
            }
            Self::Length(length) => {
                length.validate()?;
                each(move |one| length.check(one))
            }
            Self::AlpacaFaults {} => each(alpaca::apply),
            Self::Code(options) => {
                let filter = CodeFilter::new(&options, tokenizer)?;
                each(move |one| filter.check(one))
            }
            Self::WithoutFields { fields } => each(move |one| without_fields(one, &fields)),
            Self::PersonalData(options) => {
                let finder = PersonalFinder::new(&options)?;
                each(move |one| finder.apply(one))
            }
            Self::ExactDuplicates { compare, normalise } => Rule::Exact(compare, normalise),
            Self::NearDuplicates { compare, minhash } => {
                minhash.validate()?;
                Rule::Whole(Whole::Near(compare, minhash))
            }
            Self::SimhashDuplicates { compare, simhash } => {
                simhash.validate()?;
                Rule::Whole(Whole::Simhash(compare, simhash))
            }
            Self::Contamination(options) => Rule::Whole(Whole::Contamination(options.load()?)),
        })
    }
}

/// A step that is ready.
pub(super) enum Rule {
    /// Judges each record alone.
    Each(Box<dyn Fn(&mut Conversation) -> Verdict + Send + Sync>),
    /// Drops a record with the text of an earlier one; or, unless the text is normalised, the bytes.
    Exact(Compared, bool),
    /// Judges all of them together.
    Whole(Whole),
}

/// Drops a conversation that has one of the fields.
fn without_fields(conversation: &Conversation, fields: &[String]) -> Verdict {
    let has = |name: &&String| {
        let value = conversation.extra.get(*name);
        value.is_some_and(|value| !value.is_null())
    };
    match fields.iter().find(has) {
        Some(name) => Err(Found::new("field", name.clone())),
        None => Ok(Vec::new()),
    }
}

fn each(rule: impl Fn(&mut Conversation) -> Verdict + Send + Sync + 'static) -> Rule {
    Rule::Each(Box::new(rule))
}
