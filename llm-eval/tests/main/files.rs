//! The files of the published evaluations, read and written.

use std::fs;
use std::path::{Path, PathBuf};

use llm_eval::judge::files::*;
use serde_json::Value;

fn here(parts: &[&str]) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(parts.iter().collect::<PathBuf>())
}

fn judgments(name: &str) -> PathBuf {
    here(&["tests", "goldens", "judgments", name])
}

/// A file of ../shared/data/eval.
fn shared(name: &str) -> PathBuf {
    here(&["..", "..", "shared", "data", "eval", name])
}

fn read<R: Row>(path: &Path) -> Vec<R> {
    read_rows::<R>(path)
        .unwrap()
        .map(|row| row.unwrap().1)
        .collect()
}

/// Values with every number as a float, so that 7 equals 7.0.
fn values(path: &Path) -> Vec<Value> {
    fn floats(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().into(),
            Value::Array(values) => values.into_iter().map(floats).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (key, floats(value)))
                .collect(),
            other => other,
        }
    }
    let text = std::fs::read_to_string(path).unwrap();
    let rows = match text.starts_with('[') {
        true => serde_json::from_str(&text).unwrap(),
        false => text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>(),
    };
    rows.into_iter().map(floats).collect()
}

/// What is read and written again is the same, in lines and as an array.
fn assert_round_trip<R: Row + PartialEq + std::fmt::Debug>(path: &Path, rows: usize) {
    let dir = tempfile::tempdir().unwrap();
    let read_rows = read::<R>(path);
    assert_eq!(read_rows.len(), rows, "{}", path.display());
    let (lines, array) = (
        dir.path().join("lines.jsonl"),
        dir.path().join("array.json"),
    );
    write_rows(&lines, &read_rows).unwrap();
    write_array(&array, &read_rows).unwrap();
    for written in [&lines, &array] {
        assert_eq!(values(written), values(path));
        assert_eq!(read::<R>(written), read_rows);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn every_layout_is_written_as_it_was_read() {
    assert_round_trip::<Question>(&shared("mt_bench_question.jsonl"), 80);
    assert_round_trip::<Question>(&shared("vicuna_bench_question.jsonl"), 80);
    assert_round_trip::<ModelAnswer>(&shared("mt_bench_reference_gpt-4.jsonl"), 30);
    assert_round_trip::<JudgePrompt>(&shared("fastchat_judge_prompts.jsonl"), 8);
    assert_round_trip::<BelleItem>(&shared("belle_eval_set.jsonl"), 1000);
    assert_round_trip::<BellePrompt>(&shared("belle_eval_prompt.jsonl"), 11);
    assert_round_trip::<SingleJudgment>(&judgments("gpt-4_single.jsonl"), 184);
    assert_round_trip::<PairJudgment>(&judgments("gpt-4_pair.jsonl"), 183);
    assert_round_trip::<VicunaReview>(&judgments("review_gpt35_vicuna-13b.jsonl"), 80);
    assert_round_trip::<AlpacaAnnotation>(&judgments("annotations.json"), 180);
    for layout in ["arena-hard-v0.1", "arena-hard-v2.0"] {
        assert_round_trip::<ArenaJudgment>(&judgments(&format!("{layout}/vicuna-13b.jsonl")), 80);
    }
}

/// Records as the systems' repositories have them; what is unknown is kept.
#[test]
fn layouts_without_files_here_are_read_and_written() {
    fn check<R: Row + PartialEq + std::fmt::Debug>(text: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.jsonl");
        std::fs::write(&path, text).unwrap();
        assert_round_trip::<R>(&path, 1);
    }
    check::<VicunaQuestion>(
        r#"{"question_id": 1, "text": "How?", "category": "generic", "kept": {"a": [1]}}"#,
    );
    check::<VicunaAnswer>(
        r#"{"answer_id": "3oW4", "model_id": "bard:20230327", "question_id": 1, "text": "Here", "metadata": {}}"#,
    );
    check::<AlpacaOutput>(
        r#"{"dataset": "koala", "instruction": "Hi", "output": "Ho", "generator": "gpt4", "datasplit": "eval"}"#,
    );
    check::<ArenaQuestionV01>(
        r#"{"question_id":"328c","category":"arena-hard-v0.1","cluster":"ABC","turns":[{"content":"Use","lang":"en"}]}"#,
    );
    check::<ArenaQuestionV20>(
        r#"{"uid":"2edb","category":"hard_prompt","subcategory":"coding","prompt":"Write"}"#,
    );
    check::<ArenaAnswer>(
        r#"{"uid":"0122","ans_id":"g5Wq","model":"gpt-4-0613","messages":[{"content":"Tell","role":"user"},
            {"content":{"answer":"Implementing"},"role":"assistant"}],"tstamp":1713.5,"metadata":{"token_len":3}}"#
            .replace('\n', "")
            .as_str(),
    );
}

