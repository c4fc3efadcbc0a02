//! `judge`, as its users run it.

mod refused;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::http;
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
    assert!(error.contains("two outputs"), "{error}");
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
    std::fs::write(&path, format!("\u{feff}\n{}", lines[0])).unwrap();
    let rows = succeed(judge(&parse).arg(&path));
    assert!(rows.starts_with("{\"line\":2,\"verdict\""), "{rows}");
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
        (
            &figures["figures"]["judgments"],
            &figures["figures"]["unscored"]
        ),
        (&Value::from(2), &Value::from(2))
    );
    let report = ask("audit", &["--mode", "single", "--dry-run"]);
    assert!(report.contains("to ask"), "{report}");
}

/// A server that has no schemas, and log-probabilities but for the model `bare`.
fn serve(stream: &TcpStream) {
    let Some((_, asked)) = http::request(stream) else {
        return;
    };
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let token = |text: &str, others: Value| json!({"token": text, "logprob": -0.2876820724517809, "top_logprobs": others});
    let a = json!([{"token": "A", "logprob": -0.2876820724517809}, {"token": "B", "logprob": -1.3862943611198906}]);
    let start = token("{\"winner\": \"", json!([]));
    let tokens = json!([start, token("A", a), token("\"}", json!([]))]);
    let mut choice =
        json!({"message": {"content": "{\"winner\": \"A\"}"}, "finish_reason": "stop"});
    if asked["logprobs"] == true && asked["model"] != "bare" {
        choice["logprobs"] = json!({"content": tokens});
    }
    let (status, body) = match asked.get("response_format") {
        Some(_) => (400, json!({"error": {"message": "unknown field"}})),
        None => (200, json!({"choices": [choice]})),
    };
    http::reply(stream, status, "", &body.to_string());
}

#[test]
fn what_a_server_lacks_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&stream.unwrap());
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, row: Value| {
        std::fs::write(dir.path().join(name), row.to_string()).unwrap();
    };
    let question = json!({"question_id": 1, "category": "facts", "turns": ["Name a colour."]});
    write("questions.jsonl", question);
    for (model, text) in [("a", "Red."), ("b", "Blue.")] {
        let choices = json!([{"index": 0, "turns": [text]}]);
        let answer = json!({"question_id": 1, "answer_id": model, "model_id": model,
            "choices": choices, "tstamp": 0.0});
        write(&format!("{model}.jsonl"), answer);
    }
    let ask = |model: &str, more: &[&str]| {
        let arguments = "run --questions questions.jsonl --answers a.jsonl b.jsonl --out out.jsonl";
        let mut judge = judge(&arguments.split(' ').collect::<Vec<_>>());
        judge.args(["--endpoint", &endpoint, "--model", model]);
        let output = judge.current_dir(&dir).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let [figures, warnings] = ask("full", &["--json-schema", "--logprobs"]);
    // 0.75 for the first place, in both orders.
    assert!(
        figures.contains("Expected win rates of the first")
            && figures.contains("| a against b | 1 | 50.0 |"),
        "{figures}"
    );
    assert!(
        warnings.contains("refused the JSON schema; 2 of 2 judgments"),
        "{warnings}"
    );
    assert!(!warnings.contains("expected value"), "{warnings}");
    let [figures, warnings] = ask("bare", &["--grammar", "json", "--logprobs"]);
    assert!(!figures.contains("Expected"), "{figures}");
    assert!(
        warnings.contains("2 of 2 verdicts have no expected value"),
        "{warnings}"
    );
    assert!(!warnings.contains("schema"), "{warnings}");
    let [_, warnings] = ask("full", &["--grammar", "json"]);
    assert_eq!(warnings, "");
}

