//! `kill -9`, at any moment: the same command with `--resume` comes to the same bytes.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use llm_lora::newest_checkpoint;

use super::watched::Watched;
use crate::support::succeed;
use crate::{
    RESULTS, RUN, STEPS, assert_nothing_unfinished, assert_same, copy_dir, finetune, go_on, names,
    uninterrupted,
};

/// Milliseconds from a moment to the kill. A checkpoint takes most of a step's time here, so that several
/// of them fall in its writes.
const DELAYS: [u64; 10] = [0, 2, 5, 9, 14, 20, 27, 35, 44, 54];

/// A run that is killed over and over.
struct Victim<'a> {
    out: &'a Path,
    flags: &'a [&'a str],
}

impl Victim<'_> {
    fn start(&self) -> Watched {
        Watched::start(finetune(self.out, self.flags).arg("--resume"))
    }

    /// Kills it so many milliseconds after step `number`; whether it came to it.
    fn kill_after_step(&self, number: usize, milliseconds: u64) -> bool {
        let mut run = self.start();
        let came = run.until_step(number);
        sleep(Duration::from_millis(milliseconds));
        run.kill();
        came
    }

    /// Kills it so many milliseconds after the first step of its present life, if it has one to do.
    fn kill_after_any_step(&self, milliseconds: u64) {
        let mut run = self.start();
        run.until("step");
        sleep(Duration::from_millis(milliseconds));
        run.kill();
    }

    /// Kills it while a checkpoint is being written.
    fn kill_in_checkpoint(&self) {
        let mut run = self.start();
        let give_up = Instant::now() + Duration::from_secs(60);
        while run.is_running() && !self.writes_checkpoint() && Instant::now() < give_up {
            sleep(Duration::from_micros(200));
        }
        run.kill();
    }

    fn writes_checkpoint(&self) -> bool {
        self.out.exists()
            && names(self.out)
                .iter()
                .any(|name| name.starts_with("checkpoint-") && name.ends_with(".tmp"))
    }

    fn finish(&self) {
        succeed(finetune(self.out, self.flags).arg("--resume"));
        assert_nothing_unfinished(self.out);
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_comes_to_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let victim = Victim {
        out: dir.path(),
        flags: &RUN,
    };
    // Before the first checkpoint.
    assert!(victim.kill_after_step(1, 0));
    // In the middle of an epoch.
    assert!(victim.kill_after_step(5, 0));
    assert!(newest_checkpoint(dir.path()).unwrap().is_some());
    for _ in 0..3 {
        victim.kill_in_checkpoint();
    }
    for delay in DELAYS {
        victim.kill_after_any_step(delay);
    }
    // While the result is written.
    for delay in DELAYS {
        if !victim.kill_after_step(STEPS, delay) {
            break;
        }
    }
    victim.finish();
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}

#[test]
fn a_run_over_all_weights_that_is_killed_comes_to_the_same_model() {
    let flags = [
        "--full",
        "--max-steps",
        "9",
        "--micro-batch-size",
        "2",
        "--gradient-accumulation-steps",
        "2",
        "--validation-share",
        "0.1",
        "--save-steps",
        "2",
    ];
    let dir = tempfile::tempdir().unwrap();
    let [whole, out] = ["whole", "out"].map(|name| dir.path().join(name));
    succeed(&mut finetune(&whole, &flags));
    let victim = Victim {
        out: &out,
        flags: &flags,
    };
    assert!(victim.kill_after_step(3, 0));
    victim.kill_in_checkpoint();
    victim.kill_after_any_step(10);
    victim.kill_after_step(9, 0);
    victim.kill_after_step(9, 30);
    victim.finish();
    let results = [
        "model.safetensors",
        "config.json",
        "identity.json",
        "finetune.yaml",
    ];
    assert_same(&out, &whole, &results);
}

/// In a container a program has the same process id each time, so that what it was writing when it was
/// killed has the name of what it is going to write.
#[cfg(unix)]
#[test]
fn what_a_killed_process_of_the_same_id_was_writing_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let script = "for name in metrics.jsonl loss.svg finetune.yaml manifest.json; do
            for number in 0 1 2 3 4 5 6 7 8 9; do
                : > \"$OUT/$name.$$-$number.tmp\"
            done
        done
        exec \"$@\"";
    let run = finetune(dir.path(), &["--max-steps", "2"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script, "sh"]).env("OUT", dir.path());
    succeed(shell.arg(run.get_program()).args(run.get_args()));
    assert_nothing_unfinished(dir.path());
}

/// A run that is killed after its last checkpoint has nothing more to save, and still clears up.
#[test]
fn a_checkpoint_that_was_being_removed_is_gone_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(uninterrupted(), dir.path());
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    for name in ["checkpoint-24.old.tmp", "checkpoint-25.tmp", ".unproven"] {
        copy_dir(&dir.path().join("checkpoint-26"), &dir.path().join(name));
    }
    succeed(&mut go_on(dir.path()));
    assert_nothing_unfinished(dir.path());
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}
