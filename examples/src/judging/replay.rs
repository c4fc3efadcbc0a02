//! Figures from files of judgments.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use llm_eval::Report;
use llm_eval::judge::files::{Format, detect, is_own, read_categories};
use llm_eval::judge::replay::{self, Group, OnDuplicate, Options};
use llm_eval::judge::{Judgments, read_answers, read_labels};
use llm_eval::stats::Bootstrap;

use super::show;
use crate::cli::say;

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Files of judgments, all of one format
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// fastchat-single, fastchat-pair, vicuna, alpaca-eval or arena-hard [default: told by the first record]
    #[arg(long, value_name = "NAME")]
    format: Option<Format>,
    /// Questions with their categories, where the judgments name none
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,
    /// Of the same question, model, turn and judge: count each, as the systems' own scripts do, or one
    #[arg(long, value_enum, default_value = "keep")]
    duplicates: Duplicates,
    /// FastChat's pairs: only those with this model, which gets no figures of its own
    #[arg(long, value_name = "MODEL")]
    baseline: Option<String>,
    /// Of `judge run`'s judgments: the models' answers, a file or more, for figures with length and style held equal
    #[arg(long, value_name = "FILE", num_args = 1..)]
    answers: Vec<PathBuf>,
    /// Of `judge run`'s judgments: labels of people, to correct the judges by
    #[arg(long, value_name = "FILE")]
    human: Option<PathBuf>,
    /// Seed of the resampling behind intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object (docs/evaluation.md has its keys)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Duplicates {
    /// Each counts
    Keep,
    /// The first one counts
    First,
    /// The last one counts
    Last,
}

impl Replay {
    pub(super) fn run(&self) -> Result<()> {
        if self.format.is_none() && self.is_own()? {
            return self.ours();
        }
        if self.human.is_some() || !self.answers.is_empty() {
            bail!("--human and --answers go with judgments of `judge run`");
        }
        let format = match (self.format, self.files.first()) {
            (Some(format), _) => format,
            (None, Some(file)) => detect(file)?,
            (None, None) => bail!("no files"),
        };
        let options = Options {
            categories: match &self.questions {
                Some(path) => read_categories(path)?,
                None => Options::default().categories,
            },
            duplicates: match self.duplicates {
                Duplicates::Keep => OnDuplicate::Keep,
                Duplicates::First => OnDuplicate::First,
                Duplicates::Last => OnDuplicate::Last,
            },
            baseline: self.baseline.clone(),
            seed: self.seed,
            ..Options::default()
        };
        let replay = replay::replay(&self.files, format, &options)?;
        match self.json {
            true => say(serde_json::to_string_pretty(&replay)?),
            false => print(&replay),
        }
    }

    fn is_own(&self) -> Result<bool> {
        for file in &self.files {
            if !is_own(file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of judgments that `judge run` wrote.
    fn ours(&self) -> Result<()> {
        let foreign = [
            self.questions.is_some(),
            self.baseline.is_some(),
            self.duplicates != Duplicates::Keep,
        ];
        if foreign.contains(&true) {
            bail!("--questions, --baseline and --duplicates go with judgments of other systems");
        }
        let mut judgments = Judgments::default();
        for file in &self.files {
            judgments.rows.extend(Judgments::read(file)?.rows);
        }
        let mut answers = Vec::new();
        for file in &self.answers {
            answers.extend(read_answers(file)?);
        }
        let options = Bootstrap {
            seed: self.seed,
            ..Bootstrap::default()
        };
        let mut report = Report::of(&judgments, &[], &answers, &options)?;
        if let Some(path) = &self.human {
            report = report.with_people(&read_labels(path)?)?;
        }
        show(&report, self.json)
    }
}

fn print(replay: &replay::Replay) -> Result<()> {
    say(format_args!(
        "{}: {} judgments, {} without a verdict, {} duplicates",
        replay.format, replay.rows, replay.unparsable, replay.duplicates.count
    ))?;
    let mut rows = vec![HEADER.map(str::to_owned)];
    for (model, figures) in &replay.models {
        rows.push(row(model, &figures.all));
        for (turn, group) in &figures.turns {
            rows.push(row(&format!("  turn {turn}"), group));
        }
        for (category, group) in &figures.categories {
            rows.push(row(&format!("  {category}"), group));
        }
    }
    say(table(&rows))?;
    for (model, figures) in &replay.models {
        if let Some(ratio) = figures.ratio_of_sums {
            say(format_args!(
                "{model}: ratio of sums {:.1} %",
                100.0 * ratio
            ))?;
        }
        if let Some(alpaca) = &figures.alpaca_eval {
            let [rate, error] = [alpaca.win_rate, alpaca.standard_error].map(|x| number(x, 2));
            let total = alpaca.n_total;
            say(format_args!(
                "{model}: AlpacaEval win rate {rate} ± {error} %, of {total}"
            ))?;
        }
        let whole = [(String::new(), &figures.all)];
        let parts = figures.categories.iter();
        let parts = parts.map(|(category, group)| (format!(", {category}"), group));
        for (category, group) in whole.into_iter().chain(parts) {
            if let Some(arena) = &group.arena_hard {
                let [score, low, high] =
                    [Some(arena.score), arena.lower, arena.upper].map(|x| number(x, 1));
                say(format_args!(
                    "{model}{category}: Arena-Hard score {score} % ({low} to {high})"
                ))?;
            }
        }
    }
    if let Some(position) = &replay.position {
        let [same, first] = [position.consistency, position.first_slot_share]
            .map(|share| number(share.map(|share| 100.0 * share), 1));
        say(format_args!(
            "in both orders the same verdict: {same} %; the answer shown first wins {first} % of what is no tie"
        ))?;
    }
    Ok(())
}

const HEADER: [&str; 9] = [
    "",
    "n",
    "mean",
    "± 95 %",
    "wins",
    "losses",
    "ties",
    "win rate, adjusted",
    "95 %",
];

fn row(name: &str, group: &Group) -> [String; 9] {
    let mut row = [const { String::new() }; 9];
    row[0] = name.to_owned();
    if let Some(score) = &group.score {
        row[1] = score.n.to_string();
        row[2] = number(score.mean, 3);
        let half = score.interval.map(|[low, high]| (high - low) / 2.0);
        row[3] = number(half, 3);
    }
    if let Some(outcomes) = &group.outcomes {
        row[1] = outcomes.n.to_string();
        row[4] = outcomes.wins.to_string();
        row[5] = outcomes.losses.to_string();
        row[6] = outcomes.ties.to_string();
        row[7] = number(outcomes.win_rate_adjusted, 3);
        let interval = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
        row[8] = outcomes.interval.map_or_else(String::new, interval);
    }
    row
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.places$}"))
}

/// Columns of equal width, the first one to the left; those that say nothing are left out.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let says = |column: &usize| rows.iter().skip(1).any(|row| !row[*column].is_empty());
    let columns: Vec<usize> = (0..N).filter(says).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let line = |row: &[String; N]| {
        let cells = columns.iter().map(|&column| {
            let width = width(column).unwrap_or(0);
            match column {
                0 => format!("{:width$}", row[column]),
                _ => format!("{:>width$}", row[column]),
            }
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
