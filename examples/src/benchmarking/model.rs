//! Models under test.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use llm_data::Tokenizer;
use llm_eval::{LocalModel, LocalOptions};
use llm_lora::Adapter;

use crate::cli::{self, ComputeArgs};

/// How a model of this machine is run.
#[derive(Debug, Args)]
pub(super) struct LocalArgs {
    /// An adapter on top of the model
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Take an adapter that was trained on another base
    #[arg(long, requires = "adapter")]
    force: bool,
    /// The most tokens that the model reads at once [default: its configuration's]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// The most tokens, padding included, that go through the model at once
    #[arg(long, value_name = "N", default_value_t = 4096)]
    batch_tokens: usize,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl LocalArgs {
    pub(super) fn open(&self, dir: &Path) -> Result<LocalModel> {
        let checkpoint = cli::open(dir)?;
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        if let Some(adapter) = &self.adapter {
            cli::check_adapter(adapter, &checkpoint, &tokenizer, None, self.force)?;
        }
        let mut model = self.compute.load(&checkpoint)?;
        if let Some(adapter) = &self.adapter {
            Adapter::load(&mut model, adapter)?;
        }
        let options = LocalOptions {
            batch_tokens: self.batch_tokens,
            max_length: self.max_length,
        };
        let name = match &self.adapter {
            Some(adapter) => format!("{}+{}", dir.display(), adapter.display()),
            None => dir.display().to_string(),
        };
        Ok(LocalModel::new(name, model, tokenizer, options)?)
    }
}
