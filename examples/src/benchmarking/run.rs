//! Benchmarks asked of a model.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use llm_core::checkpoint::write_atomically;
use llm_data::generate::{ChatModel, Estimate, Price, Prices, ReplyCache, RunOptions, Runner};
use llm_eval::bench::{ChatServer, LanguageModel, Results, ceval};
use llm_eval::judge::Judgments;
use serde_json::{Map, json};

use super::judge::{JudgeArgs, Opened};
use super::model::LocalArgs;
use super::show;
use super::tasks::{Benchmark, Progress, Split, TaskArgs, Work};
use crate::asking::{self, Limits, ServerArgs};
use crate::cli::say;
use crate::outputs;

/// Replies of servers so far.
const CACHE: &str = "benchmark.replies";

#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("asked").multiple(true)
        .args(["endpoint", "chat", "judge_endpoint", "judge_local"])),
    group(clap::ArgGroup::new("servers").multiple(true).args(["endpoint", "judge_endpoint"])),
    mut_group("Limits", |group| group.requires("asked")),
    mut_group("ServerArgs", |group| group.requires("servers")),
)]
pub(super) struct Run {
    /// A model directory, or with --endpoint the model's name there
    #[arg(long, value_name = "DIR|NAME")]
    model: PathBuf,
    /// An OpenAI-compatible server that has the model, such as `http://localhost:8000/v1`: each prompt is a
    /// user's message, and answers are generated
    #[arg(long, value_name = "URL", conflicts_with_all = ["adapter", "force", "max_length", "batch_tokens", "ComputeArgs"])]
    endpoint: Option<String>,
    /// Ask a model of this machine by its chat template, one question after the other; answers are generated
    #[arg(long, conflicts_with = "endpoint")]
    chat: bool,
    #[command(flatten)]
    local: LocalArgs,
    #[command(flatten)]
    tasks: TaskArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Write results and samples into this directory, as the harness lays them out, and a judge's judgments
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write what C-Eval's server takes for the split test: {subject: {id: letter}}
    #[arg(long, value_name = "FILE")]
    submission: Option<PathBuf>,
    /// Replies so far; a run that is killed goes on from there [default: benchmark.replies; without --endpoint and
    /// a judge none]
    #[arg(long, value_name = "FILE", requires = "asked")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    limits: Limits,
    /// Print the results as JSON, under the harness's keys
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(&self) -> Result<()> {
        self.check()?;
        let work = self.tasks.load(self.endpoint.is_some() || self.chat)?;
        let judge = self.judge.open(&self.server)?;
        let judge = judge.as_ref();
        let cache = self.open_cache(judge.is_some())?;
        if self.limits.dry_run {
            return self.estimate(&work, judge, &cache);
        }
        let mut results = self.ask(&work, &cache)?;
        let date = chrono::Utc::now().format("%Y-%m-%dT%H-%M-%S%.6f");
        let date = date.to_string();
        if let Some(path) = &self.submission {
            let submission = ceval::submission(&results.tasks);
            write_atomically(path, |file| writeln!(file, "{submission:#}"))?;
        }
        // What a judge does to them may fail, and answers are dear.
        let mut written = self.save(&results, &date)?;
        if let Some(judge) = judge {
            let judgments = self.judge(judge, &cache, &mut results)?;
            written = self.save(&results, &date)?;
            if let Some(dir) = written.first().and_then(|path| path.parent()) {
                let path = dir.join(format!("judgments_belle_{date}.jsonl"));
                judgments.write(&path)?;
                written.push(path);
            }
        }
        for path in written {
            eprintln!("wrote {}", path.display());
        }
        match self.json {
            true => say(format_args!("{:#}", results.to_json())),
            false => show::print(&results),
        }
    }

    /// Refuses what would not be heeded.
    fn check(&self) -> Result<()> {
        let tasks = &self.tasks;
        tasks.check()?;
        let (named, detailed) = (self.judge.named(), self.judge.detailed());
        tasks.belongs("a judge", named || detailed, &[Benchmark::Belle])?;
        if detailed && !named {
            bail!("name a judge: --judge-endpoint with --judge-model, or --judge-local");
        }
        let test = tasks.split == Some(Split::Test);
        match &self.submission {
            Some(_) if !test => bail!("--submission is for C-Eval's --split test"),
            None if test => bail!(
                "C-Eval withholds the answers of its split test; give --submission FILE, to be sent in"
            ),
            _ => {}
        }
        self.prices()?;
        outputs::check(&self.submission, tasks.inputs().chain(&self.cache))
    }

    /// What the models cost that are asked, each by its name. Replies of all of them are in one cache,
    /// and count together.
    fn prices(&self) -> Result<Prices> {
        let limits = &self.limits;
        let asked = self.chat || self.endpoint.is_some();
        let free = self.endpoint.is_none().then(Price::default);
        let model = asked.then(|| (self.name(), limits.price().or(free)));
        let mut prices = Prices::new();
        for (name, price) in model.into_iter().chain(self.judge.price(limits)) {
            let Some(price) = price else {
                if limits.has_max_cost() {
                    bail!(
                        "--max-cost: give the price of {name}: --price-prompt and --price-completion, or of a \
                         judge --judge-price-prompt and --judge-price-completion"
                    );
                }
                continue;
            };
            if [price.prompt, price.completion]
                .iter()
                .any(|one| one.is_nan() || *one < 0.0)
            {
                bail!("the price of {name}: expected numbers from 0");
            }
            if prices
                .insert(name.clone(), price)
                .is_some_and(|other| other != price)
            {
                bail!("{name} judges itself, and has two prices");
            }
        }
        Ok(prices)
    }

