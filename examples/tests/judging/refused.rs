//! What `judge` refuses before anything is asked or written.

use std::fs::{self, File};
use std::process::Command;

use tempfile::TempDir;

use super::{judge, judged};
use crate::support::{fail, succeed};

/// A server that nobody reaches: what is refused late fails otherwise.
const ASK: &str = "run --questions questions.jsonl --answers a.jsonl b.jsonl --endpoint http://127.0.0.1:1/v1 --model m";

fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    judged(dir.path());
    dir
}

fn command(dir: &TempDir, arguments: &str) -> Command {
    let mut judge = judge(&arguments.split(' ').collect::<Vec<_>>());
    judge.current_dir(dir);
    judge
}

#[test]
fn inputs_are_not_overwritten() {
    let dir = directory();
    let questions = fs::read(dir.path().join("questions.jsonl")).unwrap();
    let export = "export judgments.jsonl --to alpaca-eval --baseline b --questions questions.jsonl --answers a.jsonl b.jsonl";
    for arguments in [
        format!("{ASK} --out questions.jsonl"),
        format!("{ASK} --out ./a.jsonl"),
        format!("{ASK} --cache replies --out replies"),
        format!("{export} --out questions.jsonl"),
        format!("{export} --out b.jsonl"),
        "export judgments.jsonl --to fastchat-pair --out judgments.jsonl".to_owned(),
    ] {
        let error = fail(&mut command(&dir, &arguments));
        assert!(
            error.contains("it is read from, and would be overwritten"),
            "{arguments}: {error}"
        );
    }
    assert_eq!(
        fs::read(dir.path().join("questions.jsonl")).unwrap(),
        questions
    );
}

#[test]
fn a_place_is_tried_before_anything_is_asked() {
    let dir = directory();
    let before = fs::read_dir(dir.path()).unwrap().count();
    for out in ["absent/out.jsonl", "."] {
        let error = fail(&mut command(&dir, &format!("{ASK} --out {out}")));
        assert!(error.starts_with(&format!("error: {out}: ")), "{error}");
        let export = format!("export judgments.jsonl --to fastchat-pair --out {out}");
        assert!(fail(&mut command(&dir, &export)).contains(out));
    }
    // Not even the cache was begun.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
}

#[test]
fn exports_take_notice_of_all_options_and_are_not_empty() {
    let dir = directory();
    for (layout, option, flag) in [
        ("fastchat-pair", "--baseline b", "--baseline"),
        (
            "fastchat-single",
            "--questions questions.jsonl",
            "--questions",
        ),
        ("fastchat-pair", "--answers a.jsonl", "--answers"),
        ("arena-hard --baseline b", "--answers a.jsonl", "--answers"),
    ] {
        let export = format!("export judgments.jsonl --to {layout} --out x {option}");
        let error = fail(&mut command(&dir, &export));
        assert!(error.contains(&format!("{flag} has no effect")), "{error}");
    }
    let export = "export judgments.jsonl --to fastchat-single --out x";
    let error = fail(&mut command(&dir, export));
    assert!(error.contains("no judgments"), "{error}");
    assert!(!dir.path().join("x").exists());
}

#[test]
fn options_of_servers_are_refused_with_a_model_here() {
    let dir = directory();
    let ask = "audit --questions questions.jsonl --answers a.jsonl --local model";
    for option in [
        "--timeout 3",
        "--requests-per-minute 3",
        "--api-key-env KEY",
    ] {
        let error = fail(&mut command(&dir, &format!("{ask} {option}")));
        let flag = option.split(' ').next().unwrap();
        assert!(
            error.contains(flag) && error.contains("cannot be used with"),
            "{error}"
        );
    }
    let error = fail(&mut command(
        &dir,
        &format!("{ASK} --out x --expected-tokens 3"),
    ));
    assert!(error.contains("--dry-run"), "{error}");
}

#[test]
fn a_key_that_is_named_must_be_there() {
    let dir = directory();
    let ask = format!("{ASK} --out x --dry-run");
    let named = format!("{ask} --api-key-env LLM_TEST_KEY");
    let error = fail(&mut command(&dir, &named));
    assert!(error.contains("LLM_TEST_KEY"), "{error}");
    succeed(command(&dir, &named).env("LLM_TEST_KEY", "secret"));
    succeed(command(&dir, &ask).env_remove("OPENAI_API_KEY"));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let key = std::ffi::OsStr::from_bytes(b"secret\xff");
        let error = fail(command(&dir, &named).env("LLM_TEST_KEY", key));
        assert!(
            error.contains("UTF-8") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn judgments_are_ours_whatever_is_around_the_first() {
    let dir = directory();
    let text = fs::read_to_string(dir.path().join("judgments.jsonl")).unwrap();
    fs::write(dir.path().join("marked.jsonl"), format!("\u{feff}\n{text}")).unwrap();
    let long = text.replacen("[[A]]", &"long ".repeat(300_000), 1);
    fs::write(dir.path().join("long.jsonl"), long).unwrap();
    let figures = succeed(&mut command(&dir, "replay judgments.jsonl --json"));
    for name in ["marked.jsonl", "long.jsonl"] {
        let replay = format!("replay {name} --json");
        assert_eq!(succeed(&mut command(&dir, &replay)), figures);
    }
}

#[test]
fn a_line_without_an_end_is_an_error() {
    let dir = directory();
    // Sparse, so that it takes no room.
    let file = File::create(dir.path().join("endless")).unwrap();
    file.set_len(3 << 30).unwrap();
    let error = fail(&mut command(&dir, "parse --grammar pair endless"));
    assert!(error.contains("a line of more than"), "{error}");
}
