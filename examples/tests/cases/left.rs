//! What a finished run leaves behind.

use std::fs;
use std::path::Path;

use llm_data::hash_file;
use llm_lora::{Identity, Manifest};

use crate::support::{program, succeed};
use crate::{
    RESULTS, RUN, STEPS, assert_nothing_unfinished, assert_same, finetune, names, uninterrupted,
};

#[test]
fn the_manifest_holds_every_result_with_its_hash() {
    let run = uninterrupted();
    let text = fs::read_to_string(run.join(Manifest::FILE)).unwrap();
    let manifest: Manifest = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest.step, STEPS);
    // Card and picture are for people, who may change them.
    let mut expected = [&RESULTS[..], &["metrics.jsonl"]].concat();
    expected.sort_unstable();
    let names: Vec<&String> = manifest.files.keys().collect();
    assert_eq!(names, expected);
    for (name, hash) in manifest.files {
        assert_eq!(hash_file(run.join(&name)).unwrap(), hash, "{name}");
    }
}

#[test]
fn nothing_unfinished_is_left() {
    assert_nothing_unfinished(uninterrupted());
}

#[test]
fn the_losses_are_drawn_and_in_tensorboards_file() {
    let run = uninterrupted();
    let picture = fs::read_to_string(run.join("loss.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("<polyline"));
    let names = names(run);
    let is_event_file = |name: &&String| name.starts_with("events.out.tfevents.");
    let files: Vec<_> = names.iter().filter(is_event_file).collect();
    let [file] = files[..] else {
        panic!("{names:?}");
    };
    let bytes = fs::read(run.join(file)).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
    assert!(has("brain.Event:2") && has("loss") && has("learning_rate"));
}

#[test]
fn recorded_settings_make_the_same_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut again = program("finetune_alpaca");
    again
        .arg("--config")
        .arg(uninterrupted().join("finetune.yaml"));
    // From anywhere: the paths that are recorded are absolute.
    again.current_dir(dir.path()).args(["--output", "again"]);
    succeed(&mut again);
    assert_same(&dir.path().join("again"), uninterrupted(), &RESULTS);
}

#[test]
fn equal_runs_leave_equal_results_in_different_directories() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("another/directory");
    succeed(&mut finetune(&other, &RUN));
    assert_same(&other, uninterrupted(), &RESULTS);
    // A checkpoint carries the same identity.
    let identity = |dir: &Path| Identity::read(dir).unwrap().unwrap();
    let checkpoint = other.join("checkpoint-26");
    assert_eq!(identity(&checkpoint), identity(uninterrupted()));
}
