//! What the repository ships, found from any directory.

use std::path::PathBuf;

fn inside(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
}

/// The tiny model that `pretrain_tiny` made.
pub fn model() -> PathBuf {
    inside("models/tiny")
}

/// The records that the tiny model is fine-tuned on.
pub fn records() -> PathBuf {
    inside("data/alpaca_tiny.json")
}

/// Records of the same kinds that share no text with them.
pub fn heldout_records() -> PathBuf {
    inside("data/alpaca_tiny_heldout.json")
}
