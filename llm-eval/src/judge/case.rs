//! What a judge is shown at a time, as a prompt: the crate's own, or FastChat's.

use llm_data::generate::fill_fields;
use llm_data::{Message, Role};

use super::judgment::{Judged, Order};
use super::run::Judge;
use super::task::{Mode, Question};
use crate::error::{Error, Result};

/// A model's answers up to the turn that is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) model: &'a str,
    pub(super) turns: &'a [String],
}

/// The answer that is judged, or both.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown<'a> {
    One(Side<'a>),
    Two([Side<'a>; 2], Order),
}

impl<'a> Shown<'a> {
    pub(super) fn judged(&self) -> Judged {
        match self {
            Self::One(side) => Judged::One {
                model: side.model.to_owned(),
            },
            Self::Two([a, b], order) => Judged::Two {
                model_a: a.model.to_owned(),
                model_b: b.model.to_owned(),
                order: *order,
            },
        }
    }

    fn sides(&self) -> Vec<(&'static str, Side<'a>)> {
        match self {
            Self::One(side) => vec![("answer", *side)],
            Self::Two([a, b], _) => vec![("answer_a", *a), ("answer_b", *b)],
        }
    }
}

/// A judgment to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) question: &'a Question,
    /// The turn that is judged, from 1.
    pub(super) turn: usize,
    pub(super) shown: Shown<'a>,
}

/// A judgment's prompt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prompted {
    pub(super) name: String,
    pub(super) referenced: bool,
    pub(super) system: String,
    pub(super) user: String,
}

impl Prompted {
    pub(super) fn messages(&self) -> Vec<Message> {
        vec![
            Message::new(Role::System, self.system.clone()),
            Message::new(Role::User, self.user.clone()),
        ]
    }

    /// The BLAKE3 hash of both messages, in hex.
    pub(super) fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        update(&mut hasher, &self.system);
        update(&mut hasher, &self.user);
        hasher.finalize().to_hex().to_string()
    }
}

fn update(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

impl Judge {
    /// The prompt of a judgment.
    pub(super) fn prompt(&self, case: &Case<'_>) -> Result<Prompted> {
        let referenced = self.references.shown(case.question, case.turn);
        match self.prompts.fastchat_prompts() {
            Some(_) => self.fastchat_prompt(case, referenced),
            None => self.own_prompt(case, referenced),
        }
    }

    fn own_prompt(&self, case: &Case<'_>, referenced: bool) -> Result<Prompted> {
        let texts = tagged(case, referenced);
        let nonce = nonce(self.seed, &texts);
        let block = |(tag, text): &(String, &str)| {
            format!("<{tag} {nonce}>\n{}\n</{tag} {nonce}>", text.trim_end())
        };
        let material = texts.iter().map(block).collect::<Vec<_>>().join("\n\n");
        let mut notes = String::new();
        for (name, applies) in [("reference", referenced), ("turns", case.turn > 1)] {
            if applies {
                notes += &self.prompts.fill(name, &[]);
                notes += "\n\n";
            }
        }
        let fields = [
            ("nonce", &*nonce),
            ("material", &material),
            ("notes", &notes),
            ("form", &self.form()?.text(&self.prompts, &self.mode)),
            ("criteria", &criteria(&self.mode)),
        ];
        let name = self.mode.name();
        Ok(Prompted {
            name: name.to_owned(),
            referenced,
            system: self.prompts.fill("system", &fields),
            user: self.prompts.fill(name, &fields),
        })
    }

    fn fastchat_prompt(&self, case: &Case<'_>, referenced: bool) -> Result<Prompted> {
        let wrong = |reason| Error::JudgeOption {
            option: "prompts",
            reason,
        };
        if case.turn > 2 {
            let reason = "FastChat's prompts are for one turn or two; judge the first turn only, or \
                          use others";
            return Err(wrong(reason.to_owned()));
        }
        let mut name = match (&self.mode, referenced) {
            (Mode::Pair(_), false) => "pair-v2",
            (Mode::Pair(_), true) => "pair-math-v1",
            (_, false) => "single-v1",
            (_, true) => "single-math-v1",
        }
        .to_owned();
        if case.turn == 2 {
            name += "-multi-turn";
        }
        let prompts = self.prompts.fastchat_prompts();
        let prompt = prompts.and_then(|prompts| prompts.get(&name));
        let prompt = prompt.ok_or_else(|| wrong(format!("FastChat's file has no {name}")))?;
        let fields = fastchat_fields(case, referenced);
        let fields: Vec<_> = fields.iter().map(|(name, text)| (&**name, *text)).collect();
        Ok(Prompted {
            referenced,
            system: prompt.system_prompt.clone(),
            user: fill_fields(&prompt.prompt_template, ["{", "}"], &fields),
            name,
        })
    }
}

/// The texts with their tags, turn by turn: question, reference, answers. With several turns, tags
/// are numbered.
fn tagged<'a>(case: &Case<'a>, referenced: bool) -> Vec<(String, &'a str)> {
    let mut texts = Vec::new();
    for turn in 1..=case.turn {
        let tag = |name: &str| match case.turn {
            1 => name.to_owned(),
            _ => format!("{name}_{turn}"),
        };
        texts.push((tag("question"), &*case.question.turns[turn - 1]));
        if referenced {
            texts.push((tag("reference"), &*case.question.reference[turn - 1]));
        }
        for (name, side) in case.shown.sides() {
            texts.push((tag(name), &*side.turns[turn - 1]));
        }
    }
    texts
}

