//! What a benchmark is made of: items, shots, prompts.

use serde_json::Value;

use super::model::LanguageModel;
use super::python::PythonRandom;
use crate::{Error, Result};

/// Which wording of a benchmark's prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// lm-evaluation-harness's.
    #[default]
    Harness,
    /// That of the code published with the benchmark (MMLU).
    Original,
    /// That of the benchmark's own evaluation (C-Eval, AGIEval).
    Official,
}

impl Variant {
    /// The name of options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Harness => "harness",
            Self::Original => "original",
            Self::Official => "official",
        }
    }

    /// The variant of that name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the names that there are.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = [Self::Harness, Self::Original, Self::Official];
        all.into_iter()
            .find(|variant| variant.name() == name)
            .ok_or_else(|| unknown(name, &all))
    }

    /// Itself, where a benchmark has it.
    pub(super) fn among(self, known: &[Self]) -> Result<Self> {
        match known.contains(&self) {
            true => Ok(self),
            false => Err(unknown(self.name(), known)),
        }
    }
}

fn unknown(name: &str, known: &[Variant]) -> Error {
    Error::UnknownName {
        what: "prompt variant here",
        name: name.to_owned(),
        known: known
            .iter()
            .map(|v| v.name())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// How the answer to a multiple-choice question is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// The likeliest of the choices.
    #[default]
    Likelihood,
    /// The letter in what a model writes behind the prompt, to the end of the line: the harness's
    /// `mmlu_generative`, and the same for C-Eval and AGIEval (32 tokens, as the harness's AGIEval has).
    Generated,
    /// The letter in the whole reply of a chat model, which may think aloud first: up to 1024 tokens,
    /// ended by no text.
    Reply,
}

/// The most tokens of [`Answers::Reply`].
pub(super) const REPLY_TOKENS: usize = 1024;

/// What all loaders take.
#[derive(Debug, Clone, Default)]
pub struct TaskOptions {
    /// The prompt's wording.
    pub variant: Variant,
    /// How choices are answered. GSM8K, AGIEval's free answers and its `official` are generated in any case.
    pub answers: Answers,
    /// Shots before the question; the benchmark's own number where `None`.
    pub num_fewshot: Option<usize>,
    /// The subjects; all that have a file where empty.
    pub subjects: Vec<String>,
}

/// The right choice, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChoiceGold {
    /// The one right choice.
    One(usize),
    /// The right choices, in order: by likelihoods any of them is right, in words all of them are.
    AnyOf(Vec<usize>),
}

/// The right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gold {
    /// Numbers of choices, from 0.
    Choice(ChoiceGold),
    /// A text.
    Text(String),
    /// Withheld, or there is none.
    Unknown,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The question as it is in the data.
    pub doc: Value,
    /// Its text in a prompt, without the answer.
    pub text: String,
    /// What is to be chosen from; empty where the answer is free.
    pub choices: Vec<String>,
    /// The right answer.
    pub gold: Gold,
}

impl Item {
    /// The answer as a shot gives it.
    fn answer(&self) -> Option<&str> {
        match &self.gold {
            Gold::Choice(ChoiceGold::One(index)) => self.choices.get(*index).map(String::as_str),
            Gold::Choice(ChoiceGold::AnyOf(_)) | Gold::Unknown => None,
            Gold::Text(text) => Some(text),
        }
    }
}

/// How shots are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// The first ones, the same for each question.
    FirstN,
    /// Python's `random.Random(seed).sample`, anew for each question: the harness's default, with seed 1234.
    Random(u32),
}

/// How a task is answered and scored.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Log-likelihoods of the choices: acc, acc_norm (by characters), acc_bytes.
    Choices,
    /// A generated text, read by each of the filters.
    Generate {
        /// Texts that end it.
        until: Vec<String>,
        /// The most tokens.
        max_tokens: usize,
        /// How it is read.
        reader: super::filter::Reader,
    },
}

