//! `prepare_data`, as its users run it.

mod bounds;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use examples::bundled;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{fail, program, succeed};

/// Runs `prepare_data` in a directory, where all files of a test are.
fn prepare(dir: &TempDir, arguments: &str) -> Command {
    // It takes no device.
    let mut command = Command::new(program("prepare_data").get_program());
    command.current_dir(dir).args(arguments.split_whitespace());
    command
}

fn run(dir: &TempDir, arguments: &str) -> String {
    succeed(&mut prepare(dir, arguments))
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn json_file(dir: &TempDir, name: &str) -> Value {
    let text = fs::read_to_string(dir.path().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn lines(dir: &TempDir, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(dir.path().join(name)).unwrap();
    let line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

/// A directory with the bundled records as `records.json`.
fn records() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(bundled::records(), dir.path().join("records.json")).unwrap();
    dir
}

#[test]
fn records_are_checked_and_what_is_wrong_is_said() {
    let dir = records();
    let said = run(&dir, "check records.json");
    assert!(said.starts_with("451 good records, 0 bad"), "{said}");
    let good = r#"{"instruction": "q", "output": "a"}"#;
    write(
        &dir,
        "bad.jsonl",
        &format!("{good}\n{{\"instruction\": 3}}\n{good}\n{{\n"),
    );
    let error = fail(&mut prepare(&dir, "check bad.jsonl"));
    for place in [
        "line 2, record 2, field `instruction`",
        "line 4, record 4",
        "2 bad records",
    ] {
        assert!(error.contains(place), "{error}");
    }
    // Other commands say all that is wrong before they refuse, or go on without the bad ones.
    let error = fail(&mut prepare(
        &dir,
        "convert bad.jsonl --to openai --out o.jsonl",
    ));
    assert!(
        error.contains("record 2") && error.contains("record 4"),
        "{error}"
    );
    assert!(!dir.path().join("o.jsonl").exists());
    run(
        &dir,
        "convert bad.jsonl --to openai --out o.jsonl --skip-bad",
    );
    let report = json_file(&dir, "o.jsonl.report/report.json");
    assert_eq!(
        (&report["bad"]["records"], &report["outputs"][0]["records"]),
        (&json!(2), &json!(2))
    );
    assert!(fail(&mut prepare(&dir, "check absent.json")).contains("absent.json"));
}

#[test]
fn formats_convert_there_and_back_and_losses_name_their_record() {
    let dir = records();
    run(&dir, "convert records.json --to sharegpt --out chats.jsonl");
    run(
        &dir,
        "convert chats.jsonl --to alpaca --out back.json --no-report",
    );
    assert_eq!(
        json_file(&dir, "back.json"),
        json_file(&dir, "records.json")
    );
    assert!(!dir.path().join("back.json.report").exists());
    let system = r#"{"instruction": "q", "output": "a", "system": "s"}"#;
    let plain = r#"{"instruction": "q", "output": "a"}"#;
    write(&dir, "system.jsonl", &format!("{plain}\n{system}\n"));
    let error = fail(&mut prepare(
        &dir,
        "convert system.jsonl --to gpt4all --out g.jsonl",
    ));
    assert!(
        error.contains("system.jsonl:2, record 2") && error.contains("lose"),
        "{error}"
    );
    let said = run(
        &dir,
        "convert system.jsonl --to gpt4all --out g.jsonl --count-losses",
    );
    assert!(said.contains("1 records lost system"), "{said}");
}

#[test]
fn a_report_accounts_for_every_record() {
    let dir = records();
    write(
        &dir,
        "steps.yaml",
        "- step: length\n  min_words: 3\n- step: exact_duplicates\n",
    );
    run(
        &dir,
        "clean records.json --steps steps.yaml --out kept.jsonl --to sharegpt",
    );
    let report = json_file(&dir, "kept.jsonl.report/report.json");
    let account = &report["cleaning"][0];
    let kept = lines(&dir, "kept.jsonl").len();
    assert_eq!(account["kept"], kept);
    assert_eq!(account["dropped"], 451 - kept);
    let files = [
        ("inputs", "records.json", 451),
        ("outputs", "kept.jsonl", kept),
    ];
    for (side, name, records) in files {
        let file = &report[side][0];
        let bytes = fs::read(dir.path().join(name)).unwrap();
        assert_eq!(
            (&file["path"], &file["records"]),
            (&json!(name), &json!(records))
        );
        assert_eq!(file["bytes"], bytes.len());
    }
    assert_eq!(report["before"]["records"], 451);
    assert_eq!(report["after"]["records"], kept);
    let page = fs::read_to_string(dir.path().join("kept.jsonl.report/report.md")).unwrap();
    assert!(page.contains("exact_duplicates"));
    for plot in ["lengths.svg", "languages.svg"] {
        let plot = fs::read_to_string(dir.path().join("kept.jsonl.report").join(plot)).unwrap();
        assert!(plot.starts_with("<svg"));
    }
    // The same again, to the byte.
    let first = fs::read(dir.path().join("kept.jsonl.report/report.json")).unwrap();
    run(
        &dir,
        "clean records.json --steps steps.yaml --out kept.jsonl --to sharegpt",
    );
    assert_eq!(
        fs::read(dir.path().join("kept.jsonl.report/report.json")).unwrap(),
        first
    );
}

#[test]
fn duplicates_go_and_the_first_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let record = |text: &str| json!({"instruction": text, "output": "Yes."}).to_string();
    let long = "Explain to a child of ten how the tides of the sea come from the moon and the sun";
    let texts = [
        long,
        "Name a colour.",
        &format!("{long}!"),
        &format!("{long}, please"),
        "Name a number.",
    ];
    write(&dir, "all.jsonl", &texts.map(record).join("\n"));
    run(&dir, "dedup all.jsonl --out near.jsonl");
    let asked = |name: &str| -> Vec<Value> {
        lines(&dir, name)
            .iter()
            .map(|line| line["instruction"].clone())
            .collect()
    };
    assert_eq!(
        asked("near.jsonl"),
        [long, "Name a colour.", "Name a number."]
    );
    run(&dir, "dedup all.jsonl --near 0 --out exact.jsonl");
    assert_eq!(asked("exact.jsonl").len(), 4);
    write(&dir, "test.jsonl", &record("Name a number."));
    run(
        &dir,
        "dedup all.jsonl --against test.jsonl --out clean.jsonl",
    );
    assert_eq!(asked("clean.jsonl"), [long, "Name a colour."]);
}

#[test]
fn plain_texts_are_cleaned_too() {
    let dir = tempfile::tempdir().unwrap();
    let text = |text: &str| json!({"text": text, "source": "a"}).to_string();
    let texts = ["Tea is\u{0} a drink.", "Short.", "Tea is a drink."].map(text);
    write(&dir, "texts.jsonl", &texts.join("\n"));
    write(
        &dir,
        "steps.yaml",
        "- step: control_characters\n- step: length\n  min_words: 3\n- step: exact_duplicates\n",
    );
    run(
        &dir,
        "clean texts.jsonl --steps steps.yaml --out kept.jsonl",
    );
    let kept = json!({"text": "Tea is a drink.", "source": "a"});
    assert_eq!(lines(&dir, "kept.jsonl"), [kept]);
    write(&dir, "talk.jsonl", r#"{"instruction": "q", "output": "a"}"#);
    let mixed = "clean texts.jsonl talk.jsonl --steps steps.yaml --out kept.jsonl";
    assert!(fail(&mut prepare(&dir, mixed)).contains("together"));
}

#[test]
fn long_conversations_are_divided() {
    let dir = tempfile::tempdir().unwrap();
    let turn = |from: &str| json!({"from": from, "value": "word ".repeat(30)});
    let turns: Vec<Value> = ["human", "gpt"]
        .iter()
        .cycle()
        .take(6)
        .map(|from| turn(from))
        .collect();
    write(
        &dir,
        "long.json",
        &json!([{"id": "x", "conversations": turns}]).to_string(),
    );
    let model = bundled::model();
    let split = |rule: &str| {
        let mut command = prepare(&dir, "split long.json --out pieces.json --max-tokens 200");
        succeed(command.arg("--model").arg(&model).args(["--rule", rule]));
        let pieces = json_file(&dir, "pieces.json");
        let pieces = pieces.as_array().unwrap().iter();
        let length = |piece: &Value| piece["conversations"].as_array().unwrap().len();
        pieces.map(length).sum::<usize>()
    };
    assert_eq!(split("fixed"), 6);
    assert!(split("compat") < 6, "FastChat loses the last exchange");
}

#[test]
fn records_are_surveyed_and_samples_shown() {
    let dir = records();
    let survey: Value = serde_json::from_str(&run(&dir, "stats records.json --json")).unwrap();
    assert_eq!(survey["records"], 451);
    assert!(survey["languages"]["cmn"].as_u64().unwrap() > 50);
    let mut inspect = prepare(
        &dir,
        "inspect --data records.json --html page.html --limit 3 --model",
    );
    succeed(inspect.arg(bundled::model()));
    let page = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.matches("<h2>").count() == 3 && page.contains("<i class=s"));
}

#[test]
fn flags_stand_in_a_file_and_files_are_mixed() {
    let dir = records();
    let other = r#"{"instruction": "other", "output": "a"}"#;
    write(&dir, "other.jsonl", &[other; 10].join("\n"));
    let yaml = "input: [records.json, other.jsonl]\nweights: 0.5,0.5\nto: alpaca\nout: a.jsonl\n";
    write(&dir, "convert.yaml", yaml);
    run(&dir, "convert --config convert.yaml --out b.jsonl");
    let mixed = lines(&dir, "b.jsonl");
    assert_eq!(mixed.len(), 461);
    let last = mixed
        .iter()
        .rposition(|line| line["instruction"] == "other");
    assert!(last.is_some_and(|last| last < 60), "{last:?}");
    write(
        &dir,
        "wrong.yaml",
        "input: records.json\nto: alpaca\nouts: a.jsonl\n",
    );
    let error = fail(&mut prepare(&dir, "convert --config wrong.yaml"));
    assert!(
        error.contains("--outs") && error.contains("--out"),
        "{error}"
    );
}

#[test]
fn a_model_on_this_machine_answers_and_is_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |text: &str| json!({"instruction": text, "output": "?"}).to_string();
    let asked = [
        "What is the opposite of hot?",
        "What is the capital of France?",
    ]
    .map(ask);
    write(&dir, "ask.jsonl", &asked.join("\n"));
    let generate = |more: &str| {
        let arguments =
            "generate answer ask.jsonl --out made.jsonl --temperature 0 --max-tokens 12";
        let mut command = prepare(&dir, &format!("{arguments} {more}"));
        succeed(command.arg("--local").arg(bundled::model()))
    };
    let estimate = generate("--dry-run --price-prompt 1 --price-completion 2");
    assert!(estimate.contains("2 to ask, 0 in the cache"), "{estimate}");
    assert!(!dir.path().join("made.jsonl").exists());
    assert!(generate("").contains("2 asked, 0 from the cache"));
    let made = lines(&dir, "made.jsonl");
    assert!(made.iter().all(|line| line["output"] != "?"), "{made:?}");
    assert!(generate("").contains("0 asked, 2 from the cache"));
    assert_eq!(lines(&dir, "made.jsonl"), made);
    let error = fail(&mut prepare(
        &dir,
        "generate answer ask.jsonl --out made.jsonl",
    ));
    assert!(error.contains("--endpoint"), "{error}");
}

#[test]
fn conversations_are_rendered() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir,
        "t.jinja",
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
    );
    write(&dir, "m.json", r#"[{"role": "user", "content": "Hi"}]"#);
    let said = run(
        &dir,
        "render --templates t.jinja --name t --messages m.json --json",
    );
    assert_eq!(said.trim(), r#"{"text":"<user>Hi"}"#);
}
