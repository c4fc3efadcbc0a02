//! Models under test.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use llm_core::LlamaForCausalLM;
use llm_data::Tokenizer;
use llm_data::generate::ChatModel;
use llm_eval::{LocalModel, LocalOptions};
use llm_lora::Adapter;

use crate::asking;
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
    /// The most tokens, padding included, that go through the model at once [default: 4096]
    #[arg(long, value_name = "N")]
    batch_tokens: Option<usize>,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl LocalArgs {
    /// The model and its name, to score and continue texts.
    pub(super) fn open(&self, dir: &Path) -> Result<LocalModel> {
        let (name, model, tokenizer) = self.load(dir)?;
        let default = LocalOptions::default();
        let options = LocalOptions {
            batch_tokens: self.batch_tokens.unwrap_or(default.batch_tokens),
            max_length: self.max_length,
        };
        Ok(LocalModel::new(name, model, tokenizer, options)?)
    }

    /// The model as one that chats.
    pub(super) fn chat(&self, dir: &Path) -> Result<Box<dyn ChatModel>> {
        if self.batch_tokens.is_some() || self.max_length.is_some() {
            bail!("--batch-tokens and --max-length do not go with --chat");
        }
        let (name, model, tokenizer) = self.load(dir)?;
        asking::local_model(&name, model, tokenizer)
    }

    /// The model's name in reports.
    pub(super) fn name(&self, dir: &Path) -> String {
        match &self.adapter {
            Some(adapter) => format!("{}+{}", dir.display(), adapter.display()),
            None => dir.display().to_string(),
        }
    }

    fn load(&self, dir: &Path) -> Result<(String, LlamaForCausalLM, Tokenizer)> {
        let checkpoint = cli::open(dir)?;
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        if let Some(adapter) = &self.adapter {
            cli::check_adapter(adapter, &checkpoint, &tokenizer, None, self.force)?;
        }
        let mut model = self.compute.load(&checkpoint)?;
        if let Some(adapter) = &self.adapter {
            Adapter::load(&mut model, adapter)?;
        }
        Ok((self.name(dir), model, tokenizer))
    }
}