/// A judge's verdicts on twenty questions, of which it gets the second half wrong.
fn judged(dir: &Path) {
    let verdict = |question: usize, order: &str| {
        let (a, b) = if order == "given" {
            ("a", "b")
        } else {
            ("b", "a")
        };
        let preference = if (a == "a") == (question < 15) {
            "A>B"
        } else {
            "B>A"
        };
        json!({"question_id": question, "category": "facts", "turn": 1, "mode": "pair", "grammar": "pair",
            "judge": "j", "model_a": a, "model_b": b, "order": order, "prompt": "pair", "prompt_hash": "",
            "reference": false, "attempt": 0, "verdict": {"preference": preference}, "reply": "[[A]]"})
    };
    let lines = |rows: Vec<Value>| {
        let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.join("\n")
    };
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let both =
        (0..20).flat_map(|question| ["given", "swapped"].map(|order| verdict(question, order)));
    write("judgments.jsonl", lines(both.collect()));
    let label = |question: usize| {
        let winner = if question < 10 { "model_a" } else { "model_b" };
        json!({"question_id": question, "model_a": "a", "model_b": "b", "winner": winner, "judge": "author_0"})
    };
    write(
        "labels.jsonl",
        lines((0..20).step_by(2).map(label).collect()),
    );
    let question = |question: usize| json!({"question_id": question, "category": "facts", "text": format!("{question}?")});
    write("questions.jsonl", lines((0..20).map(question).collect()));
    for model in ["a", "b"] {
        let answer = |question: usize| {
            let text = model.repeat(1 + question % 7);
            json!({"question_id": question, "answer_id": "", "model_id": model, "text": text})
        };
        write(
            &format!("{model}.jsonl"),
            lines((0..20).map(answer).collect()),
        );
    }
}

#[test]
fn people_correct_a_judge_and_other_systems_read_it() {
    let dir = tempfile::tempdir().unwrap();
    judged(dir.path());
    let run = |arguments: &str| {
        let mut judge = judge(&arguments.split(' ').collect::<Vec<_>>());
        judge.current_dir(&dir);
        judge
    };
    let json = succeed(&mut run(
        "replay judgments.jsonl --human labels.jsonl --json",
    ));
    let report: Value = serde_json::from_str(&json).unwrap();
    let rate = &report["people"]["pairs"][0]["win_rate"];
    assert_eq!(
        (rate["judge"].as_f64(), rate["labelled"].as_u64()),
        (Some(0.75), Some(10))
    );
    assert_eq!(rate["people"]["value"], 0.5);
    let corrected = rate["corrected"]["mean"]["value"].as_f64().unwrap();
    assert!((corrected - 0.5).abs() < 0.1, "{corrected}");
    let shown = succeed(&mut run("replay judgments.jsonl --human labels.jsonl"));
    assert!(
        shown.contains("## People") && shown.contains("a is better"),
        "{shown}"
    );

    let export = "export judgments.jsonl --baseline b --to";
    let texts = "--questions questions.jsonl --answers a.jsonl b.jsonl";
    succeed(&mut run(&format!(
        "{export} alpaca-eval {texts} --out annotations.json"
    )));
    succeed(&mut run(&format!("{export} arena-hard --out arena.jsonl")));
    succeed(&mut run(
        "export judgments.jsonl --to fastchat-pair --out pair.jsonl",
    ));
    let replayed = |file: &str| -> Value {
        serde_json::from_str(&succeed(&mut run(&format!("replay {file} --json")))).unwrap()
    };
    assert_eq!(
        replayed("annotations.json")["models"]["a"]["alpaca_eval"]["win_rate"],
        75.0
    );
    let arena = replayed("arena.jsonl");
    assert_eq!(
        arena["models"]["a"]["categories"]["facts"]["arena_hard"]["score"],
        75.0
    );
    assert_eq!(
        replayed("pair.jsonl")["models"]["a"]["outcomes"]["wins"],
        15
    );

    let report = succeed(&mut run(&format!(
        "report judgments.jsonl {texts} --html page.html"
    )));
    assert_eq!(report.trim(), "page.html");
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.contains("Length and style") && page.contains("bbbbbbb"));
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    judged(dir.path());
    let ask = "run --questions questions.jsonl --answers a.jsonl b.jsonl --out out.jsonl --dry-run --endpoint http://localhost:1 --model m";
    for (arguments, word) in [
        (
            "replay judgments.jsonl --baseline a".to_owned(),
            "--baseline",
        ),
        (
            "replay judgments.jsonl --duplicates last".to_owned(),
            "--duplicates",
        ),
        (format!("{ask} --mode single --baseline a"), "--baseline"),
        (format!("{ask} --criterion style:1:x"), "--criterion"),
        (
            "export judgments.jsonl --to arena-hard --out x".to_owned(),
            "--baseline",
        ),
        (
            "export judgments.jsonl --to arena-hard --baseline c --out x".to_owned(),
            "no comparison with c",
        ),
        ("report judgments.jsonl".to_owned(), "--html"),
    ] {
        let mut judge = judge(&arguments.split(' ').collect::<Vec<_>>());
        let error = fail(judge.current_dir(&dir));
        assert!(error.contains(word), "{arguments}: {error}");
    }
    assert!(!dir.path().join("x").exists());
}
