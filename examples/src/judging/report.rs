//! Reports of judgments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use llm_core::checkpoint::write_atomically;
use llm_eval::Report;
use llm_eval::judge::files::{Format, Id, detect, is_own};
use llm_eval::judge::{Judgments, read_answers, read_labels, read_questions};
use llm_eval::stats::Bootstrap;

use super::run::LEVEL;
use crate::cli::say;
use crate::outputs;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("out").required(true).multiple(true).args(["html", "markdown", "json"]))]
pub(super) struct ReportArgs {
    /// Judgments of `judge run`, or FastChat's, single or of pairs; those of several judges are a panel
    #[arg(value_name = "JUDGMENTS", required = true)]
    files: Vec<PathBuf>,
    /// Questions, in any layout that `judge run` reads, to be shown; FastChat's judgments get their categories from here
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,
    /// The models' answers, in any such layout, to be shown, a file or more
    #[arg(long, value_name = "FILE", num_args = 1..)]
    answers: Vec<PathBuf>,
    /// Reference answers, in the layouts of answers, which replace the questions' own
    #[arg(long, value_name = "FILE", requires = "questions")]
    references: Option<PathBuf>,
    /// Labels of people, to correct the judges by
    #[arg(long, value_name = "FILE")]
    human: Option<PathBuf>,
    /// Level of the intervals
    #[arg(long, value_name = "SHARE", default_value_t = LEVEL)]
    level: f64,
    /// Seed of the resampling behind intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write one page of HTML, with each judgment to be read
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write Markdown, without the judgments' texts
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write one JSON object (docs/evaluation.md has its keys)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn run(&self) -> Result<()> {
        self.check_outputs()?;
        let questions = match &self.questions {
            Some(path) => read_questions(path, self.references.as_deref())?,
            None => Vec::new(),
        };
        let mut answers = Vec::new();
        for path in &self.answers {
            answers.extend(read_answers(path)?);
        }
        let category = questions
            .iter()
            .map(|one| (one.id.clone(), one.category.clone()));
        let categories: BTreeMap<Id, String> = category.collect();
        let mut judgments = Judgments::default();
        for path in &self.files {
            judgments.rows.extend(read(path, &categories)?.rows);
        }
        let options = Bootstrap {
            level: self.level,
            seed: self.seed,
            ..Bootstrap::default()
        };
        let mut report = Report::of(&judgments, &questions, &answers, &options)?;
        if let Some(path) = &self.human {
            report = report.with_people(&read_labels(path)?)?;
        }
        if let Some(path) = &self.html {
            write(path, &report.to_html())?;
        }
        if let Some(path) = &self.markdown {
            write(path, &report.to_markdown())?;
        }
        if let Some(path) = &self.json {
            write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
        }
        Ok(())
    }
    /// Nothing that is read is overwritten, and no output by another.
    fn check_outputs(&self) -> Result<()> {
        let inputs = self.files.iter().chain(&self.answers);
        let inputs = inputs
            .chain(&self.questions)
            .chain(&self.references)
            .chain(&self.human);
        let written = [&self.html, &self.markdown, &self.json];
        outputs::check(written.into_iter().flatten(), inputs)
    }
}

fn read(path: &Path, categories: &BTreeMap<Id, String>) -> Result<Judgments> {
    if is_own(path)? {
        return Ok(Judgments::read(path)?);
    }
    match detect(path)? {
        format @ (Format::FastchatSingle | Format::FastchatPair) => {
            Ok(Judgments::read_fastchat(path, format, categories)?)
        }
        other => bail!(
            "{}: reports are of judgments of `judge run` or FastChat's; `judge replay` has the figures of {other}",
            path.display()
        ),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |file| file.write_all(text.as_bytes()))?;
    say(format_args!("{}", path.display()))
}
