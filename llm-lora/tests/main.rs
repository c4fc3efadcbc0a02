//! Tests of the crate as its users see it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod adapters;
#[cfg(all(feature = "wgpu", feature = "cpu"))]
mod backends;
mod checkpoints;
mod doctor;
mod doctor_parts;
mod exactness;
mod faults;
mod half_precision;
mod nonfinite;
mod packing;
mod proof;
mod qlora;
mod resume;
#[path = "../../llm-core/tests/support.rs"]
mod support;
mod training;
mod windows;
