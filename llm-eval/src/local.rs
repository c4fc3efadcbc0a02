//! A model that `llm-core` runs, as a model under test.

use std::collections::HashMap;

use burn::tensor::{DType, Tensor};
use llm_core::{GenerationConfig, LlamaForCausalLM, TokenBatch};
use llm_data::{StopStrings, Tokenizer};

use crate::bench::{Generation, LanguageModel, Span, TokenModel, TokenScore};
use crate::{Error, Result};

/// Positions whose logits exist at a time.
const POSITIONS: usize = 128;

/// How a local model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOptions {
    /// The most tokens, padding included, that go through the model at once; one sequence always goes.
    pub batch_tokens: usize,
    /// The most tokens that the model reads at once; its configuration's where `None`.
    pub max_length: Option<usize>,
}

impl Default for LocalOptions {
    /// 4096 tokens at once, the configuration's length.
    fn default() -> Self {
        Self {
            batch_tokens: 4096,
            max_length: None,
        }
    }
}

/// A model and its tokenizer.
///
/// Sequences of a batch are sorted by length. Continuations of one token behind the same context, such as
/// the letters of multiple choice, share one forward. Texts are encoded as texts: special tokens that a data
/// set spells out stay text, and the beginning token stands once where the tokenizer puts it.
#[derive(Debug)]
pub struct LocalModel {
    name: String,
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    prefix: u32,
    max_length: usize,
    batch_tokens: usize,
}

/// Takes the number of an input, a position of it, and the logits there.
type TakeLogits<'a> = dyn FnMut(usize, usize, &[f32]) -> Result<()> + 'a;

/// A sequence that goes through the model, and the first position whose logits are wanted.
struct Input {
    ids: Vec<u32>,
    from: usize,
}

