//! Scores completions that were made elsewhere.

use std::path::Path;

use super::belle::{self, ClassScore};
use super::evaluate::{TaskResult, read_all};
use super::filter::Reader;
use super::table::{At, jsonl};
use super::task::{Output, Task, Variant};
use super::{agieval, ceval, gsm8k, mmlu};
use crate::{Error, Result};

/// A benchmark whose completions can be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    /// `strict-match` and `flexible-extract`.
    Gsm8k,
    /// Letters, `strict` and `flexible`.
    Mmlu,
    /// Letters, `strict` and `flexible`.
    Ceval,
    /// Letters, `strict`, `flexible` and `official`; the data set is known by the file's name.
    Agieval,
    /// The completions are a judge's replies (`得分:`), one for each question.
    Belle,
}

impl Benchmark {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Gsm8k,
        Self::Mmlu,
        Self::Ceval,
        Self::Agieval,
        Self::Belle,
    ];

    /// The name of options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gsm8k => "gsm8k",
            Self::Mmlu => "mmlu",
            Self::Ceval => "ceval",
            Self::Agieval => "agieval",
            Self::Belle => "belle",
        }
    }

    /// The benchmark of that name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the names that there are.
    pub fn by_name(name: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|benchmark| benchmark.name() == name);
        found.ok_or_else(|| Error::UnknownName {
            what: "benchmark",
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// What completions come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Score {
    /// Right or wrong by several filters, replies without an answer counted; such a reply is wrong.
    Exact(Box<TaskResult>),
    /// A judge's scores class by class; a reply without a score is in no mean.
    Judged(Vec<ClassScore>),
}

/// The texts of one field of a JSONL file, row by row.
///
/// # Errors
/// When the file cannot be read, or the field of a row is absent or no text.
pub fn read_completions(path: impl AsRef<Path>, field: &str) -> Result<Vec<String>> {
    let path = path.as_ref();
    let rows = jsonl(path)?;
    rows.iter()
        .map(|row| {
            let at = At {
                path,
                line: row.line,
            };
            at.text(&row.value, field).map(str::to_owned)
        })
        .collect()
}

/// Scores one completion for each question of `data`, in order. What a completion says behind the
/// benchmark's stop texts (GSM8K: `Question:`, `</s>`, `<|im_end|>`) does not count.
///
/// # Errors
/// When `data` cannot be read or is not in the benchmark's format, or the numbers differ.
pub fn score(
    benchmark: Benchmark,
    data: impl AsRef<Path>,
    completions: &[String],
) -> Result<Score> {
    let data = data.as_ref();
    let letters = Output::Generate {
        until: Vec::new(),
        max_tokens: 0,
        reader: Reader::Letters,
    };
    let (items, output) = match benchmark {
        Benchmark::Gsm8k => (gsm8k::items(data)?, gsm8k::output()),
        Benchmark::Mmlu => (mmlu::items(data, Variant::Harness)?, letters),
        Benchmark::Ceval => (ceval::items(data, Variant::Harness)?, letters),
        Benchmark::Agieval => agieval::generated(data, stem(data))?,
        Benchmark::Belle => {
            let task = belle::load(data)?;
            return belle::score_replies(&task, completions).map(Score::Judged);
        }
    };
    let task = Task {
        alias: stem(data).to_owned(),
        ..Task::zero_shot(benchmark.name().to_owned(), items, output)
    };
    read_all(&task, completions).map(|result| Score::Exact(Box::new(result)))
}

fn stem(path: &Path) -> &str {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("")
}
