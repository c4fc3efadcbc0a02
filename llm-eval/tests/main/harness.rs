//! Prompts, requests, metrics and standard errors of each benchmark, as lm-eval's own task code has them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use llm_data::Tokenizer;
use llm_eval::bench::{
    LanguageModel, PythonRandom, Results, Task, TaskOptions, TaskResult, Variant, agieval, ceval,
    encode_pair, evaluate, gsm8k, mmlu,
};
use serde_json::{Value, json};

use crate::data::{data, golden, shared};
use crate::toy::{Toy, fnv1a};

fn options(num_fewshot: usize) -> TaskOptions {
    TaskOptions {
        num_fewshot: Some(num_fewshot),
        ..TaskOptions::default()
    }
}

fn toy(run: &Value) -> Toy {
    let length = run["max_length"].as_u64().unwrap() as usize;
    let mut toy = Toy::new(run["bos"].as_bool().unwrap(), length);
    toy.replies = serde_json::from_value(run["raw"].clone()).unwrap();
    toy
}

/// Runs the tasks and compares all with what lm-eval has under `name`.
fn same(name: &str, tasks: &[Task]) -> Vec<TaskResult> {
    let golden = &golden()[name];
    let toy = toy(golden);
    let mut results = Vec::new();
    for task in tasks {
        let samples = golden["samples"][&task.name].as_array().unwrap();
        let last = samples
            .iter()
            .map(|sample| sample["doc_id"].as_u64().unwrap())
            .max()
            .unwrap();
        let result = evaluate(task, &toy, Some(last as usize + 1), &mut |_, _| {}).unwrap();
        same_samples(&golden["samples"][&task.name], &result);
        same_metrics(&golden["results"][&task.name], &result);
        assert_eq!(golden["n-shot"][&task.name], result.num_fewshot);
        results.push(result);
    }
    let tokens = golden["tokens"].as_array().unwrap();
    // lm-eval scores the tasks in its own order; each request is looked for.
    let calls = toy.calls.borrow();
    let asked: Vec<_> = calls
        .iter()
        .map(|s| json!([s.context, s.continuation]))
        .collect();
    for call in tokens {
        assert!(
            asked.contains(&json!([call[0], call[1]])),
            "{name}: a request is missing"
        );
    }
    results
}

