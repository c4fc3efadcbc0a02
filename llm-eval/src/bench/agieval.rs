//! AGIEval (Zhong et al. 2023): admission and qualification tests in English and Chinese, zero-shot.

use std::path::Path;

use serde_json::{Value, json};

use super::filter::Reader;
use super::table::{At, chosen, jsonl, names};
use super::task::{
    Answers, ChoiceGold, Gold, Item, Output, REPLY_TOKENS, Task, TaskOptions, Variant,
};
use super::{GroupResult, TaskResult, aggregate};
use crate::{Error, Result};

/// What a data set is, which decides its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    chinese: bool,
    /// Answers are free, not chosen.
    cloze: bool,
    /// Several choices may be right.
    several: bool,
}

/// The data sets.
pub const DATASETS: [&str; 21] = [
    "aqua-rat",
    "gaokao-biology",
    "gaokao-chemistry",
    "gaokao-chinese",
    "gaokao-english",
    "gaokao-geography",
    "gaokao-history",
    "gaokao-mathcloze",
    "gaokao-mathqa",
    "gaokao-physics",
    "jec-qa-ca",
    "jec-qa-kd",
    "logiqa-en",
    "logiqa-zh",
    "lsat-ar",
    "lsat-lr",
    "lsat-rc",
    "math",
    "sat-en",
    "sat-en-without-passage",
    "sat-math",
];

fn kind(name: &str) -> Result<Kind> {
    if !DATASETS.contains(&name) {
        return Err(Error::UnknownName {
            what: "data set of AGIEval",
            name: name.to_owned(),
            known: DATASETS.join(", "),
        });
    }
    let chinese = name == "logiqa-zh"
        || name.starts_with("jec-qa")
        || (name.starts_with("gaokao") && name != "gaokao-english");
    Ok(Kind {
        chinese,
        cloze: ["math", "gaokao-mathcloze"].contains(&name),
        several: ["jec-qa-kd", "jec-qa-ca", "gaokao-physics"].contains(&name),
    })
}

/// The data sets of `dir/<name>.jsonl`: objects with passage, question, options (`"(A)…"`), label (a letter
/// or a list of them), answer. Both variants ask with AGIEval's zero-shot prompt. `harness` takes the
/// likeliest choice and counts it right where it is one of the right ones; `official` generates a whole
/// reply ([`Answers::Reply`]), reads the letters, and wants all of the right ones and no other.
///
/// # Errors
/// When a file cannot be read, a row is not as above, shots are asked for, or a name is unknown.
pub fn load(dir: impl AsRef<Path>, options: &TaskOptions) -> Result<Vec<Task>> {
    let dir = dir.as_ref();
    let variant = options
        .variant
        .among(&[Variant::Harness, Variant::Official])?;
    if options.num_fewshot.unwrap_or(0) > 0 {
        let reason = "AGIEval is asked without shots: its files have no examples";
        return Err(Error::Input(reason.to_owned()));
    }
    let mut there = names(dir, ".jsonl")?;
    there.retain(|name| DATASETS.contains(&name.as_str()));
    let answers = match variant {
        Variant::Official => Answers::Reply,
        _ => options.answers,
    };
    let task = |name: &String| {
        let kind = kind(name)?;
        let items = items(&dir.join(format!("{name}.jsonl")), name)?;
        let full = format!("agieval_{}", name.replace('-', "_"));
        Ok(Task {
            alias: name.clone(),
            version: 1.0,
            variant,
            ..Task::zero_shot(full, items, output(kind, answers))
        })
    };
    chosen("data set of AGIEval here", &options.subjects, there)?
        .iter()
        .map(task)
        .collect()
}

fn output(kind: Kind, answers: Answers) -> Output {
    let reader = match kind.cloze {
        true => Reader::AgievalMath,
        false => Reader::AgievalLetters {
            several: kind.several,
        },
    };
    let (until, max_tokens) = match (kind.cloze, answers) {
        (false, Answers::Likelihood) => return Output::Choices,
        (false, Answers::Generated) => (Vec::new(), 32),
        (true, Answers::Likelihood | Answers::Generated) => (vec!["Q:".to_owned()], 32),
        (_, Answers::Reply) => (Vec::new(), REPLY_TOKENS),
    };
    Output::Generate {
        until,
        max_tokens,
        reader,
    }
}

