//! Judges that are asked.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use llm_data::generate::{Language, Runner};
use llm_eval::Report;
use llm_eval::judge::{
    Answers, Audit, Criterion, Judge, Judgment, Mode, Pairing, Prompts, Question, Turns,
    read_answers, read_questions,
};
use llm_eval::stats::Bootstrap;
use llm_eval::verdict::{Grammar, Range};

use super::show;
use crate::asking::{self, Limits, ModelArgs};
use crate::cli::say;
use crate::outputs;

/// What both commands need.
#[derive(Debug, Args)]
struct Common {
    /// Questions, as FastChat, Vicuna, AlpacaEval, Arena-Hard or BELLE have them
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// The models' answers, as FastChat, Vicuna, AlpacaEval or Arena-Hard have them, a file or more
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    answers: Vec<PathBuf>,
    /// Reference answers, in the layouts of answers, which replace the questions' own
    #[arg(long, value_name = "FILE")]
    references: Option<PathBuf>,
    /// How answers are judged
    #[arg(long, value_enum, default_value = "pair")]
    mode: How,
    /// A criterion of a rubric, with its weight: NAME:WEIGHT:what it means
    #[arg(long, value_name = "TEXT", value_parser = criterion)]
    criterion: Vec<Criterion>,
    /// How the verdict is written, as in `judge parse` [default: rating, pair or rubric by the mode]
    #[arg(long, value_name = "NAME")]
    grammar: Option<Grammar>,
    /// Bind replies to a JSON schema of the verdict, where the server has schemas; the grammar is json then
    #[arg(long)]
    json_schema: bool,
    /// Ask for the tokens' log-probabilities, and say which verdict is expected by them
    #[arg(long)]
    logprobs: bool,
    /// Language of the prompts [default: en]
    #[arg(long, value_enum)]
    language: Option<Tongue>,
    /// Prompts of one's own: NAME.txt in this directory, or FastChat's judge_prompts.jsonl
    #[arg(long, value_name = "PATH")]
    prompts: Option<PathBuf>,
    /// Of the marks around what is judged, and of the resampling behind intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Replies so far; a run that is killed goes on from there
    #[arg(long, value_name = "FILE", default_value = "judge.replies")]
    cache: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    limits: Limits,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    common: Common,
    /// Of pairs: only those with this model
    #[arg(long, value_name = "MODEL")]
    baseline: Option<String>,
    /// Of pairs: ask once, not a second time with the answers exchanged
    #[arg(long)]
    one_order: bool,
    /// Which turns are judged
    #[arg(long, value_enum, default_value = "each")]
    turns: Which,
    /// Where the judgments go, an object a line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// Each answer by itself, 1 to 10
    Single,
    /// Two answers against each other, in both orders
    Pair,
    /// Each answer by criteria
    Rubric,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tongue {
    En,
    Zh,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    First,
    Each,
    Last,
}

fn criterion(text: &str) -> Result<Criterion> {
    let mut parts = text.splitn(3, ':');
    let name = parts.next().unwrap_or_default().trim().to_owned();
    let weight = parts.next().map_or(Ok(1.0), |weight| weight.trim().parse());
    Ok(Criterion {
        weight: weight.map_err(|_| anyhow!("expected NAME:WEIGHT:what it means, got {text}"))?,
        description: parts.next().unwrap_or(&name).trim().to_owned(),
        name,
    })
}

impl Common {
    fn judge(&self, pairing: Pairing, turns: Turns) -> Result<Judge> {
        if !self.criterion.is_empty() && self.mode != How::Rubric {
            bail!("--criterion belongs to --mode rubric");
        }
        if pairing != Pairing::default() && self.mode != How::Pair {
            bail!("--baseline and --one-order belong to --mode pair");
        }
        let mode = match self.mode {
            How::Single => Mode::Single,
            How::Pair => Mode::Pair(pairing),
            How::Rubric => Mode::Rubric(self.criterion.clone()),
        };
        let mut judge = Judge::new(self.model.name(), mode);
        match &self.grammar {
            Some(grammar) => judge.grammar = grammar.clone(),
            None if self.json_schema && self.mode != How::Rubric => {
                judge.grammar = Grammar::Json(Range::default());
            }
            None => {}
        }
        judge.schema = self.json_schema;
        judge.prompts = self.prompts()?;
        judge.turns = turns;
        judge.sampling = self.model.sampling(judge.sampling);
        judge.sampling.logprobs = self.logprobs.then_some(ALTERNATIVES);
        judge.seed = self.seed;
        Ok(judge)
    }

