//! Tests of the crate as its users see it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod blockwise;
mod faults;
mod generation;
mod goldens;
mod quant;
mod quant_properties;
mod quantized;
mod round_trip;
mod support;