/// A mark of 64 bits that no text has. It is drawn from the seed and from all the texts, so that not
/// even who knows the seed can write an answer that holds its own mark.
fn nonce(seed: u64, texts: &[(String, &str)]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    texts.iter().for_each(|(_, text)| update(&mut hasher, text));
    let mut draws = hasher.finalize_xof();
    loop {
        let mut draw = [0; 8];
        draws.fill(&mut draw);
        let nonce = format!("{:016x}", u64::from_le_bytes(draw));
        if texts.iter().all(|(_, text)| !text.contains(&nonce)) {
            return nonce;
        }
    }
}

/// A line for each criterion of a rubric.
fn criteria(mode: &Mode) -> String {
    let Mode::Rubric(criteria) = mode else {
        return String::new();
    };
    let lines = criteria
        .iter()
        .map(|criterion| match criterion.description.trim() {
            "" => format!("- {}", criterion.name),
            description => format!("- {}: {description}", criterion.name),
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// `question`, `answer`, `answer_a`, `answer_b` of the first turn; with a number for each turn;
/// `ref_answer_1`, `ref_answer_2`.
fn fastchat_fields<'a>(case: &Case<'a>, referenced: bool) -> Vec<(String, &'a str)> {
    let question = case.question;
    let mut fields = vec![("question".to_owned(), &*question.turns[0])];
    for (name, side) in case.shown.sides() {
        fields.push((name.to_owned(), &*side.turns[0]));
    }
    for turn in 1..=case.turn {
        fields.push((format!("question_{turn}"), &*question.turns[turn - 1]));
        if referenced {
            let reference = &*question.reference[turn - 1];
            fields.push((format!("ref_answer_{turn}"), reference));
        }
        for (name, side) in case.shown.sides() {
            fields.push((format!("{name}_{turn}"), &*side.turns[turn - 1]));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_that_stands_in_a_text_is_drawn_anew() {
        let texts = |text| vec![("answer".to_owned(), text)];
        let first = nonce(7, &texts("x"));
        assert_eq!(first, nonce(7, &texts("x")));
        assert_ne!(first, nonce(8, &texts("x")));
        // Whoever writes the nonce into the text gets another one.
        assert_ne!(first, nonce(7, &texts(&first)));
    }
}
