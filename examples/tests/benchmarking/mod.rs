//! `benchmark run`, as its users run it.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::server::Server;
use crate::support::{fail, program, succeed, write_model};

/// Files that llm-eval's tests compare with lm-evaluation-harness.
fn data(path: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llm-eval/tests/data");
    dir.join(path)
}

/// `benchmark run` in a directory, by an option a word.
fn run(dir: &TempDir, options: &str) -> Command {
    let mut command = Command::new(program("benchmark").get_program());
    command.current_dir(dir).arg("run");
    command.args(options.split_whitespace());
    command
}

fn write(dir: &TempDir, name: &str, rows: &[Value]) {
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    fs::write(dir.path().join(name), rows.join("\n")).unwrap();
}

fn rows(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let row = |line| serde_json::from_str(line).unwrap();
    text.lines().map(row).collect()
}

/// The one file in `dir` whose name begins so.
fn written(dir: &Path, start: &str) -> PathBuf {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let begins = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(start)
    };
    let found: Vec<_> = names.filter(begins).collect();
    assert_eq!(found.len(), 1, "{start}: {found:?}");
    found[0].clone()
}

#[test]
fn texts_are_classified_by_a_server_and_asked_about_once() {
    let dir = tempfile::tempdir().unwrap();
    let labelled = |text: &str, label: &str| json!({"text": text, "label": label});
    let texts = [
        labelled("It broke.", "negative"),
        labelled("It shines.", "positive"),
        labelled("Hm.", "negative"),
    ];
    write(&dir, "texts.jsonl", &texts);
    let mut shot = labelled("I love it.", "positive");
    shot["clues"] = json!("love");
    write(&dir, "train.jsonl", &[shot]);
    let server = Server::start(|text| {
        let said = match text {
            _ if text.contains("Text: It broke.") => "broke\nREASONING: …\nSentiment: Negative",
            _ if text.contains("Text: It shines.") => "Sentiment: negative",
            _ => "who knows",
        };
        said.to_owned()
    });
    let options = format!(
        "--model any --endpoint {} --task classify --data texts.jsonl --train train.jsonl --style clues \
         --label-name sentiment --output out",
        server.endpoint
    );
    let estimate = succeed(run(&dir, &options).arg("--dry-run"));
    assert!(estimate.contains("3 to ask") && server.count() == 0);
    let shown = succeed(&mut run(&dir, &options));
    assert!(shown.contains("1 replies without an answer"), "{shown}");
    let matrix =
        "true \\ said       negative     positive\nnegative                 1            0\n";
    assert!(shown.contains(matrix), "{shown}");
    assert_eq!(server.count(), 3);
    let prompt = server.asked.lock().unwrap()[0].clone();
    assert!(prompt.contains("list CLUES") && prompt.contains("CLUES: love\nSentiment: positive"));
    let samples = rows(&written(&dir.path().join("out/any"), "samples_"));
    assert_eq!(samples[0]["filtered_resps"], json!(["negative"]));

    let options = options.replace("--output out", "--json");
    let results: Value = serde_json::from_str(&succeed(&mut run(&dir, &options))).unwrap();
    assert_eq!(server.count(), 3);
    let figures = &results["results"]["classification_sentiment"];
    assert_eq!(figures["acc,none"].as_f64().unwrap(), 1.0 / 3.0);
    assert_eq!(figures["labels"], json!(["negative", "positive"]));
    assert_eq!(figures["confusion_matrix"], json!([[1, 0], [1, 0]]));
    assert_eq!(figures["unparsable_by_label"], json!([1, 0]));
}

const BELLE: &str = "--model model --chat --device cpu --max-tokens 4 --task belle --data eval_set.json --output out";

/// A directory with a model and two of BELLE's questions.
fn belle() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    write_model(&dir.path().join("model"), 1, 2048);
    let item = |question: &str, class: &str| json!({"question": question, "std_answer": "标准", "class": class});
    write(
        &dir,
        "eval_set.json",
        &[item("一加一？", "math"), item("写诗", "generation")],
    );
    dir
}

