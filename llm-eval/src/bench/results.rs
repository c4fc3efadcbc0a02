//! Results and samples as lm-evaluation-harness lays out its files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::metric::Estimate;
use super::{GroupResult, Sample, TaskResult};
use crate::file::write_whole;
use crate::{Error, Result};

/// What a run came to, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The model's name.
    pub model: String,
    /// The run's settings, kept under `config`.
    pub config: Map<String, Value>,
    /// The tasks.
    pub tasks: Vec<TaskResult>,
    /// The groups of them.
    pub groups: Vec<GroupResult>,
}

impl Results {
    /// The harness's `results_*.json`: `results`, `groups`, `group_subtasks`, `configs`, `versions`,
    /// `n-shot`, `higher_is_better`, `n-samples`, `config`, `model_name`. Standard errors that cannot be
    /// had are `"N/A"`. Keys of our own count replies without an answer, `unparsable,<filter>`, and
    /// questions to which no reply came, `no_reply`, which are in no figure.
    pub fn to_json(&self) -> Value {
        let by_task = |value: fn(&TaskResult) -> Value| -> Map<String, Value> {
            self.tasks
                .iter()
                .map(|task| (task.name.clone(), value(task)))
                .collect()
        };
        let mut results = by_task(task_metrics);
        let groups: Map<_, _> = self
            .groups
            .iter()
            .map(|group| (group.name.clone(), group_metrics(group)))
            .collect();
        results.extend(groups.clone());
        let subtasks = self
            .groups
            .iter()
            .map(|group| (group.name.clone(), json!(group.children)));
        let mut json = json!({
            "results": results,
            "group_subtasks": subtasks.collect::<Map<_, _>>(),
            "configs": by_task(|task| task.config.clone()),
            "versions": by_task(|task| json!(task.version)),
            "n-shot": by_task(|task| json!(task.num_fewshot)),
            "higher_is_better": by_task(higher_is_better),
            "n-samples": by_task(|task| json!({
                "original": task.original, "effective": task.sample_len,
            })),
            "config": self.config,
            "model_name": self.model,
            "model_name_sanitized": sanitise(&self.model),
        });
        if !groups.is_empty() {
            json["groups"] = Value::Object(groups);
        }
        json
    }

    /// Writes `dir/<model>/results_<date>.json` and `samples_<task>_<date>.jsonl`; returns the paths,
    /// results first. `date` is as the harness writes it, `2024-05-31T12-00-00.000000`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>, date: &str) -> Result<Vec<PathBuf>> {
        let dir = dir.as_ref().join(sanitise(&self.model));
        fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
        let path = dir.join(format!("results_{date}.json"));
        let text = format!("{:#}\n", self.to_json());
        write_whole(&path, |file| {
            file.write_all(text.as_bytes()).map_err(Error::io(&path))
        })?;
        let mut paths = vec![path];
        for task in &self.tasks {
            let path = dir.join(format!("samples_{}_{date}.jsonl", sanitise(&task.name)));
            write_whole(&path, |file| {
                let mut samples = task.samples.iter();
                samples
                    .try_for_each(|sample| writeln!(file, "{}", sample.to_json()))
                    .map_err(Error::io(&path))
            })?;
            paths.push(path);
        }
        Ok(paths)
    }
}

impl Sample {
    /// A line of the harness's samples file.
    pub fn to_json(&self) -> Value {
        let arguments = self
            .arguments
            .iter()
            .enumerate()
            .map(|(i, [first, second])| {
                (
                    format!("gen_args_{i}"),
                    json!({"arg_0": first, "arg_1": second}),
                )
            });
        let names: Vec<_> = self.metrics.iter().map(|(name, _)| *name).collect();
        let mut json = json!({
            "doc_id": self.doc_id,
            "doc": self.doc,
            "target": self.target,
            "arguments": arguments.collect::<Map<_, _>>(),
            "resps": self.resps,
            "filtered_resps": self.filtered_resps,
            "filter": self.filter,
            "metrics": names,
        });
        for (name, value) in &self.metrics {
            json[*name] = json!(value);
        }
        json
    }
}

/// As `sanitize_model_name` of the harness.
fn sanitise(name: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in name.chars() {
        let bad = "\"<>:/|\\?*[]".contains(c);
        match bad {
            true if !inside => out.push_str("__"),
            true => {}
            false => out.push(c),
        }
        inside = bad;
    }
    out
}

fn insert(json: &mut Value, key: &str, estimate: Estimate) {
    let (metric, filter) = key.split_once(',').unwrap_or((key, "none"));
    json[key] = json!(estimate.value);
    json[format!("{metric}_stderr,{filter}")] = estimate.stderr.map_or(json!("N/A"), Value::from);
}

fn task_metrics(task: &TaskResult) -> Value {
    let mut json = json!({
        "name": task.name, "alias": task.alias, "sample_len": task.sample_len,
    });
    for (key, estimate) in &task.metrics {
        insert(&mut json, key, *estimate);
    }
    for (filter, count) in task.unparsable.iter().filter(|(_, count)| *count > 0) {
        json[format!("unparsable,{filter}")] = json!(count);
    }
    if task.no_reply > 0 {
        json["no_reply"] = json!(task.no_reply);
    }
    for (key, figure) in &task.extra {
        json[key] = figure.clone();
    }
    json
}

fn group_metrics(group: &GroupResult) -> Value {
    let mut json = json!({
        "name": group.name, "alias": group.alias, "sample_len": group.sample_len,
    });
    for (key, estimate) in &group.metrics {
        insert(&mut json, key, *estimate);
    }
    json
}

fn higher_is_better(task: &TaskResult) -> Value {
    let names = task
        .metrics
        .iter()
        .filter_map(|(key, _)| key.split(',').next());
    Value::Object(names.map(|name| (name.to_owned(), json!(true))).collect())
}
