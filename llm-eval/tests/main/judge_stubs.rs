//! Questions, answers whose worth is known, and judges with known biases.

use std::hash::{DefaultHasher, Hash, Hasher};

use llm_data::generate::{ChatReply, ChatRequest, ModelError, ReplyCache, RunOptions, Runner};
use llm_eval::judge::files::Id;
use llm_eval::judge::{Answers, Question};

pub(crate) const JUDGE: &str = "stub-judge";

pub(crate) fn questions(count: usize) -> Vec<Question> {
    let categories = ["writing", "math"];
    (0..count)
        .map(|number| Question {
            id: Id::Number(number as i64),
            category: categories[number % 2].to_owned(),
            turns: vec![
                format!("Question {number}?"),
                format!("And what of {number}?"),
            ],
            reference: Vec::new(),
        })
        .collect()
}

/// Models whose answers state so many facts, a word each.
pub(crate) fn answers(questions: &[Question], facts: &[(&str, usize)]) -> Vec<Answers> {
    let text = |number: usize, turn: usize, facts: usize| {
        let facts = (0..facts).map(|fact| format!("fact-{number}-{turn}-{fact}"));
        facts.collect::<Vec<_>>().join(" and ")
    };
    facts
        .iter()
        .map(|(model, facts)| Answers {
            model: (*model).to_owned(),
            turns: questions
                .iter()
                .enumerate()
                .map(|(number, question)| {
                    let turns = 0..question.turns.len();
                    let turns = turns.map(|turn| text(number, turn, *facts)).collect();
                    (question.id.clone(), turns)
                })
                .collect(),
        })
        .collect()
}

/// What a judge sees.
pub(crate) struct Seen {
    pub(crate) user: String,
    nonce: String,
}

impl Seen {
    pub(crate) fn of(request: &ChatRequest) -> Self {
        let user = request.messages[1].content.clone();
        let start = user.find("<question").unwrap();
        let tag = &user[start..user[start..].find('>').unwrap() + start];
        let nonce = tag.split(' ').nth(1).unwrap().to_owned();
        assert!(request.messages[0].content.contains(&nonce));
        Self { user, nonce }
    }

    /// The text between a tag and its end.
    pub(crate) fn text(&self, tag: &str) -> Option<&str> {
        let (open, close) = (
            format!("<{tag} {}>\n", self.nonce),
            format!("\n</{tag} {}>", self.nonce),
        );
        let start = self.user.find(&open)? + open.len();
        let end = self.user[start..].find(&close)? + start;
        Some(&self.user[start..end])
    }

    /// The answers, of the last turn: one or two.
    pub(crate) fn answers(&self) -> Vec<&str> {
        let names: &[[&str; 2]] = &[
            ["answer_2", "answer"],
            ["answer_a_2", "answer_a"],
            ["answer_b_2", "answer_b"],
        ];
        let text = |[late, first]: &[&str; 2]| self.text(late).or_else(|| self.text(first));
        names.iter().filter_map(text).collect()
    }

    /// What comes after the material.
    pub(crate) fn instruction(&self) -> &str {
        let end = self.user.rfind(&format!(" {}>\n\n", self.nonce)).unwrap();
        &self.user[end..]
    }
}

/// How many different facts a text states.
pub(crate) fn facts(text: &str) -> usize {
    let words = text
        .split_whitespace()
        .filter(|word| word.starts_with("fact-"));
    words.collect::<std::collections::BTreeSet<_>>().len()
}

pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A judge that gives every answer a worth, and scores or compares by it.
pub(crate) fn by_worth(seen: &Seen, worth: impl Fn(&str) -> f64) -> String {
    match seen.answers()[..] {
        [one] => format!("Rating: [[{}]]", (1.0 + worth(one)).min(10.0)),
        [a, b] if worth(a) > worth(b) => "A it is.\n[[A]]".to_owned(),
        [a, b] if worth(a) < worth(b) => "B it is.\n[[B]]".to_owned(),
        _ => "Neither.\n[[C]]".to_owned(),
    }
}

pub(crate) fn perfect(seen: &Seen) -> String {
    by_worth(seen, |text| facts(text) as f64)
}

/// A model whose reply is made from what it sees.
pub(crate) fn model(
    judge: impl Fn(&Seen) -> String + Sync,
) -> impl Fn(&ChatRequest) -> Result<ChatReply, ModelError> + Sync {
    move |request| Ok(ChatReply::new(judge(&Seen::of(request))))
}

/// Calls `then` with a runner over a cache in memory.
pub(crate) fn with_runner<T>(
    model: &(impl Fn(&ChatRequest) -> Result<ChatReply, ModelError> + Sync),
    workers: usize,
    then: impl FnOnce(&Runner<'_>) -> T,
) -> T {
    let cache = ReplyCache::in_memory().unwrap();
    let options = RunOptions {
        workers,
        ..RunOptions::default()
    };
    then(&Runner::new(model, &cache, options).unwrap())
}
