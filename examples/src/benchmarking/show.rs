//! Results as a table.

use anyhow::Result;
use llm_eval::bench::{Estimate, Results, TaskResult};
use serde_json::Value;

use crate::cli::say;

pub(super) fn print(results: &Results) -> Result<()> {
    for task in &results.tasks {
        lines(&task.name, task.sample_len, &task.metrics)?;
        if task.metrics.is_empty() {
            say(format_args!(
                "{:32} {:6}  not scored",
                task.name, task.sample_len
            ))?;
        }
        if task.no_reply > 0 {
            say(format_args!(
                "{:32} {} questions without a reply, not scored",
                "", task.no_reply
            ))?;
        }
        for (filter, count) in task.unparsable.iter().filter(|(_, count)| *count > 0) {
            say(format_args!(
                "{:32} {count} replies without an answer ({filter})",
                ""
            ))?;
        }
        confusion(task)?;
    }
    for group in &results.groups {
        lines(&group.name, group.sample_len, &group.metrics)?;
    }
    Ok(())
}

fn lines(name: &str, count: usize, metrics: &[(String, Estimate)]) -> Result<()> {
    for (metric, estimate) in metrics {
        let error = estimate
            .stderr
            .map_or_else(|| "–".to_owned(), |e| format!("{e:.4}"));
        say(format_args!(
            "{name:32} {count:6}  {metric:28} {:.4} ± {error}",
            estimate.value
        ))?;
    }
    Ok(())
}

/// The confusion matrix of a classification.
fn confusion(task: &TaskResult) -> Result<()> {
    let list = |key: &str| task.extra.get(key).and_then(Value::as_array);
    let (Some(labels), Some(rows)) = (list("labels"), list("confusion_matrix")) else {
        return Ok(());
    };
    let cells = |values: &[Value]| {
        let cell = |value: &Value| match value {
            Value::String(text) => format!(" {text:>12}"),
            other => format!(" {:>12}", other.to_string()),
        };
        values.iter().map(cell).collect::<String>()
    };
    say(format_args!("true \\ said  {}", cells(labels)))?;
    for (label, row) in labels.iter().zip(rows) {
        let row = row.as_array().map_or(&[][..], Vec::as_slice);
        let label = label.as_str().unwrap_or_default();
        say(format_args!("{label:12} {}", cells(row)))?;
    }
    Ok(())
}
