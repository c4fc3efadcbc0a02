//! A judge of BELLE's answers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use llm_data::generate::{ChatModel, OpenAiClient, Price};
use llm_eval::bench::belle::BelleJudge;

use crate::asking::{self, Limits, ServerArgs, price};

#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    /// An OpenAI-compatible server that judges BELLE's answers
    #[arg(long, value_name = "URL", requires = "judge_model")]
    judge_endpoint: Option<String>,
    /// The judge's name there
    #[arg(long, value_name = "NAME", requires = "judge_endpoint")]
    judge_model: Option<String>,
    /// A model directory that judges instead
    #[arg(long, value_name = "DIR", conflicts_with = "judge_endpoint")]
    judge_local: Option<PathBuf>,
    /// BELLE's eval_prompt.json, with the judge's instruction for each class [default: one of our own]
    #[arg(long, value_name = "FILE")]
    judge_prompts: Option<PathBuf>,
    /// The environment variable that holds the key of the judge's server [default: --api-key-env]
    #[arg(long, value_name = "NAME", requires = "judge_endpoint")]
    judge_api_key_env: Option<String>,
    /// The longest reply of the judge in tokens [default: 2048]
    #[arg(long, value_name = "N")]
    judge_max_tokens: Option<u32>,
    /// What a million tokens of the judge's questions cost [default: --price-prompt]
    #[arg(long, value_name = "X", requires_all = ["judge_endpoint", "judge_price_completion"])]
    judge_price_prompt: Option<f64>,
    /// What a million tokens of its replies cost [default: --price-completion]
    #[arg(long, value_name = "X", requires_all = ["judge_endpoint", "judge_price_prompt"])]
    judge_price_completion: Option<f64>,
}

/// A judge that can be asked.
pub(super) struct Opened {
    pub(super) judge: BelleJudge,
    pub(super) model: Box<dyn ChatModel>,
}

impl JudgeArgs {
    /// Whether a judge is named.
    pub(super) fn named(&self) -> bool {
        self.judge_endpoint.is_some() || self.judge_local.is_some()
    }

    /// Whether an option says how a judge is asked.
    pub(super) fn detailed(&self) -> bool {
        self.judge_prompts.is_some() || self.judge_max_tokens.is_some()
    }

    /// The judge's name, and what it costs where that is known; nothing on this machine, unless a
    /// price is given.
    pub(super) fn price(&self, limits: &Limits) -> Option<(String, Option<Price>)> {
        let own = price(self.judge_price_prompt, self.judge_price_completion);
        let price = own.or(limits.price());
        match (&self.judge_model, &self.judge_local) {
            (Some(name), _) => Some((name.clone(), price)),
            (None, Some(dir)) => {
                Some((dir.display().to_string(), price.or(Some(Price::default()))))
            }
            (None, None) => None,
        }
    }

    /// The judge, where one is named.
    pub(super) fn open(&self, server: &ServerArgs) -> Result<Option<Opened>> {
        let (name, model): (String, Box<dyn ChatModel>) =
            match (&self.judge_endpoint, &self.judge_local) {
                (Some(endpoint), _) => {
                    let client = self.client(server, endpoint)?;
                    let name = self.judge_model.clone().unwrap_or_default();
                    (name, Box::new(client))
                }
                (None, Some(dir)) => (dir.display().to_string(), asking::local(dir)?),
                (None, None) => return Ok(None),
            };
        let mut judge = BelleJudge::new(name);
        if let Some(most) = self.judge_max_tokens {
            judge.judge.sampling.max_tokens = most;
        }
        if let Some(path) = &self.judge_prompts {
            judge = judge.with_prompts(path)?;
        }
        Ok(Some(Opened { judge, model }))
    }

    fn client(&self, server: &ServerArgs, endpoint: &str) -> Result<OpenAiClient> {
        match &self.judge_api_key_env {
            Some(name) => server.with_key(name).client(endpoint),
            None => server.client(endpoint),
        }
    }
}
