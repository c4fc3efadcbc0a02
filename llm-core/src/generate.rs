//! Generation: prefill, then token by token. Knows ids only; text is the business of `llm-data`.

use std::borrow::Cow;

use burn::tensor::{DType, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::config::Ids;
use crate::{Error, KvCache, LlamaForCausalLM, Result, RopeScaling, TokenBatch};

/// The ChaCha stream of sampling.
const STREAM: u64 = u64::from_be_bytes(*b"sampling");

/// Tokens of a prompt that go through the model at once, which bounds the memory of attention.
const PREFILL_CHUNK: usize = 512;

/// How to choose tokens, and when to stop. The order is that of transformers: repetition penalty,
/// temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// The most tokens to generate.
    pub max_new_tokens: usize,
    /// Divides the logits; 0 takes the likeliest token (greedy).
    pub temperature: f64,
    /// Keep the `top_k` likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the likeliest tokens until their probabilities sum to `top_p`; 1 keeps all.
    pub top_p: f64,
    /// Keep tokens at least `min_p` times as likely as the likeliest; 0 keeps all.
    pub min_p: f64,
    /// Divides positive and multiplies negative logits of tokens seen before; 1 does nothing.
    pub repetition_penalty: f64,
    /// Seed of the sampling.
    pub seed: u64,
    /// Tokens that end the text; the one that does is not returned.
    pub stop_ids: Vec<u32>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 256,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 42,
            stop_ids: Vec::new(),
        }
    }
}

/// The fields of `generation_config.json` that bear on sampling here.
#[derive(Deserialize)]
struct Recommended {
    do_sample: Option<bool>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    eos_token_id: Option<Ids>,
}

impl GenerationConfig {
    /// From the text of a `generation_config.json`; what it lacks keeps its default.
    pub(crate) fn recommended(json: &str) -> serde_json::Result<Self> {
        let file: Recommended = serde_json::from_str(json)?;
        let sampled = file.do_sample.unwrap_or(false);
        let default = Self::default();
        Ok(Self {
            temperature: if sampled {
                file.temperature.unwrap_or(1.0)
            } else {
                0.0
            },
            top_k: file.top_k.unwrap_or(default.top_k),
            top_p: file.top_p.unwrap_or(default.top_p),
            min_p: file.min_p.unwrap_or(default.min_p),
            repetition_penalty: file
                .repetition_penalty
                .unwrap_or(default.repetition_penalty),
            stop_ids: Ids::into_vec(file.eos_token_id),
            ..default
        })
    }

    /// Checks every option.
    ///
    /// # Errors
    /// Names the first option that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let check = |option, ok: bool, expected, got: f64| match ok {
            true => Ok(()),
            false => Err(Error::GenerationOption {
                option,
                expected,
                got: got.to_string(),
            }),
        };
        let (t, p, m, r) = (
            self.temperature,
            self.top_p,
            self.min_p,
            self.repetition_penalty,
        );
        check("temperature", t.is_finite() && t >= 0.0, "0 or more", t)?;
        check("top_p", p > 0.0 && p <= 1.0, "above 0, at most 1", p)?;
        check("min_p", (0.0..=1.0).contains(&m), "0 to 1", m)?;
        check(
            "repetition_penalty",
            (1e-3..=1e3).contains(&r),
            "0.001 to 1000",
            r,
        )
    }
}

impl LlamaForCausalLM {
    /// Generates behind `prompt`, one token for each call of the iterator's `next`.
    ///
    /// # Errors
    /// When the prompt is empty or holds an unknown id, or an option is out of its range.
    pub fn generate(&self, prompt: &[u32], config: &GenerationConfig) -> Result<Tokens<'_>> {
        Tokens::new(self, &[prompt.to_vec()], config)
    }

    /// Generates behind each of `prompts`, which may differ in length. Each gets what it would get
    /// alone, sampled tokens included: every row draws the same random numbers.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_batch(
        &self,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
    ) -> Result<Vec<Vec<u32>>> {
        let mut generated = vec![Vec::new(); prompts.len()];
        self.generate_rows(prompts, config, |row, id| {
            generated[row].push(id);
            true
        })?;
        Ok(generated)
    }

    /// As [`generate_batch`](Self::generate_batch), token by token: `take` hears the number of a prompt and
    /// the token behind it, and says whether that sequence goes on.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_rows(
        &self,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
        mut take: impl FnMut(usize, u32) -> bool,
    ) -> Result<()> {
        let mut tokens = Tokens::new(self, prompts, config)?;
        while let Some(step) = tokens.step()? {
            for (row, id) in step.into_iter().enumerate() {
                if let Some(id) = id {
                    tokens.rows[row].done = !take(row, id);
                }
            }
        }
        Ok(())
    }
}

