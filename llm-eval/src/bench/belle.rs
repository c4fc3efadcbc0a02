//! BELLE's evaluation set (Ji et al. 2023): 1000 open questions in Chinese, scored by a judge.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::filter::Reader;
use super::metric::Estimate;
use super::table::{At, jsonl};
use super::task::{Gold, Item, Output, Sampler, Task, Variant};
use crate::judge::files::belle_class;
use crate::{Error, Result};

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
    Ok(Task {
        name: "belle".to_owned(),
        alias: "belle".to_owned(),
        version: 0.0,
        variant: Variant::Official,
        description: String::new(),
        target_delimiter: "",
        fewshot_delimiter: "",
        shots: Vec::new(),
        num_fewshot: 0,
        sampler: Sampler::FirstN,
        fewer_shots_to_fit: false,
        items: items(path.as_ref())?,
        output: Output::Generate {
            until: Vec::new(),
            max_tokens: 1024,
            reader: Reader::Free,
        },
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

static SCORE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"得分\s*[:：]\s*([0-9]+(?:\.[0-9]+)?)").ok());

/// The score that a judge gives: the number from 0 to 1 behind the last `得分:`.
pub fn judge_score(reply: &str) -> Option<f64> {
    let found = SCORE.as_ref()?.captures_iter(reply).last()?;
    let score: f64 = found.get(1)?.as_str().parse().ok()?;
    (0.0..=1.0).contains(&score).then_some(score)
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
    let rows: Vec<_> = task.items.iter().zip(replies).collect();
    let score = |class: Option<&str>| {
        let inside = rows
            .iter()
            .filter(|(item, _)| class.is_none_or(|c| item.doc["class"] == c));
        let scores: Vec<_> = inside.map(|(_, reply)| judge_score(reply)).collect();
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
    Ok(there.chain([score(None)]).collect())
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
