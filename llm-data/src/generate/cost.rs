//! Tokens, prices, and the limit on both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::{ChatRequest, Usage};
use crate::error::{Error, Result};

/// What a model's tokens cost, per million, in a currency of the user's choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// A million tokens of the question.
    pub prompt: f64,
    /// A million tokens of the reply.
    pub completion: f64,
}

/// Prices by model.
pub type Prices = BTreeMap<String, Price>;

/// Limits that a run stops before, never after. `None` is no limit.
///
/// They hold for all runs on one cache together: what a killed run had spent still counts, and a limit
/// in money needs the price of every model that the cache has paid for. A
/// question is held to cost a token for each byte of its messages and `max_tokens` for each reply,
/// which no tokenizer with bytes as its smallest unit exceeds, until the server's own count
/// replaces it. An attempt without a reply that may have been billed (a time-out, a broken
/// connection) counts in full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Money, in the prices' currency.
    pub cost: Option<f64>,
    /// Tokens of questions and replies together.
    pub tokens: Option<u64>,
    /// Attempts, repeated ones included.
    pub requests: Option<u64>,
}

/// What was asked of one model and is paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Attempts that may be billed.
    pub requests: u64,
    /// Their tokens.
    pub usage: Usage,
}

impl Spent {
    /// The most that one attempt can use.
    pub(crate) fn bound(request: &ChatRequest) -> Self {
        let bytes = request.messages.iter().map(|message| message.content.len());
        let bytes = bytes.fold(0u64, |sum, bytes| sum.saturating_add(bytes as u64));
        let frame = (request.messages.len() as u64 + 1).saturating_mul(FRAME_TOKENS);
        Self {
            requests: 1,
            usage: Usage {
                prompt_tokens: bytes.saturating_add(frame),
                completion_tokens: u64::from(request.sampling.max_tokens)
                    .saturating_mul(u64::from(request.n)),
            },
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    fn zip(self, other: Self, apply: fn(u64, u64) -> u64) -> Self {
        let (left, right) = (self.usage, other.usage);
        Self {
            requests: apply(self.requests, other.requests),
            usage: Usage {
                prompt_tokens: apply(left.prompt_tokens, right.prompt_tokens),
                completion_tokens: apply(left.completion_tokens, right.completion_tokens),
            },
        }
    }

    /// What it costs at `price`.
    pub fn cost(&self, price: Price) -> f64 {
        let prompt = self.usage.prompt_tokens as f64 * price.prompt;
        let completion = self.usage.completion_tokens as f64 * price.completion;
        (prompt + completion) / 1e6
    }
}

/// Tokens around each message and before the reply; chat formats use three to five.
const FRAME_TOKENS: u64 = 16;

impl Budget {
    /// Refuses limits that mean nothing, and a limit in money for a model without a price.
    pub(crate) fn check(&self, model: &str, prices: &Prices) -> Result<()> {
        let Some(limit) = self.cost else {
            return Ok(());
        };
        if !(limit.is_finite() && limit >= 0.0) {
            return Err(Error::option("budget.cost", "a number from 0", limit));
        }
        match prices.get(model) {
            None => Err(Error::NoPrice {
                model: model.to_owned(),
            }),
            Some(price)
                if [price.prompt, price.completion]
                    .iter()
                    .any(|p| p.is_nan() || *p < 0.0) =>
            {
                let got = format!("{} and {}", price.prompt, price.completion);
                Err(Error::option("prices", "numbers from 0", got))
            }
            Some(_) => Ok(()),
        }
    }

    /// Refuses a state of the ledger that is over a limit.
    pub(crate) fn allows(&self, ledger: &BTreeMap<String, Spent>, prices: &Prices) -> Result<()> {
        let total = ledger.values().copied().fold(Spent::default(), Spent::plus);
        let tokens = total
            .usage
            .prompt_tokens
            .saturating_add(total.usage.completion_tokens);
        let unpriced = |(model, spent): &(&String, &Spent)| {
            spent.usage != Usage::default() && !prices.contains_key(*model)
        };
        if self.cost.is_some()
            && let Some((model, _)) = ledger.iter().find(unpriced)
        {
            return Err(Error::NoPrice {
                model: model.clone(),
            });
        }
        let cost = total_cost(ledger, prices);
        let over = |limit: &'static str, allowed: String, needed: String| Error::Budget {
            limit,
            allowed,
            needed,
        };
        if let Some(limit) = self.requests.filter(|limit| total.requests > *limit) {
            return Err(over(
                "requests",
                limit.to_string(),
                total.requests.to_string(),
            ));
        }
        if let Some(limit) = self.tokens.filter(|limit| tokens > *limit) {
            return Err(over("tokens", limit.to_string(), tokens.to_string()));
        }
        if let Some(limit) = self.cost.filter(|limit| cost > *limit) {
            return Err(over("cost", limit.to_string(), format!("{cost:.4}")));
        }
        Ok(())
    }
}

/// The cost of a ledger; models without a price are free.
pub(crate) fn total_cost(ledger: &BTreeMap<String, Spent>, prices: &Prices) -> f64 {
    let cost =
        |(model, spent): (&String, &Spent)| prices.get(model).map_or(0.0, |p| spent.cost(*p));
    ledger.iter().map(cost).sum()
}

/// What a run would ask and cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Questions to be asked.
    pub requests: u64,
    /// Questions whose replies are in the cache already.
    pub cached: u64,
    /// Tokens of the questions, estimated from their texts.
    pub prompt_tokens: u64,
    /// Tokens of the replies, as many as the program expects.
    pub completion_tokens: u64,
    /// Tokens of the replies if each were as long as it may be.
    pub max_completion_tokens: u64,
    /// The expected cost; `None` without a price for the model.
    pub cost: Option<f64>,
    /// The cost if each reply were as long as it may be.
    pub max_cost: Option<f64>,
}