impl LocalModel {
    /// A model named `name` in reports.
    ///
    /// # Errors
    /// When the tokenizer has ids without embeddings, or neither a beginning nor an end token, or
    /// `max_length` is 0 or more than the model's.
    pub fn new(
        name: impl Into<String>,
        model: LlamaForCausalLM,
        tokenizer: Tokenizer,
        options: LocalOptions,
    ) -> Result<Self> {
        let name = name.into();
        tokenizer.check_embeddings(model.config().vocab_size)?;
        let most = model.config().max_position_embeddings;
        let max_length = options.max_length.unwrap_or(most);
        if max_length == 0 || max_length > most {
            return Err(Error::Input(format!(
                "`max_length` must be 1 to {most}, not {max_length}"
            )));
        }
        let prefix = tokenizer.bos_id().or_else(|| tokenizer.eos_id());
        Ok(Self {
            prefix: prefix.ok_or_else(|| Error::Unsupported {
                model: name.clone(),
                reason: "its tokenizer names neither a beginning nor an end token".to_owned(),
            })?,
            name,
            model,
            tokenizer,
            max_length,
            batch_tokens: options.batch_tokens,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Calls `row` for each position of each input from its `from` on.
    fn logits(&self, inputs: &[Input], row: &mut TakeLogits<'_>) -> Result<()> {
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(inputs[*index].ids.len()));
        let mut rest = &order[..];
        while let [longest, ..] = rest {
            let rows = (self.batch_tokens / inputs[*longest].ids.len()).clamp(1, rest.len());
            let (batch, later) = rest.split_at(rows);
            rest = later;
            self.batch_logits(inputs, batch, row)?;
        }
        Ok(())
    }

    /// [`logits`](Self::logits) of one batch.
    fn batch_logits(
        &self,
        inputs: &[Input],
        batch: &[usize],
        row: &mut TakeLogits<'_>,
    ) -> Result<()> {
        let rows: Vec<_> = batch
            .iter()
            .map(|index| inputs[*index].ids.clone())
            .collect();
        let hidden = self
            .model
            .hidden_states(&TokenBatch::right_padded(&rows, 0)?, None, None)?;
        let [_, _, size] = hidden.dims();
        let mut places = Vec::new();
        let mut pieces: Vec<Tensor<2>> = Vec::new();
        for (at, index) in batch.iter().enumerate() {
            let Input { ids, from } = &inputs[*index];
            let count = ids.len() - from;
            // [1, count, hidden] to [count, hidden]
            let piece = hidden.clone().narrow(0, at, 1).narrow(1, *from, count);
            pieces.push(piece.reshape([count, size]));
            places.extend((*from..ids.len()).map(|position| (*index, position)));
        }
        let wanted = Tensor::cat(pieces, 0);
        let vocab = self.model.config().vocab_size;
        for (start, places) in (0..).step_by(POSITIONS).zip(places.chunks(POSITIONS)) {
            let logits = self
                .model
                .logits(wanted.clone().narrow(0, start, places.len()));
            let logits = logits.cast(DType::F32).try_into_vec_as::<f32>();
            let logits = logits.map_err(|error| self.error(error.to_string()))?;
            for ((index, position), logits) in places.iter().zip(logits.chunks(vocab)) {
                row(*index, *position, logits)?;
            }
        }
        Ok(())
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::Model {
            model: self.name.clone(),
            reason: reason.into(),
        }
    }

    /// ln Σ exp of logits.
    fn log_sum_exp(&self, logits: &[f32]) -> Result<f64> {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = logits
            .iter()
            .map(|logit| (f64::from(*logit) - largest).exp())
            .sum();
        let total = largest + sum.ln();
        match total.is_finite() {
            true => Ok(total),
            false => Err(self.error("its logits are not finite")),
        }
    }

    fn generate_batch(
        &self,
        prompts: &[Vec<u32>],
        requests: &[&Generation],
    ) -> Result<Vec<String>> {
        let config = GenerationConfig {
            max_new_tokens: requests.iter().map(|r| r.max_tokens).max().unwrap_or(0),
            stop_ids: self.tokenizer.eos_ids().to_vec(),
            ..GenerationConfig::default()
        };
        let row = |request: &&Generation| Text {
            stream: self.tokenizer.decode_stream(),
            stop: StopStrings::new(request.until.iter().cloned()),
            text: String::new(),
            left: request.max_tokens,
            ended: false,
        };
        let mut texts: Vec<_> = requests.iter().map(row).collect();
        let mut failure = None;
        self.model.generate_rows(prompts, &config, |row, id| {
            let go_on = texts[row].push(id);
            go_on.unwrap_or_else(|error| {
                failure = Some(error);
                false
            })
        })?;
        match failure {
            Some(error) => Err(error),
            None => texts.into_iter().map(Text::finish).collect(),
        }
    }
}

/// The text of a sequence that is being generated.
struct Text {
    stream: llm_data::DecodeStream,
    stop: StopStrings,
    text: String,
    left: usize,
    ended: bool,
}

impl Text {
    /// Adds a token; whether the text goes on.
    fn push(&mut self, id: u32) -> Result<bool> {
        self.left = self.left.saturating_sub(1);
        if let Some(piece) = self.stream.push(id)? {
            let (shown, ended) = self.stop.push(&piece);
            self.text += &shown;
            self.ended = ended;
        }
        Ok(!self.ended && self.left > 0)
    }

    fn finish(mut self) -> Result<String> {
        if self.ended {
            return Ok(self.text);
        }
        if let Some(piece) = self.stream.finish()? {
            let (shown, ended) = self.stop.push(&piece);
            self.text += &shown;
            self.ended = ended;
        }
        if !self.ended {
            self.text += &self.stop.finish();
        }
        Ok(self.text)
    }
}

impl TokenModel for LocalModel {
    fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>> {
        Ok(match bos {
            true => self.tokenizer.encode_sequence(text)?,
            false => self.tokenizer.encode(text)?,
        })
    }

    fn bos(&self) -> Option<u32> {
        self.tokenizer
            .bos_id()
            .filter(|_| self.tokenizer.adds_bos())
    }

    fn prefix(&self) -> u32 {
        self.prefix
    }

    fn max_length(&self) -> usize {
        self.max_length
    }

    fn score(&self, spans: &[Span]) -> Result<Vec<Vec<TokenScore>>> {
        let mut inputs: Vec<Input> = Vec::new();
        let mut places: HashMap<Vec<u32>, usize> = HashMap::new();
        // The spans of each input.
        let mut users: Vec<Vec<usize>> = Vec::new();
        for (span, index) in spans.iter().zip(0..) {
            let ids = span.input(self.max_length)?;
            let from = ids.len() - span.continuation.len();
            let place = *places.entry(ids.clone()).or_insert(inputs.len());
            if place == inputs.len() {
                inputs.push(Input { ids, from });
                users.push(Vec::new());
            }
            inputs[place].from = inputs[place].from.min(from);
            users[place].push(index);
        }
        let mut scores: Vec<_> = spans
            .iter()
            .map(|s| Vec::with_capacity(s.continuation.len()))
            .collect();
        let lengths: Vec<_> = inputs.iter().map(|input| input.ids.len()).collect();
        self.logits(&inputs, &mut |input, position, logits| {
            let total = self.log_sum_exp(logits)?;
            let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let likeliest = logits.iter().position(|logit| *logit == best);
            for user in &users[input] {
                let continuation = &spans[*user].continuation;
                // Where the continuation begins among what is predicted.
                let first = lengths[input] - continuation.len();
                let Some(target) = position
                    .checked_sub(first)
                    .map(|at| continuation[at] as usize)
                else {
                    continue;
                };
                let logit = logits
                    .get(target)
                    .ok_or_else(|| self.error("unknown token"))?;
                scores[*user].push(TokenScore {
                    log_prob: f64::from(*logit) - total,
                    greedy: likeliest == Some(target),
                });
            }
            Ok(())
        })?;
        Ok(scores)
    }

    fn distributions(
        &self,
        ids: &[u32],
        from: usize,
        row: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        if from == 0 || from >= ids.len() || ids.len() > self.max_length + 1 {
            return Err(Error::Input(format!(
                "positions {from} to {} of a model of {} tokens",
                ids.len(),
                self.max_length
            )));
        }
        let input = Input {
            ids: ids[..ids.len() - 1].to_vec(),
            from: from - 1,
        };
        self.logits(&[input], &mut |_, position, logits| {
            let total = self.log_sum_exp(logits)?;
            let logs: Vec<_> = logits
                .iter()
                .map(|x| (f64::from(*x) - total) as f32)
                .collect();
            row(position + 1, &logs)
        })
    }
}

impl LanguageModel for LocalModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn tokens(&self) -> Option<&dyn TokenModel> {
        Some(self)
    }

    /// Contexts that leave no room for the tokens to generate lose their beginning.
    fn generate(&self, requests: &[Generation]) -> Result<Vec<Option<String>>> {
        let mut prompts = Vec::with_capacity(requests.len());
        for request in requests {
            let mut ids = self.tokenizer.encode_sequence(&request.context)?;
            let room = self.max_length.saturating_sub(request.max_tokens);
            if room == 0 || ids.is_empty() {
                return Err(Error::Input(format!(
                    "{} tokens cannot be generated behind {} in the model's {}",
                    request.max_tokens,
                    ids.len(),
                    self.max_length
                )));
            }
            prompts.push(ids.split_off(ids.len().saturating_sub(room)));
        }
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(prompts[*index].len()));
        let mut texts = vec![None; requests.len()];
        let mut rest = &order[..];
        while let [longest, ..] = rest {
            let width = prompts[*longest].len() + requests[*longest].max_tokens;
            let (batch, later) = rest.split_at((self.batch_tokens / width).clamp(1, rest.len()));
            rest = later;
            let ids: Vec<_> = batch.iter().map(|index| prompts[*index].clone()).collect();
            let asked: Vec<_> = batch.iter().map(|index| &requests[*index]).collect();
            for (index, text) in batch.iter().zip(self.generate_batch(&ids, &asked)?) {
                texts[*index] = Some(text);
            }
        }
        Ok(texts)
    }
}