#[test]
fn belles_classes_have_prompts() {
    let prompts: Vec<BellePrompt> = read(&shared("belle_eval_prompt.jsonl"));
    let items: Vec<BelleItem> = read(&shared("belle_eval_set.jsonl"));
    for item in &items {
        let class = belle_class(&item.class);
        assert!(
            prompts
                .iter()
                .any(|prompt| belle_class(&prompt.class) == class),
            "{class}"
        );
    }
    assert_eq!(
        items
            .iter()
            .filter(|item| belle_class(&item.class) == "closed qa")
            .count(),
        items
            .iter()
            .filter(|item| item.class.starts_with("closed"))
            .count()
    );
}

#[test]
fn formats_are_detected_by_the_first_record() {
    let files = [
        ("gpt-4_single.jsonl", Format::FastchatSingle),
        ("gpt-4_pair.jsonl", Format::FastchatPair),
        ("review_gpt35_vicuna-13b.jsonl", Format::Vicuna),
        ("annotations.json", Format::AlpacaEval),
        ("arena-hard-v0.1/llama-13b.jsonl", Format::ArenaHard),
        ("arena-hard-v2.0/llama-13b.jsonl", Format::ArenaHard),
    ];
    for (name, format) in files {
        assert_eq!(detect(judgments(name)).unwrap(), format);
        assert_eq!(format.name().parse::<Format>().unwrap(), format);
        assert_eq!(serde_json::to_value(format).unwrap(), format.name());
    }
    let error = detect(judgments("question.jsonl")).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "question.jsonl: no known format has the fields question_id, category, turns"
        ),
        "{error}"
    );
    assert!(
        "fastchat"
            .parse::<Format>()
            .unwrap_err()
            .to_string()
            .contains("fastchat-single, fastchat-pair")
    );
}

