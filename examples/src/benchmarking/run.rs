//! Benchmarks asked of a model.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use llm_eval::bench::{
    GroupResult, LanguageModel, Results, Task, TaskOptions, TaskResult, Variant, agieval, ceval,
    evaluate, gsm8k, mmlu,
};
use serde_json::{Map, json};

use super::model::LocalArgs;
use crate::cli::say;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// A model directory
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    local: LocalArgs,
    /// A benchmark; several by several --task, each with its --data
    #[arg(long, value_enum, required = true)]
    task: Vec<Benchmark>,
    /// Its files: of mmlu a directory with dev/ and test/, of ceval with dev/ and val/, of agieval with NAME.jsonl,
    /// of gsm8k the JSONL file
    #[arg(long, value_name = "PATH", required = true)]
    data: Vec<PathBuf>,
    /// GSM8K's training questions, from which the shots come
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// harness, original (MMLU's code) or official (C-Eval's, AGIEval's)
    #[arg(long, value_name = "NAME", default_value = "harness")]
    variant: String,
    /// Shots before each question [default: the benchmark's own number]
    #[arg(long, value_name = "N")]
    num_fewshot: Option<usize>,
    /// Subjects or data sets [default: all that have a file]
    #[arg(long, value_name = "NAME,NAME…", value_delimiter = ',')]
    subjects: Vec<String>,
    /// Only the first N questions of each task
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write results and samples into this directory, as the harness lays them out
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Print the results as JSON, under the harness's keys
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    Mmlu,
    Ceval,
    Agieval,
    Gsm8k,
}

type Groups = fn(&[TaskResult]) -> Vec<GroupResult>;

impl Run {
    pub(super) fn run(&self) -> Result<()> {
        if self.task.len() != self.data.len() {
            bail!("{} --task and {} --data", self.task.len(), self.data.len());
        }
        let tasks: Vec<(Vec<Task>, Groups)> = self
            .task
            .iter()
            .zip(&self.data)
            .map(|(task, data)| self.tasks(*task, data))
            .collect::<Result<_>>()?;
        let model = self.local.open(&self.model)?;
        let config = json!({
            "model": model.name(), "variant": self.variant, "limit": self.limit,
            "num_fewshot": self.num_fewshot, "subjects": self.subjects,
        });
        let mut results = Results {
            model: model.name().to_owned(),
            config: config.as_object().cloned().unwrap_or_else(Map::new),
            tasks: Vec::new(),
            groups: Vec::new(),
        };
        for (tasks, groups) in tasks {
            let done: Vec<TaskResult> = tasks
                .iter()
                .map(|task| self.ask(task, &model))
                .collect::<Result<_>>()?;
            results.groups.extend(groups(&done));
            results.tasks.extend(done);
        }
        if let Some(dir) = &self.output {
            let date = chrono::Utc::now().format("%Y-%m-%dT%H-%M-%S%.6f");
            for path in results.save(dir, &date.to_string())? {
                eprintln!("wrote {}", path.display());
            }
        }
        match self.json {
            true => say(format_args!("{:#}", results.to_json())),
            false => print(&results),
        }
    }

    fn tasks(&self, task: Benchmark, data: &PathBuf) -> Result<(Vec<Task>, Groups)> {
        let options = TaskOptions {
            variant: Variant::by_name(&self.variant)?,
            num_fewshot: self.num_fewshot,
            subjects: self.subjects.clone(),
            ..TaskOptions::default()
        };
        Ok(match task {
            Benchmark::Mmlu => (mmlu::load(data, &options)?, mmlu::groups),
            Benchmark::Ceval => {
                let tasks = ceval::load(data, ceval::Split::Val, &options)?;
                (tasks, ceval::groups)
            }
            Benchmark::Agieval => (agieval::load(data, &options)?, agieval::groups),
            Benchmark::Gsm8k => {
                let task = gsm8k::load(data, self.train.as_deref(), &options)?;
                (vec![task], |_| Vec::new())
            }
        })
    }

    fn ask(&self, task: &Task, model: &dyn LanguageModel) -> Result<TaskResult> {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        bar.set_style(ProgressStyle::with_template(
            "{msg} {wide_bar} {pos}/{len} {eta}",
        )?);
        bar.set_message(task.name.clone());
        let result = evaluate(task, model, self.limit, &mut |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        Ok(result)
    }
}

fn print(results: &Results) -> Result<()> {
    let lines = |name: &str, count: usize, metrics: &[(String, llm_eval::bench::Estimate)]| {
        for (metric, estimate) in metrics {
            let error = estimate
                .stderr
                .map_or_else(|| "–".to_owned(), |e| format!("{e:.4}"));
            say(format_args!(
                "{name:32} {count:6}  {metric:28} {:.4} ± {error}",
                estimate.value
            ))?;
        }
        Ok::<_, anyhow::Error>(())
    };
    for task in &results.tasks {
        lines(&task.name, task.sample_len, &task.metrics)?;
        for (filter, count) in task.unparsable.iter().filter(|(_, count)| *count > 0) {
            say(format_args!(
                "{:32} {count} replies without an answer ({filter})",
                ""
            ))?;
        }
    }
    for group in &results.groups {
        lines(&group.name, group.sample_len, &group.metrics)?;
    }
    Ok(())
}
