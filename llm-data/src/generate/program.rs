//! What the programs share.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cache::Question;
use super::cost::Estimate;
use super::model::{ChatReply, ChatRequest, FinishReason, Sampling};
use super::runner::Runner;
use crate::clean::{RougeText, RougeUnit};
use crate::error::{Error, Result};
use crate::record::{AlpacaRecord, Message};

/// What every program needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateOptions {
    /// The model's name, as the server knows it.
    pub model: String,
    /// How replies are drawn.
    #[serde(default)]
    pub sampling: Sampling,
    /// What all of a program's own draws come from.
    #[serde(default)]
    pub seed: u64,
}

impl GenerateOptions {
    /// The default sampling, seed 0.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            sampling: Sampling::default(),
            seed: 0,
        }
    }

    pub(crate) fn question(&self, prompt: String, attempt: u64) -> Question {
        Question {
            request: ChatRequest::new(self.model.clone(), prompt, self.sampling.clone()),
            attempt,
        }
    }

    /// A generator for the `number`th use in a program, the same whatever was drawn elsewhere.
    pub(crate) fn draws(&self, program: &[u8; 8], number: u64) -> Draws {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(program);
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(number);
        Draws(rng)
    }
}

/// Seeded draws.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// `count` of the items, or all of them, in a random order.
    pub(crate) fn sample<'a, T>(&mut self, items: &'a [T], count: usize) -> Vec<&'a T> {
        let mut places: Vec<usize> = (0..items.len()).collect();
        let count = count.min(items.len());
        for place in 0..count {
            let drawn = place + self.below(items.len() - place);
            places.swap(place, drawn);
        }
        places[..count].iter().map(|place| &items[*place]).collect()
    }
}

/// What a program made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generated<T> {
    /// The data, in an order that depends on the seed and the replies only.
    pub records: Vec<T>,
    /// What was not kept, by reason.
    pub dropped: BTreeMap<&'static str, usize>,
    /// Questions that the data came from.
    pub questions: usize,
}

impl<T> Default for Generated<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            dropped: BTreeMap::new(),
            questions: 0,
        }
    }
}

impl<T> Generated<T> {
    pub(crate) fn drop(&mut self, reason: &'static str) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

/// The text of a reply that is whole, or why there is none.
pub(crate) fn whole_text(reply: Option<&ChatReply>) -> std::result::Result<&str, &'static str> {
    let choice = reply
        .and_then(|reply| reply.choices.first())
        .ok_or("no_reply")?;
    match choice.finish_reason {
        FinishReason::Length => return Err("cut_off"),
        FinishReason::ContentFilter => return Err("content_filter"),
        FinishReason::Stop | FinishReason::Other(_) => {}
    }
    let text = choice.text.trim();
    if text.is_empty() {
        Err("empty")
    } else {
        Ok(text)
    }
}

/// Texts that others are compared with, each cut into units once.
#[derive(Debug, Default)]
pub(crate) struct Known(Vec<KnownText>);

#[derive(Debug)]
struct KnownText {
    text: String,
    words: OnceLock<RougeText>,
    characters: OnceLock<RougeText>,
}

impl KnownText {
    fn units(&self, unit: RougeUnit) -> &RougeText {
        let units = match unit {
            RougeUnit::Words => &self.words,
            RougeUnit::Characters => &self.characters,
        };
        units.get_or_init(|| RougeText::new(&self.text, unit))
    }
}

impl Known {
    pub(crate) fn push(&mut self, text: String) {
        self.0.push(KnownText {
            text,
            words: OnceLock::new(),
            characters: OnceLock::new(),
        });
    }

    /// The largest ROUGE-L F1 of a text against them, by words, or by characters where it is Chinese; 0
    /// where there are none.
    pub(crate) fn nearest(&self, text: &str) -> f64 {
        let is_chinese = text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        let unit = match is_chinese {
            true => RougeUnit::Characters,
            false => RougeUnit::Words,
        };
        let text = RougeText::new(text, unit);
        let scores = self
            .0
            .par_iter()
            .map(|known| text.score(known.units(unit)).f1);
        scores.reduce(|| 0.0, f64::max)
    }
}

impl<T: Into<String>> FromIterator<T> for Known {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut known = Self::default();
        texts.into_iter().for_each(|text| known.push(text.into()));
        known
    }
}

/// Refuses records with more than instruction, input and output, of which a program would take no notice.
pub(crate) fn check_single(records: &[AlpacaRecord]) -> Result<()> {
    let more = |record: &AlpacaRecord| record.system.is_some() || !record.history.is_empty();
    match records.iter().position(more) {
        Some(index) => Err(Error::option(
            "records",
            "records of one question without a system text, of which this method takes no notice",
            format!("record {} with a system text or a history", index + 1),
        )),
        None => Ok(()),
    }
}

/// What `requests` questions would cost, some at a time.
pub(crate) fn estimate(
    runner: &Runner<'_>,
    requests: usize,
    question: impl Fn(usize) -> Question,
    expected_tokens: u64,
) -> Result<Estimate> {
    const AT_ONCE: usize = 1000;
    let expected_tokens = u32::try_from(expected_tokens).unwrap_or(u32::MAX);
    let mut total = runner.estimate(&[], expected_tokens)?;
    for start in (0..requests).step_by(AT_ONCE) {
        let numbers = start..requests.min(start.saturating_add(AT_ONCE));
        let questions: Vec<Question> = numbers.map(&question).collect();
        total = total.plus(runner.estimate(&questions, expected_tokens)?);
    }
    Ok(total)
}

/// Instruction and input as one text, as a record's user turn has them.
pub(crate) fn user_text(record: &AlpacaRecord) -> String {
    let input = record.input.trim().to_owned();
    Message::asking(record.instruction.clone(), Some(input)).content
}
