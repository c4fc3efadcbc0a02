//! Data from which nothing can be learnt, and losses that are no numbers.

use std::fs;
use std::path::{Path, PathBuf};

use llm_lora::{Manifest, list_checkpoints};
use serde_json::{Value, json};

use crate::support::{fail, metrics, model, output};
use crate::{finetune, finetune_on};

fn write(dir: &Path, name: &str, records: &Value) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, records.to_string()).unwrap();
    path
}

#[test]
fn data_without_anything_to_learn_is_refused_before_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let record = json!({"instruction": "Say yes.", "input": "", "output": "Yes."});
    let blank = json!({"instruction": "Say nothing.", "input": "", "output": ""});
    let empty = write(dir.path(), "empty.json", &json!([]));
    let blank_file = dir.path().join("none.jsonl");
    fs::write(&blank_file, "").unwrap();
    let some = write(dir.path(), "some.json", &json!([record]));
    let masked = write(dir.path(), "masked.json", &json!([blank, blank]));
    for (data, flags, expected) in [
        (&empty, &[][..], "empty.json: no records"),
        (&blank_file, &[], "none.jsonl: no records"),
        // Too long even with all cut that may be cut.
        (&some, &["--max-seq-len", "4"], "template_does_not_fit"),
        (&masked, &[], "`output`: empty"),
        (
            &masked,
            &["--on-bad-record", "skip"],
            "none of the 2 records",
        ),
    ] {
        let mut program = finetune_on(model(), data, &out, flags);
        program.args(["--save-steps", "1"]);
        let done = output(&mut program);
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{flags:?}: {error}");
        assert!(error.contains(expected), "{flags:?}: {error}");
        assert!(list_checkpoints(&out).unwrap().is_empty());
        assert!(!out.join("metrics.jsonl").exists());
    }
}

/// The second step's learning rate takes the weights out of the range of numbers.
const TOO_HIGH: [&str; 16] = [
    "--learning-rate",
    "1e38",
    "--schedule",
    "constant_with_warmup",
    "--warmup-steps",
    "2",
    "--max-grad-norm",
    "0",
    "--validation-share",
    "0",
    "--max-steps",
    "6",
    "--save-steps",
    "1",
    "--save-total-limit",
    "0",
];

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let error = fail(&mut finetune(dir.path(), &TOO_HIGH));
    assert!(
        error.contains("step 3: the loss is NaN") && error.contains("records of the data: "),
        "{error}"
    );
    let saved = list_checkpoints(dir.path()).unwrap();
    let steps: Vec<usize> = saved.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [1, 2]);
    for (_, checkpoint) in saved {
        assert!(Manifest::verify(&checkpoint).unwrap().is_some());
    }
    assert!(!dir.path().join("adapter_model.safetensors").exists());
    assert_eq!(metrics(dir.path()).len(), 2);
}

#[test]
fn a_step_whose_loss_is_no_number_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    // All steps behind the second are left out, so that there is no adapter in the end.
    let error = fail(finetune(dir.path(), &TOO_HIGH).args(["--on-nonfinite", "skip"]));
    assert!(
        error.contains("step 3 was left out") && error.contains("the adapter is not finite"),
        "{error}"
    );
    let rows = metrics(dir.path());
    assert_eq!(rows.len(), 6);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["step"], index + 1);
        let skipped = row.get("skipped").is_some_and(|what| what == "loss");
        assert_eq!(skipped, index >= 2, "{row}");
        assert!(!skipped || !row["samples"].as_array().unwrap().is_empty());
    }
    assert!(!dir.path().join("adapter_model.safetensors").exists());
}
