//! Perplexity in its three definitions. They give different numbers for the same model and text; each is
//! named by its function, and none is comparable with another.

use serde::Serialize;

use super::model::{LanguageModel, RollingBos, Span, TokenModel};
use super::python::count_words;
use crate::{Error, Result};

/// Spans that go to the model at once.
const CHUNK: usize = 16;

/// A perplexity over tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Perplexity {
    /// exp of [`nll`](Self::nll).
    pub value: f64,
    /// Its standard error, where the definition has one.
    pub stderr: Option<f64>,
    /// The mean −ln p.
    pub nll: f64,
    /// The tokens that the mean is over.
    pub tokens: usize,
}

/// Hugging Face's strided perplexity (documentation of transformers, "Perplexity of fixed-length models"):
/// windows of `window` tokens begin every `stride` tokens, each scores the tokens that no earlier one has.
/// As there, each window's mean is weighted by its scored tokens less one.
///
/// `ids` is the whole text, encoded with special tokens.
///
/// # Errors
/// When the text has fewer than two tokens, `stride` is 0, 1 or larger than `window`, `window` does not fit
/// the model, or the model fails.
pub fn huggingface_strided(
    model: &dyn TokenModel,
    ids: &[u32],
    window: usize,
    stride: usize,
) -> Result<Perplexity> {
    check_window(model, window)?;
    if stride < 2 || stride > window {
        return Err(Error::Input(format!(
            "the stride must be 2 to {window} (the window), not {stride}"
        )));
    }
    let mut windows = windows(ids, window, stride);
    let (mut sum, mut tokens) = (0.0, 0);
    loop {
        let (spans, weights): (Vec<_>, Vec<_>) = windows.by_ref().take(CHUNK).unzip();
        if spans.is_empty() {
            break;
        }
        for (scores, weight) in model.score(&spans)?.iter().zip(weights) {
            let nll: f64 = scores.iter().map(|score| -score.log_prob).sum();
            sum += nll / scores.len() as f64 * weight as f64;
            tokens += weight;
        }
    }
    if tokens == 0 {
        return Err(too_short(ids, 2));
    }
    let nll = sum / tokens as f64;
    Ok(Perplexity {
        value: nll.exp(),
        stderr: None,
        nll,
        tokens,
    })
}

/// The windows that score something, one after the other, and their weights.
fn windows(ids: &[u32], window: usize, stride: usize) -> impl Iterator<Item = (Span, usize)> + '_ {
    let mut done = 0;
    let begins = (0..ids.len()).step_by(stride);
    begins
        .map_while(move |begin| {
            let end = (begin + window).min(ids.len());
            let targets = end - done;
            done = end;
            // The last window ends where the text does, and what begins later scores nothing.
            (targets > 0).then_some((begin, end, targets))
        })
        .filter_map(move |(begin, end, targets)| {
            // The first token of a window has nothing before it.
            let scored = targets.min(end - begin - 1);
            let span = Span {
                context: ids[begin..end - scored].to_vec(),
                continuation: ids[end - scored..end].to_vec(),
            };
            (scored > 0).then_some((span, targets - 1))
        })
}