#[test]
fn belle_is_answered_by_a_model_and_scored_by_a_judge() {
    let dir = belle();
    let shown = succeed(&mut run(&dir, BELLE));
    assert!(shown.contains("not scored"), "{shown}");
    let answers = rows(&written(&dir.path().join("out/model"), "samples_belle_"));
    let answers: Vec<_> = answers
        .iter()
        .map(|row| row["resps"][0][0].clone())
        .collect();
    assert!(answers.iter().all(Value::is_string));

    let server = Server::start(|text| {
        let said = if text.contains("一加一？") {
            "得分: 0.5"
        } else {
            "不知道"
        };
        said.to_owned()
    });
    let judged = format!("--judge-endpoint {} --judge-model judge", server.endpoint);
    let all = BELLE.replace("--output out", "--output judged") + " --json " + &judged;
    let estimate = succeed(run(&dir, &all).arg("--dry-run"));
    assert!(
        estimate.contains("judge, the judge\nrequests    2 to ask"),
        "{estimate}"
    );
    assert_eq!(server.count(), 0);
    let results: Value = serde_json::from_str(&succeed(&mut run(&dir, &all))).unwrap();
    let figures = &results["results"]["belle"];
    assert_eq!(figures["score,math"], 0.5);
    assert_eq!(figures["score,all"], 0.5);
    assert_eq!(figures["unparsable,generation"], 1);
    // One of the two replies had no score, and was asked for again.
    assert_eq!(server.count(), 3);
    let judgments = rows(&written(
        &dir.path().join("judged/model"),
        "judgments_belle_",
    ));
    assert_eq!(judgments[0]["score"], 0.5);
    assert_eq!(judgments[1]["unscored"]["unparsed"], "no_verdict");
    for answer in &answers {
        let asked = server.asked.lock().unwrap();
        assert!(
            asked
                .iter()
                .any(|text| text.contains(answer.as_str().unwrap().trim_end()))
        );
    }
    let replayed = Command::new(program("judge").get_program())
        .args(["replay", "--json"])
        .arg(written(
            &dir.path().join("judged/model"),
            "judgments_belle_",
        ))
        .output()
        .unwrap();
    assert!(replayed.status.success());
}

#[test]
fn a_model_on_this_machine_judges_belles_answers() {
    let dir = belle();
    let local = BELLE.replace("--output out", "--output local")
        + " --json --judge-local model --judge-max-tokens 4";
    let results: Value = serde_json::from_str(&succeed(&mut run(&dir, &local))).unwrap();
    assert_eq!(results["results"]["belle"]["unparsable,all"], 2);
}

#[test]
fn multiple_choice_on_a_server_is_generated_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| "Let me think.\n\nA is small.\nThe answer is (B).".to_owned());
    let mut options = format!(
        "--model any --endpoint {} --task mmlu --json",
        server.endpoint
    );
    let ask = |options: &str| {
        let mut run = run(&dir, options);
        run.arg("--data").arg(data("mmlu"));
        run
    };
    let error = fail(&mut ask(&options));
    assert!(
        error.contains("`mmlu_anatomy`") && error.contains("--answers generated"),
        "{error}"
    );
    assert_eq!(server.count(), 0);
    options += " --answers generated";
    let results: Value = serde_json::from_str(&succeed(&mut ask(&options))).unwrap();
    let figures = &results["results"]["mmlu_anatomy"];
    assert!(figures["exact_match,strict"].as_f64().unwrap() > 0.0);
    assert_eq!(figures["unparsable,strict"], Value::Null);
    assert!(server.count() > 0);
    // The harness's rule looks at the first line alone.
    let first = options.replace("generated", "first-line");
    let results: Value = serde_json::from_str(&succeed(&mut ask(&first))).unwrap();
    let figures = &results["results"]["mmlu_anatomy"];
    assert_eq!(figures["unparsable,strict"], 9);
}

#[test]
fn answers_to_c_evals_test_can_be_sent_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = run(
        &dir,
        "--device cpu --num-fewshot 0 --task ceval --split test --submission s.json",
    );
    run.arg("--model").arg(examples::bundled::model());
    let shown = succeed(run.arg("--data").arg(data("ceval")));
    assert!(
        shown.contains("ceval-test_law") && shown.contains("not scored"),
        "{shown}"
    );
    let text = fs::read_to_string(dir.path().join("s.json")).unwrap();
    let submission: Value = serde_json::from_str(&text).unwrap();
    let law = submission["law"].as_object().unwrap();
    assert_eq!(law.keys().collect::<Vec<_>>(), ["0", "1", "2"]);
    let letters = ["A", "B", "C", "D"];
    assert!(
        law.values()
            .all(|letter| letters.contains(&letter.as_str().unwrap()))
    );
}

