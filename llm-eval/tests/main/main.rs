//! Verdicts, files and figures against other people's code, and against themselves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod coverage;
mod files;
mod goldens;
mod properties;
mod ratings;
mod replay;
mod verdicts;
