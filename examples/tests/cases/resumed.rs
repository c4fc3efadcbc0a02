//! `--resume`: from where, with what, and what is refused.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use llm_lora::{list_checkpoints, newest_checkpoint};
use tempfile::TempDir;

use super::watched::Watched;
use crate::support::{fail, metrics, model, output, succeed, write_model};
use crate::{
    RESULTS, RUN, STEPS, assert_same, copy_dir, data, finetune, finetune_on, go_on, snapshot,
    uninterrupted,
};

/// A copy of a run that was killed in its second epoch.
fn killed() -> TempDir {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let killed = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        kill_in_second_epoch(Watched::start(&mut finetune(dir.path(), &RUN)));
        dir
    });
    let dir = tempfile::tempdir().unwrap();
    copy_dir(killed.path(), dir.path());
    dir
}

fn kill_in_second_epoch(mut run: Watched) {
    assert!(run.until_step(13));
    run.kill();
}

/// The steps of the checkpoints in a directory.
fn saved(run: &Path) -> Vec<usize> {
    let checkpoints = list_checkpoints(run).unwrap().into_iter();
    checkpoints.map(|(step, _)| step).collect()
}

/// The step behind the newest checkpoint.
fn next(run: &Path) -> usize {
    saved(run).last().unwrap() + 1
}

/// The first step that a run does.
fn first_step(program: &mut Command) -> usize {
    let mut run = Watched::start(program);
    let step = run.until("step").unwrap()["step"].as_u64().unwrap();
    let end = run.end();
    assert_eq!(end.code, Some(0), "{}", end.error);
    step as usize
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(uninterrupted(), dir.path());
    let before = snapshot(dir.path());
    let said = succeed(finetune(dir.path(), &RUN).arg("--resume"));
    assert!(said.contains("finished already"), "{said}");
    succeed(&mut go_on(dir.path()));
    assert!(snapshot(dir.path()) == before);
}

#[test]
fn where_nothing_is_a_run_starts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new");
    assert_eq!(first_step(finetune(&out, &RUN).arg("--resume")), 1);
    assert_same(&out, uninterrupted(), &RESULTS);
}

#[test]
fn settings_that_are_not_given_stay_as_they_were() {
    let dir = killed();
    let next = next(dir.path());
    assert_eq!(first_step(&mut go_on(dir.path())), next);
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}

/// How a run trains is a setting too.
#[test]
fn a_run_over_all_weights_goes_on_without_being_told_that_it_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--full", "--max-steps", "12", "--save-steps", "2"];
    let mut run = Watched::start(&mut finetune(dir.path(), &flags));
    assert!(run.until_step(3));
    run.kill();
    let next = next(dir.path());
    assert_eq!(first_step(&mut go_on(dir.path())), next);
    let manifest = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
    assert!(manifest.contains("model.safetensors"), "{manifest}");
    let before = snapshot(dir.path());
    succeed(&mut go_on(dir.path()));
    assert!(snapshot(dir.path()) == before);
}

#[test]
fn a_setting_that_makes_another_run_is_refused_with_what_it_was() {
    let dir = killed();
    let before = snapshot(dir.path());
    let mut other = finetune(dir.path(), &RUN);
    let changes = ["--resume", "--seed", "7", "--weight-decay", "0.5"];
    let error = fail(other.args(changes));
    assert!(
        error.contains("seed: 42 before, 7 now")
            && error.contains("weight_decay: 0 before, 0.5 now")
            && !error.contains("learning_rate"),
        "{error}"
    );
    assert!(snapshot(dir.path()) == before);
    // So it is for a finished run, which does not hold what is asked for now.
    let finished = tempfile::tempdir().unwrap();
    copy_dir(uninterrupted(), finished.path());
    let error = fail(go_on(finished.path()).args(["--seed", "7"]));
    assert!(error.contains("seed: 42 before, 7 now"), "{error}");

    let next = next(dir.path());
    assert_eq!(first_step(other.arg("--allow-changes")), next);
    let settings = fs::read_to_string(dir.path().join("finetune.yaml")).unwrap();
    assert!(settings.contains("weight_decay: 0.5"), "{settings}");
}

/// Where a run's files are and what it shows on the way is free to change.
#[test]
fn settings_that_leave_the_run_as_it_is_may_change() {
    let dir = killed();
    let moved = tempfile::tempdir().unwrap();
    let records = moved.path().join("records.json");
    fs::copy(data(), &records).unwrap();
    let flags = [&RUN[..], &["--resume", "--eval-steps", "5", "--show", "1"]].concat();
    succeed(&mut finetune_on(model(), &records, dir.path(), &flags));
    assert_same_bytes(dir.path(), uninterrupted(), RESULTS[0]);
    assert_same_bytes(dir.path(), uninterrupted(), "identity.json");
}

fn assert_same_bytes(run: &Path, other: &Path, name: &str) {
    let bytes = |dir: &Path| fs::read(dir.join(name)).unwrap();
    assert!(bytes(run) == bytes(other), "{name} differs");
}