fn same_samples(golden: &Value, result: &TaskResult) {
    let golden = golden.as_array().unwrap();
    assert_eq!(golden.len(), result.samples.len());
    for (golden, sample) in golden.iter().zip(&result.samples) {
        let place = format!("{} {} {}", result.name, sample.doc_id, sample.filter);
        assert_eq!(golden["doc_id"], sample.doc_id, "{place}");
        assert_eq!(golden["filter"], sample.filter, "{place}");
        let first = &golden["arguments"][0];
        for (golden, got) in golden["arguments"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&sample.arguments)
        {
            let context = if golden[0].is_null() {
                &first[0]
            } else {
                &golden[0]
            };
            let text = got[0].as_str().unwrap();
            assert!(is_text(context, text), "context of {place}: {text}");
            if golden[1].is_string() {
                assert_eq!(golden[1], got[1], "continuation of {place}");
            } else {
                assert_eq!(golden[1]["until"], got[1]["until"], "{place}");
            }
        }
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(list) => format!(
                "[{}]",
                list.iter()
                    .map(Value::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            other => other.to_string(),
        };
        let target = Value::from(text(&golden["target"]));
        assert!(is_text(&target, &sample.target), "{place}: {target}");
        for (name, value) in &sample.metrics {
            if let Some(expected) = golden[*name].as_f64() {
                assert_eq!(expected, *value, "{name} of {place}");
            }
        }
        same_responses(&golden["filtered_resps"], &sample.filtered_resps, &place);
    }
}

/// Whether a text is the golden's, which may have its hash.
fn is_text(golden: &Value, text: &str) -> bool {
    *golden == text || *golden == fnv1a(text)
}

fn same_responses(golden: &Value, got: &Value, place: &str) {
    for (golden, got) in golden
        .as_array()
        .unwrap()
        .iter()
        .zip(got.as_array().unwrap())
    {
        match golden {
            Value::Array(pair) => {
                let sum: f64 = got[0].as_str().unwrap().parse().unwrap();
                assert!((pair[0].as_f64().unwrap() - sum).abs() < 1e-9, "{place}");
                assert_eq!(
                    pair[1] == json!(true),
                    got[1] == "True",
                    "greedy of {place}"
                );
            }
            text => assert_eq!(text, got, "{place}"),
        }
    }
}

fn same_metrics(golden: &Value, result: &TaskResult) {
    assert_eq!(golden["sample_len"], result.sample_len);
    let mut compared = 0;
    for (key, expected) in golden.as_object().unwrap() {
        let Some(expected) = expected.as_f64().filter(|_| key.contains(',')) else {
            continue;
        };
        let estimate = result.metric(&key.replace("_stderr", "")).unwrap();
        let got = match key.contains("_stderr") {
            true => estimate.stderr.unwrap(),
            false => estimate.value,
        };
        assert!(
            (expected - got).abs() < 1e-12,
            "{} {key}: {expected} {got}",
            result.name
        );
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn mmlu_is_the_harness_s() {
    let tasks = mmlu::load(data("mmlu"), &options(5)).unwrap();
    assert_eq!(tasks.len(), 3);
    // A window of 60 tokens cuts off the beginning of each prompt.
    same("mmlu", &tasks);
    let results = same("mmlu_long", &tasks);
    let groups = mmlu::groups(&results);
    let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "mmlu",
            "mmlu_stem",
            "mmlu_social_sciences",
            "mmlu_humanities"
        ]
    );
    let correct: f64 = results
        .iter()
        .map(|r| r.metric("acc,none").unwrap().value * r.sample_len as f64)
        .sum();
    assert!((groups[0].metric("acc,none").unwrap().value - correct / 21.0).abs() < 1e-12);
}

#[test]
fn mmlu_s_original_prompt_has_two_spaces_and_drops_shots() {
    let original = TaskOptions {
        variant: Variant::Original,
        subjects: vec!["us_foreign_policy".to_owned()],
        ..TaskOptions::default()
    };
    let tasks = mmlu::load(data("mmlu"), &original).unwrap();
    let prompts = tasks[0].prompts(Some(1)).unwrap();
    let start =
        "The following are multiple choice questions (with answers) about  us foreign policy.\n\n";
    assert!(prompts[0].text().starts_with(start));
    let toy = Toy::new(true, 120);
    let result = evaluate(&tasks[0], &toy, None, &mut |_, _| {}).unwrap();
    for sample in &result.samples {
        let context = sample.arguments[0][0].as_str().unwrap();
        assert!(context.starts_with(start));
        assert!(context.matches("Answer:").count() < 6);
    }
    let unknown = TaskOptions {
        variant: Variant::Official,
        ..TaskOptions::default()
    };
    let error = mmlu::load(data("mmlu"), &unknown).unwrap_err().to_string();
    assert_eq!(
        error,
        "no prompt variant here is named `official`; known are harness, original"
    );
}

#[test]
fn ceval_is_the_harness_s() {
    let tasks = ceval::load(data("ceval"), ceval::Split::Val, &options(5)).unwrap();
    assert_eq!(tasks.len(), 2);
    let results = same("ceval", &tasks);
    assert_eq!(ceval::groups(&results)[0].sample_len, 14);
}

#[test]
fn ceval_s_official_prompt_and_submission() {
    let official = TaskOptions {
        variant: Variant::Official,
        ..TaskOptions::default()
    };
    let tasks = ceval::load(data("ceval"), ceval::Split::Test, &official).unwrap();
    let text = tasks[1].prompts(Some(1)).unwrap()[0].text();
    assert!(text.starts_with("以下是中国关于法学考试的单项选择题，请选出其中的正确答案。\n\n"));
    let answered = regex::Regex::new("答案：[ABCD]\n\n").unwrap();
    assert_eq!(answered.find_iter(&text).count(), 5);
    assert!(text.ends_with("\n答案："));
    let toy = Toy::new(false, 4096);
    let run = |task: &Task| evaluate(task, &toy, None, &mut |_, _| {}).unwrap();
    let results: Vec<_> = tasks.iter().map(run).collect();
    assert!(results[0].metrics.is_empty());
    let submission = ceval::submission(&results);
    let law = submission["law"].as_object().unwrap();
    assert_eq!(law.keys().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert!(
        law.values()
            .all(|letter| ["A", "B", "C", "D"].contains(&letter.as_str().unwrap()))
    );
}

#[test]
fn agieval_is_the_harness_s() {
    let tasks = agieval::load(data("agieval"), &options(0)).unwrap();
    assert_eq!(tasks.len(), 5);
    let results = same("agieval", &tasks);
    let names: Vec<_> = agieval::groups(&results)
        .into_iter()
        .map(|group| group.name)
        .collect();
    assert_eq!(names, ["agieval", "agieval_en", "agieval_cn"]);
    assert!(agieval::load(data("agieval"), &options(5)).is_err());
}

#[test]
fn gsm8k_is_the_harness_s() {
    let (Some(test), Some(train)) = (
        shared("data/eval/gsm8k_test.jsonl"),
        shared("data/eval/gsm8k_train_200.jsonl"),
    ) else {
        return;
    };
    let task = gsm8k::load(test, Some(&train), &options(5)).unwrap();
    let results = same("gsm8k", &[task]);
    assert_eq!(
        results[0].unparsable,
        [("strict-match", 11), ("flexible-extract", 2)]
    );
}

#[test]
fn contexts_and_continuations_are_encoded_as_in_the_harness() {
    let tokenizer = shared("fixtures/tokenizers/smollm2");
    let tokenizer = tokenizer.map(|dir| Tokenizer::from_dir(dir).unwrap());
    type Row = (String, String, Vec<u32>, Vec<u32>, f64, bool);
    let goldens: HashMap<String, Vec<Row>> =
        serde_json::from_value(golden()["pairs"].clone()).unwrap();
    assert_eq!(goldens.len(), 3);
    for (name, rows) in goldens {
        let mut toy = Toy::new(name == "toy_bos", 4096);
        if name == "smollm2" {
            let Some(tokenizer) = &tokenizer else {
                continue;
            };
            toy.tokenizer = Some(tokenizer.clone());
        }
        for (context, text, given, continuation, sum, greedy) in rows {
            let place = format!("{name}: {context:?} {text:?}");
            let span = encode_pair(&toy, &context, &text).unwrap();
            assert_eq!(
                (span.context, span.continuation),
                (given, continuation),
                "{place}"
            );
            let got = toy.loglikelihood(&[(context, text)]).unwrap()[0];
            assert!((got.sum - sum).abs() < 1e-9, "{place}");
            assert_eq!(got.greedy, greedy, "{place}");
        }
    }
    let error = encode_pair(&Toy::new(false, 9), "a", "b").unwrap_err();
    assert!(
        error.to_string().contains("no tokens of its own"),
        "{error}"
    );
}

#[test]
fn shots_are_drawn_as_python_draws_them() {
    let golden = golden();
    let expected: HashMap<String, Vec<usize>> =
        serde_json::from_value(golden["samples"].clone()).unwrap();
    for (numbers, expected) in expected {
        let (n, k) = numbers.split_once(',').unwrap();
        let got = PythonRandom::new(1234).sample(n.parse().unwrap(), k.parse().unwrap());
        assert_eq!(got, Some(expected), "{numbers}");
    }
    assert_eq!(PythonRandom::new(1234).sample(3, 4), None);
}

#[test]
fn files_are_laid_out_as_the_harness_s() {
    let tasks = mmlu::load(data("mmlu"), &options(5)).unwrap();
    let toy = Toy::new(false, 4096);
    let run = |task: &Task| evaluate(task, &toy, Some(3), &mut |_, _| {}).unwrap();
    let tasks: Vec<_> = tasks.iter().map(run).collect();
    let results = Results {
        model: "toy/model".to_owned(),
        config: serde_json::Map::new(),
        groups: mmlu::groups(&tasks),
        tasks,
    };
    let dir = tempfile::tempdir().unwrap();
    let paths = results.save(dir.path(), "2026-01-01T00-00-00").unwrap();
    assert!(paths[0].ends_with("toy__model/results_2026-01-01T00-00-00.json"));
    assert!(paths[1].ends_with("toy__model/samples_mmlu_anatomy_2026-01-01T00-00-00.jsonl"));
    let json: Value = serde_json::from_slice(&std::fs::read(&paths[0]).unwrap()).unwrap();
    assert!(json["results"]["mmlu_anatomy"]["acc_stderr,none"].is_number());
    assert!(json["groups"]["mmlu_stem"]["acc,none"].is_number());
    assert_eq!(
        json["n-samples"]["mmlu_anatomy"],
        json!({"original": 9, "effective": 3})
    );
    assert_eq!(json["group_subtasks"]["mmlu_stem"], json!(["mmlu_anatomy"]));
    let lines = std::fs::read_to_string(&paths[1]).unwrap();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["arguments"]["gen_args_3"]["arg_1"], " D");
    assert_eq!(line["filtered_resps"][0].as_array().unwrap().len(), 2);
    assert_eq!(line["metrics"][0], "acc");
}
