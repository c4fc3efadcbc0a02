//! GSM8K (Cobbe et al. 2021): word problems of grade-school mathematics, five shots from `train`.

use std::path::Path;

use super::filter::Reader;
use super::table::{At, jsonl};
use super::task::{Gold, Item, Output, Sampler, Task, TaskOptions, Variant};
use crate::{Error, Result};

/// The questions of `test`, with shots from `train`, drawn as the harness draws them (seed 1234): JSONL
/// with question and answer. Fewer training examples than the published 7473 yield other shots.
/// The only variant is `harness`.
///
/// # Errors
/// When a file cannot be read or a field is absent, shots are asked for without `train`, or options name
/// subjects or another variant.
pub fn load(test: impl AsRef<Path>, train: Option<&Path>, options: &TaskOptions) -> Result<Task> {
    let variant = options.variant.among(&[Variant::Harness])?;
    if !options.subjects.is_empty() {
        return Err(Error::Input("GSM8K has no subjects".to_owned()));
    }
    Ok(Task {
        name: "gsm8k".to_owned(),
        alias: "gsm8k".to_owned(),
        version: 3.0,
        variant,
        description: String::new(),
        target_delimiter: " ",
        fewshot_delimiter: "\n\n",
        shots: train.map_or_else(|| Ok(Vec::new()), items)?,
        num_fewshot: options.num_fewshot.unwrap_or(5),
        sampler: Sampler::Random(1234),
        fewer_shots_to_fit: false,
        items: items(test.as_ref())?,
        output: output(),
    })
}

pub(super) fn output() -> Output {
    let until = ["Question:", "</s>", "<|im_end|>"];
    Output::Generate {
        until: until.map(str::to_owned).to_vec(),
        max_tokens: 256,
        reader: Reader::Gsm8k,
    }
}

pub(super) fn items(path: &Path) -> Result<Vec<Item>> {
    let rows = jsonl(path)?;
    rows.into_iter()
        .map(|row| {
            let at = At {
                path,
                line: row.line,
            };
            Ok(Item {
                text: format!("Question: {}\nAnswer:", at.text(&row.value, "question")?),
                choices: Vec::new(),
                gold: Gold::Text(at.text(&row.value, "answer")?.to_owned()),
                doc: row.value,
            })
        })
        .collect()
}
