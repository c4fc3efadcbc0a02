//! Judgments for other systems' scripts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use llm_eval::judge::files::{write_array, write_rows};
use llm_eval::judge::{Judgments, read_answers, read_questions};

use crate::cli::say;
use crate::outputs;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Judgments of `judge run`
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// The layout
    #[arg(long, value_enum)]
    to: Layout,
    /// Where they go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The model that the others met; only comparisons with it are written
    #[arg(long, value_name = "MODEL", required_if_eq_any = [("to", "alpaca-eval"), ("to", "arena-hard")])]
    baseline: Option<String>,
    /// The questions
    #[arg(long, value_name = "FILE", required_if_eq("to", "alpaca-eval"))]
    questions: Option<PathBuf>,
    /// The models' answers, a file or more
    #[arg(long, value_name = "FILE", num_args = 1.., required_if_eq("to", "alpaca-eval"))]
    answers: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// FastChat's JUDGE_single.jsonl
    FastchatSingle,
    /// FastChat's JUDGE_pair.jsonl
    FastchatPair,
    /// AlpacaEval's annotations.json
    AlpacaEval,
    /// Arena-Hard v2.0's model_judgment/JUDGE/MODEL.jsonl
    ArenaHard,
}

impl Export {
    pub(super) fn run(&self) -> Result<()> {
        self.check()?;
        let mut judgments = Judgments::default();
        for file in &self.files {
            judgments.rows.extend(Judgments::read(file)?.rows);
        }
        let baseline = self.baseline.as_deref().unwrap_or_default();
        let out = &self.out;
        let written = match self.to {
            Layout::FastchatSingle => {
                let rows = some(judgments.fastchat_single()?)?;
                write_rows(out, &rows).map(|()| rows.len())
            }
            Layout::FastchatPair => {
                let rows = some(judgments.fastchat_pair()?)?;
                write_rows(out, &rows).map(|()| rows.len())
            }
            Layout::AlpacaEval => {
                let questions = match &self.questions {
                    Some(path) => read_questions(path, None)?,
                    None => Vec::new(),
                };
                let mut answers = Vec::new();
                for path in &self.answers {
                    answers.extend(read_answers(path)?);
                }
                let rows = some(judgments.alpaca_eval(baseline, &questions, &answers)?)?;
                write_array(out, &rows).map(|()| rows.len())
            }
            Layout::ArenaHard => {
                let rows = some(judgments.arena_hard(baseline)?)?;
                write_rows(out, &rows).map(|()| rows.len())
            }
        };
        let rows = written.with_context(|| out.display().to_string())?;
        say(format_args!("{rows} rows in {}", out.display()))
    }

    /// Refuses what the layout takes no notice of, and places where nothing can be written.
    fn check(&self) -> Result<()> {
        use Layout::{AlpacaEval, ArenaHard};
        let given: [(&str, bool, &[Layout]); 3] = [
            (
                "--baseline",
                self.baseline.is_some(),
                &[AlpacaEval, ArenaHard],
            ),
            ("--questions", self.questions.is_some(), &[AlpacaEval]),
            ("--answers", !self.answers.is_empty(), &[AlpacaEval]),
        ];
        for (flag, given, layouts) in given {
            if given && !layouts.contains(&self.to) {
                bail!("{flag} has no effect on this layout");
            }
        }
        let read = self.files.iter().chain(&self.questions);
        outputs::check([&self.out], read.chain(&self.answers))
    }
}

/// As many rows as there are, of which there must be some.
fn some<T>(rows: Vec<T>) -> Result<Vec<T>> {
    match rows.is_empty() {
        true => bail!("there are no judgments that this layout has a place for"),
        false => Ok(rows),
    }
}
