//! Completions that were made elsewhere.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use llm_eval::bench::score::{self, Benchmark, read_completions};
use serde_json::{Map, Value, json};

use crate::cli::say;

#[derive(Debug, Args)]
pub(super) struct Score {
    /// gsm8k, mmlu, ceval, agieval or belle (whose completions are a judge's replies)
    #[arg(long, value_name = "NAME")]
    task: String,
    /// The questions with their answers
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The completions, an object a line, in the questions' order
    #[arg(long, value_name = "FILE")]
    completions: PathBuf,
    /// The field with the completion
    #[arg(long, value_name = "NAME", default_value = "completion")]
    field: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Score {
    pub(super) fn run(&self) -> Result<()> {
        let benchmark = Benchmark::by_name(&self.task)?;
        let completions = read_completions(&self.completions, &self.field)?;
        let score = score::score(benchmark, &self.data, &completions)?;
        let json = json_of(benchmark, &score);
        if self.json {
            return say(format_args!("{json:#}"));
        }
        for (name, value) in json["scores"].as_object().into_iter().flatten() {
            say(format_args!("{name:28} {value}"))?;
        }
        Ok(())
    }
}

/// `{task, questions, scores: {name: {value, stderr, unparsable}}}`.
fn json_of(benchmark: Benchmark, score: &score::Score) -> Value {
    let (questions, scores): (usize, Map<String, Value>) = match score {
        score::Score::Exact(result) => {
            let unparsable = |filter: &str| {
                let found = result.unparsable.iter().find(|(name, _)| *name == filter);
                found.map_or(0, |(_, count)| *count)
            };
            let scores = result.metrics.iter().map(|(name, estimate)| {
                let filter = name.split_once(',').map_or("", |(_, filter)| filter);
                let (value, stderr) = (estimate.value, estimate.stderr);
                let unparsable = unparsable(filter);
                let score = json!({"value": value, "stderr": stderr, "unparsable": unparsable});
                (name.clone(), score)
            });
            (result.sample_len, scores.collect())
        }
        score::Score::Judged(classes) => {
            let questions = classes.last().map_or(0, |all| all.questions);
            let scores = classes.iter().map(|class| {
                let score = json!({
                    "value": class.mean.map(|mean| mean.value),
                    "stderr": class.mean.and_then(|mean| mean.stderr),
                    "questions": class.questions,
                    "unparsable": class.unparsable,
                });
                (class.class.clone(), score)
            });
            (questions, scores.collect())
        }
    };
    json!({"task": benchmark.name(), "questions": questions, "scores": scores})
}