/// The task that completions of one data set are scored as.
pub(super) fn generated(path: &Path, name: &str) -> Result<(Vec<Item>, Output)> {
    Ok((items(path, name)?, output(kind(name)?, Answers::Generated)))
}

fn items(path: &Path, name: &str) -> Result<Vec<Item>> {
    let kind = kind(name)?;
    let rows = jsonl(path)?;
    rows.into_iter()
        .map(|row| {
            let at = At {
                path,
                line: row.line,
            };
            item(at, &row.value, kind)
        })
        .collect()
}

/// `convert_zero_shot` of AGIEval's `dataset_loader.py`.
fn item(at: At<'_>, row: &Value, kind: Kind) -> Result<Item> {
    let passage = at.optional(row, "passage")?.unwrap_or("");
    let question = at.text(row, "question")?;
    let (ask, answer) = match kind.chinese {
        true => ("问题：", "答案："),
        false => ("Q: ", "A: The answer is"),
    };
    if kind.cloze {
        let query = format!("{passage}{ask}{question}\n{answer}");
        let gold = at.text(row, "answer")?;
        return Ok(Item {
            doc: json!({"query": query, "answer": gold}),
            text: query,
            choices: Vec::new(),
            gold: Gold::Text(gold.to_owned()),
        });
    }
    let choices = options(at, row)?;
    let count = match choices.len() {
        1 if kind.chinese => 4,
        1 => 5,
        count => count,
    };
    let last = super::task::letters(count.min(7)).pop().unwrap_or_default();
    let joined = choices.join(" ");
    let query = match kind.chinese {
        true => format!("{passage}{ask}{question} 选项：{joined}\n答案：从A到{last}, 我们应选择"),
        false => format!(
            "{passage}{ask}{question} Answer Choices: {joined}\nA: Among A through {last}, the answer is"
        ),
    };
    let gold = labels(at, row, count)?;
    Ok(Item {
        doc: json!({"query": query, "choices": choices, "gold": gold}),
        text: query,
        gold: Gold::Choice(ChoiceGold::AnyOf(gold)),
        choices,
    })
}

fn options(at: At<'_>, row: &Value) -> Result<Vec<String>> {
    let options = row.get("options").and_then(Value::as_array);
    let texts: Option<Vec<_>> = options.and_then(|options| {
        options
            .iter()
            .map(|option| option.as_str().map(str::to_owned))
            .collect()
    });
    texts
        .filter(|texts| !texts.is_empty())
        .ok_or_else(|| at.error("options", "expected a list of texts, one at least"))
}

fn labels(at: At<'_>, row: &Value, choices: usize) -> Result<Vec<usize>> {
    let letters: Option<Vec<&str>> = match row.get("label") {
        Some(Value::String(letter)) => Some(vec![letter]),
        Some(Value::Array(letters)) => letters.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let letters = letters
        .filter(|letters| !letters.is_empty())
        .ok_or_else(|| at.error("label", "expected a letter or a list of letters"))?;
    let mut found: Vec<usize> = letters
        .into_iter()
        .map(|letter| at.letter("label", letter, choices))
        .collect::<Result<_>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// `agieval`, `agieval_en` and `agieval_cn`, as far as they have results: each question counts the same.
pub fn groups(results: &[TaskResult]) -> Vec<GroupResult> {
    let of = |chinese: Option<bool>| -> Vec<&TaskResult> {
        let inside = |task: &&TaskResult| {
            let kind = task.name.starts_with("agieval_").then(|| kind(&task.alias));
            matches!(kind, Some(Ok(kind)) if chinese.is_none_or(|c| c == kind.chinese))
        };
        results.iter().filter(inside).collect()
    };
    let groups = [
        ("agieval", of(None)),
        ("agieval_en", of(Some(false))),
        ("agieval_cn", of(Some(true))),
    ];
    let there = groups.iter().filter(|(_, tasks)| !tasks.is_empty());
    let mut made: Vec<_> = there
        .map(|(name, tasks)| aggregate(name, name, tasks, true))
        .collect();
    for group in &mut made {
        group
            .metrics
            .retain(|(key, _)| key.starts_with("acc,") || key.starts_with("exact_match,"));
    }
    made
}
