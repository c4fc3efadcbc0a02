//! What a run prints: for people, for pipelines, and nothing.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{metrics, output, succeed};
use crate::{RUN, STEPS, finetune};

/// What `--json` prints.
fn events(program: &mut std::process::Command) -> Vec<Value> {
    let text = succeed(program.arg("--json"));
    let event = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(event).collect()
}

#[test]
fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut program = finetune(&out, &RUN);
    program.current_dir(dir.path()).arg("--dry-run");
    let said = succeed(&mut program);
    for line in [
        "records     36",
        // Two layers, two projections of 32 × 32 each, rank 8.
        "parameters  2048 trained",
        "steps       27 (3.00 epochs of 36 samples, 4 held out)",
        "memory      about",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let all = events(&mut program);
    let [data, plan] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (&data["event"], &plan["event"]),
        (&"data".into(), &"plan".into())
    );
    assert_eq!(plan["steps"], 27);
    assert_eq!(plan["trained_parameters"], 2048);
    assert!(plan["memory"]["activations"].as_u64().unwrap() > 0);
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_pipeline_gets_an_object_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let all = events(&mut finetune(dir.path(), &RUN));
    let of = |kind: &str| all.iter().filter(|event| event["event"] == kind).count();
    assert!(all.iter().all(|event| event["event"].is_string()));
    assert_eq!(
        ["data", "plan", "step", "finished"].map(of),
        [1, 1, STEPS, 1]
    );
    assert_eq!(all[0]["event"], "data");
    // Every other step, and the last.
    let saved = all.iter().filter(|event| event["event"] == "checkpoint");
    let saved: Vec<usize> = saved
        .map(|event| event["step"].as_u64().unwrap() as usize)
        .collect();
    assert!((2..STEPS).step_by(2).all(|step| saved.contains(&step)));
    assert_eq!(saved.last(), Some(&STEPS));
    let rows = metrics(dir.path());
    let evaluated = rows.iter().filter(|row| row.get("eval_loss").is_some());
    assert_eq!(of("evaluation"), evaluated.count());
    let last = all.last().unwrap();
    assert_eq!(last["event"], "finished");
    let step = all.iter().find(|event| event["event"] == "step").unwrap();
    for field in ["loss", "grad_norm", "tokens_per_second", "seconds_left"] {
        assert!(step[field].is_number(), "{field}: {step}");
    }
    assert_eq!(step["total_steps"], 27);
}

#[test]
fn a_quiet_run_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = finetune(dir.path(), &["--max-steps", "6", "--show", "1", "--quiet"]);
    let done = output(&mut program);
    assert!(done.status.success());
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.is_empty(), "{text}");
}

/// `finetune_alpaca … | head`: it may go on or fail, but not end half done as if all were well.
#[test]
fn a_reader_that_leaves_does_not_pass_for_success() {
    let dir = tempfile::tempdir().unwrap();
    for flags in [&[][..], &["--json"]] {
        let out = dir.path().join(format!("out{}", flags.len()));
        let mut program = finetune(&out, &RUN);
        program.args(flags).stdout(Stdio::piped());
        let mut child = program.stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        drop(stdout);
        let status = child.wait().unwrap();
        let finished = out.join("manifest.json").exists();
        assert_eq!(status.success(), finished, "{status}");
    }
}
