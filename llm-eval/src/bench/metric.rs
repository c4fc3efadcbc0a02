//! Means, their standard errors, and what groups of tasks make of them.

use serde::Serialize;

use super::TaskResult;
use crate::stats::{average, squares};

/// A mean and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// Sample standard deviation / √n; `None` where it cannot be had.
    pub stderr: Option<f64>,
}

impl Estimate {
    /// Of values, one at least; the standard error needs two.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let error = || (squares(values) / (n - 1.0)).sqrt() / n.sqrt();
        Self {
            value: average(values),
            stderr: (values.len() > 1).then(error),
        }
    }
}

/// What a group of tasks comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupResult {
    /// Its name in the harness: `mmlu_stem`.
    pub name: String,
    /// Its short name in tables.
    pub alias: String,
    /// The tasks, or further groups, that it is made of.
    pub children: Vec<String>,
    /// Questions answered in all.
    pub sample_len: usize,
    /// `metric,filter` and its value.
    pub metrics: Vec<(String, Estimate)>,
}

impl GroupResult {
    /// The metric of a key such as `acc,none`.
    pub fn metric(&self, key: &str) -> Option<Estimate> {
        find(&self.metrics, key)
    }
}

pub(super) fn find(metrics: &[(String, Estimate)], key: &str) -> Option<Estimate> {
    metrics.iter().find(|(k, _)| k == key).map(|(_, e)| *e)
}

/// Metrics over several tasks: each question counts the same (`by_size`), with the pooled standard error,
/// or each task does. A metric counts where every task that has answers has it. Formulas:
/// `aggregate_subtask_metrics`, `pooled_sample_stderr` and `unweighted_mean_stderr` of
/// lm-evaluation-harness.
pub fn aggregate(name: &str, alias: &str, tasks: &[&TaskResult], by_size: bool) -> GroupResult {
    let answered = || tasks.iter().filter(|task| task.sample_len > 0);
    let first = answered().next().map_or(&[][..], |task| &task.metrics);
    let metrics = first.iter().filter_map(|(key, _)| {
        let parts: Option<Vec<_>> = answered()
            .map(|task| Some((task.metric(key)?, task.sample_len as f64)))
            .collect();
        Some((key.clone(), combine(&parts?, by_size)))
    });
    GroupResult {
        name: name.to_owned(),
        alias: alias.to_owned(),
        children: tasks.iter().map(|task| task.name.clone()).collect(),
        sample_len: tasks.iter().map(|task| task.sample_len).sum(),
        metrics: metrics.collect(),
    }
}

fn combine(parts: &[(Estimate, f64)], by_size: bool) -> Estimate {
    let count = parts.len() as f64;
    let weight = |size: f64| if by_size { size } else { 1.0 };
    let total: f64 = parts.iter().map(|(_, size)| weight(*size)).sum();
    let sum: f64 = parts.iter().map(|(e, size)| e.value * weight(*size)).sum();
    let stderrs: Option<Vec<_>> = parts
        .iter()
        .map(|(e, size)| Some((e.stderr?, *size)))
        .collect();
    let stderr = stderrs.map(|stderrs| {
        if by_size {
            let pooled = stderrs
                .iter()
                .map(|(s, n)| (n - 1.0) * s * s * n)
                .sum::<f64>();
            (pooled / (total - count) / total).sqrt()
        } else {
            stderrs.iter().map(|(s, _)| s * s).sum::<f64>().sqrt() / count
        }
    });
    Estimate {
        value: sum / total,
        stderr,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn groups_are_combined_as_the_harness_combines_them() {
        let text = include_str!("../../tests/goldens/lm_eval.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let part = |value, stderr, n| {
            let stderr = Some(stderr);
            (Estimate { value, stderr }, n)
        };
        let parts = [
            part(0.25, 0.1, 9.0),
            part(0.4, 0.15, 5.0),
            part(0.6, 0.05, 7.0),
        ];
        for (name, by_size) in [("weighted", true), ("unweighted", false)] {
            let expected = &golden["groups"][name];
            let got = combine(&parts, by_size);
            assert!((got.value - expected[0].as_f64().unwrap()).abs() < 1e-12);
            assert!((got.stderr.unwrap() - expected[1].as_f64().unwrap()).abs() < 1e-12);
        }
    }
}