/// A benchmark, or one subject of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name in the harness: `mmlu_anatomy`.
    pub name: String,
    /// Its short name in tables.
    pub alias: String,
    /// The version of the harness's task, or 0.
    pub version: f64,
    /// The prompt's wording.
    pub variant: Variant,
    /// What stands before the shots.
    pub description: String,
    /// What stands between a question and its answer.
    pub target_delimiter: &'static str,
    /// What stands behind each shot.
    pub fewshot_delimiter: &'static str,
    /// Where shots come from.
    pub shots: Vec<Item>,
    /// How many.
    pub num_fewshot: usize,
    /// How they are drawn.
    pub sampler: Sampler,
    /// Whether shots are left out, from the last, until a prompt fits the model's window (MMLU's
    /// original code) instead of cutting off the prompt's beginning.
    pub fewer_shots_to_fit: bool,
    /// The questions.
    pub items: Vec<Item>,
    /// How they are answered and scored.
    pub output: Output,
}

impl Task {
    /// A task without shots, laid out as the harness does by default; its short name is its name.
    pub(super) fn zero_shot(name: String, items: Vec<Item>, output: Output) -> Self {
        Self {
            alias: name.clone(),
            name,
            version: 0.0,
            variant: Variant::Harness,
            description: String::new(),
            target_delimiter: " ",
            fewshot_delimiter: "\n\n",
            shots: Vec::new(),
            num_fewshot: 0,
            sampler: Sampler::FirstN,
            fewer_shots_to_fit: false,
            items,
            output,
        }
    }

    /// Whether a model can do it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where choices are compared, and the model gives no log-probabilities.
    pub fn check(&self, model: &dyn LanguageModel) -> Result<()> {
        match self.output == Output::Choices && model.tokens().is_none() {
            false => Ok(()),
            true => Err(Error::Unsupported {
                model: model.name().to_owned(),
                reason: format!(
                    "the task `{}` compares log-probabilities of its choices, which a chat model does not \
                     give; have the answers generated instead, or take a model of this machine",
                    self.name
                ),
            }),
        }
    }

    /// The prompts of the first `limit` questions, in order, each with the shots it was drawn.
    ///
    /// # Errors
    /// [`Error::Shots`] when there are not enough examples, or one has no answer.
    pub fn prompts(&self, limit: Option<usize>) -> Result<Vec<Prompt<'_>>> {
        let mut random = match self.sampler {
            Sampler::FirstN => None,
            Sampler::Random(seed) => Some(PythonRandom::new(seed)),
        };
        let too_few = || Error::Shots {
            task: self.name.clone(),
            asked: self.num_fewshot,
            available: self.shots.len(),
        };
        let mut prompts = Vec::new();
        for item in self.items.iter().take(limit.unwrap_or(usize::MAX)) {
            let (count, there) = (self.num_fewshot, self.shots.len());
            let drawn = match &mut random {
                _ if count == 0 => Vec::new(),
                Some(random) => random.sample(there, count).ok_or_else(too_few)?,
                None if count <= there => (0..count).collect(),
                None => return Err(too_few()),
            };
            let shots: Option<Vec<_>> = drawn
                .into_iter()
                .map(|index| {
                    let shot = &self.shots[index];
                    let (delimiter, end) = (self.target_delimiter, self.fewshot_delimiter);
                    Some(format!("{}{delimiter}{}{end}", shot.text, shot.answer()?))
                })
                .collect();
            prompts.push(Prompt {
                description: &self.description,
                shots: shots.ok_or_else(too_few)?,
                item,
            });
        }
        Ok(prompts)
    }
}

/// A question's prompt in its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt<'a> {
    /// What stands before the shots.
    pub description: &'a str,
    /// The shots, with their answers and what stands behind them.
    pub shots: Vec<String>,
    /// The question.
    pub item: &'a Item,
}

impl Prompt<'_> {
    /// The whole text, the answer excluded.
    pub fn text(&self) -> String {
        format!(
            "{}{}{}",
            self.description,
            self.shots.concat(),
            self.item.text
        )
    }
}

/// `A`, `B`, … for `count` choices.
pub(super) fn letters(count: usize) -> Vec<String> {
    ('A'..='Z').take(count).map(String::from).collect()
}
