//! Tests of the crate as its users see it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod faults;
mod generation;
mod goldens;
mod round_trip;
mod support;
