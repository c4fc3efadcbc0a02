//! Asking a strong model, on a server or in a directory, within limits.

use std::env::{self, VarError};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use llm_core::{GenerationConfig, LlamaForCausalLM};
use llm_data::generate::{
    Budget, ChatModel, ChatReply, ChatRequest, Choice, Estimate, FinishReason, ModelError,
    ModelErrorKind, OnFailure, OpenAiClient, OpenAiOptions, Price, Prices, ReplyCache, RunOptions,
    Runner, Sampling, Usage,
};
use llm_data::{EncodeOptions, Encoder, Tokenizer};
use serde::Serialize;

use crate::cli::{self, say};
use crate::talk::Speaker;

/// How servers are asked.
#[derive(Debug, Clone, Args, Serialize)]
pub struct ServerArgs {
    /// The environment variable that holds the server's key [default: OPENAI_API_KEY, if it is set]
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// The header that the key goes into: as a bearer token, or alone, as in Azure's api-key
    #[arg(long, value_name = "NAME", default_value = "authorization")]
    api_key_header: String,
    /// Requests a minute
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<std::num::NonZeroU32>,
    /// Tokens a minute
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<std::num::NonZeroU32>,
    /// Seconds for one attempt
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

impl ServerArgs {
    /// The same with the key of another environment variable.
    #[must_use]
    pub fn with_key(&self, api_key_env: &str) -> Self {
        Self {
            api_key_env: Some(api_key_env.to_owned()),
            ..self.clone()
        }
    }

    /// A client of the server at `endpoint`.
    ///
    /// # Errors
    /// When the address makes no sense, or the environment variable that is named holds no key.
    pub fn client(&self, endpoint: &str) -> Result<OpenAiClient> {
        let mut options = OpenAiOptions::new(endpoint);
        options.api_key = self.key()?.map(Into::into);
        options.api_key_header = self.api_key_header.clone();
        options.requests_per_minute = self.requests_per_minute;
        options.tokens_per_minute = self.tokens_per_minute;
        options.timeout = Duration::from_secs(self.timeout);
        Ok(OpenAiClient::new(options)?)
    }

    fn key(&self) -> Result<Option<String>> {
        let name = self.api_key_env.as_deref();
        match (env::var(name.unwrap_or("OPENAI_API_KEY")), name) {
            (Ok(key), _) => Ok(Some(key)),
            (Err(VarError::NotPresent), None) => Ok(None),
            // What it holds is not shown.
            (Err(VarError::NotUnicode(_)), _) => {
                bail!("the key's environment variable is no UTF-8")
            }
            (Err(VarError::NotPresent), Some(name)) => {
                bail!("--api-key-env: there is no environment variable {name}")
            }
        }
    }
}

/// Which model is asked, and how.
#[derive(Debug, Args, Serialize)]
pub struct ModelArgs {
    /// An OpenAI-compatible server, such as `https://api.openai.com/v1` or `http://localhost:8000/v1`
    #[arg(long, value_name = "URL", required_unless_present = "local")]
    #[serde(serialize_with = "shown")]
    endpoint: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", required_unless_present = "local")]
    model: Option<String>,
    /// A model directory instead, which answers on this machine
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "model", "ServerArgs"])]
    local: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    server: ServerArgs,
    /// 0 is greedy [default: 1; of judges 0]
    #[arg(long, value_name = "X")]
    temperature: Option<f64>,
    /// The share of probability that is drawn from
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    top_p: f64,
    /// The longest reply in tokens [default: 3072; of judges 2048]
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
}

/// The address as it may be shown: reports hold no key that stands in it.
fn shown<S: serde::Serializer>(endpoint: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    let shown = endpoint.as_ref().map(|endpoint| {
        let client = OpenAiClient::new(OpenAiOptions::new(endpoint));
        client.map_or_else(|_| "no address".to_owned(), |client| client.endpoint())
    });
    shown.serialize(to)
}

impl ModelArgs {
    /// The model's name in requests.
    pub fn name(&self) -> String {
        let local = self.local.as_ref().map(|dir| dir.display().to_string());
        self.model.clone().or(local).unwrap_or_default()
    }

    /// How its replies are drawn; what is not said is as in `default`.
    pub fn sampling(&self, default: Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_p: self.top_p,
            max_tokens: self.max_tokens.unwrap_or(default.max_tokens),
            ..default
        }
    }

    /// The model, ready to be asked.
    ///
    /// # Errors
    /// When the address or the directory makes no sense.
    pub fn open(&self) -> Result<Box<dyn ChatModel>> {
        if let Some(dir) = &self.local {
            return local(dir);
        }
        let Some(endpoint) = &self.endpoint else {
            bail!("--endpoint or --local names a model");
        };
        Ok(Box::new(self.server.client(endpoint)?))
    }
}

/// The model of a directory, ready to be asked.
///
/// # Errors
/// When it cannot be read, or its tokenizer has no chat template.
pub fn local(dir: &Path) -> Result<Box<dyn ChatModel>> {
    let checkpoint = cli::open(dir)?;
    let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
    let model = cli::ComputeArgs::default().load(&checkpoint);
    let model = model.with_context(|| dir.display().to_string())?;
    local_model(&dir.display().to_string(), model, tokenizer)
}

/// A model in memory, ready to be asked; `name` tells its replies apart in a cache.
///
/// # Errors
/// When its tokenizer has no chat template.
pub fn local_model(
    name: &str,
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
) -> Result<Box<dyn ChatModel>> {
    let template = cli::template(None, &tokenizer)?;
    Ok(Box::new(LocalModel {
        model,
        encoder: Encoder::new(tokenizer, template, EncodeOptions::default())?,
        name: name.to_owned(),
    }))
}

