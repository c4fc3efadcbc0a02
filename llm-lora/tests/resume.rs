//! Runs that are killed, stopped or hit by faults, against one that never was: rows 16, 17 and 19 of
//! the project's list of faults.

use std::cell::Cell;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use burn::module::Module;
use llm_core::{LlamaForCausalLM, save_model};
use llm_data::Sample;
use llm_lora::{
    Adapter, Checkpoints, Error, Event, LoraConfig, Manifest, Modules, Outcome, Saved, TrainConfig,
    Trainer, newest_checkpoint,
};

use crate::support::{Golden, load, own};
use crate::training::samples;

/// Ten steps, four to an epoch, three samples to a step, with dropout; saved every third step.
pub(crate) fn config() -> TrainConfig {
    TrainConfig {
        learning_rate: 1e-2,
        micro_batch_size: 1,
        gradient_accumulation_steps: 3,
        max_steps: Some(10),
        eval_steps: Some(2),
        seed: 5,
        ..TrainConfig::default()
    }
}

pub(crate) fn data() -> Vec<Sample> {
    let mut samples = samples(&Golden::open(own("batches.safetensors")));
    samples.truncate(11);
    assert_eq!(samples.len(), 11);
    samples
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Lora,
    Full,
}

/// What ends a run before its last step.
#[derive(Debug, Clone, Copy)]
enum End {
    Never,
    /// Killed when so many steps are done.
    Step(usize),
    /// Killed before so many changes on the disk.
    Write(usize),
    /// The listener stops it when so many steps are done.
    Stop(usize),
}

/// A kill that no destructor sees.
fn kill() -> ! {
    let id = std::process::id().to_string();
    Command::new("kill").args(["-9", &id]).status().unwrap();
    loop {
        std::thread::park();
    }
}

