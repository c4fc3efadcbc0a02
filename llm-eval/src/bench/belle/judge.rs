//! A judge of the answers to BELLE's questions.

use std::collections::BTreeMap;
use std::path::Path;

use llm_data::generate::{Estimate, Language, Runner};
use serde_json::Value;

use super::{CLASSES, class_of, class_scores};
use crate::bench::{Task, TaskResult};
use crate::judge::files::{BellePrompt, Id, belle_class, read_rows};
use crate::judge::{Answers, Judge, Judgments, Mode, Prompts, Question, References, Turns};
use crate::verdict::Grammar;
use crate::{Error, Result};

/// The classes whose answers BELLE judges without a reference answer in view.
const FREE: [&str; 3] = ["generation", "brainstorming", "rewrite"];

/// Judges answers to BELLE's questions from 0 to 1, in Chinese: by this crate's own instruction, or by
/// BELLE's instruction for each class. Either way the texts stand between tags with a mark, the instruction
/// behind them, and the reference answer is shown where BELLE's page shows it: except for generation,
/// brainstorming and rewriting.
#[derive(Debug, Clone, PartialEq)]
pub struct BelleJudge {
    /// The judge.
    pub judge: Judge,
    instructions: BTreeMap<String, String>,
}

impl BelleJudge {
    /// A judge with this crate's instruction.
    pub fn new(model: impl Into<String>) -> Self {
        let mut judge = Judge::new(model, Mode::Single);
        judge.grammar = Grammar::Belle;
        judge.prompts = Prompts::builtin(Language::Zh);
        let referenced = CLASSES.iter().filter(|class| !FREE.contains(class));
        judge.references =
            References::Categories(referenced.map(|class| (*class).to_owned()).collect());
        judge.turns = Turns::First;
        Self {
            judge,
            instructions: BTreeMap::new(),
        }
    }

    /// With the instructions of BELLE's `eval_prompt.json`, class by class.
    ///
    /// # Errors
    /// Those of [`read_rows`]; [`Error::Prompt`] for a class that is absent.
    pub fn with_prompts(mut self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        for row in read_rows::<BellePrompt>(path)? {
            let (_, row) = row?;
            self.instructions
                .insert(belle_class(&row.class), row.prompt);
        }
        match CLASSES
            .iter()
            .find(|class| !self.instructions.contains_key(**class))
        {
            None => Ok(self),
            Some(class) => Err(Error::Prompt {
                path: path.to_owned(),
                reason: format!("the class {class} is missing"),
            }),
        }
    }

    /// What judging the answers to the first `limit` questions of `task` would ask and cost, with answers as
    /// long as the reference answers.
    ///
    /// # Errors
    /// Those of [`Judge::estimate`].
    pub fn estimate(
        &self,
        runner: &Runner<'_>,
        task: &Task,
        limit: Option<usize>,
        expected_tokens: u32,
    ) -> Result<Estimate> {
        let items = task.items.iter().take(limit.unwrap_or(usize::MAX));
        let answered = items.enumerate().map(|(id, item)| {
            let reference = item.doc["std_answer"].as_str().unwrap_or_default();
            (id, &item.doc, reference)
        });
        let mut total: Option<Estimate> = None;
        for (judge, questions, answers) in self.classes("", answered) {
            let one = judge.estimate(runner, &questions, &[answers], expected_tokens)?;
            total = Some(total.map_or(one, |total| total.plus(one)));
        }
        Ok(total.unwrap_or_default())
    }

    /// Judges the answers of a run of [`belle::load`](super::load)'s task by `model`. The result gets the
    /// metric `score`, with the classes and `all` as its filters; answers without a verdict are in no mean
    /// and counted as unparsable. Where no answer came ([`unanswered`](crate::bench::Sample::unanswered)) nothing is judged.
    ///
    /// # Errors
    /// Those of [`Judge::run`].
    pub fn run(
        &self,
        runner: &Runner<'_>,
        model: &str,
        result: &mut TaskResult,
    ) -> Result<Judgments> {
        let answered = result.samples.iter().filter(|s| !s.unanswered());
        let answered = answered.map(|sample| {
            let answer = sample.resps[0][0].as_str().unwrap_or_default();
            (sample.doc_id, &sample.doc, answer)
        });
        let mut judgments = Judgments::default();
        for (judge, questions, answers) in self.classes(model, answered) {
            let class = judge.run(runner, &questions, &[answers])?;
            judgments.rows.extend(class.rows);
        }
        judgments
            .rows
            .sort_by(|a, b| a.question_id.cmp(&b.question_id));
        let rows = judgments.rows.iter();
        let scores = rows.map(|row| (&*row.category, row.score));
        enter(result, &scores.collect::<Vec<_>>());
        Ok(judgments)
    }

    /// The judge, questions and answers of each class.
    fn classes<'a>(
        &self,
        model: &str,
        answered: impl Iterator<Item = (usize, &'a Value, &'a str)>,
    ) -> Vec<(Judge, Vec<Question>, Answers)> {
        let mut classes: BTreeMap<&str, (Vec<Question>, Answers)> = BTreeMap::new();
        for (number, doc, answer) in answered {
            let id = Id::Number(i64::try_from(number).unwrap_or(i64::MAX));
            let text = |field: &str| doc[field].as_str().unwrap_or_default().to_owned();
            let reference = text("std_answer");
            let none = || {
                let (model, turns) = (model.to_owned(), BTreeMap::new());
                (Vec::new(), Answers { model, turns })
            };
            let (questions, answers) = classes.entry(class_of(doc)).or_insert_with(none);
            answers.turns.insert(id.clone(), vec![answer.to_owned()]);
            questions.push(Question {
                id,
                category: class_of(doc).to_owned(),
                turns: vec![text("question")],
                reference: match reference.trim().is_empty() {
                    true => Vec::new(),
                    false => vec![reference],
                },
            });
        }
        let judged = |(class, (questions, answers)): (&str, (Vec<Question>, Answers))| {
            let mut judge = self.judge.clone();
            if let Some(instruction) = self.instructions.get(class) {
                judge.prompts = judge.prompts.instructed(instruction);
            }
            (judge, questions, answers)
        };
        classes.into_iter().map(judged).collect()
    }
}

/// Enters the scores of a task's samples that have an answer, which have their order.
fn enter(result: &mut TaskResult, scores: &[(&str, Option<f64>)]) {
    let answered = result.samples.iter_mut().filter(|s| !s.unanswered());
    for (sample, (_, score)) in answered.zip(scores) {
        sample.metrics = score.iter().map(|score| ("score", *score)).collect();
        sample.parsed = score.is_some();
    }
    let classes = class_scores(scores);
    let metric = |class: &super::ClassScore| {
        let key = format!("score,{}", class.class);
        class.mean.map(|mean| (key, mean))
    };
    result.metrics = classes.iter().filter_map(metric).collect();
    let name = |class: &super::ClassScore| {
        let known = CLASSES.into_iter().find(|name| *name == class.class);
        (known.unwrap_or("all"), class.unparsable)
    };
    result.unparsable = classes.iter().map(name).collect();
}
