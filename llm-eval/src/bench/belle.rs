//! BELLE's evaluation set (Ji et al. 2023): 1000 open questions in Chinese, scored by a judge.

mod judge;

use std::path::Path;

use serde_json::Value;

use super::filter::Reader;
use super::metric::Estimate;
use super::table::{At, jsonl};
use super::task::{Gold, Item, Output, Task, Variant};
use crate::judge::files::belle_class;
use crate::verdict::{Grammar, Parsed, Verdict, parse};
use crate::{Error, Result};

pub use judge::BelleJudge;

/// The classes as the prompts file and reports write them.
pub const CLASSES: [&str; 11] = [
    "math",
    "code",
    "classification",
    "extract",
    "open qa",
    "closed qa",
    "generation",
    "brainstorming",
    "rewrite",
    "translation",
    "summarization",
];

/// The set as a task that generates answers, without shots: JSONL with question, class, std_answer. The
/// questions' `class` is normalised.
///
/// # Errors
/// When the file cannot be read, or a field is absent.
pub fn load(path: impl AsRef<Path>) -> Result<Task> {
    let output = Output::Generate {
        until: Vec::new(),
        max_tokens: 1024,
        reader: Reader::Free,
    };
    Ok(Task {
        variant: Variant::Official,
        target_delimiter: "",
        fewshot_delimiter: "",
        ..Task::zero_shot("belle".to_owned(), items(path.as_ref())?, output)
    })
}

fn items(path: &Path) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for mut row in jsonl(path)? {
        let at = At {
            path,
            line: row.line,
        };
        let class = belle_class(at.text(&row.value, "class")?);
        if !CLASSES.contains(&class.as_str()) {
            let reason = format!("`{class}` is none of {}", CLASSES.join(", "));
            return Err(at.error("class", reason));
        }
        row.value["class"] = Value::String(class);
        let gold = at.optional(&row.value, "std_answer")?;
        items.push(Item {
            text: at.text(&row.value, "question")?.to_owned(),
            choices: Vec::new(),
            gold: gold.map_or(Gold::Unknown, |answer| Gold::Text(answer.to_owned())),
            doc: row.value,
        });
    }
    Ok(items)
}

/// The score that a judge gives: the number from 0 to 1 behind the last `得分:` ([`Grammar::Belle`]).
pub fn judge_score(reply: &str) -> Option<f64> {
    match parse(&Grammar::Belle, reply) {
        Parsed::Verdict(Verdict::Score(score)) => Some(score),
        _ => None,
    }
}

/// The mean of a class's scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassScore {
    /// The class.
    pub class: String,
    /// Questions in it.
    pub questions: usize,
    /// Replies without a score; they are in no mean.
    pub unparsable: usize,
    /// The mean; `None` where nothing was scored.
    pub mean: Option<Estimate>,
}

/// The judge's replies to the questions of `task`, class by class; the last entry, `all`, is over all
/// questions.
///
/// # Errors
/// When there is not one reply for each question.
pub fn score_replies(task: &Task, replies: &[String]) -> Result<Vec<ClassScore>> {
    if replies.len() != task.items.len() {
        return Err(Error::Count {
            what: "judge's replies".to_owned(),
            expected: task.items.len(),
            got: replies.len(),
        });
    }
    let rows = task.items.iter().zip(replies);
    let rows = rows.map(|(item, reply)| (class_of(&item.doc), judge_score(reply)));
    Ok(class_scores(&rows.collect::<Vec<_>>()))
}

/// The class of a question that [`load`] read.
fn class_of(doc: &Value) -> &str {
    doc["class"].as_str().unwrap_or_default()
}

/// The means of scores, class by class, and of all.
fn class_scores(rows: &[(&str, Option<f64>)]) -> Vec<ClassScore> {
    let score = |class: Option<&str>| {
        let inside = rows.iter().filter(|(of, _)| class.is_none_or(|c| c == *of));
        let scores: Vec<_> = inside.map(|(_, score)| *score).collect();
        let read: Vec<f64> = scores.iter().copied().flatten().collect();
        ClassScore {
            class: class.unwrap_or("all").to_owned(),
            questions: scores.len(),
            unparsable: scores.len() - read.len(),
            mean: (!read.is_empty()).then(|| Estimate::of(&read)),
        }
    };
    let classes = CLASSES.iter().map(|class| score(Some(class)));
    let there = classes.filter(|class| class.questions > 0);
    there.chain([score(None)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_classes_are_read() {
        assert_eq!(judge_score("得分: 0.8"), Some(0.8));
        assert_eq!(judge_score("得分：0.2，改为得分：1。"), Some(1.0));
        assert_eq!(judge_score("得分: 80"), None);
        assert_eq!(judge_score("很好"), None);
        assert_eq!(belle_class("closed\u{a0}QA"), "closed qa");
    }
}