/// Runs from the newest checkpoint in `dir`, or from the start, until `end`; writes the result to
/// `dir/final` when it is finished. Returns the history and how the run ended.
fn run(dir: &Path, method: Method, end: End) -> (Vec<Event>, Outcome) {
    let newest = newest_checkpoint(dir).unwrap();
    let lora = LoraConfig {
        target_modules: Some(Modules::AllLinear),
        lora_dropout: 0.2,
        ..LoraConfig::default()
    };
    let (mut model, adapter) = match method {
        Method::Lora => {
            let mut model = load(&own("base"));
            let adapter = Adapter::attach(&mut model, lora, 3).unwrap();
            (model, Some(adapter))
        }
        Method::Full => {
            let from = newest.clone().unwrap_or_else(|| own("base"));
            (load(&from).set_require_grad(true), None)
        }
    };
    if let (Some(adapter), Some(checkpoint)) = (&adapter, &newest) {
        adapter.restore(&mut model, checkpoint).unwrap();
    }
    let write = |model: &LlamaForCausalLM, dir: &Path| match &adapter {
        Some(adapter) => adapter.save(model, dir),
        None => Ok(save_model(model, dir, None, &Default::default())?),
    };
    let writes = Cell::new(0);
    let checkpoints = Checkpoints::new(dir, write).every(3).keep(1).on_write(|_| {
        writes.set(writes.get() + 1);
        match end {
            End::Write(number) if number == writes.get() => kill(),
            _ => Ok(()),
        }
    });
    let (config, samples) = (config(), data());
    let (train, validation) = samples.split_at(10);
    let trainer = Trainer::new(model, train, validation, &config).unwrap();
    let mut trainer = trainer.with_checkpoints(checkpoints);
    if let Some(checkpoint) = &newest {
        trainer.resume(checkpoint).unwrap();
    }
    let outcome = trainer.run(|event| match (end, event) {
        (End::Step(step), Event::Step(done)) if step == done.step => kill(),
        (End::Stop(step), Event::Step(done)) if step == done.step => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let outcome = outcome.unwrap();
    let history = trainer.history().to_vec();
    if outcome == Outcome::Finished {
        write(&trainer.into_model(), &dir.join("final")).unwrap();
    }
    (history, outcome)
}

/// A history without its times.
fn timeless(history: &[Event]) -> Vec<serde_json::Value> {
    let row = |event: &Event| {
        let mut row = serde_json::to_value(event).unwrap();
        row.as_object_mut().unwrap().remove("seconds");
        row
    };
    history.iter().map(row).collect()
}

/// The first row that differs says enough.
fn assert_same(ours: &[Event], expected: &[Event], what: &str) {
    for (ours, expected) in timeless(ours).iter().zip(&timeless(expected)) {
        assert_eq!(ours, expected, "{what}");
    }
    assert_eq!(ours.len(), expected.len(), "{what}");
}

fn result(dir: &Path, method: Method) -> Vec<u8> {
    let file = match method {
        Method::Lora => "adapter_model.safetensors",
        Method::Full => "model.safetensors",
    };
    fs::read(dir.join("final").join(file)).unwrap()
}

const JOB: &str = "LLM_LORA_TEST_JOB";

/// Not a test: the process that the tests below kill. They start it with its orders in the environment.
#[test]
#[ignore = "run by the others"]
fn victim() {
    let Ok(job) = std::env::var(JOB) else {
        return;
    };
    let [method, end, number, dir] = job.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{job}");
    };
    let method = if method == "lora" {
        Method::Lora
    } else {
        Method::Full
    };
    let number = number.parse().unwrap();
    let end = if end == "step" {
        End::Step(number)
    } else {
        End::Write(number)
    };
    run(Path::new(dir), method, end);
}

/// Whether the run was killed, and did not end before.
fn killed(dir: &Path, method: Method, end: End) -> bool {
    let method = if method == Method::Lora {
        "lora"
    } else {
        "full"
    };
    let end = match end {
        End::Step(number) => format!("step {number}"),
        End::Write(number) => format!("write {number}"),
        other => panic!("{other:?}"),
    };
    let job = format!("{method} {end} {}", dir.display());
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim
        .args(["resume::victim", "--exact", "--ignored"])
        .env(JOB, job);
    let status = victim
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let by_signal = status.code().is_none();
    assert!(by_signal || status.success(), "{end}");
    by_signal
}

/// Kills a run at each of `ends`, each in a directory of its own, and lets it go on.
fn survives(method: Method, ends: impl Iterator<Item = End>) -> usize {
    let whole = tempfile::tempdir().unwrap();
    let (history, _) = run(whole.path(), method, End::Never);
    let weights = result(whole.path(), method);
    let mut kills = 0;
    for end in ends {
        let dir = tempfile::tempdir().unwrap();
        if !killed(dir.path(), method, end) {
            break;
        }
        kills += 1;
        let (resumed, outcome) = run(dir.path(), method, End::Never);
        assert_eq!(outcome, Outcome::Finished);
        let what = format!("{method:?}, {end:?}");
        assert_same(&resumed, &history, &what);
        assert!(
            result(dir.path(), method) == weights,
            "{what}: other weights"
        );
    }
    kills
}

#[test]
fn a_run_killed_at_any_step_goes_on_as_if_nothing_had_happened() {
    assert_eq!(survives(Method::Lora, (1..=10).map(End::Step)), 10);
    assert_eq!(
        survives(Method::Full, [1, 5, 9].map(End::Step).into_iter()),
        3
    );
}

#[test]
fn a_run_killed_at_any_write_of_a_checkpoint_goes_on_as_if_nothing_had_happened() {
    let kills = survives(Method::Lora, (1..).map(End::Write));
    assert!(kills > 40, "{kills}");
    let some = [2, 4, 7, 12, 15, 19].map(End::Write);
    assert_eq!(survives(Method::Full, some.into_iter()), some.len());
}

#[test]
fn a_stopped_run_saves_itself_and_goes_on_as_if_nothing_had_happened() {
    for method in [Method::Lora, Method::Full] {
        let whole = tempfile::tempdir().unwrap();
        let (history, _) = run(whole.path(), method, End::Never);
        for step in [1, 3, 4, 6, 9, 10] {
            let dir = tempfile::tempdir().unwrap();
            let (_, outcome) = run(dir.path(), method, End::Stop(step));
            assert_eq!(outcome, Outcome::Stopped);
            let (resumed, outcome) = run(dir.path(), method, End::Never);
            assert_eq!(outcome, Outcome::Finished);
            let what = format!("{method:?}, {step}");
            assert_same(&resumed, &history, &what);
            let same = result(dir.path(), method) == result(whole.path(), method);
            assert!(same, "{what}: other weights");
        }
    }
}

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

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
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

/// A checkpoint that is in the way of a new one: damaged, or of a course of the run that was left.
#[test]
fn a_checkpoint_is_replaced_by_one_of_the_same_step() {
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), Method::Lora, End::Never);
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Method::Lora, End::Stop(6));
    // Stopped at step 6 and gone on to the end, then back to step 6.
    run(dir.path(), Method::Lora, End::Never);
    let last = dir.path().join("checkpoint-10");
    let file = last.join("adapter_model.safetensors");
    let intact = fs::read(&file).unwrap();
    fs::write(&file, &intact[1..]).unwrap();
    run(dir.path(), Method::Lora, End::Never);
    assert!(fs::read(&file).unwrap() == intact);
    assert_eq!(newest_checkpoint(dir.path()).unwrap(), Some(last));
    assert!(result(dir.path(), Method::Lora) == result(whole.path(), Method::Lora));
    assert!(names(dir.path()).iter().all(|name| !name.ends_with(".tmp")));
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
