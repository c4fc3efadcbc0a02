//! SIGTERM and SIGINT in a step.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use examples::bundled;
use llm_lora::{list_checkpoints, newest_checkpoint};

use super::watched::Watched;
use crate::support::{program, succeed};
use crate::{RESULTS, RUN, assert_same, finetune, uninterrupted};

fn signal(run: &Watched, name: &str) {
    let mut kill = Command::new("kill");
    let status = kill.arg(format!("-{name}")).arg(run.id().to_string());
    assert!(status.status().unwrap().success());
}

#[test]
fn a_signal_lets_the_step_end_and_saves() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    for (name, step) in [("TERM", 3), ("INT", 11)] {
        let mut run = Watched::start(finetune(&out, &RUN).arg("--resume"));
        assert!(run.until_step(step));
        signal(&run, name);
        let end = run.end();
        assert_eq!(end.code, Some(75), "{}", end.error);
        let newest = newest_checkpoint(&out).unwrap().unwrap();
        let newest = newest.display().to_string();
        assert!(
            end.error.contains("interrupted after step")
                && end.error.contains("--resume")
                && end.error.contains(&newest),
            "{newest}: {}",
            end.error
        );
        assert!(!out.join("manifest.json").exists() && !out.join(RESULTS[0]).exists());
    }
    succeed(finetune(&out, &RUN).arg("--resume"));
    assert_same(&out, uninterrupted(), &RESULTS);
}

/// Without checkpoints on the way too; here the terminal is lost.
#[test]
fn a_signal_saves_where_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--save-steps", "0", "--max-steps", "400"];
    let mut run = Watched::start(&mut finetune(dir.path(), &flags));
    assert!(run.until_step(1));
    signal(&run, "HUP");
    assert_eq!(run.end().code, Some(75));
    assert_eq!(list_checkpoints(dir.path()).unwrap().len(), 1);
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let dir = tempfile::tempdir().unwrap();
        // A step takes seconds: it is over all bundled records.
        let mut program = program("finetune_alpaca");
        program
            .arg("--output")
            .arg(dir.path())
            .arg("--data")
            .args([bundled::records(), bundled::records()])
            .args(["--test-data".into(), bundled::heldout_records()])
            .args(["--micro-batch-size", "16", "--show", "0"])
            .args(["--gradient-accumulation-steps", "60"]);
        let mut run = Watched::start(&mut program);
        assert!(run.until("evaluation").is_some());
        // The picture is the last that is done before the step.
        while run.is_running() && !dir.path().join("loss.svg").exists() {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(200));
        signal(&run, name);
        sleep(Duration::from_millis(300));
        assert!(run.is_running(), "{name}: it did not end its step");
        let sent = Instant::now();
        signal(&run, name);
        let end = run.end();
        assert_eq!(end.code, Some(code), "{}", end.error);
        assert!(sent.elapsed() < Duration::from_secs(30), "{name}");
        assert!(list_checkpoints(dir.path()).unwrap().is_empty());
    }
}