impl Estimate {
    pub(crate) fn with_price(mut self, price: Option<&Price>) -> Self {
        let cost = |completion_tokens| {
            price.map(|price| {
                let usage = Usage {
                    prompt_tokens: self.prompt_tokens,
                    completion_tokens,
                };
                let spent = Spent { requests: 0, usage };
                spent.cost(*price)
            })
        };
        let (expected, most) = (
            cost(self.completion_tokens),
            cost(self.max_completion_tokens),
        );
        (self.cost, self.max_cost) = (expected, most);
        self
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        Self {
            requests: self.requests + other.requests,
            cached: self.cached + other.cached,
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            max_completion_tokens: self.max_completion_tokens + other.max_completion_tokens,
            cost: sum(self.cost, other.cost),
            max_cost: sum(self.max_cost, other.max_cost),
        }
    }
}

/// Refuses fields of the body that would undo what budgets count on.
pub(crate) fn check_bounded(request: &ChatRequest) -> Result<()> {
    const OURS: [&str; 4] = ["n", "best_of", "max_tokens", "max_completion_tokens"];
    let (extra, optional) = (&request.sampling.extra, &request.sampling.optional);
    let set = |name: &str| extra.contains_key(name) || optional.contains_key(name);
    match OURS.iter().find(|name| set(name)) {
        Some(name) => Err(Error::option(
            "sampling.extra, sampling.optional",
            "fields other than n, best_of, max_tokens, max_completion_tokens, which requests set themselves",
            name,
        )),
        None => Ok(()),
    }
}

/// Tokens of a question, roughly: those of the texts, and what a chat format puts around each.
pub(crate) fn prompt_tokens(request: &ChatRequest) -> u64 {
    let texts = request.messages.iter().map(|message| &message.content);
    texts.map(|text| estimate_tokens(text) + 4).sum::<u64>() + 3
}

/// Tokens of a text, roughly: one for each character of Chinese, Japanese or Korean, one for four
/// bytes of other text.
pub(crate) fn estimate_tokens(text: &str) -> u64 {
    let (mut wide, mut other) = (0u64, 0u64);
    for c in text.chars() {
        match c {
            '\u{2e80}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{20000}'..='\u{3ffff}' => wide += 1,
            _ => other += c.len_utf8() as u64,
        }
    }
    wide + other.div_ceil(4)
}