#[test]
fn a_model_and_its_judge_share_a_limit_in_money() {
    let dir = belle();
    let server = Server::start(|text| {
        let judged = text.contains("得分");
        if judged { "得分: 1" } else { "答案" }.to_owned()
    });
    let with_key = format!("{}?route=s3cr3t", server.endpoint);
    let options = format!(
        "--model answers --endpoint {with_key} --task belle --data eval_set.json --output out --json \
         --judge-endpoint {} --judge-model judge --max-cost 1 --price-prompt 1 --price-completion 1",
        server.endpoint
    );
    // The judge's own price counts, and ends the run before it is asked.
    let dear = " --judge-price-prompt 1e6 --judge-price-completion 1e6";
    let error = fail(&mut run(&dir, &(options.clone() + dear)));
    assert!(error.contains("cost"), "{error}");
    assert_eq!(server.count(), 2);
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    // By its price it may be asked, and then there are replies of both in the cache.
    let results: Value = serde_json::from_str(&succeed(&mut run(&dir, &options))).unwrap();
    assert_eq!(results["results"]["belle"]["score,all"], 1.0);
    assert_eq!(server.count(), 4);
    fs::remove_dir_all(dir.path().join("out")).unwrap();
    succeed(&mut run(&dir, &options));
    assert_eq!(server.count(), 4);
    // An address in results is as it may be shown.
    for entry in fs::read_dir(dir.path().join("out/answers")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let shown = text.contains("route=[redacted]");
        let results = path.to_string_lossy().contains("results_");
        assert!(shown == results && !text.contains("s3cr3t"), "{text}");
    }
}

/// A task, options, and what is said of them.
const HEEDLESS: &[(&str, &str, &str)] = &[
    ("gsm8k", "--max-cost 3", "--endpoint <URL>"),
    ("gsm8k", "--timeout 5", "--judge-endpoint <URL>"),
    ("gsm8k", "--cache x", "--endpoint <URL>"),
    ("gsm8k", "{server} --adapter x", "cannot be used with"),
    ("gsm8k", "{server} --device cpu", "cannot be used with"),
    ("gsm8k", "{server} --chat", "cannot be used with"),
    ("gsm8k", "--chat --batch-tokens 5", "--chat"),
    ("gsm8k", "--submission x", "--split test"),
    ("gsm8k", "--split test", "--task ceval"),
    ("ceval", "--split test", "--submission"),
    ("ceval", "--train x", "--task gsm8k or classify"),
    ("ceval", "--max-tokens 5", "no answer is generated"),
    ("ceval", "--style clues", "--task classify"),
    ("ceval", "{judge}", "--task belle"),
    ("belle", "--variant official", "--task mmlu or ceval"),
    ("belle", "--num-fewshot 3", "--num-fewshot belongs to"),
    ("belle", "--judge-prompts x", "name a judge"),
    ("gsm8k", "{server} --expected-tokens 3", "--dry-run"),
    ("gsm8k", "{server} --max-cost 3", "give the price of model"),
    ("belle", "{judge} --max-cost 3", "give the price of j"),
    (
        "belle",
        "{judge} --judge-price-prompt=-1 --judge-price-completion 1",
        "expected numbers from 0",
    ),
    (
        "belle",
        "{judge} --judge-price-prompt 3",
        "--judge-price-completion",
    ),
    (
        "belle",
        "--judge-local x --judge-price-prompt 3 --judge-price-completion 3",
        "--judge-endpoint",
    ),
    ("belle", "--judge-endpoint http://x", "--judge-model"),
];

#[test]
fn options_that_nothing_would_heed_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = "--endpoint http://127.0.0.1:1/v1";
    let judge = "--judge-endpoint http://127.0.0.1:1/v1 --judge-model j";
    for (task, options, expected) in HEEDLESS {
        let options = options
            .replace("{server}", server)
            .replace("{judge}", judge);
        let data = match *task {
            "ceval" => data("ceval"),
            _ => data("absent.jsonl"),
        };
        // With --chat the files are read first.
        let mut run = run(&dir, &format!("--model model --task {task} {options}"));
        if options.contains("--chat --batch") {
            write(
                &dir,
                "g.jsonl",
                &[json!({"question": "q", "answer": "#### 1"})],
            );
            run.args(["--data", "g.jsonl", "--num-fewshot", "0"]);
        } else {
            run.arg("--data").arg(data);
        }
        let error = fail(&mut run);
        assert!(error.contains(expected), "{options}: {error}");
    }
}
