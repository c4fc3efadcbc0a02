//! Processes that are killed, and go on: a test binary runs one of its own tests as a child.

use std::process::{Command, Stdio};
use std::time::Duration;

/// This test binary, to run one test alone and say nothing.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The number in an environment variable, where it is set.
pub(crate) fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap())
}

/// Starts a process again and again, and kills it at any time, until one ends well. How often that was.
pub(crate) fn at_random_points(command: impl Fn() -> Command) -> usize {
    let (mut kills, mut state) = (0, 1u64);
    loop {
        let mut child = command().spawn().unwrap();
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        // Longer and longer, and on a loaded machine without a kill at last, so that it ends.
        std::thread::sleep(Duration::from_millis(2 + (state >> 33) % (4 + 6 * kills)));
        if kills < 60 {
            child.kill().unwrap();
        }
        if child.wait().unwrap().success() {
            assert!(kills > 0);
            return kills as usize;
        }
        kills += 1;
        assert!(kills <= 62, "it fails unless it is killed");
    }
}