/// llama.cpp's perplexity (`llama-perplexity` without `--ppl-stride`): chunks of `n_ctx` tokens that do not
/// overlap, of each of which the second half is scored; the beginning token, where the tokenizer has it,
/// replaces each chunk's first token. What does not fill a chunk is left out.
///
/// `ids` is the whole text, encoded with special tokens. (`llama-perplexity -f` drops one line break at the
/// file's end.)
///
/// # Errors
/// When the text has fewer than two chunks, `n_ctx` does not fit the model or is less than 4, or the model
/// fails.
pub fn llama_cpp(model: &dyn TokenModel, ids: &[u32], n_ctx: usize) -> Result<Perplexity> {
    let mut nlls = Vec::new();
    let first = n_ctx / 2 + 1;
    let mut chunks = llama_cpp_chunks(model, ids, n_ctx)?;
    loop {
        let spans = chunks.by_ref().take(CHUNK).map(|mut chunk| {
            let continuation = chunk.split_off(first);
            Span {
                context: chunk,
                continuation,
            }
        });
        let spans: Vec<_> = spans.collect();
        if spans.is_empty() {
            break;
        }
        for scores in model.score(&spans)? {
            nlls.extend(scores.iter().map(|score| -score.log_prob));
        }
    }
    let count = nlls.len() as f64;
    let nll = nlls.iter().sum::<f64>() / count;
    let variance = nlls.iter().map(|nll| nll * nll).sum::<f64>() / count - nll * nll;
    let stderr = (variance > 0.0).then(|| (variance / (count - 1.0)).sqrt() * nll.exp());
    Ok(Perplexity {
        value: nll.exp(),
        stderr,
        nll,
        tokens: nlls.len(),
    })
}

/// The chunks that llama.cpp evaluates.
pub(super) fn llama_cpp_chunks<'a>(
    model: &dyn TokenModel,
    ids: &'a [u32],
    n_ctx: usize,
) -> Result<impl Iterator<Item = Vec<u32>> + use<'a>> {
    check_window(model, n_ctx)?;
    if n_ctx < 4 {
        return Err(Error::Input(format!(
            "n_ctx must be 4 or more, not {n_ctx}"
        )));
    }
    if ids.len() < 2 * n_ctx {
        return Err(too_short(ids, 2 * n_ctx));
    }
    let bos = model.bos();
    Ok(ids.chunks_exact(n_ctx).map(move |chunk| {
        let mut chunk = chunk.to_vec();
        chunk[0] = bos.unwrap_or(chunk[0]);
        chunk
    }))
}

fn check_window(model: &dyn TokenModel, window: usize) -> Result<()> {
    match window <= model.max_length() {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "a window of {window} tokens does not fit the model's {}",
            model.max_length()
        ))),
    }
}

fn too_short(ids: &[u32], needed: usize) -> Error {
    Error::Input(format!(
        "the text has {} tokens, {needed} are needed at least",
        ids.len()
    ))
}

/// lm-evaluation-harness's figures of a set of texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HarnessPerplexity {
    /// exp of −Σ ln p over the number of words (parts between runs of white space).
    pub word_perplexity: f64,
    /// exp of −Σ ln p over the number of UTF-8 bytes.
    pub byte_perplexity: f64,
    /// −Σ log₂ p over the number of bytes.
    pub bits_per_byte: f64,
    /// Σ ln p of all texts.
    pub loglikelihood: f64,
    /// Words of all texts.
    pub words: usize,
    /// Bytes of all texts.
    pub bytes: usize,
}

/// lm-evaluation-harness's `word_perplexity`, `byte_perplexity` and `bits_per_byte`: each token of each text
/// is scored once, on windows that do not overlap (`loglikelihood_rolling`).
///
/// # Errors
/// When there is no text, the model gives no likelihoods, or it fails.
pub fn harness(
    model: &dyn LanguageModel,
    texts: &[String],
    bos: RollingBos,
) -> Result<HarnessPerplexity> {
    if texts.iter().all(String::is_empty) {
        return Err(Error::Input("there is no text".to_owned()));
    }
    let loglikelihood: f64 = model.loglikelihood_rolling(texts, bos)?.iter().sum();
    let words: usize = texts.iter().map(|text| count_words(text)).sum();
    let bytes: usize = texts.iter().map(String::len).sum();
    let per_byte = -loglikelihood / bytes as f64;
    Ok(HarnessPerplexity {
        word_perplexity: (-loglikelihood / words as f64).exp(),
        byte_perplexity: per_byte.exp(),
        bits_per_byte: per_byte / std::f64::consts::LN_2,
        loglikelihood,
        words,
        bytes,
    })
}
