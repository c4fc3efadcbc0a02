//! Data from a strong model.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use llm_data::generate::{
    Answer, Augment, Budget, Estimate, Evolve, GenerateOptions, Generated, Language, OnFailure,
    Price, Prices, PromptSet, ReplyCache, RunOptions, Runner, SelfChat, SelfInstruct,
};
use llm_data::{AlpacaRecord, Conversation, CountTokens, Format, Record, Report, Role};
use serde::Serialize;
use serde_json::json;

use super::input::Input;
use super::model::ModelArgs;
use super::output::Output;
use crate::cli::say;

#[derive(Debug, Args, Serialize)]
pub(super) struct Generate {
    /// self-instruct: new tasks from seed tasks; evolve: harder instructions (Evol-Instruct) with answers;
    /// self-chat: conversations about topics; augment: paraphrases and new instances; answer: answers to
    /// instructions
    #[arg(value_enum)]
    method: Method,
    #[command(flatten)]
    #[serde(flatten)]
    input: Input,
    #[command(flatten)]
    #[serde(flatten)]
    output: Output,
    /// The format to write [default: alpaca; of self-chat: sharegpt]
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArgs,
    /// Records to have in the end: of self-instruct and augment
    #[arg(long, value_name = "N", default_value_t = 200)]
    target: usize,
    /// Rounds of evolution
    #[arg(long, value_name = "N", default_value_t = 4)]
    rounds: usize,
    /// Language of the prompts, and of the rules for what is kept
    #[arg(long, value_enum, default_value = "en")]
    language: Tongue,
    /// Prompts of one's own: NAME.txt in this directory
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,
    /// Of what is drawn: tasks that are shown, operations
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Replies so far; a run that is killed goes on from there [default: OUT.replies]
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    limits: Limits,
}

#[derive(Debug, Args, Serialize)]
struct Limits {
    /// Say what it would ask and cost, and ask nothing
    #[arg(long)]
    dry_run: bool,
    /// Stop before all runs on the cache cost more than this, in the prices' currency
    #[arg(long, value_name = "X")]
    max_cost: Option<f64>,
    /// Stop before they use more tokens
    #[arg(long, value_name = "N")]
    max_total_tokens: Option<u64>,
    /// Stop before they ask more often
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,
    /// What a million tokens of questions cost
    #[arg(long, value_name = "X", requires = "price_completion")]
    price_prompt: Option<f64>,
    /// What a million tokens of replies cost
    #[arg(long, value_name = "X", requires = "price_prompt")]
    price_completion: Option<f64>,
    /// Tokens that a reply is reckoned to have, by --dry-run
    #[arg(long, value_name = "N", default_value_t = 400)]
    expected_tokens: u32,
    /// The share of what replies bring that is reckoned to be kept, by --dry-run
    #[arg(long, value_name = "SHARE", default_value_t = 0.7)]
    expected_yield: f64,
    /// Questions in flight at a time; the result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 4)]
    workers: usize,
    /// Go on without a reply that does not come, and count it, instead of stopping
    #[arg(long)]
    skip_failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
enum Method {
    SelfInstruct,
    Evolve,
    SelfChat,
    Augment,
    Answer,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
enum Tongue {
    En,
    Zh,
}

impl Generate {
    pub(super) fn run(&self) -> Result<()> {
        let language = match self.language {
            Tongue::En => Language::En,
            Tongue::Zh => Language::Zh,
        };
        let prompts = match &self.prompts {
            Some(dir) => PromptSet::from_dir(language, dir)?,
            None => PromptSet::builtin(language),
        };
        let mut report = Report::new("generate", serde_json::to_value(self)?);
        let given = self.given(&mut report)?;
        let model = self.model.open()?;
        let cache = self.cache()?;
        let runner = Runner::new(&*model, &cache, self.options())?;
        let program = Program {
            method: self.method,
            given: &given,
            prompts: &prompts,
            options: GenerateOptions {
                model: self.model.name(),
                sampling: self.model.sampling(),
                seed: self.seed,
            },
            generate: self,
        };
        if self.limits.dry_run {
            return say_estimate(&program.estimate(&runner)?);
        }
        let made = watched(&runner, || program.run(&runner))?;
        let counts = runner.counts()?;
        say(format_args!(
            "{} records of {} questions: {} asked, {} from the cache, {} without a reply; cost {:.4}",
            made.records.len(),
            made.questions,
            counts.asked,
            counts.cached,
            counts.failed,
            counts.cost,
        ))?;
        for (reason, count) in &made.dropped {
            say(format_args!("  {count} dropped: {reason}"))?;
        }
        if let Some(options) = report.options.as_object_mut() {
            options.insert("dropped".to_owned(), json!(made.dropped));
        }
        self.write(made.records, report)
    }

