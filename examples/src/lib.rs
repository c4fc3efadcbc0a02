//! What the example programs share.

pub mod asking;
pub mod benchmarking;
pub mod bundled;
pub mod cli;
pub mod console;
pub mod conversations;
pub mod corpus;
mod drawing;
pub mod finetune;
pub mod inspect;
pub mod interrupt;
pub mod judging;
pub mod loss_plot;
pub mod outputs;
pub mod prepare;
pub mod recorder;
pub mod records;
pub mod report_plots;
pub mod resume;
pub mod run_dir;
pub mod settings;
pub mod talk;
pub mod tensorboard;
