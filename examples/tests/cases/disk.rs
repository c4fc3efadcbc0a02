//! Directories that cannot be written to: another run's, read-only ones, full ones.

use std::fs;
use std::io::{Write, stderr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use llm_lora::{Manifest, list_checkpoints};
use tempfile::TempDir;

use super::watched::Watched;
use crate::support::{fail, succeed};
use crate::{RESULTS, RUN, assert_same, finetune, uninterrupted};

/// A file system of its own.
struct Mount(TempDir);

impl Mount {
    /// None where that is not allowed.
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        mount(dir.path(), options).then(|| Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Even where a process still has a file of it open.
        let status = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Says so past the capture of a test's output.
fn skipped(why: &str) {
    let _ = writeln!(stderr(), "skipped: {why}");
}

/// Mounts a tmpfs; whether that was possible.
fn mount(dir: &Path, options: &str) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir);
    let status = mount.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_second_run_into_a_directory_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Watched::start(&mut finetune(dir.path(), &RUN));
    assert!(first.until_step(1));
    for flag in ["--overwrite", "--resume"] {
        let error = fail(finetune(dir.path(), &RUN).arg(flag));
        assert!(
            error.contains("another run is writing")
                && error.contains(&dir.path().display().to_string()),
            "{error}"
        );
    }
    assert!(first.is_running());
    assert_eq!(first.end().code, Some(0));
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}

#[test]
fn a_read_only_directory_is_refused_by_name() {
    let mounted = Mount::new("size=64k,ro");
    let dir = tempfile::tempdir().unwrap();
    let path = match &mounted {
        Some(mounted) => mounted.path(),
        None => {
            let read_only = fs::Permissions::from_mode(0o555);
            fs::set_permissions(dir.path(), read_only).unwrap();
            dir.path()
        }
    };
    if fs::File::create(path.join("file")).is_ok() {
        return skipped("nothing is read-only to this user, who may not mount a tmpfs");
    }
    for out in [path.to_owned(), path.join("new")] {
        let error = fail(&mut finetune(&out, &RUN));
        let expected = format!("cannot write to {}", out.display());
        assert!(error.contains(&expected), "{error}");
    }
}

/// The bytes that the files of a directory take on a tmpfs.
fn room(dir: &Path) -> u64 {
    const PAGE: u64 = 4096;
    let entries = fs::read_dir(dir).unwrap();
    let size = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    entries
        .map(|entry| size(entry).next_multiple_of(PAGE))
        .sum()
}

#[test]
fn a_full_disk_ends_a_run_and_costs_no_checkpoint() {
    let (_, checkpoint) = list_checkpoints(uninterrupted()).unwrap().pop().unwrap();
    let checkpoint = room(&checkpoint) as f64;
    // Room for so many checkpoints, and for as many bytes else; three are the most that are there at a time.
    for (checkpoints, more) in [
        (0.0, 4096),
        (0.3, 16_384),
        (0.6, 16_384),
        (1.5, 32_768),
        (2.5, 32_768),
    ] {
        let size = (checkpoints * checkpoint) as u64 + more;
        let Some(disk) = Mount::new(&format!("size={size}")) else {
            return skipped("no full disk: only root may mount a tmpfs");
        };
        let out = disk.path().join("out");
        let error = fail(&mut finetune(&out, &RUN));
        assert!(
            error.contains("No space left") && error.contains(&out.display().to_string()),
            "{checkpoints}: {error}"
        );
        let saved = list_checkpoints(&out).unwrap();
        assert_eq!(
            saved.is_empty(),
            checkpoints < 1.0,
            "{checkpoints}: {error}"
        );
        for (_, dir) in saved {
            assert!(Manifest::verify(&dir).unwrap().is_some());
        }
        assert!(!out.join("manifest.json").exists());

        assert!(mount(disk.path(), "remount,size=16m"));
        succeed(finetune(&out, &RUN).arg("--resume"));
        assert_same(&out, uninterrupted(), &RESULTS);
    }
}

/// A picture that cannot be drawn is no reason to lose steps, but the run does not pass it over.
#[test]
fn a_file_that_cannot_be_written_ends_a_run_that_is_saved_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Watched::start(&mut finetune(dir.path(), &RUN));
    assert!(run.until_step(1));
    let picture = dir.path().join("loss.svg");
    fs::remove_file(&picture).unwrap();
    fs::create_dir(&picture).unwrap();
    let end = run.end();
    assert_eq!(end.code, Some(1), "{}", end.error);
    assert!(
        end.error.contains(&picture.display().to_string()),
        "{}",
        end.error
    );

    fs::remove_dir(&picture).unwrap();
    succeed(finetune(dir.path(), &RUN).arg("--resume"));
    assert_same(dir.path(), uninterrupted(), &RESULTS);
}