/// An iterator over generated token ids; see [`LlamaForCausalLM::generate`].
#[derive(Debug)]
pub struct Tokens<'a> {
    model: &'a LlamaForCausalLM,
    config: GenerationConfig,
    cache: KvCache,
    rows: Vec<Row>,
    /// What the model has not seen yet.
    next: TokenBatch,
    generated: usize,
}

/// What is particular to one sequence of a batch.
#[derive(Debug)]
struct Row {
    rng: ChaCha8Rng,
    /// All of its ids so far.
    ids: Vec<u32>,
    done: bool,
}

impl<'a> Tokens<'a> {
    fn new(
        model: &'a LlamaForCausalLM,
        prompts: &[Vec<u32>],
        config: &GenerationConfig,
    ) -> Result<Self> {
        config.validate()?;
        let next = TokenBatch::left_padded(prompts, 0)?;
        model.check(&next, None)?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(STREAM);
        let row = |ids: &Vec<u32>| Row {
            rng: rng.clone(),
            ids: ids.clone(),
            done: false,
        };
        Ok(Self {
            model,
            config: config.clone(),
            cache: KvCache::default(),
            rows: prompts.iter().map(row).collect(),
            next,
            generated: 0,
        })
    }

    /// The next token of every row, `None` for rows that have ended; `None` when all have.
    fn step(&mut self) -> Result<Option<Vec<Option<u32>>>> {
        if self.generated == self.config.max_new_tokens || self.rows.iter().all(|row| row.done) {
            return Ok(None);
        }
        self.generated += 1;
        let logits = self.last_logits()?;
        let vocab = self.model.config().vocab_size;
        let mut step = Vec::with_capacity(self.rows.len());
        for (row, logits) in self.rows.iter_mut().zip(logits.chunks(vocab)) {
            let id = row.choose(logits, &self.config);
            row.done |= self.config.stop_ids.contains(&id);
            row.ids.push(id);
            step.push((!row.done).then_some(id));
        }
        let ids: Vec<_> = self
            .rows
            .iter()
            .map(|row| row.ids[row.ids.len() - 1..].to_vec())
            .collect();
        self.next = TokenBatch::new(&ids)?;
        Ok(Some(step))
    }

    /// Feeds what is waiting to the model; logits `[rows * vocab]` of the last token of each row.
    fn last_logits(&mut self) -> Result<Vec<f32>> {
        let [_, seq] = self.next.dims();
        let name = if seq > 1 { "prefill" } else { "decode" };
        let _span = tracing::debug_span!("forward", name, tokens = seq).entered();
        let step = match self.model.config().rope.scaling {
            // Its frequencies go by the whole prompt's length.
            RopeScaling::Dynamic { .. } => seq,
            _ => PREFILL_CHUNK,
        };
        let mut hidden: Option<Tensor<3>> = None;
        for start in (0..seq).step_by(step) {
            let chunk = self.next.columns(start..seq.min(start + step));
            hidden = Some(
                self.model
                    .hidden_states(&chunk, Some(&mut self.cache), None)?,
            );
        }
        let Some(hidden) = hidden else {
            return Err(Error::Input("an empty batch".to_owned()));
        };
        let [_, seq, _] = hidden.dims();
        let logits = self.model.logits(hidden.narrow(1, seq - 1, 1));
        let logits = logits.cast(DType::F32).try_into_vec_as::<f32>()?;
        match logits.iter().any(|logit| logit.is_nan()) {
            true => Err(Error::Backend("the model's logits are NaN".to_owned())),
            false => Ok(logits),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(Some(step)) => step.into_iter().next().flatten().map(Ok),
            Ok(None) => None,
            Err(error) => {
                self.rows.iter_mut().for_each(|row| row.done = true);
                Some(Err(error))
            }
        }
    }
}

