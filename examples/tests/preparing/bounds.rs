//! What `prepare_data` refuses, looks at before it begins, and leaves out of its reports.

use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use super::{fs, json_file, lines, prepare, records, run, write};
use crate::http;
use crate::support::fail;

/// A server that answers whatever it is asked.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            http::request(&stream);
            let body =
                r#"{"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}"#;
            http::reply(&stream, 200, "", body);
        }
    });
    address
}

#[test]
fn no_report_has_what_an_address_hides() {
    let dir = records();
    write(&dir, "ask.jsonl", r#"{"instruction": "q?", "output": "?"}"#);
    let ask = |query: &str| {
        let address = server();
        format!("generate answer ask.jsonl --out made.jsonl --model m --endpoint {address}{query}")
    };
    run(&dir, &ask("?route=s3cr3t"));
    for file in ["report.json", "report.md"] {
        let text = fs::read_to_string(dir.path().join("made.jsonl.report").join(file)).unwrap();
        assert!(
            text.contains("route=[redacted]") && !text.contains("s3cr3t"),
            "{text}"
        );
    }
    assert_eq!(lines(&dir, "made.jsonl")[0]["output"], "Yes.");
    let error = fail(&mut prepare(&dir, &ask("?code=s3cr3t")));
    assert!(
        error.contains("base_url") && !error.contains("s3cr3t"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_read() {
    let dir = records();
    // Reading it would be an error, too.
    write(&dir, "bad.jsonl", "{\"x\": 1}\n");
    let model = examples::bundled::model();
    for command in [
        "clean bad.jsonl --preset alpaca-cleaned",
        "dedup bad.jsonl",
        "split bad.jsonl",
    ] {
        for (output, expected) in [
            ("--out x.csv", "x.csv"),
            ("--out x.jsonl --to nosuch", "nosuch"),
            ("--out absent/x.jsonl", "absent"),
        ] {
            let mut command = prepare(&dir, &format!("{command} {output}"));
            if command.get_args().any(|arg| arg == "split") {
                command.arg("--model").arg(&model);
            }
            let error = fail(&mut command);
            assert!(
                error.contains(expected) && !error.contains("bad.jsonl"),
                "{error}"
            );
        }
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 2, "nothing is left behind");
}

#[test]
fn flags_without_effect_are_refused() {
    let dir = records();
    for (arguments, flag) in [
        ("check records.json --skip-bad", "--skip-bad"),
        ("generate answer records.json --target 3", "--target"),
        ("generate answer records.json --seed 3", "--seed"),
        ("generate augment records.json --rounds 3", "--rounds"),
        (
            "generate augment records.json --dry-run --expected-tokens 3",
            "--expected-tokens",
        ),
        (
            "generate evolve records.json --dry-run --expected-yield 0.5",
            "--expected-yield",
        ),
    ] {
        let more = match arguments.starts_with("generate") {
            true => "--out o.jsonl --endpoint http://127.0.0.1:1/v1 --model m",
            false => "",
        };
        let error = fail(&mut prepare(&dir, &format!("{arguments} {more}")));
        assert!(
            error.contains(flag) && error.contains("no effect"),
            "{error}"
        );
    }
}

#[test]
fn how_a_server_is_asked_says_nothing_to_a_model_here() {
    let dir = records();
    let local = "generate answer records.json --out o.jsonl --local model";
    for option in [
        "--requests-per-minute 3",
        "--tokens-per-minute 3",
        "--api-key-env KEY",
        "--api-key-header api-key",
        "--timeout 3",
    ] {
        let error = fail(&mut prepare(&dir, &format!("{local} {option}")));
        let flag = option.split(' ').next().unwrap();
        assert!(
            error.contains(flag) && error.contains("cannot be used with"),
            "{error}"
        );
    }
    let server =
        "generate evolve records.json --out o.jsonl --endpoint http://127.0.0.1:1/v1 --model m";
    for option in ["--expected-tokens 3", "--expected-yield 0.5"] {
        let error = fail(&mut prepare(&dir, &format!("{server} {option}")));
        assert!(error.contains("--dry-run"), "{error}");
    }
    let error = fail(&mut prepare(
        &dir,
        &format!("{server} --api-key-env LLM_TEST_ABSENT"),
    ));
    assert!(
        error.contains("no environment variable LLM_TEST_ABSENT"),
        "{error}"
    );
}

#[test]
fn a_check_looks_at_every_record_of_every_file() {
    let dir = records();
    let good = r#"{"instruction": "q", "output": "a"}"#;
    write(&dir, "a.jsonl", &format!("{{\"x\": 1}}\n{good}\n"));
    write(&dir, "b.json", &format!("[{good}, {good}"));
    let error = fail(&mut prepare(&dir, "check a.jsonl b.json records.json"));
    for said in ["no known format", "b.json", "1 bad records, 1 broken files"] {
        assert!(error.contains(said), "{error}");
    }
    run(&dir, "convert a.jsonl --to openai --out o.jsonl --skip-bad");
    assert_eq!(lines(&dir, "o.jsonl").len(), 1);
}

#[test]
fn a_report_has_the_hash_of_everything_that_was_read() {
    let dir = records();
    write(&dir, "phrases.txt", "as an ai\n");
    let steps = "- step: phrases\n  list: {file: phrases.txt}\n";
    write(&dir, "steps.yaml", steps);
    let other = r#"{"instruction": "other", "output": "a"}"#;
    write(&dir, "test.jsonl", other);
    let inputs = |report: &str| -> Vec<String> {
        let report = json_file(&dir, report);
        let inputs = report["inputs"].as_array().unwrap().iter();
        let path = |input: &Value| {
            assert_eq!(input["blake3"].as_str().unwrap().len(), 64);
            input["path"].as_str().unwrap().to_owned()
        };
        inputs.map(path).collect()
    };
    run(&dir, "clean records.json --steps steps.yaml --out a.jsonl");
    let expected = ["records.json", "steps.yaml", "phrases.txt"];
    assert_eq!(inputs("a.jsonl.report/report.json"), expected);
    run(
        &dir,
        "dedup records.json --near 0 --against test.jsonl --out b.jsonl",
    );
    let expected = ["records.json", "test.jsonl"];
    assert_eq!(inputs("b.jsonl.report/report.json"), expected);
    let mut stats = prepare(&dir, "stats records.json --report s --model");
    crate::support::succeed(stats.arg(examples::bundled::model()));
    assert!(inputs("s/report.json")[1].ends_with("tokenizer.json"));
}

#[test]
fn tasks_that_differ_by_a_sign_are_no_duplicates() {
    let dir = records();
    let record = |text: &str| json!({"instruction": text, "output": "Well."}).to_string();
    let all = ["Compute 7 + 2.", "Compute 7 - 2.", "compute 7 + 2"].map(record);
    write(&dir, "all.jsonl", &all.join("\n"));
    run(&dir, "dedup all.jsonl --near 0 --out exact.jsonl");
    assert_eq!(lines(&dir, "exact.jsonl").len(), 2);
}