    fn options(&self) -> Result<RunOptions> {
        Ok(self.limits.options_with(self.prices()?))
    }

    fn open_cache(&self, judged: bool) -> Result<ReplyCache> {
        match &self.cache {
            Some(path) => asking::open_cache(path),
            None if judged || self.endpoint.is_some() => asking::open_cache(Path::new(CACHE)),
            None => Ok(ReplyCache::in_memory()?),
        }
    }

    fn name(&self) -> String {
        match self.endpoint {
            Some(_) => self.model.display().to_string(),
            None => self.local.name(&self.model),
        }
    }

    /// A model that chats; none where it is run by its tokens.
    fn chat(&self) -> Result<Option<Box<dyn ChatModel>>> {
        Ok(match &self.endpoint {
            Some(endpoint) => Some(Box::new(self.server.client(endpoint)?)),
            None if self.chat => Some(self.local.chat(&self.model)?),
            None => None,
        })
    }

    fn ask(&self, work: &[Work], cache: &ReplyCache) -> Result<Results> {
        let name = self.name();
        let Some(chat) = self.chat()? else {
            let model = self.local.open(&self.model)?;
            let bar = match std::io::stderr().is_terminal() {
                true => ProgressBar::new(0),
                false => ProgressBar::hidden(),
            };
            bar.set_style(ProgressStyle::with_template(
                "{msg} {wide_bar} {pos}/{len} {eta}",
            )?);
            let results = self.results(work, &model, None, &mut |task, done, all| {
                bar.set_message(task.to_owned());
                bar.set_length(all as u64);
                bar.set_position(done as u64);
            });
            bar.finish_and_clear();
            return results;
        };
        // As it may be shown, without a key that stands in it.
        let endpoint = self.endpoint.as_ref().map(|_| chat.endpoint());
        let runner = Runner::new(&*chat, cache, self.options()?)?;
        let results = asking::watched(&runner, || {
            let server = ChatServer::new(&runner, &name);
            self.results(work, &server, endpoint, &mut |_, _, _| {})
        })?;
        let failed = runner.counts()?.failed;
        if failed > 0 {
            eprintln!("warning: {failed} questions got no reply, and are not scored");
        }
        Ok(results)
    }

    fn results(
        &self,
        work: &[Work],
        model: &dyn LanguageModel,
        endpoint: Option<String>,
        progress: &mut Progress<'_>,
    ) -> Result<Results> {
        work.iter().try_for_each(|work| advised(work, model))?;
        let tasks = &self.tasks;
        let config = json!({
            "model": model.name(), "endpoint": endpoint, "chat": self.chat,
            "variant": tasks.variant.as_deref().unwrap_or("harness"),
            "limit": tasks.limit, "num_fewshot": tasks.num_fewshot, "subjects": tasks.subjects,
        });
        let mut results = Results {
            model: model.name().to_owned(),
            config: config.as_object().cloned().unwrap_or_else(Map::new),
            tasks: Vec::new(),
            groups: Vec::new(),
        };
        for work in work {
            let (done, groups) = work.run(model, tasks.limit, progress)?;
            results.tasks.extend(done);
            results.groups.extend(groups);
        }
        Ok(results)
    }

    fn judge(
        &self,
        Opened { judge, model }: &Opened,
        cache: &ReplyCache,
        results: &mut Results,
    ) -> Result<Judgments> {
        let runner = Runner::new(&**model, cache, self.options()?)?;
        let name = results.model.clone();
        let mut judgments = Judgments::default();
        for task in results.tasks.iter_mut().filter(|task| task.name == "belle") {
            let judged = asking::watched(&runner, || Ok(judge.run(&runner, &name, task)?))?;
            judgments.rows.extend(judged.rows);
        }
        Ok(judgments)
    }

    /// Says what would be asked of a chat model and of a judge.
    fn estimate(&self, work: &[Work], judge: Option<&Opened>, cache: &ReplyCache) -> Result<()> {
        let tokens = self.limits.tokens();
        if let Some(chat) = self.chat()? {
            let name = self.name();
            let runner = Runner::new(&*chat, cache, self.options()?)?;
            let server = ChatServer::new(&runner, &name);
            let mut requests = Vec::new();
            for work in work {
                advised(work, &server)?;
                requests.extend(work.requests(self.tasks.limit)?);
            }
            say(&name)?;
            asking::say_estimate(&server.estimate(&requests, tokens)?)?;
        }
        if let Some(Opened { judge, model }) = judge {
            let runner = Runner::new(&**model, cache, self.options()?)?;
            let mut total: Option<Estimate> = None;
            for task in work.iter().filter_map(Work::belle) {
                let one = judge.estimate(&runner, task, self.tasks.limit, tokens)?;
                total = Some(total.map_or(one, |total| total.plus(one)));
            }
            say(format_args!("{}, the judge", judge.judge.model))?;
            asking::say_estimate(&total.unwrap_or_default())?;
        }
        Ok(())
    }

    fn save(&self, results: &Results, date: &str) -> Result<Vec<PathBuf>> {
        match &self.output {
            Some(dir) => Ok(results.save(dir, date)?),
            None => Ok(Vec::new()),
        }
    }
}

/// Refuses what the model cannot do, and says by which option it could.
fn advised(work: &Work, model: &dyn LanguageModel) -> Result<()> {
    work.check(model)
        .map_err(|error| anyhow!("{error} (--answers generated, or --model DIR alone)"))
}
