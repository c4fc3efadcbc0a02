//! The trait of a model under test, and how texts become the token spans that are scored.

use super::python::is_space;
use crate::{Error, Result};

/// What a model gives for a continuation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogLikelihood {
    /// Σ ln p of the continuation's tokens.
    pub sum: f64,
    /// Whether each of them is the likeliest where it stands.
    pub greedy: bool,
}

/// What a model gives for one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// ln p of the token behind those before it.
    pub log_prob: f64,
    /// Whether it is the likeliest.
    pub greedy: bool,
}

/// A request to continue a text greedily.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The text to continue.
    pub context: String,
    /// Texts that end the continuation and are not part of it.
    pub until: Vec<String>,
    /// The most tokens to generate.
    pub max_tokens: usize,
}

/// Token ids of which the second part is scored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// What is given; at least one token.
    pub context: Vec<u32>,
    /// What is scored; at least one token.
    pub continuation: Vec<u32>,
}

impl Span {
    /// What the model reads, and the tokens to predict: context and continuation, the last
    /// `max_length + 1` ids of them, without the very last.
    ///
    /// # Errors
    /// When one of the two is empty, or the continuation is longer than the model's window.
    pub fn input(&self, max_length: usize) -> Result<Vec<u32>> {
        if self.context.is_empty() || self.continuation.is_empty() {
            let what = "a context or continuation without tokens cannot be scored";
            return Err(Error::Input(what.to_owned()));
        }
        if self.continuation.len() > max_length {
            return Err(Error::Input(format!(
                "a continuation of {} tokens does not fit the model's {max_length}",
                self.continuation.len()
            )));
        }
        let mut ids = [self.context.as_slice(), &self.continuation].concat();
        ids.pop();
        Ok(ids.split_off(ids.len().saturating_sub(max_length)))
    }
}

/// A model by its token ids.
pub trait TokenModel {
    /// The ids of a text as it is; with `bos`, behind the beginning token where the tokenizer puts one
    /// before a sequence.
    ///
    /// # Errors
    /// When the text cannot be encoded.
    fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>>;

    /// The beginning token, where the tokenizer puts it before a sequence.
    fn bos(&self) -> Option<u32>;

    /// What stands before a text that has no context: the beginning token, or else the end token.
    fn prefix(&self) -> u32;

    /// The most tokens that the model reads at once.
    fn max_length(&self) -> usize;

    /// Scores the tokens of each span's continuation. Contexts that are too long lose their beginning
    /// ([`Span::input`]).
    ///
    /// # Errors
    /// When the model fails, or a span cannot be scored.
    fn score(&self, spans: &[Span]) -> Result<Vec<Vec<TokenScore>>>;

    /// Calls `row` for each of the positions `from..` of `ids` with ln p of the whole vocabulary for the
    /// token that stands there, given those before it. `from` is at least 1.
    ///
    /// # Errors
    /// When the model fails, or `row` does.
    fn distributions(
        &self,
        ids: &[u32],
        from: usize,
        row: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()>;
}

/// What stands before the text whose every token is scored, where the tokenizer puts a beginning token
/// before a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RollingBos {
    /// The beginning token once, given and not scored.
    #[default]
    Once,
    /// The beginning token twice, the second one scored: what lm-evaluation-harness does.
    Harness,
}

/// A model under test.
pub trait LanguageModel {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// The model by its token ids; `None` where only its text can be had, as from a chat server.
    fn tokens(&self) -> Option<&dyn TokenModel>;

    /// Continues each text greedily; `None` for one to which no reply came.
    ///
    /// # Errors
    /// When the model fails.
    fn generate(&self, requests: &[Generation]) -> Result<Vec<Option<String>>>;

    /// Σ ln p of each continuation behind its context; see [`encode_pair`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] without [`tokens`](Self::tokens); when the model fails.
    fn loglikelihood(&self, pairs: &[(String, String)]) -> Result<Vec<LogLikelihood>> {
        let model = self.scorer()?;
        let spans: Result<Vec<_>> = pairs
            .iter()
            .map(|(context, continuation)| encode_pair(model, context, continuation))
            .collect();
        Ok(model.score(&spans?)?.iter().map(|s| total(s)).collect())
    }

