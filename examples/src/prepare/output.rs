//! What a command writes: records, and the report beside them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use llm_core::checkpoint::write_atomically;
use llm_data::{
    Format, OnLoss, Record, RecordWriter, Report, ReportFile, Survey, WriteOptions, Written,
};
use serde::Serialize;

use crate::cli::say;
use crate::report_plots;

/// Where records go.
#[derive(Debug, Args, Serialize)]
pub(super) struct Output {
    /// Where the records go: .jsonl, .json (with .gz behind, too) or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write what the format has a place for and count the rest, instead of stopping at what it has none for
    #[arg(long)]
    count_losses: bool,
    #[command(flatten)]
    #[serde(skip)]
    report: ReportArgs,
}

/// Where the report goes.
#[derive(Debug, Default, Args)]
pub(super) struct ReportArgs {
    /// Where the report goes: report.json, report.md and plots [default: OUT.report]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write no report
    #[arg(long, conflicts_with = "report")]
    no_report: bool,
}

/// Records on their way into a file.
pub(super) struct Writer {
    writer: RecordWriter,
    path: PathBuf,
}

impl Output {
    pub(super) fn create(&self, format: Format) -> Result<Writer> {
        let on_loss = match self.count_losses {
            true => OnLoss::Count,
            false => OnLoss::Refuse,
        };
        Ok(Writer {
            writer: RecordWriter::create(&self.out, WriteOptions { format, on_loss })?,
            path: self.out.clone(),
        })
    }

    /// Refuses what [`create`](Self::create) would refuse, before anything is read.
    pub(super) fn check(&self, format: Format) -> Result<()> {
        // Nothing is left of a file that is not finished.
        self.create(format).map(drop)
    }

    /// A name beside that of the records.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.out.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    /// Writes the report, says what was written, and where.
    pub(super) fn finish(&self, writer: Writer, report: &mut Report) -> Result<()> {
        let written = writer.writer.finish()?;
        say_written(&written, &self.out)?;
        if self.report.no_report {
            return Ok(());
        }
        report
            .outputs
            .push(ReportFile::written(&self.out, &written)?);
        let dir = self.report.report.clone();
        let dir = dir.unwrap_or_else(|| self.beside(".report"));
        ReportArgs::to(&dir).write(report)?;
        say(format_args!("report in {}", dir.display()))
    }
}

impl Writer {
    /// Writes a record, which came from `source`: a place that an error names.
    pub(super) fn write(&mut self, record: &Record, source: impl FnOnce() -> String) -> Result<()> {
        let written = self.writer.write(record);
        written.with_context(|| format!("{}: {}", self.path.display(), source()))
    }
}

impl ReportArgs {
    pub(super) fn to(dir: &Path) -> Self {
        Self {
            report: Some(dir.to_owned()),
            no_report: false,
        }
    }

    pub(super) fn write(&self, report: &Report) -> Result<()> {
        let Some(dir) = &self.report else {
            return Ok(());
        };
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let json = serde_json::to_string_pretty(report)?;
        let mut files = vec![
            ("report.json", json + "\n"),
            ("report.md", report.to_markdown()),
        ];
        if let Some(before) = &report.before {
            let after = report.after.as_ref();
            let lengths = |survey: &'_ Survey| survey.characters.records.clone();
            let (left, right) = (lengths(before), after.map(lengths));
            let title = format!("Lengths: {}", report.command);
            let plot = report_plots::lengths(&title, "characters", &left, right.as_ref())?;
            files.push(("lengths.svg", plot));
            let title = format!("Languages: {}", report.command);
            let right = after.map(|after| &after.languages);
            let plot = report_plots::languages(&title, &before.languages, right)?;
            files.push(("languages.svg", plot));
        }
        for (name, text) in files {
            write_atomically(dir.join(name), |file| file.write_all(text.as_bytes()))?;
        }
        Ok(())
    }
}

fn say_written(written: &Written, path: &Path) -> Result<()> {
    say(format_args!(
        "wrote {} records to {}",
        written.records,
        path.display()
    ))?;
    for (loss, records) in &written.losses {
        say(format_args!("  {records} records lost {loss}"))?;
    }
    for (kind, records) in &written.left_out {
        say(format_args!("  {records} left out: {kind}"))?;
    }
    Ok(())
}
