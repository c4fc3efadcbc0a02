//! Talks to a model, with or without an adapter.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Parser};
use examples::cli::{self, ComputeArgs};
use examples::settings;
use examples::talk::Speaker;
use llm_core::GenerationConfig;
use llm_data::{EncodeOptions, Encoder, Message, Role, Template, Tokenizer};
use llm_lora::Adapter;

/// Tokens of the context that a conversation leaves for the next answer.
const ROOM_FOR_ANSWER: usize = 64;

/// Talk to a model: `--chat` through its prompt template, `--prompt` for plain continuation.
///
/// Sampling options that are left out take the checkpoint's recommendation (generation_config.json),
/// or else the likeliest token is taken.
#[derive(Debug, Parser)]
#[command(group(ArgGroup::new("text").required(true).args(["prompt", "chat"])))]
struct Options {
    /// Model directory in Hugging Face's layout
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    model: PathBuf,
    /// Adapter directory in PEFT's format
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    adapter: Option<PathBuf>,
    /// Take the adapter although it was trained on another base, or with another tokenizer or template
    #[arg(long, requires = "adapter", help_heading = "Model")]
    force: bool,
    /// alpaca, alpaca-zh, chatml, vicuna, llama-2 and more (docs/data-format.md) or model [default: the one recorded with the
    /// adapter, else model where there is a chat template, else alpaca]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    template: Option<String>,

    /// Continue this text, without a template
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with_all = ["system", "template"],
        allow_hyphen_values = true,
        help_heading = "Text"
    )]
    prompt: Option<String>,
    /// Answer this message (write --chat=TEXT where it begins with a hyphen); without TEXT, hold a
    /// conversation
    #[arg(long, value_name = "TEXT", num_args = 0..=1, help_heading = "Text")]
    chat: Option<Option<String>>,
    /// The system message
    #[arg(long, value_name = "TEXT", requires = "chat", help_heading = "Text")]
    system: Option<String>,

    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sampling")]
struct Sampling {
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_new_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "X")]
    temperature: Option<f64>,
    /// Keep the N likeliest tokens; 0 keeps all
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Keep the likeliest tokens until they have this probability together
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Keep tokens at least P times as likely as the likeliest
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Make tokens that occurred before less likely
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f64>,
    /// Seed
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// End the answer at this text (can be given several times)
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl Sampling {
    fn over(&self, recommended: GenerationConfig) -> GenerationConfig {
        GenerationConfig {
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature.unwrap_or(recommended.temperature),
            top_k: self.top_k.unwrap_or(recommended.top_k),
            top_p: self.top_p.unwrap_or(recommended.top_p),
            min_p: self.min_p.unwrap_or(recommended.min_p),
            repetition_penalty: self
                .repetition_penalty
                .unwrap_or(recommended.repetition_penalty),
            seed: self.seed,
            stop_ids: recommended.stop_ids,
        }
    }
}

fn main() -> ExitCode {
    cli::run(|| generate(&Options::parse()))
}

fn generate(options: &Options) -> Result<()> {
    let checkpoint = cli::open(&options.model)?;
    let tokenizer = Tokenizer::from_dir(&options.model)?;
    tokenizer.check_embeddings(checkpoint.config().vocab_size)?;
    let mut config = options.sampling.over(checkpoint.generation_config()?);
    config.validate()?;
    config.stop_ids.extend(tokenizer.eos_ids());
    // A plain continuation has no template that could be refused.
    let encoder = match &options.prompt {
        Some(_) => None,
        None => {
            let template = template(options, &tokenizer)?;
            Some(Encoder::new(
                tokenizer.clone(),
                template,
                EncodeOptions::default(),
            )?)
        }
    };

    if let Some(adapter) = &options.adapter {
        let template = encoder.as_ref().map(Encoder::template);
        cli::check_adapter(adapter, &checkpoint, &tokenizer, template, options.force)?;
    }
    let mut model = options.compute.load(&checkpoint)?;
    if let Some(dir) = &options.adapter {
        Adapter::load(&mut model, dir)?;
    }
    let mut speaker = Speaker {
        model: &model,
        config,
        stop_strings: options.sampling.stop.clone(),
    };
    if let Some(encoder) = &encoder {
        speaker.config.stop_ids.extend(encoder.stop_ids());
        let stops = encoder.stop_strings().into_iter().map(Into::into);
        speaker.stop_strings.extend(stops);
        return converse(&speaker, encoder, options);
    }
    let prompt = options.prompt.as_deref().unwrap_or_default();
    let ids = tokenizer.encode_sequence(prompt)?;
    if ids.is_empty() {
        bail!("the prompt is empty");
    }
    print(prompt)?;
    speaker.answer(&ids, tokenizer.decode_stream_after(&ids)?, print)?;
    cli::say("")
}

/// The template that was asked for, or that the adapter or the model was trained with.
fn template(options: &Options, tokenizer: &Tokenizer) -> Result<Template> {
    let recorded = settings::recorded_template(options.adapter.as_ref().unwrap_or(&options.model))?;
    cli::template(
        options.template.as_deref().or(recorded.as_deref()),
        tokenizer,
    )
}

/// Answers the message of the command line, or one line of the input after the other.
fn converse(speaker: &Speaker, encoder: &Encoder, options: &Options) -> Result<()> {
    let system = options
        .system
        .iter()
        .map(|text| Message::new(Role::System, text.as_str()));
    let mut messages: Vec<Message> = system.collect();
    if let Some(Some(text)) = &options.chat {
        messages.push(Message::new(Role::User, text.as_str()));
        speaker.answer(
            &encoder.prompt(&messages)?,
            encoder.tokenizer().decode_stream(),
            print,
        )?;
        return cli::say("");
    }
    let beginning = messages.len();
    let terminal = io::stdin().is_terminal();
    if terminal {
        cli::say("An empty line begins a new conversation; end with Ctrl-D.")?;
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        if terminal {
            print("> ")?;
        }
        let Some(line) = lines.next() else {
            return Ok(());
        };
        let line = line.context("cannot read the input")?;
        if line.trim().is_empty() {
            messages.truncate(beginning);
            continue;
        }
        messages.push(Message::new(Role::User, line));
        let prompt = fitting_prompt(&mut messages, beginning, speaker, encoder)?;
        let answer = speaker.answer(&prompt, encoder.tokenizer().decode_stream(), print)?;
        cli::say("")?;
        messages.push(Message::new(Role::Assistant, answer.trim()));
    }
}

/// The conversation's prompt, without its oldest turns where the context is too short for them.
fn fitting_prompt(
    messages: &mut Vec<Message>,
    beginning: usize,
    speaker: &Speaker,
    encoder: &Encoder,
) -> Result<Vec<u32>> {
    let room = speaker.context().saturating_sub(ROOM_FOR_ANSWER);
    let mut prompt = encoder.prompt(messages)?;
    while prompt.len() > room && messages.len() > beginning + 2 {
        eprintln!("(the context is full: the oldest turn is forgotten)");
        messages.drain(beginning..beginning + 2);
        prompt = encoder.prompt(messages)?;
    }
    Ok(prompt)
}

fn print(text: &str) -> Result<()> {
    cli::print(text)
}
