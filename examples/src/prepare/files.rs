//! What a command reads and what it writes.

use anyhow::{Result, bail};
use clap::Args;
use llm_data::{Format, Report};
use serde::Serialize;

use super::input::{Input, Records};
use super::output::{Output, Writer};

#[derive(Debug, Args, Serialize)]
pub(super) struct Files {
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) input: Input,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) output: Output,
}

/// Files of which the second is in the first one's format, unless another is named.
#[derive(Debug, Args, Serialize)]
pub(super) struct Rewritten {
    #[command(flatten)]
    #[serde(flatten)]
    files: Files,
    /// The format to write [default: that of the first record]
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
}

impl Rewritten {
    /// Opens what is read, with what cleaning repairs, once it is known that the other can be written.
    pub(super) fn open(&self) -> Result<Records> {
        self.files
            .output
            .check(self.format(None)?.unwrap_or(Format::OpenAi))?;
        self.files.input.open(true)
    }

    /// The format that is named, or else that of the first record.
    fn format(&self, first: Option<Format>) -> Result<Option<Format>> {
        let named = self.to.as_deref().map(Format::by_name).transpose()?;
        Ok(named.or(first))
    }

    /// Creates what is written.
    pub(super) fn create(&self, first: Option<Format>) -> Result<Writer> {
        let Some(format) = self.format(first)? else {
            bail!("--to: no record tells the format");
        };
        self.files.output.create(format)
    }

    /// Finishes it, and writes the report.
    pub(super) fn finish(&self, writer: Writer, report: &mut Report) -> Result<()> {
        self.files.output.finish(writer, report)
    }
}
