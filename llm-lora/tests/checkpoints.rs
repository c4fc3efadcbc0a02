//! Checkpoints: which are kept, and which are not believed. Rows 16 and 17 of the project's list of faults.

use std::cell::Cell;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use llm_core::LlamaForCausalLM;
use llm_data::Sample;
use llm_lora::{
    Adapter, Checkpoints, Error, Event, LoraConfig, Manifest, Outcome, Saved, Trainer,
    newest_checkpoint,
};

use crate::resume::{config, data, names};
use crate::support::{load, own};

/// A short run with checkpoints as `change` wants them; their events, and how the run ended.
fn checkpointed(
    dir: &Path,
    validation: &[Sample],
    change: impl for<'a> FnOnce(Checkpoints<'a>) -> Checkpoints<'a>,
) -> (Vec<Saved>, Result<Outcome, Error>) {
    let mut model = load(&own("base"));
    let adapter = Adapter::attach(&mut model, LoraConfig::default(), 3).unwrap();
    let (config, samples) = (config(), data());
    let trainer = Trainer::new(model, &samples, validation, &config).unwrap();
    let write = |model: &LlamaForCausalLM, dir: &Path| adapter.save(model, dir);
    let mut trainer = trainer.with_checkpoints(change(Checkpoints::new(dir, write)));
    let mut saved = Vec::new();
    let outcome = trainer.run(|event| {
        if let Event::Saved(event) = event {
            saved.push(event.clone());
        }
        ControlFlow::Continue(())
    });
    (saved, outcome)
}

#[test]
fn the_newest_checkpoints_and_the_best_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (saved, _) = checkpointed(dir.path(), &[], |checkpoints| checkpoints.every(2).keep(2));
    assert_eq!(saved.len(), 5);
    assert_eq!(names(dir.path()), ["checkpoint-10", "checkpoint-8"]);
    // Learning from the rest makes this sample's loss worse, so that the first checkpoint is the best.
    let mut odd = data().remove(0);
    for label in odd.labels.iter_mut().filter(|label| **label >= 0) {
        *label = 95 - *label;
    }
    let dir = tempfile::tempdir().unwrap();
    checkpointed(dir.path(), &[odd], |checkpoints| {
        checkpoints.every(2).keep(2)
    })
    .1
    .unwrap();
    let kept = names(dir.path());
    assert_eq!(kept.len(), 3, "{kept:?}");
    let state = fs::read_to_string(dir.path().join("checkpoint-10/trainer_state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert!(
        kept.contains(&format!("checkpoint-{}", state["best"]["step"])),
        "{kept:?}"
    );
}

