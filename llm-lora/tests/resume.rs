//! Runs that are killed, stopped or hit by faults, against one that never was: rows 16, 17 and 19 of
//! the project's list of faults.

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use burn::module::Module;
use llm_core::{LlamaForCausalLM, save_model};
use llm_data::Sample;
use llm_lora::{
    Adapter, Checkpoints, Event, LoraConfig, Modules, Outcome, TrainConfig, Trainer,
    newest_checkpoint,
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
pub(crate) fn timeless(history: &[Event]) -> Vec<serde_json::Value> {
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

/// A stopped run's checkpoint is written again when its evaluation turns out to be the best.
#[test]
fn a_run_killed_while_it_replaces_a_checkpoint_goes_on_as_if_nothing_had_happened() {
    let whole = tempfile::tempdir().unwrap();
    let (history, _) = run(whole.path(), Method::Lora, End::Never);
    for number in 1..=12 {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), Method::Lora, End::Stop(6));
        for other in fs::read_dir(dir.path()).unwrap() {
            let other = other.unwrap().path();
            if !other.ends_with("checkpoint-6") {
                fs::remove_dir_all(other).unwrap();
            }
        }
        assert!(killed(dir.path(), Method::Lora, End::Write(number)));
        let newest = newest_checkpoint(dir.path()).unwrap().unwrap();
        assert!(
            newest.to_str().unwrap().contains("checkpoint-6"),
            "{number}: {newest:?}"
        );
        let (resumed, _) = run(dir.path(), Method::Lora, End::Never);
        assert_same(&resumed, &history, &format!("write {number}"));
        assert!(result(dir.path(), Method::Lora) == result(whole.path(), Method::Lora));
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
