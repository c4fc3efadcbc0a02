//! Losses that are not finite: row 20 of the project's list of faults.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions, save_model};
use llm_lora::doctor::{FindingKind, diagnose};
use llm_lora::{
    Adapter, Checkpoints, Error, Event, LoraConfig, OnNonfinite, Outcome, TrainConfig, Trainer,
    newest_checkpoint,
};

use crate::resume::{config, data};
use crate::support::{cpu, load, own};

/// A weight of one token's embedding that is not a number makes every sample with it fail.
fn poisoned(
    on_nonfinite: OnNonfinite,
) -> (
    Vec<Event>,
    Result<Outcome, Error>,
    PathBuf,
    tempfile::TempDir,
) {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    save_model(&load(&own("base")), &base, None, &Default::default()).unwrap();
    let file = base.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = text["model.embed_tokens.weight"]["data_offsets"][0]
        .as_u64()
        .unwrap() as usize;
    let at = 8 + header + start + 4 * 32 * 95;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let loaded = Checkpoint::open(&base)
        .unwrap()
        .load(&cpu(), &LoadOptions::default());
    let mut model = loaded.unwrap().model;
    let adapter = Adapter::attach(&mut model, LoraConfig::default(), 3).unwrap();
    let mut samples = data();
    for sample in &mut samples {
        sample
            .input_ids
            .iter_mut()
            .for_each(|id| *id = (*id).min(94));
    }
    samples[7].input_ids[0] = 95;
    let config = TrainConfig {
        on_nonfinite,
        shuffle: false,
        ..config()
    };
    let write = |model: &LlamaForCausalLM, dir: &Path| adapter.save(model, dir);
    let runs = dir.path().join("run");
    let checkpoints = Checkpoints::new(&runs, write).every(1);
    let trainer = Trainer::new(model, &samples, &[], &config).unwrap();
    let mut trainer = trainer.with_checkpoints(checkpoints);
    let outcome = trainer.run(|_| ControlFlow::Continue(()));
    (trainer.history().to_vec(), outcome, runs, dir)
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_samples() {
    let (history, outcome, runs, _dir) = poisoned(OnNonfinite::Stop);
    let error = outcome.unwrap_err();
    let Error::NonFinite {
        step: 3,
        what: "loss",
        samples,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(samples.contains(&7), "{samples:?}");
    assert!(
        error
            .to_string()
            .contains("step 3: the loss is NaN (training samples"),
        "{error}"
    );
    assert_eq!(history.len(), 2);
    let newest = newest_checkpoint(&runs).unwrap().unwrap();
    assert!(newest.ends_with("checkpoint-2"));
}

#[test]
fn a_step_that_is_not_finite_can_be_left_out() {
    let (history, outcome, runs, _dir) = poisoned(OnNonfinite::Skip);
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    let skipped: Vec<usize> = history
        .iter()
        .filter_map(|event| match event {
            Event::Skipped(skipped) => Some(skipped.step),
            _ => None,
        })
        .collect();
    assert_eq!(skipped, [3, 7]);
    assert_eq!(history.len(), 10);
    let kinds: Vec<_> = diagnose(&history).iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [FindingKind::SkippedSteps]);
    // What follows is as sound as if the sample were not there.
    let mut model = load(&own("base"));
    let newest = newest_checkpoint(&runs).unwrap().unwrap();
    Adapter::load(&mut model, newest).unwrap();
}
