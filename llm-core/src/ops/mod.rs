//! Operations of the forward, each written in plain tensors so that it runs on every backend.

mod attention;
mod loss;

pub(crate) use attention::{attention, attention_mask};
pub use loss::cross_entropy_sum;
