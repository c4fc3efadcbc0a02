//! Runs of `finetune_alpaca` through kills, signals, full disks and resumptions, and what they leave.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use examples::bundled;
use serde_json::Value;
use tempfile::TempDir;

use support::{metrics, model, program, succeed};

/// Three epochs of nine steps over two micro-batches each, shuffled, with dropout.
const RUN: [&str; 16] = [
    "--epochs",
    "3",
    "--micro-batch-size",
    "2",
    "--gradient-accumulation-steps",
    "2",
    "--dropout",
    "0.1",
    "--learning-rate",
    "0.01",
    "--validation-share",
    "0.1",
    "--save-steps",
    "2",
    "--save-total-limit",
    "2",
];

/// Its steps.
const STEPS: usize = 27;

/// What is the same, byte for byte, after equal runs with an adapter.
const RESULTS: [&str; 4] = [
    "adapter_model.safetensors",
    "adapter_config.json",
    "identity.json",
    "finetune.yaml",
];

/// Forty of the bundled records.
fn data() -> &'static Path {
    static FILE: OnceLock<tempfile::TempPath> = OnceLock::new();
    FILE.get_or_init(|| {
        let all = fs::read_to_string(bundled::records()).unwrap();
        let records: Vec<Value> = serde_json::from_str(&all).unwrap();
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        serde_json::to_writer(&file, &records[..40]).unwrap();
        file.into_temp_path()
    })
}

/// Fine-tunes the random model on [`data`].
fn finetune(out: &Path, flags: &[&str]) -> Command {
    finetune_on(model(), data(), out, flags)
}

fn finetune_on(model: &Path, data: &Path, out: &Path, flags: &[&str]) -> Command {
    let mut program = program("finetune_alpaca");
    program.arg("--model").arg(model).arg("--data").arg(data);
    program.arg("--output").arg(out).args(flags);
    if !flags.contains(&"--show") {
        program.args(["--show", "0"]);
    }
    program
}

/// `finetune_alpaca --output OUT --resume`, without anything else.
fn go_on(out: &Path) -> Command {
    let mut program = program("finetune_alpaca");
    program.arg("--output").arg(out).arg("--resume");
    program
}

/// The output of [`RUN`], undisturbed.
fn uninterrupted() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        succeed(&mut finetune(dir.path(), &RUN));
        dir
    });
    dir.path()
}

/// Asserts that two runs have the same results and the same course, seconds aside.
fn assert_same(run: &Path, other: &Path, results: &[&str]) {
    for name in results {
        let bytes = |dir: &Path| fs::read(dir.join(name)).unwrap();
        assert!(bytes(run) == bytes(other), "{name} differs");
    }
    for (row, expected) in course(run).iter().zip(&course(other)) {
        assert_eq!(row, expected);
    }
    assert_eq!(course(run).len(), course(other).len());
}

/// The rows of a run without their seconds.
fn course(run: &Path) -> Vec<Value> {
    let mut rows = metrics(run);
    for row in &mut rows {
        let seconds = row.as_object_mut().unwrap().remove("seconds");
        assert!(seconds.is_some_and(|seconds| seconds.is_number()));
    }
    rows
}

/// All files below a directory, with what they hold and when they were written.
fn snapshot(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            let modified = path.metadata().unwrap().modified().unwrap();
            files.insert(
                path.display().to_string(),
                (fs::read(&path).unwrap(), modified),
            );
        }
    }
    files
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

/// Asserts that nothing is left in a run's output under the name that it has while it is written.
fn assert_nothing_unfinished(run: &Path) {
    let names = names(run);
    let unfinished = |name: &&String| name.ends_with(".tmp") || *name == ".unproven";
    assert_eq!(names.iter().find(unfinished), None, "{names:?}");
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_dir(&path, &copy),
            false => drop(fs::copy(&path, copy).unwrap()),
        }
    }
}
