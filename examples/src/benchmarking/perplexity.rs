//! Perplexity, in its three definitions.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use llm_eval::bench::{LanguageModel, RollingBos, kl, perplexity};
use serde_json::{Map, Value, json};

use super::model::LocalArgs;
use crate::cli::say;

/// Measure perplexity on a text, in three definitions that give different numbers, or how far a model is from
/// another one.
#[derive(Debug, Parser)]
pub struct Options {
    /// A model directory
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    local: LocalArgs,
    /// A plain text
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Only this definition [default: all three]
    #[arg(long, value_enum)]
    definition: Option<Definition>,
    /// Tokens of a window, and of llama.cpp's chunks
    #[arg(long, value_name = "N", default_value_t = 512)]
    n_ctx: usize,
    /// Tokens from one of Hugging Face's windows to the next
    #[arg(long, value_name = "N", default_value_t = 256)]
    stride: usize,
    /// Only the first so many bytes of the text, to a character's end
    #[arg(long, value_name = "N")]
    bytes: Option<usize>,
    /// Compare with this model instead: KL divergence of --model from it, as llama.cpp reports it
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Definition {
    /// Windows that overlap; each token scored once
    Huggingface,
    /// Chunks; the second half of each scored
    LlamaCpp,
    /// Disjoint windows; per word, per byte, bits per byte
    Harness,
}

impl Options {
    /// Measures it.
    ///
    /// # Errors
    /// When model or text cannot be read, or the text is too short.
    pub fn run(&self) -> Result<()> {
        let path = self.data.display();
        let mut text = fs::read_to_string(&self.data).with_context(|| path.to_string())?;
        if let Some(bytes) = self.bytes {
            text.truncate(text.floor_char_boundary(bytes));
        }
        let model = self.local.open(&self.model)?;
        let tokens = model.scorer()?;
        let mut figures = Map::new();
        if let Some(base) = &self.base {
            let base = self.local.open(base)?;
            let base = base.scorer()?;
            let ids = base.encode(&text, true)?;
            let divergence = kl::compare(base, tokens, &ids, self.n_ctx)?;
            figures.insert(
                "kl_divergence".to_owned(),
                serde_json::to_value(divergence)?,
            );
            return self.show(&figures);
        }
        let wanted = |definition| self.definition.is_none_or(|only| only == definition);
        let ids = tokens.encode(&text, true)?;
        if wanted(Definition::Huggingface) {
            let found = perplexity::huggingface_strided(tokens, &ids, self.n_ctx, self.stride)?;
            figures.insert(
                "huggingface_strided".to_owned(),
                serde_json::to_value(found)?,
            );
        }
        if wanted(Definition::LlamaCpp) {
            let found = perplexity::llama_cpp(tokens, &ids, self.n_ctx)?;
            figures.insert("llama_cpp".to_owned(), serde_json::to_value(found)?);
        }
        if wanted(Definition::Harness) {
            let found = perplexity::harness(&model, &[text], RollingBos::Harness)?;
            figures.insert("harness".to_owned(), serde_json::to_value(found)?);
        }
        self.show(&figures)
    }

    fn show(&self, figures: &Map<String, Value>) -> Result<()> {
        if self.json {
            return say(format_args!("{:#}", json!(figures)));
        }
        for (name, figure) in figures {
            say(name)?;
            for (key, value) in figure.as_object().into_iter().flatten() {
                say(format_args!("  {key:24} {value}"))?;
            }
        }
        Ok(())
    }
}
