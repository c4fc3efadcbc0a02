//! What is done with a run's output: the other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{fail, model, output, program, succeed, write_model};
use crate::{data, finetune, uninterrupted};

#[test]
fn an_adapter_on_another_base_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    write_model(&other, 2, 512);
    let on = |base: &Path, name: &str| {
        let mut program = program(name);
        program.arg("--model").arg(base).arg("--adapter");
        program.arg(uninterrupted());
        program
    };
    let generate = |base: &Path| {
        let mut program = on(base, "generate");
        program.args(["--chat", "Hello", "--max-new-tokens", "2"]);
        program
    };
    let merge = |base: &Path, out: &str| {
        let mut program = on(base, "merge");
        program.arg("--out").arg(dir.path().join(out));
        program
    };
    for mut program in [generate(&other), merge(&other, "refused")] {
        let error = fail(&mut program);
        assert!(
            error.contains("base_weights") && error.contains("--force"),
            "{error}"
        );
    }
    assert!(!dir.path().join("refused").exists());
    succeed(&mut generate(model()));
    succeed(generate(&other).arg("--force"));
    for said in [
        succeed(&mut merge(model(), "merged")),
        succeed(merge(&other, "forced").arg("--force")),
    ] {
        let (_, difference) = said.split_once(" within ").unwrap();
        let difference: f64 = difference.split(' ').next().unwrap().parse().unwrap();
        assert!(difference < 1e-3, "{said}");
    }
    assert!(dir.path().join("forced/model.safetensors").exists());
}

/// A curve that a real run has left, and what is to be seen in it.
fn curve(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../llm-lora/tests");
    tests.join("curves").join(name)
}

/// The exit code of `diagnose`, and what it prints.
fn diagnose(file: &Path, flags: &[&str]) -> (Option<i32>, String) {
    // It has no device to compute on.
    let mut diagnose = Command::new(program("diagnose").get_program());
    let done = output(diagnose.arg(file).args(flags));
    let text = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn the_doctors_exit_code_says_whether_something_was_found() {
    let (code, said) = diagnose(&curve("tiny_default.jsonl"), &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = diagnose(&curve("tiny_default.jsonl"), &["--json"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    for (name, finding) in [
        ("flat_tiny.jsonl", "flat"),
        ("diverge_fast.jsonl", "jump"),
        ("grad_zero.jsonl", "zero_gradient"),
        ("skipped.jsonl", "skipped_steps"),
    ] {
        let (code, said) = diagnose(&curve(name), &[]);
        assert_eq!(code, Some(3), "{name}: {said}");
        assert!(said.contains(finding), "{name}: {said}");
        let (code, said) = diagnose(&curve(name), &["--json"]);
        assert_eq!(code, Some(3), "{name}: {said}");
        let found: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        assert_eq!(found["kind"], finding);
    }
}

#[test]
fn the_doctor_reads_a_runs_directory_and_draws_it() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("plot.svg");
    let flags = ["--plot", picture.to_str().unwrap()];
    let (code, said) = diagnose(uninterrupted(), &flags);
    assert!(matches!(code, Some(0 | 3)), "{said}");
    let (same, _) = diagnose(&uninterrupted().join("metrics.jsonl"), &[]);
    assert_eq!(code, same);
    assert!(fs::read_to_string(picture).unwrap().starts_with("<svg"));
}

#[test]
fn the_doctor_reads_a_run_that_is_being_written_and_names_a_broken_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("metrics.jsonl");
    let whole = fs::read_to_string(curve("tiny_short.jsonl")).unwrap();
    let cut = whole.trim_end();
    fs::write(&file, &cut[..cut.len() - 20]).unwrap();
    let (code, said) = diagnose(&file, &[]);
    assert_eq!(code, Some(0), "{said}");

    let lines: Vec<&str> = whole.lines().collect();
    for broken in [&lines[3][..30], r#"{"step": 3}"#] {
        let mut lines = lines.clone();
        lines[3] = broken;
        fs::write(&file, lines.join("\n")).unwrap();
        let (code, said) = diagnose(&file, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("metrics.jsonl:4: "), "{said}");
    }
    fs::write(&file, "").unwrap();
    let (code, said) = diagnose(&file, &[]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = diagnose(&dir.path().join("absent.jsonl"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("absent.jsonl"), "{said}");
}

#[test]
fn a_training_record_among_those_that_must_not_be_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let [out, against] = ["out", "against.json"].map(|name| dir.path().join(name));
    let text = fs::read_to_string(data()).unwrap();
    let records: Vec<Value> = serde_json::from_str(&text).unwrap();
    let fresh = json!({"instruction": "Count the moons of Jupiter.", "input": "",
        "output": "Nobody has counted all of them."});
    fs::write(&against, json!([fresh, records[6]]).to_string()).unwrap();
    let flags = ["--max-steps", "2", "--validation-share", "0"];
    let mut program = finetune(&out, &flags);
    let done = output(program.arg("--check-against").arg(&against));
    let warning = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{warning}");
    assert!(
        warning.contains("against.json, record 2: exact, training record 7"),
        "{warning}"
    );
    let rows = fs::read_to_string(out.join("leakage.jsonl")).unwrap();
    let rows: Vec<Value> = rows
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["record"], &rows[0]["training"]),
        (&json!(2), &json!([7]))
    );

    // A clean run has nothing to list.
    let clean = dir.path().join("clean");
    fs::write(&against, json!([fresh]).to_string()).unwrap();
    let mut program = finetune(&clean, &flags);
    succeed(program.arg("--check-against").arg(&against));
    assert!(!clean.join("leakage.jsonl").exists());
}