/// Row 17: the disk is full, at each moment of a checkpoint.
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    // Nine changes for a checkpoint, then two that remove the one before.
    for fault in 1..=11 {
        let dir = tempfile::tempdir().unwrap();
        let (saved, outcome) = checkpointed(dir.path(), &[], |checkpoints| {
            let writes = Cell::new(0);
            checkpoints.every(3).keep(1).on_write(move |_| {
                writes.set(writes.get() + 1);
                // The first checkpoint takes nine changes.
                match writes.get() == 9 + fault {
                    true => Err(io::ErrorKind::StorageFull.into()),
                    false => Ok(()),
                }
            })
        });
        let newest = newest_checkpoint(dir.path()).unwrap().unwrap();
        if fault > 9 {
            // That an old one stays is no reason to end a run.
            assert_eq!((outcome.unwrap(), saved.len()), (Outcome::Finished, 4));
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert_eq!(saved.len(), 1);
        let step = if fault < 9 { 3 } else { 6 };
        assert!(
            newest.ends_with(format!("checkpoint-{step}")),
            "{fault}: {newest:?}"
        );
        assert!(!names(&newest).is_empty());
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    checkpointed(dir.path(), &[], |checkpoints| checkpoints.every(5))
        .1
        .unwrap();
    let [older, newer] = ["checkpoint-5", "checkpoint-10"].map(|name| dir.path().join(name));
    let newest = || newest_checkpoint(dir.path()).unwrap();
    assert_eq!(newest(), Some(newer.clone()));
    let file = newer.join("optimizer.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(matches!(Manifest::verify(&newer), Err(Error::Damaged { path }) if path == file));
    assert_eq!(newest(), Some(older.clone()));
    fs::remove_file(older.join("manifest.json")).unwrap();
    assert_eq!(newest(), None);
    assert_eq!(newest_checkpoint(dir.path().join("absent")).unwrap(), None);
}

#[test]
fn a_manifest_that_names_files_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["../x", "/etc/passwd", "a/b", ".."] {
        let hash = r#"{"bytes": 1, "blake3": ""}"#;
        let text = format!(r#"{{"step": 1, "files": {{"{name}": {hash}}}}}"#);
        fs::write(dir.path().join("manifest.json"), text).unwrap();
        let error = Manifest::verify(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{name}: {error}");
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    checkpointed(dir.path(), &[], |checkpoints| checkpoints.every(9))
        .1
        .unwrap();
    let checkpoint = newest_checkpoint(dir.path()).unwrap().unwrap();
    let resume = |lora: LoraConfig, samples: &[Sample]| {
        let mut model = load(&own("base"));
        let adapter = Adapter::attach(&mut model, lora, 3).unwrap();
        let restored = adapter.restore(&mut model, &checkpoint);
        let config = config();
        let mut trainer = Trainer::new(model, samples, &[], &config).unwrap();
        (restored, trainer.resume(&checkpoint))
    };
    let (restored, resumed) = resume(LoraConfig::default(), &data());
    restored.unwrap();
    resumed.unwrap();
    let other = LoraConfig {
        r: 4,
        ..LoraConfig::default()
    };
    let (restored, resumed) = resume(other, &data());
    assert!(matches!(restored, Err(Error::AdapterTensors { .. })));
    assert!(matches!(resumed, Err(Error::OptimizerTensors { .. })));
    let (_, resumed) = resume(LoraConfig::default(), &data()[..9]);
    let error = resumed.unwrap_err().to_string();
    assert!(error.contains("11") && error.contains("9"), "{error}");
}

/// What someone could write into a checkpoint, its manifest made to fit.
#[test]
fn a_checkpoint_with_an_impossible_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    checkpointed(dir.path(), &[], |checkpoints| checkpoints.every(9))
        .1
        .unwrap();
    let checkpoint = dir.path().join("checkpoint-9");
    let state = fs::read_to_string(checkpoint.join("trainer_state.json")).unwrap();
    for (from, to) in [
        ("\"optimizer_steps\": 9", "\"optimizer_steps\": -5"),
        ("\"optimizer_steps\": 9", "\"optimizer_steps\": 4294967295"),
        ("\"step\": 9", "\"step\": 18446744073709551615"),
        ("\"step\": 9", "\"step\": 1"),
        (
            "\"dropout_position\": \"0\"",
            "\"dropout_position\": \"-1\"",
        ),
        ("\"samples\": 11", "\"samples\": 12"),
    ] {
        assert!(state.contains(from), "{state}");
        fs::write(
            checkpoint.join("trainer_state.json"),
            state.replacen(from, to, 1),
        )
        .unwrap();
        let mut model = load(&own("base"));
        Adapter::attach(&mut model, LoraConfig::default(), 3).unwrap();
        let (config, samples) = (config(), data());
        let mut trainer = Trainer::new(model, &samples, &[], &config).unwrap();
        let error = trainer.resume(&checkpoint).unwrap_err();
        let named = matches!(error, Error::OtherRun { .. } | Error::Json { .. });
        assert!(
            named && error.to_string().contains("trainer_state.json"),
            "{to}: {error}"
        );
        // Nothing has been taken over.
        assert_eq!((trainer.steps(), trainer.history().len()), (0, 0));
    }
}
