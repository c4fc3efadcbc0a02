//! Data from a strong model.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use llm_data::generate::{
    Answer, Augment, Estimate, Evolve, GenerateOptions, Generated, Language, PromptSet, Runner,
    Sampling, SelfChat, SelfInstruct,
};
use llm_data::{AlpacaRecord, Conversation, CountTokens, Format, Record, Report, Role};
use serde::Serialize;
use serde_json::json;

use super::files::Files;
use crate::asking::{self, Limits, ModelArgs};
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
    files: Files,
    /// The format to write [default: alpaca; of self-chat: sharegpt]
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    model: ModelArgs,
    /// Records to have in the end: of self-instruct and augment [default: 200]
    #[arg(long, value_name = "N")]
    target: Option<usize>,
    /// Rounds of evolve [default: 4]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Language of the prompts, and of the rules for what is kept
    #[arg(long, value_enum, default_value = "en")]
    language: Tongue,
    /// Prompts of one's own: NAME.txt in this directory
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,
    /// Of what is drawn: the tasks that self-instruct shows, the operations of evolve [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Replies so far; a run that is killed goes on from there [default: OUT.replies]
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    /// The share of what replies bring that is reckoned to be kept, by --dry-run of self-instruct and augment
    /// [default: 0.7]
    #[arg(long, value_name = "SHARE", requires = "dry_run")]
    expected_yield: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    limits: Limits,
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
    /// Refuses what the method takes no notice of.
    fn check(&self) -> Result<()> {
        use Method::{Answer, Augment, Evolve, SelfChat, SelfInstruct};
        let given: [(&str, bool, &[Method]); 5] = [
            ("target", self.target.is_some(), &[SelfInstruct, Augment]),
            ("rounds", self.rounds.is_some(), &[Evolve]),
            ("seed", self.seed.is_some(), &[SelfInstruct, Evolve]),
            (
                "expected-yield",
                self.expected_yield.is_some(),
                &[SelfInstruct, Augment],
            ),
            (
                "expected-tokens",
                self.limits.expected_tokens.is_some(),
                &[Evolve, SelfChat, Answer],
            ),
        ];
        let useless =
            |(_, given, methods): &&(_, bool, &[Method])| *given && !methods.contains(&self.method);
        match given.iter().find(useless) {
            Some((flag, ..)) => {
                let name = self.method.to_possible_value();
                let name = name.as_ref().map_or("", |name| name.get_name());
                bail!("--{flag} has no effect on {name}")
            }
            None => Ok(()),
        }
    }

    /// The format that is written.
    fn format(&self) -> Result<Format> {
        Ok(match (&self.to, self.method) {
            (Some(name), _) => Format::by_name(name)?,
            (None, Method::SelfChat) => Format::ShareGpt,
            (None, _) => Format::Alpaca,
        })
    }

    pub(super) fn run(&self) -> Result<()> {
        self.check()?;
        self.files.output.check(self.format()?)?;
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
        if let Some(dir) = &self.prompts {
            super::input::also(&mut report, dir)?;
        }
        let model = self.model.open()?;
        let beside = || self.files.output.beside(".replies");
        let cache = asking::open_cache(&self.cache.clone().unwrap_or_else(beside))?;
        let options = self.limits.options(&self.model.name());
        let runner = Runner::new(&*model, &cache, options)?;
        let program = Program {
            method: self.method,
            given: &given,
            prompts: &prompts,
            options: GenerateOptions {
                model: self.model.name(),
                sampling: self.model.sampling(Sampling::default()),
                seed: self.seed.unwrap_or(0),
            },
            generate: self,
        };
        if self.limits.dry_run {
            return asking::say_estimate(&program.estimate(&runner)?);
        }
        let made = asking::watched(&runner, || program.run(&runner))?;
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
        let mut after = llm_data::Survey::default();
        let mut writer = self.files.output.create(self.format()?)?;
        for (index, conversation) in records.into_iter().enumerate() {
            after.add(&conversation, CountTokens::No)?;
            let record = Record::Conversation(conversation);
            writer.write(&record, || format!("record {}", index + 1))?;
        }
        report.after = Some(after);
        self.files.output.finish(writer, &mut report)
    }

    /// What the method begins with.
    fn given(&self, report: &mut Report) -> Result<Given> {
        let mut records = self.files.input.open(true)?;
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
        let (options, target) = (self.options.clone(), self.generate.target.unwrap_or(200));
        SelfInstruct::new(options, &self.given.records, self.prompts, target)
    }

    fn evolve(&self) -> Evolve<'_> {
        Evolve {
            rounds: self.generate.rounds.unwrap_or(4),
            ..Evolve::new(self.options.clone(), &self.given.records, self.prompts)
        }
    }

    fn augment(&self) -> Augment<'_> {
        let (options, target) = (self.options.clone(), self.generate.target.unwrap_or(200));
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
        let (tokens, kept) = (limits.tokens(), self.generate.expected_yield.unwrap_or(0.7));
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