#[test]
fn other_data_another_tokenizer_and_another_base_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let [base, out] = ["base", "out"].map(|name| dir.path().join(name));
    let records = dir.path().join("records.json");
    copy_dir(model(), &base);
    fs::copy(data(), &records).unwrap();
    let program = || finetune_on(&base, &records, &out, &RUN);
    kill_in_second_epoch(Watched::start(&mut program()));

    let refused = |change: &dyn Fn(), names: &[&str], path: &Path| {
        let file = fs::read(path).unwrap();
        change();
        let error = fail(program().arg("--resume"));
        for part in ["data", "tokenizer", "base_weights"] {
            let named = error.contains(&format!("{part}: other content than before"));
            assert_eq!(named, names.contains(&part), "{error}");
        }
        fs::write(path, file).unwrap();
    };
    let other_word = |path: &Path, from: &str, to: &str| {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from));
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    refused(
        &|| other_word(&records, "capital of Poland", "capital of Peru"),
        &["data"],
        &records,
    );
    let tokenizer = base.join("tokenizer.json");
    refused(
        &|| fs::write(&tokenizer, fs::read_to_string(&tokenizer).unwrap() + "\n").unwrap(),
        &["tokenizer"],
        &tokenizer,
    );
    let weights = base.join("model.safetensors");
    refused(&|| write_model(&base, 2, 512), &["base_weights"], &weights);
    // All is as it was.
    succeed(program().arg("--resume"));
    assert_same_bytes(&out, uninterrupted(), RESULTS[0]);
}

#[test]
fn a_fresh_run_does_not_mix_with_the_checkpoints_of_another() {
    let dir = killed();
    let before = snapshot(dir.path());
    let error = fail(&mut finetune(dir.path(), &RUN));
    assert!(
        error.contains("checkpoint-") && error.contains("is in the way"),
        "{error}"
    );
    assert!(snapshot(dir.path()) == before);

    // What is refused costs nothing either.
    let mut nonsense = finetune(dir.path(), &RUN);
    fail(nonsense.args(["--overwrite", "--template", "nonsense"]));
    assert!(!saved(dir.path()).is_empty());

    let mut program = finetune(dir.path(), &["--max-steps", "3", "--save-steps", "2"]);
    assert_eq!(first_step(program.arg("--overwrite")), 1);
    assert_eq!(saved(dir.path()), [2, 3]);
}

#[test]
fn a_run_goes_on_from_a_checkpoint_that_stands_elsewhere() {
    let dir = killed();
    let elsewhere = tempfile::tempdir().unwrap();
    let [copy, out] = ["copy", "out"].map(|name| elsewhere.path().join(name));
    copy_dir(&newest_checkpoint(dir.path()).unwrap().unwrap(), &copy);
    let mut program = finetune(&out, &RUN);
    let next = next(dir.path());
    assert_eq!(first_step(program.arg("--resume").arg(&copy)), next);
    assert_same(&out, uninterrupted(), &RESULTS);
}

#[test]
fn going_on_from_elsewhere_does_not_mix_with_another_run_either() {
    let [dir, elsewhere] = [killed(), killed()];
    let before = snapshot(dir.path());
    let from = newest_checkpoint(elsewhere.path()).unwrap().unwrap();
    let error = fail(finetune(dir.path(), &RUN).arg("--resume").arg(from));
    assert!(error.contains("is in the way"), "{error}");
    assert!(snapshot(dir.path()) == before);
}

#[test]
fn a_run_goes_on_from_an_earlier_checkpoint_of_its_own() {
    let dir = killed();
    let (step, earlier) = list_checkpoints(dir.path()).unwrap().swap_remove(0);
    assert!(step + 1 < next(dir.path()));
    let mut program = finetune(dir.path(), &RUN);
    program.arg("--resume").arg(&earlier);
    let error = fail(&mut program);
    assert!(error.contains("is in the way"), "{error}");
    assert_eq!(first_step(program.arg("--overwrite")), step + 1);
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let dir = killed();
    let [.., (_, whole), (_, damaged)] = &list_checkpoints(dir.path()).unwrap()[..] else {
        panic!("too few checkpoints");
    };
    let file = damaged.join("optimizer.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();

    // By name it is refused.
    let error = fail(finetune(dir.path(), &RUN).arg("--resume").arg(damaged));
    assert!(error.contains("optimizer.safetensors"), "{error}");
    let done = output(&mut go_on(dir.path()));
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{error}");
    assert!(
        error.contains("passed over") && error.contains("optimizer.safetensors"),
        "{error}"
    );
    let said = String::from_utf8_lossy(&done.stdout);
    let from = format!("going on from {}\n", whole.display());
    assert!(said.contains(&from), "{said}");
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}

/// A finished run can be made longer.
#[test]
fn a_finished_run_goes_on_where_changes_are_allowed() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(uninterrupted(), dir.path());
    let mut longer = go_on(dir.path());
    longer.args(["--epochs", "4", "--allow-changes"]);
    assert_eq!(first_step(&mut longer), STEPS + 1);
    assert_eq!(metrics(dir.path()).last().unwrap()["step"], 36);
}
