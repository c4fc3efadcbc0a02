//! `judge`, as its users run it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{fail, program, succeed};

fn judge(arguments: &[&str]) -> Command {
    // It takes no device.
    let mut command = Command::new(program("judge").get_program());
    command.args(arguments);
    command
}

/// Judgments that llm-eval's tests compare with the systems' own figures.
fn judgments(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llm-eval/tests/goldens/judgments");
    dir.join(name)
}

#[test]
fn figures_come_from_judgments_alone() {
    for (file, format) in [
        ("gpt-4_single.jsonl", "fastchat-single"),
        ("gpt-4_pair.jsonl", "fastchat-pair"),
        ("annotations.json", "alpaca-eval"),
        ("review_gpt35_vicuna-13b.jsonl", "vicuna"),
        ("arena-hard-v2.0/llama-13b.jsonl", "arena-hard"),
    ] {
        let path = judgments(file);
        let json = succeed(judge(&["replay", "--json"]).arg(&path));
        let replay: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(replay["format"], format);
        assert!(
            replay["models"]
                .as_object()
                .is_some_and(|models| !models.is_empty())
        );
        let shown = succeed(judge(&["replay"]).arg(&path));
        assert!(shown.starts_with(format), "{shown}");
        for model in replay["models"].as_object().unwrap().keys() {
            assert!(shown.contains(model), "{shown}");
        }
    }
    let error = fail(judge(&["replay", "--format", "vicuna"]).arg(judgments("annotations.json")));
    assert!(error.contains("annotations.json"), "{error}");
    assert!(fail(&mut judge(&["replay", "absent.jsonl"])).contains("absent.jsonl"));
}

#[test]
fn judgments_become_reports() {
    let dir = tempfile::tempdir().unwrap();
    let report = |more: &[&str]| {
        let mut judge = judge(&["report"]);
        judge.current_dir(&dir).args(more);
        judge
    };
    let files = ["gpt-4_single.jsonl", "gpt-4_pair.jsonl"].map(judgments);
    let outputs = "--html r.html --markdown r.md --json r.json --questions";
    let outputs: Vec<&str> = outputs.split(' ').collect();
    let written = succeed(
        report(&outputs)
            .arg(judgments("question.jsonl"))
            .args(&files),
    );
    assert_eq!(written, "r.html\nr.md\nr.json\n");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let json: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!(json["judged"]["judges"], serde_json::json!(["gpt-4"]));
    let rows = json["figures"]["judgments"].as_u64().unwrap() as usize;
    assert_eq!(
        read("r.html").matches(r#"<div class="judgment">"#).count(),
        rows
    );
    assert!(read("r.md").contains("| vicuna-13b against alpaca-13b |"));
    let error = fail(report(&["--json", "r.json"]).arg(judgments("annotations.json")));
    assert!(
        error.contains("annotations.json") && error.contains("alpaca-eval"),
        "{error}"
    );
    let error = fail(&mut report(&["r.json", "--json", "r.json"]));
    assert!(error.contains("r.json: it is read from"), "{error}");
    let error = fail(report(&["--html", "r.x", "--json", "./r.x"]).args(&files));
    assert!(error.contains("two reports"), "{error}");
    assert!(fail(report(&["--json", "x", "--level", "95"]).args(&files)).contains("level = 95"));
    assert!(!report(&[]).args(&files).status().unwrap().success());
}

#[test]
fn replies_become_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replies.jsonl");
    let replies = ["Good. [[B]]", "I cannot say."].map(|text| serde_json::json!({"text": text}));
    let lines: Vec<String> = replies.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let parse = ["parse", "--grammar", "pair", "--json"];
    let rows = succeed(judge(&parse).arg(&path));
    let rows: Vec<Value> = rows
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    assert_eq!(rows[0]["verdict"]["preference"], "B>A");
    assert_eq!(rows[1]["unparsed"], "no_verdict");
    let error = fail(judge(&["parse", "--grammar", "pears"]).arg(&path));
    assert!(error.contains("pears"), "{error}");
    let error = fail(judge(&["parse", "--grammar", "pair", "--field", "reply"]).arg(&path));
    assert!(error.contains(":1: field `reply`"), "{error}");
}

#[test]
fn a_model_on_this_machine_judges_and_figures_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, rows: &[Value]| {
        let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        std::fs::write(dir.path().join(name), rows.join("\n")).unwrap();
    };
    let question =
        serde_json::json!({"question_id": 1, "category": "facts", "turns": ["Name a colour."]});
    write("questions.jsonl", &[question]);
    let answer = |model: &str, text: &str| {
        serde_json::json!({"question_id": 1, "answer_id": model, "model_id": model,
            "choices": [{"index": 0, "turns": [text]}], "tstamp": 0.0})
    };
    write("a.jsonl", &[answer("a", "Red.")]);
    write("b.jsonl", &[answer("b", "Seven.")]);
    // The tiny model reads no more than 512 tokens.
    let prompts = [
        ("system", "Judge."),
        ("pair", "{{material}} {{form}}"),
        ("reminder", "{{form}}"),
    ];
    std::fs::create_dir(dir.path().join("prompts")).unwrap();
    for (name, text) in prompts
        .iter()
        .chain([&("form_pair", "[[A]], [[B]] or [[C]]?")])
    {
        std::fs::write(dir.path().join(format!("prompts/{name}.txt")), text).unwrap();
    }
    let ask = |command: &str, more: &[&str]| {
        let arguments = "--questions questions.jsonl --answers a.jsonl b.jsonl --temperature 0 \
                         --max-tokens 8 --prompts prompts";
        let mut judge = judge(&[command]);
        judge
            .current_dir(&dir)
            .args(arguments.split_whitespace())
            .args(more);
        succeed(judge.arg("--local").arg(examples::bundled::model()))
    };
    let estimate = ask("run", &["--out", "judgments.jsonl", "--dry-run"]);
    assert!(estimate.contains("2 to ask"), "{estimate}");
    let figures = ask("run", &["--out", "judgments.jsonl", "--json"]);
    let replayed = succeed(judge(&["replay", "judgments.jsonl", "--json"]).current_dir(&dir));
    assert_eq!(replayed, figures);
    let shown = "report judgments.jsonl --questions questions.jsonl --html r.html --answers a.jsonl b.jsonl";
    let shown: Vec<&str> = shown.split(' ').collect();
    succeed(judge(&shown).current_dir(&dir));
    let page = std::fs::read_to_string(dir.path().join("r.html")).unwrap();
    for text in ["Name a colour.", "Red.", "Seven.", "no verdict: "] {
        assert!(page.contains(text), "{text}");
    }
    let figures: Value = serde_json::from_str(&figures).unwrap();
    // The tiny model knows nothing of verdicts; what it says is never a number.
    assert_eq!(
        (&figures["judgments"], &figures["unscored"]),
        (&Value::from(2), &Value::from(2))
    );
    let report = ask("audit", &["--mode", "single", "--dry-run"]);
    assert!(report.contains("to ask"), "{report}");
}