    fn prompts(&self) -> Result<Prompts> {
        let language = match self.language {
            None | Some(Tongue::En) => Language::En,
            Some(Tongue::Zh) => Language::Zh,
        };
        Ok(match &self.prompts {
            Some(path) if path.is_file() => {
                if self.language.is_some() {
                    bail!("--language: FastChat's prompts are in one language");
                }
                Prompts::fastchat(path)?
            }
            Some(path) => Prompts::from_dir(language, path)?,
            None => Prompts::builtin(language),
        })
    }

    /// The files that are read, and the cache.
    fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        let own = [&self.questions, &self.cache].into_iter();
        own.chain(&self.answers)
            .chain(&self.references)
            .chain(&self.prompts)
    }

    fn read(&self) -> Result<(Vec<Question>, Vec<Answers>)> {
        let questions = read_questions(&self.questions, self.references.as_deref())?;
        let mut answers = Vec::new();
        for path in &self.answers {
            answers.extend(read_answers(path)?);
        }
        Ok((questions, answers))
    }
}

impl Run {
    pub(super) fn run(&self) -> Result<()> {
        let common = &self.common;
        outputs::check([&self.out], common.inputs())?;
        let pairing = Pairing {
            both_orders: !self.one_order,
            baseline: self.baseline.clone(),
        };
        let turns = match self.turns {
            Which::First => Turns::First,
            Which::Each => Turns::Each,
            Which::Last => Turns::Last,
        };
        let judge = common.judge(pairing, turns)?;
        let (questions, answers) = common.read()?;
        let model = common.model.open()?;
        let cache = asking::open_cache(&common.cache)?;
        let options = common.limits.options(&judge.model);
        let runner = Runner::new(&*model, &cache, options)?;
        if common.limits.dry_run {
            let tokens = common.limits.tokens();
            return asking::say_estimate(&judge.estimate(&runner, &questions, &answers, tokens)?);
        }
        let judgments = asking::watched(&runner, || Ok(judge.run(&runner, &questions, &answers)?))?;
        warn(&judge, &judgments.rows);
        judgments
            .write(&self.out)
            .with_context(|| self.out.display().to_string())?;
        let options = Bootstrap {
            seed: common.seed,
            ..Bootstrap::default()
        };
        let report = Report::of(&judgments, &questions, &answers, &options)?;
        show(&report, common.json)
    }
}

/// To each token, which is as many as servers give.
const ALTERNATIVES: u8 = 20;

/// Says on stderr what the judge's server did not do of what was asked.
fn warn(judge: &Judge, rows: &[Judgment]) {
    let refused = rows.iter().filter(|row| row.schema == Some(false)).count();
    if refused > 0 {
        eprintln!(
            "warning: the server refused the JSON schema; {refused} of {} judgments were made without",
            rows.len()
        );
    }
    let verdicts = rows.iter().filter(|row| row.verdict.is_some());
    let bare = verdicts.clone().filter(|row| row.expected.is_none());
    let (all, bare) = (verdicts.count(), bare.count());
    if judge.sampling.logprobs.is_some() && bare > 0 {
        eprintln!(
            "warning: {bare} of {all} verdicts have no expected value: no log-probabilities came with \
             them, or they do not tell"
        );
    }
}

/// Of intervals.
pub(super) const LEVEL: f64 = 0.95;

impl AuditArgs {
    pub(super) fn run(&self) -> Result<()> {
        let common = &self.common;
        let judge = common.judge(Pairing::default(), Turns::default())?;
        let (questions, answers) = common.read()?;
        let audit = Audit {
            judge: &judge,
            questions: &questions,
            answers: &answers,
            level: LEVEL,
        };
        let model = common.model.open()?;
        let cache = asking::open_cache(&common.cache)?;
        let runner = Runner::new(&*model, &cache, common.limits.options(&judge.model))?;
        if common.limits.dry_run {
            let tokens = common.limits.tokens();
            return asking::say_estimate(&audit.estimate(&runner, tokens)?);
        }
        let report = asking::watched(&runner, || Ok(audit.run(&runner)?))?;
        warn(&judge, &report.judgments.rows);
        if common.json {
            return say(serde_json::to_string_pretty(&report)?);
        }
        for result in &report.probes {
            let name = serde_json::to_value(result.probe)?;
            let interval = result.interval.map_or_else(String::new, |interval| {
                format!(" ({:.2} to {:.2})", interval.low, interval.high)
            });
            say(format_args!(
                "{:18} fooled {} of {}{interval}, {} without a verdict",
                name.as_str().unwrap_or_default(),
                result.fooled,
                result.trials,
                result.unscored
            ))?;
        }
        Ok(())
    }
}
