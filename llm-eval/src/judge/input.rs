//! Questions and answers from the files of the published evaluations.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::files::{self, AlpacaOutput, Id, Place, Row, read_rows};
use super::task::{Answers, Question, check_questions, twice};
use crate::error::{Error, Result};

/// Reads questions, and where `references` is given the answers there, which replace those of the
/// questions' own. The layouts are told by their fields, record by record:
///
/// | layout | fields | identifier, category, reference |
/// |---|---|---|
/// | FastChat's `question.jsonl` | `question_id`, `category`, `turns` | as they are; `reference` |
/// | Vicuna's `question.jsonl` | `question_id`, `category`, `text` | as they are |
/// | AlpacaEval's outputs, JSON | `instruction`, `output`, `generator` | the instruction; `dataset` |
/// | Arena-Hard's `question.jsonl` | `question_id`, `turns` of objects; `uid`, `prompt` | as they are |
/// | BELLE's set | `question`, `std_answer`, `class` | the question; `class`; `std_answer` |
///
/// # Errors
/// Those of [`read_rows`]; [`Error::Field`] for a record of none of these layouts; [`Error::Twice`]
/// for a question that occurs twice.
pub fn read_questions(path: impl AsRef<Path>, references: Option<&Path>) -> Result<Vec<Question>> {
    let rows = read_rows::<Question>(path)?;
    let mut questions = rows
        .map(|row| Ok(row?.1))
        .collect::<Result<Vec<Question>>>()?;
    check_questions(&questions)?;
    if let Some(references) = references {
        let mut turns = BTreeMap::new();
        for answers in read_answers(references)? {
            turns.extend(answers.turns);
        }
        for question in &mut questions {
            if let Some(reference) = turns.remove(&question.id) {
                question.reference = reference;
            }
        }
    }
    Ok(questions)
}

/// Reads answers, by model, in the order in which the models come first: FastChat's and Arena-Hard's
/// `model_answer/<model>.jsonl` (of several choices the first), Vicuna's `answer_<model>.jsonl`, or
/// AlpacaEval's outputs.
///
/// # Errors
/// Those of [`read_rows`]; [`Error::Field`] for a record of none of these layouts or an answer
/// without choices, [`Error::Twice`] for two answers of a model to one question.
pub fn read_answers(path: impl AsRef<Path>) -> Result<Vec<Answers>> {
    let mut models: Vec<Answers> = Vec::new();
    for row in read_rows::<Answer>(path)? {
        let answer = row?.1;
        let place = models.iter().position(|model| model.model == answer.model);
        let place = place.unwrap_or_else(|| {
            models.push(Answers {
                model: answer.model.clone(),
                turns: BTreeMap::new(),
            });
            models.len() - 1
        });
        let name = format!("{}'s answer to question {}", answer.model, answer.question);
        let known = models[place].turns.insert(answer.question, answer.turns);
        if known.is_some() {
            return Err(twice("", name));
        }
    }
    Ok(models)
}

impl Row for Question {
    fn from_object(object: Map<String, Value>, place: Place<'_>) -> Result<Self> {
        let has = |field: &str| object.contains_key(field);
        let of_objects = |turns: &Value| turns[0].is_object();
        if object.get("turns").is_some_and(of_objects) {
            let row = files::ArenaQuestionV01::from_object(object, place)?;
            let turns = row.turns.into_iter().map(|turn| turn.content).collect();
            Ok(Self::new(row.question_id, row.category, turns))
        } else if has("uid") {
            let row = files::ArenaQuestionV20::from_object(object, place)?;
            Ok(Self::new(row.uid, row.category, vec![row.prompt]))
        } else if has("instruction") {
            let row = AlpacaOutput::from_object(object, place)?;
            let category = row.dataset.unwrap_or_default();
            let id = Id::Text(row.instruction.clone());
            Ok(Self::new(id, category, vec![row.instruction]))
        } else if has("std_answer") {
            let row = files::BelleItem::from_object(object, place)?;
            let id = Id::Text(row.question.clone());
            Ok(Self {
                reference: vec![row.std_answer],
                ..Self::new(id, files::belle_class(&row.class), vec![row.question])
            })
        } else if has("text") {
            let row = files::VicunaQuestion::from_object(object, place)?;
            Ok(Self::new(row.question_id, row.category, vec![row.text]))
        } else {
            let row = files::Question::from_object(object, place)?;
            Ok(Self {
                reference: row.reference.unwrap_or_default(),
                ..Self::new(row.question_id, row.category, row.turns)
            })
        }
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        let reference = (!self.reference.is_empty()).then(|| self.reference.clone());
        let row = files::Question {
            question_id: self.id.clone(),
            category: self.category.clone(),
            turns: self.turns.clone(),
            reference,
            extra: Map::new(),
        };
        row.to_object()
    }
}

/// A model's answer to a question.
struct Answer {
    question: Id,
    model: String,
    turns: Vec<String>,
}

impl Row for Answer {
    fn from_object(mut object: Map<String, Value>, place: Place<'_>) -> Result<Self> {
        let has = |field: &str| object.contains_key(field);
        if has("instruction") {
            let row = AlpacaOutput::from_object(object, place)?;
            Ok(Self {
                question: Id::Text(row.instruction),
                model: row.generator,
                turns: vec![row.output],
            })
        } else if has("uid") {
            let row = files::ArenaAnswer::from_object(object, place)?;
            let turns = row.messages.iter().filter(|one| one.role == "assistant");
            let text = |content: &Value| {
                let text = content.as_str().or_else(|| content["answer"].as_str());
                text.map(str::to_owned)
            };
            let turns = turns.map(|one| text(&one.content)).collect::<Option<_>>();
            let wrong = || wrong("messages", "expected texts or `{answer: text}`", place);
            Ok(Self {
                turns: turns.ok_or_else(wrong)?,
                question: row.uid,
                model: row.model,
            })
        } else if has("text") {
            let row = files::VicunaAnswer::from_object(object, place)?;
            Ok(Self {
                question: row.question_id,
                model: row.model_id,
                turns: vec![row.text],
            })
        } else {
            plain_turns(&mut object);
            let row = files::ModelAnswer::from_object(object, place)?;
            let choice = row.choices.into_iter().next();
            let choice = choice.ok_or_else(|| wrong("choices", "no choice", place))?;
            Ok(Self {
                question: row.question_id,
                model: row.model_id,
                turns: choice.turns,
            })
        }
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        let row = files::ModelAnswer {
            question_id: self.question.clone(),
            answer_id: String::new(),
            model_id: self.model.clone(),
            choices: vec![files::Choice {
                index: 0,
                turns: self.turns.clone(),
                extra: Map::new(),
            }],
            tstamp: None,
            extra: Map::new(),
        };
        row.to_object()
    }
}

/// Arena-Hard v0.1's turns `{content: text}` as FastChat has them, texts.
fn plain_turns(object: &mut Map<String, Value>) {
    let choices = object.get_mut("choices").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten() {
        let turns = choice.get_mut("turns").and_then(Value::as_array_mut);
        for turn in turns.into_iter().flatten() {
            if let Some(content) = turn.get("content").filter(|content| content.is_string()) {
                *turn = json!(content);
            }
        }
    }
}

fn wrong(field: &str, reason: &str, place: Place<'_>) -> Error {
    Error::Field {
        path: place.path.to_owned(),
        line: place.line,
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}
