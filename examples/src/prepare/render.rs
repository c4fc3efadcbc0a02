//! A conversation as a template writes it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use llm_data::{Message, Template};
use serde_json::json;

use crate::cli::{self, say};

#[derive(Debug, Args)]
pub(super) struct Render {
    /// Templates: FastChat's fields in JSON or YAML, or a Jinja chat template
    #[arg(long, value_name = "FILE")]
    templates: PathBuf,
    /// The template's name in the file
    #[arg(long, value_name = "NAME")]
    name: String,
    /// A JSON array of messages with role and content
    #[arg(long, value_name = "FILE")]
    messages: PathBuf,
    /// Print {"text": …} instead of the text
    #[arg(long)]
    json: bool,
}

impl Render {
    pub(super) fn run(&self) -> Result<()> {
        let template = Template::from_file(&self.templates, &self.name)?;
        let path = self.messages.display();
        let text = fs::read_to_string(&self.messages).with_context(|| path.to_string())?;
        let messages: Vec<Message> =
            serde_json::from_str(&text).with_context(|| format!("{path}: an array of messages"))?;
        let text = template.text(&messages)?;
        match self.json {
            true => say(json!({ "text": text })),
            false => cli::print(text),
        }
    }
}
