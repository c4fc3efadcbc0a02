//! Records in another format.

use anyhow::Result;
use clap::Args;
use llm_data::{CountTokens, Format, Numbered, Record, Report};
use serde::Serialize;

use super::files::Files;

#[derive(Debug, Args, Serialize)]
pub(super) struct Convert {
    #[command(flatten)]
    #[serde(flatten)]
    files: Files,
    /// The format to write
    #[arg(long, value_name = "NAME")]
    to: String,
}

impl Convert {
    pub(super) fn run(&self) -> Result<()> {
        let mut records = self.files.input.open(false)?;
        let mut writer = self.files.output.create(Format::by_name(&self.to)?)?;
        let mut report = Report::new("convert", serde_json::to_value(self)?);
        let mut survey = records.survey();
        for record in records.by_ref() {
            let (_, numbered) = record?;
            survey.add(&numbered.record, CountTokens::No)?;
            writer.write(&numbered.record, || place(&numbered))?;
        }
        report.before = Some(survey);
        records.seen().account(&mut report)?;
        self.files.output.finish(writer, &mut report)
    }
}

/// Where a record stands.
pub(super) fn place(numbered: &Numbered<Record>) -> String {
    let Numbered {
        path, line, number, ..
    } = numbered;
    format!("{}:{line}, record {number}", path.display())
}