impl Row {
    /// The next token from `logits` `[vocab]`.
    fn choose(&mut self, logits: &[f32], config: &GenerationConfig) -> u32 {
        let penalised = penalise(logits, &self.ids, config.repetition_penalty);
        let logits: &[f32] = &penalised;
        if config.temperature == 0.0 {
            return argmax(logits);
        }
        let candidates = likeliest(logits, config.top_k);
        let best = f64::from(logits[candidates[0] as usize]);
        let weight =
            |id: &u32| ((f64::from(logits[*id as usize]) - best) / config.temperature).exp();
        let mut weights: Vec<f64> = candidates.iter().map(weight).collect();
        keep_top_p(&mut weights, config.top_p);
        // The likeliest has weight 1.
        let kept = weights
            .iter()
            .take_while(|weight| **weight >= config.min_p)
            .count();
        weights.truncate(kept.max(1));
        let mut point = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        for (id, weight) in candidates.iter().zip(&weights) {
            point -= weight;
            if point < 0.0 {
                return *id;
            }
        }
        candidates[weights.len() - 1]
    }
}

/// The ids of the `top_k` largest logits (0: of all), largest first.
fn likeliest(logits: &[f32], top_k: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| {
        logits[*b as usize]
            .total_cmp(&logits[*a as usize])
            .then(a.cmp(b))
    };
    if top_k > 0 && top_k < ids.len() {
        ids.select_nth_unstable_by(top_k - 1, by_logit);
        ids.truncate(top_k);
    }
    ids.sort_unstable_by(by_logit);
    ids
}

/// Logits with those of tokens `seen` before made less likely.
fn penalise<'a>(logits: &'a [f32], seen: &[u32], penalty: f64) -> Cow<'a, [f32]> {
    if penalty == 1.0 {
        return Cow::Borrowed(logits);
    }
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.dedup();
    let mut logits = logits.to_vec();
    for id in seen {
        let logit = &mut logits[id as usize];
        let factor = if *logit < 0.0 { penalty } else { 1.0 / penalty };
        *logit = (f64::from(*logit) * factor) as f32;
    }
    Cow::Owned(logits)
}

/// The first of the largest, as torch does.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

/// Cuts weights, sorted downwards, behind the first at which their share reaches `top_p`.
fn keep_top_p(weights: &mut Vec<f64>, top_p: f64) {
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let reached = |weight: &f64| {
        sum += weight / total;
        sum >= top_p
    };
    if let Some(last) = weights.iter().position(reached) {
        weights.truncate(last + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(logits: &[f32], config: GenerationConfig) -> Vec<usize> {
        let mut row = Row {
            rng: ChaCha8Rng::seed_from_u64(1),
            ids: vec![],
            done: false,
        };
        let mut counts = vec![0; logits.len()];
        (0..4000).for_each(|_| counts[row.choose(logits, &config) as usize] += 1);
        counts
    }

    fn config() -> GenerationConfig {
        GenerationConfig {
            temperature: 1.0,
            ..GenerationConfig::default()
        }
    }

    /// Probabilities 1/2, 1/4, 1/8, 1/8.
    fn logits() -> Vec<f32> {
        [0.25f32, 0.5, 0.125, 0.125].map(f32::ln).to_vec()
    }

    #[test]
    fn samples_follow_the_distribution() {
        let counts = draw(&logits(), config());
        for (count, expected) in counts.iter().zip([1000.0, 2000.0, 500.0, 500.0]) {
            let sigma = f64::sqrt(expected);
            assert!((*count as f64 - expected).abs() < 4.0 * sigma, "{counts:?}");
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        let kept = |config| {
            draw(&logits(), config)
                .iter()
                .map(|n| *n > 0)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            kept(GenerationConfig {
                top_k: 1,
                ..config()
            }),
            [false, true, false, false]
        );
        assert_eq!(
            kept(GenerationConfig {
                top_p: 0.7,
                ..config()
            }),
            [true, true, false, false]
        );
        assert_eq!(
            kept(GenerationConfig {
                min_p: 0.4,
                ..config()
            }),
            [true, true, false, false]
        );
        assert_eq!(
            kept(GenerationConfig {
                temperature: 0.01,
                ..config()
            }),
            [false, true, false, false]
        );
    }

    #[test]
    fn penalty_pushes_seen_tokens_down_whatever_their_sign() {
        assert_eq!(
            *penalise(&[2.0, -2.0, 1.0], &[0, 1, 1], 2.0),
            [1.0, -4.0, 1.0]
        );
    }
}
