//! MMLU (Hendrycks et al. 2021): 57 subjects, four choices, five shots from `dev`.

use std::path::Path;

use serde_json::json;

use super::filter::Reader;
use super::table::{At, chosen, csv, names};
use super::task::{
    Answers, ChoiceGold, Gold, Item, Output, REPLY_TOKENS, Sampler, Task, TaskOptions, Variant,
    letters,
};
use super::{GroupResult, TaskResult, aggregate, python};
use crate::Result;

/// The categories: the harness's name, and the subjects in it.
pub const CATEGORIES: [(&str, &[&str]); 4] = [
    (
        "stem",
        &[
            "abstract_algebra",
            "anatomy",
            "astronomy",
            "college_biology",
            "college_chemistry",
            "college_computer_science",
            "college_mathematics",
            "college_physics",
            "computer_security",
            "conceptual_physics",
            "electrical_engineering",
            "elementary_mathematics",
            "high_school_biology",
            "high_school_chemistry",
            "high_school_computer_science",
            "high_school_mathematics",
            "high_school_physics",
            "high_school_statistics",
            "machine_learning",
        ],
    ),
    (
        "other",
        &[
            "business_ethics",
            "clinical_knowledge",
            "college_medicine",
            "global_facts",
            "human_aging",
            "management",
            "marketing",
            "medical_genetics",
            "miscellaneous",
            "nutrition",
            "professional_accounting",
            "professional_medicine",
            "virology",
        ],
    ),
    (
        "social_sciences",
        &[
            "econometrics",
            "high_school_geography",
            "high_school_government_and_politics",
            "high_school_macroeconomics",
            "high_school_microeconomics",
            "high_school_psychology",
            "human_sexuality",
            "professional_psychology",
            "public_relations",
            "security_studies",
            "sociology",
            "us_foreign_policy",
        ],
    ),
    (
        "humanities",
        &[
            "formal_logic",
            "high_school_european_history",
            "high_school_us_history",
            "high_school_world_history",
            "international_law",
            "jurisprudence",
            "logical_fallacies",
            "moral_disputes",
            "moral_scenarios",
            "philosophy",
            "prehistory",
            "professional_law",
            "world_religions",
        ],
    ),
];

/// The subjects of `dir/test/<subject>_test.csv`, each with its shots from `dir/dev/<subject>_dev.csv`:
/// CSV without a header, question, four choices, letter. Variants: `harness`, and `original`, whose
/// description has two spaces behind "about", whose questions are not stripped, and which leaves out
/// shots until a prompt fits the model.
///
/// # Errors
/// When a file cannot be read, a row is not as above, or a subject or the variant is unknown.
pub fn load(dir: impl AsRef<Path>, options: &TaskOptions) -> Result<Vec<Task>> {
    let dir = dir.as_ref();
    let variant = options
        .variant
        .among(&[Variant::Harness, Variant::Original])?;
    let there = names(&dir.join("test"), "_test.csv")?;
    let num_fewshot = options.num_fewshot.unwrap_or(5);
    let task = |subject: &String| {
        let words = subject.replace('_', " ");
        let space = if variant == Variant::Original {
            "  "
        } else {
            " "
        };
        Ok(Task {
            name: format!("mmlu_{subject}"),
            alias: subject.clone(),
            version: 1.0,
            variant,
            description: format!(
                "The following are multiple choice questions (with answers) about{space}{words}.\n\n"
            ),
            target_delimiter: " ",
            fewshot_delimiter: "\n\n",
            shots: match num_fewshot {
                0 => Vec::new(),
                _ => items(&dir.join("dev").join(format!("{subject}_dev.csv")), variant)?,
            },
            num_fewshot,
            sampler: Sampler::FirstN,
            fewer_shots_to_fit: variant == Variant::Original,
            items: items(
                &dir.join("test").join(format!("{subject}_test.csv")),
                variant,
            )?,
            output: output(options.answers),
        })
    };
    chosen("subject of MMLU here", &options.subjects, there)?
        .iter()
        .map(task)
        .collect()
}

/// How choices named by letters are answered: the harness's `mmlu` or `mmlu_generative`, or a reply.
pub(super) fn output(answers: Answers) -> Output {
    let (until, max_tokens) = match answers {
        Answers::Likelihood => return Output::Choices,
        Answers::Generated => (vec!["</s>".to_owned(), "\n".to_owned()], 256),
        Answers::Reply => (Vec::new(), REPLY_TOKENS),
    };
    Output::Generate {
        until,
        max_tokens,
        reader: Reader::Letters,
    }
}

/// The questions of one file.
pub(super) fn items(path: &Path, variant: Variant) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for row in csv(path)? {
        let at = At {
            path,
            line: row.line,
        };
        let [question, a, b, c, d, answer] = &row.value[..] else {
            let reason = format!("expected 6 columns, got {}", row.value.len());
            return Err(at.error("question", reason));
        };
        let gold = at.letter("answer", answer, 4)?;
        let text = match variant {
            Variant::Original => question.as_str(),
            _ => python::strip(question),
        };
        items.push(Item {
            text: format!("{text}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"),
            doc: json!({"question": question, "choices": [a, b, c, d], "answer": gold}),
            choices: letters(4),
            gold: Gold::Choice(ChoiceGold::One(gold)),
        });
    }
    Ok(items)
}

/// The categories that have results, and `mmlu` over all: each question counts the same.
pub fn groups(results: &[TaskResult]) -> Vec<GroupResult> {
    let mut groups = Vec::new();
    for (name, subjects) in CATEGORIES {
        let inside = |task: &&TaskResult| {
            let subject = task.name.strip_prefix("mmlu_");
            subject.is_some_and(|subject| subjects.contains(&subject))
        };
        let tasks: Vec<_> = results.iter().filter(inside).collect();
        if !tasks.is_empty() {
            groups.push(aggregate(&format!("mmlu_{name}"), name, &tasks, true));
        }
    }
    let of_mmlu = results.iter().filter(|task| task.name.starts_with("mmlu_"));
    let all: Vec<_> = of_mmlu.collect();
    if !all.is_empty() {
        let mut whole = aggregate("mmlu", "mmlu", &all, true);
        whole.children = groups.iter().map(|group| group.name.clone()).collect();
        groups.insert(0, whole);
    }
    groups
}
