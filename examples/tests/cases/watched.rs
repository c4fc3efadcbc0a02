//! A run whose events are watched as they happen.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A child that runs with `--json`; it does not outlive the test.
pub(crate) struct Watched {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a run ended.
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) error: String,
}

impl Watched {
    pub(crate) fn start(program: &mut Command) -> Self {
        let program = program.arg("--json").stdin(Stdio::null());
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the next event of a kind; none when the run ends before it.
    pub(crate) fn until(&mut self, kind: &str) -> Option<Value> {
        let events = self.lines.by_ref().map_while(Result::ok);
        let mut events = events.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        events.find(|event| event["event"] == kind)
    }

    /// Waits for step `number`; whether the run came to it.
    pub(crate) fn until_step(&mut self, number: usize) -> bool {
        while let Some(step) = self.until("step") {
            if step["step"] == number {
                return true;
            }
        }
        false
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets the run come to its end.
    pub(crate) fn end(mut self) -> End {
        self.lines.by_ref().for_each(drop);
        let mut error = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut error).unwrap();
        let code = self.child.wait().unwrap().code();
        End { code, error }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It has ended, unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
