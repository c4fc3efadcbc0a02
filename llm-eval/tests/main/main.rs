//! Figures against other people's code, and against themselves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod coverage;
mod goldens;
mod properties;
mod ratings;
