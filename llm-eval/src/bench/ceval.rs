//! C-Eval (Huang et al. 2023): 52 subjects in Chinese, four choices, five shots from `dev`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::mmlu::output;
use super::table::{At, chosen, csv, names};
use super::task::{ChoiceGold, Gold, Item, Sampler, Task, TaskOptions, Variant, letters};
use super::{GroupResult, TaskResult, aggregate, python};
use crate::{Error, Result};

/// The subjects, and their names in prompts.
pub const SUBJECTS: [(&str, &str); 52] = [
    ("computer_network", "计算机网络"),
    ("operating_system", "操作系统"),
    ("computer_architecture", "计算机组成"),
    ("college_programming", "大学编程"),
    ("college_physics", "大学物理"),
    ("college_chemistry", "大学化学"),
    ("advanced_mathematics", "高等数学"),
    ("probability_and_statistics", "概率统计"),
    ("discrete_mathematics", "离散数学"),
    ("electrical_engineer", "注册电气工程师"),
    ("metrology_engineer", "注册计量师"),
    ("high_school_mathematics", "高中数学"),
    ("high_school_physics", "高中物理"),
    ("high_school_chemistry", "高中化学"),
    ("high_school_biology", "高中生物"),
    ("middle_school_mathematics", "初中数学"),
    ("middle_school_biology", "初中生物"),
    ("middle_school_physics", "初中物理"),
    ("middle_school_chemistry", "初中化学"),
    ("veterinary_medicine", "兽医学"),
    ("college_economics", "大学经济学"),
    ("business_administration", "工商管理"),
    ("marxism", "马克思主义基本原理"),
    (
        "mao_zedong_thought",
        "毛泽东思想和中国特色社会主义理论体系概论",
    ),
    ("education_science", "教育学"),
    ("teacher_qualification", "教师资格"),
    ("high_school_politics", "高中政治"),
    ("high_school_geography", "高中地理"),
    ("middle_school_politics", "初中政治"),
    ("middle_school_geography", "初中地理"),
    ("modern_chinese_history", "近代史纲要"),
    (
        "ideological_and_moral_cultivation",
        "思想道德修养与法律基础",
    ),
    ("logic", "逻辑学"),
    ("law", "法学"),
    ("chinese_language_and_literature", "中国语言文学"),
    ("art_studies", "艺术学"),
    ("professional_tour_guide", "导游资格"),
    ("legal_professional", "法律职业资格"),
    ("high_school_chinese", "高中语文"),
    ("high_school_history", "高中历史"),
    ("middle_school_history", "初中历史"),
    ("civil_servant", "公务员"),
    ("sports_science", "体育学"),
    ("plant_protection", "植物保护"),
    ("basic_medicine", "基础医学"),
    ("clinical_medicine", "临床医学"),
    ("urban_and_rural_planner", "注册城乡规划师"),
    ("accountant", "注册会计师"),
    ("fire_engineer", "注册消防工程师"),
    (
        "environmental_impact_assessment_engineer",
        "环境影响评价工程师",
    ),
    ("tax_accountant", "税务师"),
    ("physician", "医师资格"),
];

/// Which questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Split {
    /// Those with answers.
    #[default]
    Val,
    /// Those whose answers are withheld; see [`submission`].
    Test,
}

/// The subjects of `dir/val/<subject>_val.csv` (or `test`), each with its shots from
/// `dir/dev/<subject>_dev.csv`: CSV with the header id, question, A, B, C, D, answer, explanation.
/// Variants: `harness`; `official`, whose description says 考试 and whose answers follow without a space.
///
/// # Errors
/// When a file cannot be read, a column is absent, or a subject or the variant is unknown.
pub fn load(dir: impl AsRef<Path>, split: Split, options: &TaskOptions) -> Result<Vec<Task>> {
    let dir = dir.as_ref();
    let variant = options
        .variant
        .among(&[Variant::Harness, Variant::Official])?;
    let split = match split {
        Split::Val => "val",
        Split::Test => "test",
    };
    let there = names(&dir.join(split), &format!("_{split}.csv"))?;
    let num_fewshot = options.num_fewshot.unwrap_or(5);
    let task = |subject: &String| {
        let file = |split: &str| dir.join(split).join(format!("{subject}_{split}.csv"));
        let official = variant == Variant::Official;
        let exam = if official { "考试" } else { "" };
        let title = title(subject)?;
        Ok(Task {
            name: match split {
                "val" => format!("ceval-valid_{subject}"),
                _ => format!("ceval-test_{subject}"),
            },
            alias: subject.clone(),
            version: 2.0,
            variant,
            description: format!(
                "以下是中国关于{title}{exam}的单项选择题，请选出其中的正确答案。\n\n"
            ),
            target_delimiter: if official { "" } else { " " },
            fewshot_delimiter: "\n\n",
            shots: match num_fewshot {
                0 => Vec::new(),
                _ => items(&file("dev"), variant)?,
            },
            num_fewshot,
            sampler: Sampler::FirstN,
            fewer_shots_to_fit: false,
            items: items(&file(split), variant)?,
            output: output(options.answers),
        })
    };
    chosen("subject of C-Eval here", &options.subjects, there)?
        .iter()
        .map(task)
        .collect()
}