    fn write(&self, records: Vec<Conversation>, mut report: Report) -> Result<()> {
        let format = match (&self.to, self.method) {
            (Some(name), _) => Format::by_name(name)?,
            (None, Method::SelfChat) => Format::ShareGpt,
            (None, _) => Format::Alpaca,
        };
        let mut after = llm_data::Survey::default();
        let mut writer = self.output.create(format)?;
        for (index, conversation) in records.into_iter().enumerate() {
            after.add(&conversation, CountTokens::No)?;
            let record = Record::Conversation(conversation);
            writer.write(&record, || format!("record {}", index + 1))?;
        }
        report.after = Some(after);
        self.output.finish(writer, &mut report)
    }

    /// What the method begins with.
    fn given(&self, report: &mut Report) -> Result<Given> {
        let mut records = self.input.open(true)?;
        let mut survey = records.survey();
        let mut given = Given::default();
        for record in records.by_ref() {
            let (_, numbered) = record?;
            survey.add(&numbered.record, CountTokens::No)?;
            match &numbered.record {
                Record::Text(document) if self.method == Method::SelfChat => {
                    given.topics.push(document.text.trim().to_owned());
                    continue;
                }
                Record::Conversation(conversation) if self.method == Method::SelfChat => {
                    let asked = conversation.messages.iter().find(|m| m.role == Role::User);
                    given
                        .topics
                        .extend(asked.map(|message| message.content.clone()));
                    continue;
                }
                _ => {}
            }
            let place = || super::convert::place(&numbered);
            let (json, losses) = numbered
                .record
                .to_json(Format::Alpaca)
                .with_context(place)?;
            if let Some(loss) = losses.first() {
                bail!("{}: as an instruction it would lose {loss}", place());
            }
            let record: AlpacaRecord = serde_json::from_value(json).with_context(place)?;
            given.records.push(record);
        }
        if given.records.is_empty() && given.topics.is_empty() {
            bail!("there is nothing to begin with");
        }
        report.before = Some(survey);
        records.seen().account(report)?;
        Ok(given)
    }

    fn cache(&self) -> Result<ReplyCache> {
        let path = match &self.cache {
            Some(path) => path.clone(),
            None => self.output.beside(".replies"),
        };
        let cache = ReplyCache::open(&path)?;
        if let Some(aside) = cache.set_aside() {
            eprintln!(
                "warning: {} was damaged, and is now {}",
                path.display(),
                aside.display()
            );
        }
        Ok(cache)
    }