/// A model in memory.
struct LocalModel {
    model: LlamaForCausalLM,
    encoder: Encoder,
    name: String,
}

impl LocalModel {
    /// The reply of this number to a request.
    fn choice(&self, request: &ChatRequest, number: u64) -> Result<(Choice, Usage)> {
        let prompt = self.encoder.prompt(&request.messages)?;
        let sampling = &request.sampling;
        let stops = self.encoder.stop_strings().into_iter().map(Into::into);
        let speaker = Speaker {
            model: &self.model,
            config: GenerationConfig {
                max_new_tokens: sampling.max_tokens as usize,
                temperature: sampling.temperature,
                top_p: sampling.top_p,
                seed: sampling.seed.unwrap_or(0).wrapping_add(number),
                stop_ids: self.encoder.stop_ids().to_vec(),
                ..GenerationConfig::default()
            },
            stop_strings: stops.chain(sampling.stop.iter().cloned()).collect(),
        };
        let decode = self.encoder.tokenizer().decode_stream();
        let answer = speaker.answer_whole(&prompt, decode, |_| Ok(()))?;
        let text = answer.text;
        let finish_reason = match answer.is_cut {
            false => FinishReason::Stop,
            true => FinishReason::Length,
        };
        let usage = Usage {
            prompt_tokens: prompt.len() as u64,
            completion_tokens: answer.tokens as u64,
        };
        Ok((
            Choice {
                text,
                finish_reason,
                logprobs: None,
            },
            usage,
        ))
    }
}

impl ChatModel for LocalModel {
    fn ask(&self, request: &ChatRequest) -> Result<ChatReply, ModelError> {
        self.ask_again(request, 0)
    }

    /// Each attempt has seeds of its own.
    fn ask_again(&self, request: &ChatRequest, attempt: u64) -> Result<ChatReply, ModelError> {
        if let Some(field) = request.sampling.optional.keys().next() {
            let reason = format!("a model in a directory has no {field}");
            return Err(ModelError::new(ModelErrorKind::Refused(400), reason));
        }
        let (mut choices, mut usage) = (Vec::new(), Usage::default());
        let first = attempt.wrapping_mul(u64::from(request.n));
        for number in (0..u64::from(request.n)).map(|number| first.wrapping_add(number)) {
            let one = self.choice(request, number);
            let (choice, used) =
                one.map_err(|error| ModelError::new(ModelErrorKind::Other, format!("{error:#}")))?;
            choices.push(choice);
            usage.prompt_tokens = used.prompt_tokens;
            usage.completion_tokens += used.completion_tokens;
        }
        Ok(ChatReply {
            choices,
            usage: Some(usage),
            optional_refused: false,
        })
    }

    fn endpoint(&self) -> String {
        format!("local {}", self.name)
    }
}

/// What a run may ask and cost.
#[derive(Debug, Args, Serialize)]
pub struct Limits {
    /// Say what it would ask and cost, and ask nothing
    #[arg(long)]
    pub dry_run: bool,
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
    /// Tokens that a reply is reckoned to have, by --dry-run [default: 400]
    #[arg(long, value_name = "N", requires = "dry_run")]
    pub expected_tokens: Option<u32>,
    /// Questions in flight at a time; the result does not depend on it
    #[arg(long, value_name = "N", default_value_t = 4)]
    workers: usize,
    /// Go on without a reply that does not come, and count it, instead of stopping
    #[arg(long)]
    skip_failed: bool,
}

impl Limits {
    /// Tokens that a reply is reckoned to have.
    pub fn tokens(&self) -> u32 {
        self.expected_tokens.unwrap_or(400)
    }

    /// The price that is given.
    pub fn price(&self) -> Option<Price> {
        price(self.price_prompt, self.price_completion)
    }

    /// Whether what is asked may not cost more than a limit, so that all prices must be known.
    pub fn has_max_cost(&self) -> bool {
        self.max_cost.is_some()
    }

    /// For a runner that asks one model.
    pub fn options(&self, model: &str) -> RunOptions {
        let price = self.price();
        let prices = price.map(|price| (model.to_owned(), price));
        self.options_with(prices.into_iter().collect())
    }

    /// For a runner on a cache that has replies of all these models.
    pub fn options_with(&self, prices: Prices) -> RunOptions {
        RunOptions {
            workers: self.workers,
            budget: Budget {
                cost: self.max_cost,
                tokens: self.max_total_tokens,
                requests: self.max_requests,
            },
            prices,
            on_failure: match self.skip_failed {
                true => OnFailure::Skip,
                false => OnFailure::Stop,
            },
            ..RunOptions::default()
        }
    }
}

/// A price of both.
pub fn price(prompt: Option<f64>, completion: Option<f64>) -> Option<Price> {
    let (prompt, completion) = (prompt?, completion?);
    Some(Price { prompt, completion })
}

/// The replies so far. A damaged file is set aside, with a warning.
///
/// # Errors
/// When it cannot be opened.
pub fn open_cache(path: &Path) -> Result<ReplyCache> {
    let cache = ReplyCache::open(path)?;
    if let Some(aside) = cache.set_aside() {
        eprintln!(
            "warning: {} was damaged, and is now {}",
            path.display(),
            aside.display()
        );
    }
    Ok(cache)
}

/// Shows on a terminal how far a run is.
///
/// # Errors
/// Those of `run`.
pub fn watched<T: Send>(runner: &Runner<'_>, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
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

/// Says what a run would ask and cost.
///
/// # Errors
/// When nobody reads it.
pub fn say_estimate(estimate: &Estimate) -> Result<()> {
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