fn error<R: Row>(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.jsonl");
    std::fs::write(&path, bytes).unwrap();
    let error = match read_rows::<R>(&path) {
        Err(error) => error,
        Ok(mut rows) => rows.find_map(Result::err).unwrap(),
    };
    error
        .to_string()
        .replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn errors_name_file_line_and_field() {
    let good = r#"{"question_id": 81, "category": "writing", "turns": ["a"]}"#;
    let after = |bad: &str| error::<Question>(format!("{good}\n\n{bad}\n").as_bytes());
    assert_eq!(
        after(r#"{"question_id": 82, "turns": []}"#),
        "f.jsonl:3: field `category`: missing"
    );
    assert!(
        after(r#"{"question_id": [], "category": "c", "turns": []}"#)
            .starts_with("f.jsonl:3: field `question_id`: ")
    );
    assert!(
        after(r#"{"question_id": 1, "category": "c", "turns": [1]}"#)
            .starts_with("f.jsonl:3: field `turns`: invalid type")
    );
    assert!(after(r#"{"question_id": 1, "categ"#).starts_with("f.jsonl:3: cut off: "));
    assert_eq!(after("[1]"), "f.jsonl:3: a record must be an object");
    assert!(error::<Question>(b"{\"question_id\": \"\xff\"}").starts_with("f.jsonl:1: "));
    assert!(
        error::<Question>(&[b"{\"a\":".repeat(10_000), b"1".to_vec()].concat())
            .contains("recursion limit")
    );
    assert!(error::<AlpacaAnnotation>(b"\n[\n{\"instruction\": \"i\", \"generator_2\": \"m\", \"preference\": 1},\n {\"instruction\": 5}]").starts_with("f.jsonl:4: field `instruction`"));
    let missing = error::<AlpacaAnnotation>(b"{\"instruction\": \"i\", \"generator_2\": \"m\"}");
    assert_eq!(missing, "f.jsonl:1: field `preference`: missing");
    let missing = read_rows::<Question>("/nowhere/question.jsonl")
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("/nowhere/question.jsonl: "),
        "{missing}"
    );
}

/// An array is read record by record, and what is wrong with it is said of its line.
#[test]
fn broken_arrays_name_the_line() {
    let good = r#"{"instruction": "a, ]}\"", "generator_2": "m", "preference": null}"#;
    let of = |text: &str| error::<AlpacaAnnotation>(text.replace("GOOD", good).as_bytes());
    assert_eq!(of("[\nGOOD,\n"), "f.jsonl:3: cut off within an array");
    assert_eq!(of("["), "f.jsonl:1: cut off within an array");
    assert_eq!(of("[GOOD,\n\n7]"), "f.jsonl:3: a record must be an object");
    assert!(of("[GOOD,\n]").starts_with("f.jsonl:2: "));
    assert!(of("[,GOOD]").starts_with("f.jsonl:1: "));
    assert!(of("[GOOD\nGOOD]").starts_with("f.jsonl:2: "));
    assert!(of("[GOOD}]").starts_with("f.jsonl:1: "));
    assert_eq!(of("[GOOD]\nGOOD"), "f.jsonl:2: something follows the array");
    let text = [b"[\n\n{\"instruction\": \"\xff\"".to_vec(), b"}]".to_vec()].concat();
    assert!(error::<AlpacaAnnotation>(&text).starts_with("f.jsonl:3: "));
    // What is before the error is read.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.json");
    std::fs::write(&path, format!(" [ {good} , \n{good}, 7, {good} ]")).unwrap();
    let mut rows = read_rows::<AlpacaAnnotation>(&path).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().1.instruction, "a, ]}\"");
    assert_eq!(rows.next().unwrap().unwrap().0, 2);
    assert!(rows.next().unwrap().is_err());
    assert!(rows.next().is_none());
    std::fs::write(&path, "[ \n ]\n").unwrap();
    assert_eq!(read::<AlpacaAnnotation>(&path).len(), 0);
}

/// What is wrong with a saved judgment is said of its field.
#[test]
fn a_wrong_judgment_names_the_field() {
    let row = |turn: &str, more: &str| {
        format!(
            r#"{{"question_id": 1, "category": "c", "turn": {turn}, "mode": "single", "grammar": "rating", "judge": "j", "model": "m",
            "prompt": "p", "prompt_hash": "h", "reference": false, "attempt": 0, "verdict": {{"score": 7}}, "score": 7, "reply": ""{more}}}"#
        )
        .replace('\n', "")
    };
    let of = |text: String| error::<llm_eval::judge::Judgment>(text.as_bytes());
    assert!(of(row("\"one\"", "")).starts_with("f.jsonl:1: field `turn`: invalid type"));
    assert_eq!(
        of(row("1", "").replace("\"judge\"", "\"Judge\"")),
        "f.jsonl:1: field `judge`: missing"
    );
    assert!(of(row("1", ", \"first_reply\": 3")).starts_with("f.jsonl:1: field `first_reply`: "));
    assert!(
        of(row("1", "").replace("\"score\": 7}", "\"sore\": 7}"))
            .starts_with("f.jsonl:1: field `verdict`: ")
    );
    assert!(
        of(row("1", "").replace("\"model\"", "\"models\""))
            .starts_with("f.jsonl:1: field `model`: ")
    );
}

#[test]
fn byte_order_marks_and_carriage_returns_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.jsonl");
    let row = r#"{"question_id": 81, "category": "writing", "turns": ["a"]}"#;
    std::fs::write(&path, format!("\u{feff}\r\n{row}\r\n\r\n{row}")).unwrap();
    let rows: Vec<_> = read_rows::<Question>(&path)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        rows.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        [2, 4]
    );
    std::fs::write(&path, "\u{feff} \n").unwrap();
    assert_eq!(read_rows::<Question>(&path).unwrap().count(), 0);
    assert!(
        detect(&path)
            .unwrap_err()
            .to_string()
            .ends_with("no records")
    );
}

/// A file that cannot be written as a whole leaves the one that was there.
#[test]
fn a_failed_write_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outputs.json");
    let rows: Vec<AlpacaAnnotation> = read(&judgments("annotations.json"));
    write_array(&path, &rows).unwrap();
    assert!(write_array(dir.path().join("no/outputs.json"), &rows).is_err());
    let mut bad = rows[..3].to_vec();
    bad[2].preference = Some(f64::NAN);
    // A number that JSON has not: written as null, or refused, but never a file cut short.
    let before = std::fs::read(&path).unwrap();
    if write_array(&path, &bad).is_err() {
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    write_array::<AlpacaAnnotation>(&path, []).unwrap();
    assert_eq!(read::<AlpacaAnnotation>(&path).len(), 0);
}

#[test]
fn our_own_judgments_are_told_whatever_is_around_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judgments.jsonl");
    let long = "x".repeat(2 << 20);
    let row = format!(r#"{{"question_id": 1, "reply": "{long}", "prompt_hash": "0"}}"#);
    for (text, own) in [
        (row.clone(), true),
        (format!("\n\n{row}\n"), true),
        (format!("\u{feff}{row}"), true),
        (format!("\u{feff}\r\n [{row}]"), true),
        (r#"{"question_id": 1}"#.to_owned(), false),
        (String::new(), false),
    ] {
        fs::write(&path, &text).unwrap();
        assert_eq!(is_own(&path).unwrap(), own, "{:.40}", text);
    }
    fs::write(&path, "{").unwrap();
    assert!(is_own(&path).is_err());
}
