//! Tests of the crate as its users see it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod faults;
mod generation;
mod goldens;
mod round_trip;
#[allow(
    dead_code,
    reason = "shared with llm-lora's tests, which use more of it"
)]
mod support;