    /// Σ ln p of all tokens of each text, on windows that do not overlap; see [`rolling_windows`].
    ///
    /// # Errors
    /// As [`loglikelihood`](Self::loglikelihood).
    fn loglikelihood_rolling(&self, texts: &[String], bos: RollingBos) -> Result<Vec<f64>> {
        let model = self.scorer()?;
        let mut sums = Vec::with_capacity(texts.len());
        for text in texts {
            let ids = model.encode(text, bos == RollingBos::Harness)?;
            let windows = rolling_windows(&ids, model.prefix(), model.max_length());
            let scores = model.score(&windows)?;
            sums.push(scores.iter().map(|scores| total(scores).sum).sum());
        }
        Ok(sums)
    }

    /// [`tokens`](Self::tokens), or why not.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    fn scorer(&self) -> Result<&dyn TokenModel> {
        self.tokens().ok_or_else(|| Error::Unsupported {
            model: self.name().to_owned(),
            reason: "a chat server gives no log-probabilities of a given text; answers can be \
                     generated instead, likelihoods need a local model"
                .to_owned(),
        })
    }
}

fn total(scores: &[TokenScore]) -> LogLikelihood {
    LogLikelihood {
        sum: scores.iter().map(|score| score.log_prob).sum(),
        greedy: scores.iter().all(|score| score.greedy),
    }
}

/// The span of a continuation behind its context (`TemplateLM._encode_pair` of lm-evaluation-harness):
/// white space at the context's end goes to the continuation; the context is encoded by itself, and of both
/// encoded together what stands behind its length is the continuation. Where a token of both together
/// spans the border the model so reads another text: of `http:` and `//x` with SmolLM2 `http`, `:`, `x`.
/// An empty context is the model's prefix token.
///
/// # Errors
/// When a text cannot be encoded, or the continuation has no tokens.
pub fn encode_pair(model: &dyn TokenModel, context: &str, continuation: &str) -> Result<Span> {
    let given = context.trim_end_matches(is_space);
    let span = if context.is_empty() {
        let mut ids = model.encode(continuation, false)?;
        if ids.first() != Some(&model.prefix()) {
            ids.insert(0, model.prefix());
        }
        let continuation = ids.split_off(1);
        let context = ids;
        Span {
            context,
            continuation,
        }
    } else {
        let mut whole = model.encode(&format!("{context}{continuation}"), true)?;
        let context = model.encode(given, true)?;
        let continuation = whole.split_off(context.len().min(whole.len()));
        Span {
            context,
            continuation,
        }
    };
    match span.context.is_empty() || span.continuation.is_empty() {
        true => Err(Error::Input(format!(
            "`{continuation}` has no tokens of its own behind its context"
        ))),
        false => Ok(span),
    }
}

/// The windows of a text whose every token is scored once: the first behind `prefix`, each further one
/// behind what came before it, as much of it as fits (`get_rolling_token_windows` with a context of one
/// token and `make_disjoint_window` of lm-evaluation-harness). A full window so has one token of context.
pub fn rolling_windows(ids: &[u32], prefix: u32, max_length: usize) -> Vec<Span> {
    let starts = (0..ids.len()).step_by(max_length.max(1));
    starts
        .map(|start| {
            let end = (start + max_length).min(ids.len());
            Span {
                context: match start {
                    0 => vec![prefix],
                    _ => ids[end - max_length - 1..start].to_vec(),
                },
                continuation: ids[start..end].to_vec(),
            }
        })
        .collect()
}

/// The text before the first of the stop texts.
pub fn truncate_at<'a>(text: &'a str, until: &[String]) -> &'a str {
    let stops = until.iter().filter(|stop| !stop.is_empty());
    let end = stops.filter_map(|stop| text.find(stop.as_str())).min();
    &text[..end.unwrap_or(text.len())]
}
