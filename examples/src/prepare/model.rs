//! A strong model: on a server, or in a directory.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use llm_core::{GenerationConfig, LlamaForCausalLM};
use llm_data::generate::{
    ChatModel, ChatReply, ChatRequest, Choice, FinishReason, ModelError, ModelErrorKind,
    OpenAiClient, OpenAiOptions, Sampling, Usage,
};
use llm_data::{EncodeOptions, Encoder, Tokenizer};
use serde::Serialize;

use crate::cli;
use crate::talk::Speaker;

/// Which model is asked, and how.
#[derive(Debug, Args, Serialize)]
pub(super) struct ModelArgs {
    /// An OpenAI-compatible server, such as https://api.openai.com/v1 or http://localhost:8000/v1
    #[arg(long, value_name = "URL", required_unless_present = "local")]
    endpoint: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", required_unless_present = "local")]
    model: Option<String>,
    /// A model directory instead, which answers on this machine
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "model"])]
    local: Option<PathBuf>,
    /// The environment variable that holds the server's key
    #[arg(long, value_name = "NAME", default_value = "OPENAI_API_KEY")]
    api_key_env: String,
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
    /// 0 is greedy
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    temperature: f64,
    /// The share of probability that is drawn from
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    top_p: f64,
    /// The longest reply in tokens
    #[arg(long, value_name = "N", default_value_t = 3072)]
    max_tokens: u32,
}

impl ModelArgs {
    pub(super) fn name(&self) -> String {
        let local = self.local.as_ref().map(|dir| dir.display().to_string());
        self.model.clone().or(local).unwrap_or_default()
    }

    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            max_tokens: self.max_tokens,
            ..Sampling::default()
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn ChatModel>> {
        if let Some(dir) = &self.local {
            return Ok(Box::new(LocalModel::open(dir)?));
        }
        let Some(endpoint) = &self.endpoint else {
            bail!("--endpoint or --local names a model");
        };
        let mut options = OpenAiOptions::new(endpoint);
        options.api_key = std::env::var(&self.api_key_env).ok().map(Into::into);
        options.api_key_header = self.api_key_header.clone();
        options.requests_per_minute = self.requests_per_minute;
        options.tokens_per_minute = self.tokens_per_minute;
        options.timeout = std::time::Duration::from_secs(self.timeout);
        Ok(Box::new(OpenAiClient::new(options)?))
    }
}

/// A model in memory.
struct LocalModel {
    model: LlamaForCausalLM,
    encoder: Encoder,
    dir: PathBuf,
}

impl LocalModel {
    fn open(dir: &Path) -> Result<Self> {
        let checkpoint = cli::open(dir)?;
        let tokenizer = Tokenizer::from_dir(checkpoint.dir())?;
        let template = cli::template(None, &tokenizer)?;
        let encoder = Encoder::new(tokenizer, template, EncodeOptions::default())?;
        let model = cli::ComputeArgs::default().load(&checkpoint);
        Ok(Self {
            model: model.with_context(|| dir.display().to_string())?,
            encoder,
            dir: dir.to_owned(),
        })
    }

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
        let text = speaker.answer(&prompt, decode, |_| Ok(()))?;
        let completion_tokens = self.encoder.tokenizer().encode(&text)?.len() as u64;
        let finish_reason = match completion_tokens < u64::from(sampling.max_tokens) {
            true => FinishReason::Stop,
            false => FinishReason::Length,
        };
        let usage = Usage {
            prompt_tokens: prompt.len() as u64,
            completion_tokens,
        };
        Ok((
            Choice {
                text,
                finish_reason,
            },
            usage,
        ))
    }
}

impl ChatModel for LocalModel {
    fn ask(&self, request: &ChatRequest) -> Result<ChatReply, ModelError> {
        let (mut choices, mut usage) = (Vec::new(), Usage::default());
        for number in 0..u64::from(request.n) {
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
        })
    }

    fn endpoint(&self) -> String {
        format!("local {}", self.dir.display())
    }
}
