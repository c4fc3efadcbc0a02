//! What the example programs share.

pub mod bundled;
pub mod cli;
pub mod corpus;
pub mod progress;
pub mod run_dir;
pub mod settings;
pub mod talk;
