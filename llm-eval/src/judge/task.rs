//! What is judged: questions, answers, and the mode of judging.

use std::collections::BTreeMap;

use super::files::Id;
use crate::error::{Error, Result};

/// A question of one turn or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its identifier.
    pub id: Id,
    /// Its category.
    pub category: String,
    /// What the user says, turn by turn.
    pub turns: Vec<String>,
    /// Reference answers, turn by turn; empty without any.
    pub reference: Vec<String>,
}

impl Question {
    /// A question without a reference.
    pub fn new(id: Id, category: impl Into<String>, turns: Vec<String>) -> Self {
        Self {
            id,
            category: category.into(),
            turns,
            reference: Vec::new(),
        }
    }

    /// Whether there is a reference answer to each turn up to this one, counted from 1.
    fn has_reference(&self, turn: usize) -> bool {
        self.reference.len() >= turn
    }
}

/// A model's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The model.
    pub model: String,
    /// What it says, turn by turn, by question.
    pub turns: BTreeMap<Id, Vec<String>>,
}

impl Answers {
    /// The answers to a question up to a turn, counted from 1.
    pub(super) fn to(&self, question: &Question, turn: usize) -> Result<&[String]> {
        let answers = self.turns.get(&question.id);
        let answers = answers.and_then(|turns| turns.get(..turn));
        answers.ok_or_else(|| Error::MissingAnswer {
            model: self.model.clone(),
            question_id: question.id.to_string(),
            turn,
        })
    }
}

pub(super) fn twice(what: &'static str, name: String) -> Error {
    Error::Twice { what, name }
}

pub(crate) fn check_questions(questions: &[Question]) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    match questions.iter().find(|question| !seen.insert(&question.id)) {
        Some(question) => Err(twice("question", question.id.to_string())),
        None => Ok(()),
    }
}

pub(crate) fn check_models(answers: &[Answers]) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    match answers.iter().find(|answers| !seen.insert(&answers.model)) {
        Some(answers) => Err(twice("model", answers.model.clone())),
        None => Ok(()),
    }
}

/// How answers are judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// Each answer by itself, with one score.
    Single,
    /// Each answer by itself, with a score for each criterion, and their weighted mean.
    Rubric(Vec<Criterion>),
    /// Two answers against each other.
    Pair(Pairing),
}

impl Mode {
    /// `single`, `rubric` or `pair`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Rubric(_) => "rubric",
            Self::Pair(_) => "pair",
        }
    }
}

/// What a rubric looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Criterion {
    /// Its name, in one line.
    pub name: String,
    /// What it means, for the judge.
    pub description: String,
    /// Its weight in the mean, above 0.
    pub weight: f64,
}

/// Which answers meet, and in which orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// Whether each pair is judged a second time with the answers exchanged. Without, a judge's
    /// preference for a place goes unnoticed.
    pub both_orders: bool,
    /// The model that all others meet; without one, every two models meet.
    pub baseline: Option<String>,
}

impl Default for Pairing {
    /// Every two models, in both orders.
    fn default() -> Self {
        Self {
            both_orders: true,
            baseline: None,
        }
    }
}

/// Which questions are judged with their reference answers in view, where they have any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum References {
    /// None.
    Never,
    /// Those of these categories.
    Categories(Vec<String>),
    /// All.
    Always,
}

impl Default for References {
    /// Math, reasoning and coding, as FastChat has it.
    fn default() -> Self {
        Self::Categories(["math", "reasoning", "coding"].map(str::to_owned).to_vec())
    }
}

impl References {
    pub(super) fn shown(&self, question: &Question, turn: usize) -> bool {
        let wanted = match self {
            Self::Never => false,
            Self::Categories(categories) => categories.contains(&question.category),
            Self::Always => true,
        };
        wanted && question.has_reference(turn)
    }
}

/// Which turns of a question are judged. The turns before stand in view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turns {
    /// The first one.
    First,
    /// Each one.
    #[default]
    Each,
    /// The last one.
    Last,
}

impl Turns {
    /// The turns' numbers, from 1.
    pub(super) fn of(self, question: &Question) -> std::ops::RangeInclusive<usize> {
        let last = question.turns.len();
        match self {
            Self::First => 1..=last.min(1),
            Self::Each => 1..=last,
            Self::Last => last.max(1)..=last,
        }
    }
}