fn title(subject: &str) -> Result<&'static str> {
    let found = SUBJECTS.iter().find(|(name, _)| *name == subject);
    found
        .map(|(_, title)| *title)
        .ok_or_else(|| Error::UnknownName {
            what: "subject of C-Eval",
            name: subject.to_owned(),
            known: SUBJECTS.map(|(name, _)| name).join(", "),
        })
}

/// The questions of one file; without a column `answer` their answers are unknown.
pub(super) fn items(path: &Path, variant: Variant) -> Result<Vec<Item>> {
    let mut rows = csv(path)?.into_iter();
    let header = rows.next().map(|row| row.value).unwrap_or_default();
    let mut items = Vec::new();
    for row in rows {
        let at = At {
            path,
            line: row.line,
        };
        if row.value.len() != header.len() {
            let reason = format!("expected {} columns, got {}", header.len(), row.value.len());
            return Err(at.error("id", reason));
        }
        let pairs = header
            .iter()
            .cloned()
            .zip(row.value.into_iter().map(Value::String));
        let doc = Value::Object(pairs.collect::<Map<_, _>>());
        let question = at.text(&doc, "question")?;
        let text = match variant {
            Variant::Official => question,
            _ => python::strip(question),
        };
        let mut text = text.to_owned();
        for letter in ["A", "B", "C", "D"] {
            text += &format!("\n{letter}. {}", at.text(&doc, letter)?);
        }
        text += "\n答案：";
        let gold = match at.optional(&doc, "answer")? {
            Some(answer) => Gold::Choice(ChoiceGold::One(at.letter("answer", answer, 4)?)),
            None => Gold::Unknown,
        };
        items.push(Item {
            text,
            choices: letters(4),
            gold,
            doc,
        });
    }
    Ok(items)
}

/// `ceval-valid` over all subjects: each question counts the same.
pub fn groups(results: &[TaskResult]) -> Vec<GroupResult> {
    let all = results
        .iter()
        .filter(|task| task.name.starts_with("ceval-valid_"));
    let all: Vec<_> = all.collect();
    match all.is_empty() {
        true => Vec::new(),
        false => vec![aggregate("ceval-valid", "ceval-valid", &all, true)],
    }
}

/// What C-Eval's server takes for the test split: `{subject: {id: letter}}`. Replies without a letter get
/// the empty text.
pub fn submission(results: &[TaskResult]) -> Value {
    let names = letters(4);
    let mut subjects = Map::new();
    for task in results {
        let mut answers: HashMap<usize, String> = HashMap::new();
        for sample in &task.samples {
            let answer = match sample.predicted {
                Some(choice) => names.get(choice).cloned().unwrap_or_default(),
                // Of several filters the last, flexible one counts.
                None if sample.parsed => sample.filtered_resps[0].as_str().unwrap_or("").to_owned(),
                None => String::new(),
            };
            answers.insert(sample.doc_id, answer);
        }
        let docs = task
            .samples
            .iter()
            .map(|sample| (sample.doc_id, &sample.doc["id"]));
        let mut subject = Map::new();
        for (doc_id, id) in docs {
            let id = id
                .as_str()
                .map_or_else(|| doc_id.to_string(), str::to_owned);
            subject.insert(id, json!(answers.get(&doc_id)));
        }
        subjects.insert(task.alias.clone(), Value::Object(subject));
    }
    Value::Object(subjects)
}