    fn options(&self) -> RunOptions {
        let limits = &self.limits;
        let mut prices = Prices::new();
        if let (Some(prompt), Some(completion)) = (limits.price_prompt, limits.price_completion) {
            prices.insert(self.model.name(), Price { prompt, completion });
        }
        RunOptions {
            workers: limits.workers,
            budget: Budget {
                cost: limits.max_cost,
                tokens: limits.max_total_tokens,
                requests: limits.max_requests,
            },
            prices,
            on_failure: match limits.skip_failed {
                true => OnFailure::Skip,
                false => OnFailure::Stop,
            },
            ..RunOptions::default()
        }
    }
}

#[derive(Debug, Default)]
struct Given {
    records: Vec<AlpacaRecord>,
    topics: Vec<String>,
}

/// A method with all that it needs.
struct Program<'a> {
    method: Method,
    given: &'a Given,
    prompts: &'a PromptSet,
    options: GenerateOptions,
    generate: &'a Generate,
}

impl Program<'_> {
    fn self_instruct(&self) -> SelfInstruct<'_> {
        let (options, target) = (self.options.clone(), self.generate.target);
        SelfInstruct::new(options, &self.given.records, self.prompts, target)
    }

    fn evolve(&self) -> Evolve<'_> {
        Evolve {
            rounds: self.generate.rounds,
            ..Evolve::new(self.options.clone(), &self.given.records, self.prompts)
        }
    }

    fn augment(&self) -> Augment<'_> {
        let (options, target) = (self.options.clone(), self.generate.target);
        Augment::new(options, &self.given.records, self.prompts, target)
    }

    fn self_chat(&self) -> SelfChat<'_> {
        SelfChat {
            options: self.options.clone(),
            topics: &self.given.topics,
            prompts: self.prompts,
        }
    }

    fn answer(&self) -> Answer<'_> {
        Answer {
            options: self.options.clone(),
            instructions: &self.given.records,
            prompts: self.prompts,
        }
    }

    fn estimate(&self, runner: &Runner<'_>) -> Result<Estimate> {
        let limits = &self.generate.limits;
        let (tokens, kept) = (limits.expected_tokens, limits.expected_yield);
        Ok(match self.method {
            Method::SelfInstruct => self.self_instruct().estimate(runner, kept)?,
            Method::Evolve => self.evolve().estimate(runner, tokens)?,
            Method::SelfChat => self.self_chat().estimate(runner, tokens)?,
            Method::Augment => self.augment().estimate(runner, kept)?,
            Method::Answer => self.answer().estimate(runner, tokens)?,
        })
    }

    fn run(&self, runner: &Runner<'_>) -> Result<Generated<Conversation>> {
        Ok(match self.method {
            Method::SelfInstruct => conversations(self.self_instruct().run(runner)?, |one| one),
            Method::Evolve => conversations(self.evolve().run(runner)?, |one| one.record),
            Method::SelfChat => self.self_chat().run(runner)?,
            Method::Augment => conversations(self.augment().run(runner)?, |one| one),
            Method::Answer => conversations(self.answer().run(runner)?, |one| one),
        })
    }
}

fn conversations<T>(made: Generated<T>, record: fn(T) -> AlpacaRecord) -> Generated<Conversation> {
    let records = made.records.into_iter().map(record);
    Generated {
        records: records.map(Conversation::from).collect(),
        dropped: made.dropped,
        questions: made.questions,
    }
}

/// Shows on a terminal how far a run is.
fn watched<T: Send>(runner: &Runner<'_>, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if !std::io::stderr().is_terminal() {
        return run();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")?);
    thread::scope(|scope| {
        let run = scope.spawn(run);
        while !run.is_finished() {
            if let Ok(counts) = runner.counts() {
                bar.set_message(format!(
                    "{} asked, {} from the cache, cost {:.4}",
                    counts.asked, counts.cached, counts.cost
                ));
            }
            bar.tick();
            thread::sleep(Duration::from_millis(200));
        }
        bar.finish_and_clear();
        match run.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn say_estimate(estimate: &Estimate) -> Result<()> {
    let money = |cost: Option<f64>| match cost {
        Some(cost) => format!("{cost:.4}"),
        None => "unknown (give --price-prompt and --price-completion)".to_owned(),
    };
    say(format_args!(
        "requests    {} to ask, {} in the cache\n\
         tokens      about {} of questions, {} of replies ({} at most)\n\
         cost        about {}, at most {}",
        estimate.requests,
        estimate.cached,
        estimate.prompt_tokens,
        estimate.completion_tokens,
        estimate.max_completion_tokens,
        money(estimate.cost),
        money(estimate.max_cost),
    ))
}
