//! The tokenizer of a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokenizers::Tokenizer as Engine;

use crate::decode::DecodeStream;
use crate::error::{Error, Result};
use crate::files::{TokenizerFiles, parse_object};
use crate::special::{Piece, Specials};

/// The longest run of white space that is encoded. The `\s+(?!\S)` of byte-level pre-tokenizers
/// backtracks over a run, and from a million characters on the regex engine gives up and the
/// run comes out wrong, without an error.
const MAX_WHITESPACE_RUN: usize = 100_000;

/// Where a text stands in the sequence, which decides about the space that SentencePiece-like
/// tokenizers put before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the sequence's beginning.
    Start,
    /// Right after a special token.
    AfterSpecial,
    /// After other text.
    Middle,
}

/// A tokenizer read from `tokenizer.json` and the files beside it. Cheap to clone.
///
/// ```no_run
/// # fn main() -> llm_data::Result<()> {
/// let tokenizer = llm_data::Tokenizer::from_dir("models/SmolLM2-135M-Instruct")?;
/// let ids = tokenizer.encode("Hello world")?;
/// assert_eq!(tokenizer.decode(&ids, true)?, "Hello world");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// As the file says: parses special tokens.
    own: Engine,
    /// The same with special tokens' text as text, for each [`Place`].
    start: Arc<Engine>,
    after_special: Arc<Engine>,
    middle: Arc<Engine>,
    specials: Specials,
    prefix: Vec<u32>,
    vocab_size: usize,
    bos: Option<u32>,
    pad: Option<u32>,
    eos_ids: Vec<u32>,
    chat_template: Option<String>,
}

impl Tokenizer {
    /// Reads a checkpoint's directory: `tokenizer.json` (required), `tokenizer_config.json`,
    /// `special_tokens_map.json`, `chat_template.jinja` (which wins over the field of
    /// `tokenizer_config.json`); `generation_config.json` and `config.json` only for the
    /// end-of-sequence ids where the tokenizer's files name none.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Tokenizer`] with the file's path.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        Self::from_parts(TokenizerFiles::read(dir.as_ref())?)
    }

    /// Makes a tokenizer from the files' contents, for checkpoints that are no directories.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where a part cannot be understood or names a token that does not exist.
    pub fn from_parts(files: TokenizerFiles) -> Result<Self> {
        let path = files.path.clone();
        let failed = |reason: String| Error::Tokenizer {
            path: path.clone(),
            reason,
        };
        let mut json = parse_object(&path, &files.tokenizer_json)?;
        if let Some(model) = json.get_mut("model").and_then(Value::as_object_mut) {
            // BPE dropout is for training tokenizers; it would make encoding random.
            model.remove("dropout");
        }
        let own = engine(&json, false).map_err(&failed)?;
        let start = Arc::new(engine(&json, true).map_err(&failed)?);
        let variant = |place| {
            let mut edited = json.clone();
            if !drop_prefix(&mut edited, place) {
                return Ok(start.clone());
            }
            engine(&edited, true).map(Arc::new).map_err(&failed)
        };
        let (after_special, middle) = (variant(Place::AfterSpecial)?, variant(Place::Middle)?);
        let named = files.named_tokens(|token| own.token_to_id(token))?;
        let prefix = prefix(&own, named.bos, named.add_bos_token).map_err(&failed)?;
        let vocab_size = own
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |&id| id as usize + 1);
        Ok(Self(Arc::new(Inner {
            specials: Specials::new(own.get_added_tokens_decoder()),
            path,
            own,
            start,
            after_special,
            middle,
            prefix,
            vocab_size,
            bos: named.bos,
            pad: named.pad,
            eos_ids: named.eos_ids,
            chat_template: named.chat_template,
        })))
    }

    /// Encodes a text as it is: the text of special tokens stays text, and nothing is added.
    ///
    /// # Errors
    /// [`Error::WhitespaceRun`] for a run of white space that the engine would get wrong.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_at(text, Place::Start, &mut ids)?;
        Ok(ids)
    }

    /// Encodes a text as [`encode`](Self::encode) does, with what the tokenizer puts before a
    /// sequence, such as its beginning token: a prompt without a template.
    ///
    /// # Errors
    /// The same as [`encode`](Self::encode).
    pub fn encode_sequence(&self, text: &str) -> Result<Vec<u32>> {
        let ids = self.encode(text)?;
        let prefix = self.prefix_before(ids.first().copied());
        Ok(prefix.iter().copied().chain(ids.iter().copied()).collect())
    }

    /// Encodes as `tokenizers` does by default: special tokens in the text are parsed and the
    /// post-processor adds its own, such as the beginning of the sequence. For text of one's own
    /// making, never for a user's.
    ///
    /// # Errors
    /// The same as [`encode`](Self::encode).
    pub fn encode_with_special_tokens(&self, text: &str) -> Result<Vec<u32>> {
        check_whitespace(text)?;
        let encoding = self.0.own.encode_fast(text, true).map_err(encode_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Decodes ids to text. Ids outside the vocabulary are left out, bytes that are no UTF-8
    /// become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Encode`] where the decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.0
            .own
            .decode(ids, skip_special_tokens)
            .map_err(encode_error)
    }

    /// Starts decoding a stream of ids piece by piece, special tokens left out.
    pub fn decode_stream(&self) -> DecodeStream {
        DecodeStream::new(self.clone())
    }

    /// The largest id plus one, added tokens included: the least number of embeddings.
    pub fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    /// The beginning-of-sequence token, where the files name one.
    pub fn bos_id(&self) -> Option<u32> {
        self.0.bos
    }

    /// The first of [`eos_ids`](Self::eos_ids).
    pub fn eos_id(&self) -> Option<u32> {
        self.0.eos_ids.first().copied()
    }

    /// The end-of-sequence tokens; several where only the generation configuration names them.
    pub fn eos_ids(&self) -> &[u32] {
        &self.0.eos_ids
    }

    /// The padding token, where the files name one.
    pub fn pad_id(&self) -> Option<u32> {
        self.0.pad
    }

    /// The token of an id, in the vocabulary's spelling (`Ġworld`, `▁world`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.0.own.id_to_token(id)
    }

    /// The id of a token, in the vocabulary's spelling.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.0.own.token_to_id(token)
    }

    /// Whether an id is a special token, which [`decode`](Self::decode) can leave out.
    pub fn is_special(&self, id: u32) -> bool {
        self.0.specials.contains(id)
    }

    /// The source of the checkpoint's chat template.
    pub fn chat_template(&self) -> Option<&str> {
        self.0.chat_template.as_deref()
    }

    /// Whether sequences begin with the beginning-of-sequence token: the post-processor adds it or
    /// `add_bos_token` asks for it.
    pub fn adds_bos(&self) -> bool {
        self.0.bos.is_some_and(|bos| self.0.prefix.contains(&bos))
    }

    /// Makes sure that every id has an embedding.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] with both sizes where the model has fewer `embeddings`.
    pub fn check_embeddings(&self, embeddings: usize) -> Result<()> {
        let vocabulary = self.vocab_size();
        if vocabulary > embeddings {
            return Err(Error::Vocabulary {
                vocabulary,
                embeddings,
            });
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn specials(&self) -> &Specials {
        &self.0.specials
    }

    /// The ids that the tokenizer puts before a sequence that begins with `pieces`: none of them
    /// twice.
    pub(crate) fn prefix_before(&self, first: Option<u32>) -> &[u32] {
        if first.is_some() && first == self.0.prefix.first().copied() {
            &[]
        } else {
            &self.0.prefix
        }
    }

    /// Encodes template text whose `mark`ed special tokens are text; `place` is where it begins,
    /// and afterwards where the next text will.
    pub(crate) fn encode_template(
        &self,
        text: &str,
        mark: char,
        place: &mut Place,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        for piece in self.specials().pieces(text, mark) {
            match piece {
                Piece::Text(text) => {
                    self.encode_at(&text, *place, ids)?;
                    *place = Place::Middle;
                }
                Piece::Special(id) => {
                    ids.push(id);
                    *place = Place::AfterSpecial;
                }
            }
        }
        Ok(())
    }

    fn encode_at(&self, text: &str, place: Place, ids: &mut Vec<u32>) -> Result<()> {
        check_whitespace(text)?;
        let engine = match place {
            Place::Start => &self.0.start,
            Place::AfterSpecial => &self.0.after_special,
            Place::Middle => &self.0.middle,
        };
        let encoding = engine.encode_fast(text, false).map_err(encode_error)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

fn encode_error(error: tokenizers::Error) -> Error {
    Error::Encode {
        reason: error.to_string(),
    }
}

fn engine(json: &Value, specials_as_text: bool) -> std::result::Result<Engine, String> {
    let mut engine = Engine::from_bytes(json.to_string()).map_err(|error| error.to_string())?;
    engine
        .with_truncation(None)
        .map_err(|error| error.to_string())?;
    engine.with_padding(None);
    engine.set_encode_special_tokens(specials_as_text);
    Ok(engine)
}

fn check_whitespace(text: &str) -> Result<()> {
    if text.len() <= MAX_WHITESPACE_RUN {
        return Ok(());
    }
    let mut length = 0;
    for c in text.chars() {
        length = if c.is_whitespace() { length + 1 } else { 0 };
        if length > MAX_WHITESPACE_RUN {
            // The rest of the run does not matter for the message's purpose, but its true length does.
            let longest = text
                .split(|c: char| !c.is_whitespace())
                .map(|run| run.chars().count());
            let length = longest.max().unwrap_or(length);
            return Err(Error::WhitespaceRun {
                length,
                limit: MAX_WHITESPACE_RUN,
            });
        }
    }
    Ok(())
}

/// What the post-processor puts before a sequence, and what `add_bos_token` says about it.
fn prefix(
    engine: &Engine,
    bos: Option<u32>,
    add_bos: Option<bool>,
) -> std::result::Result<Vec<u32>, String> {
    let ids = |special| {
        let encoding = engine
            .encode_fast("a", special)
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(encoding.get_ids().to_vec())
    };
    let (with, without) = (ids(true)?, ids(false)?);
    let begin = with
        .windows(without.len().max(1))
        .position(|window| window == without);
    let mut prefix = with[..begin.unwrap_or(0)].to_vec();
    match (add_bos, bos) {
        (Some(true), Some(bos)) if !prefix.contains(&bos) => prefix.insert(0, bos),
        (Some(false), Some(bos)) => prefix.retain(|&id| id != bos),
        _ => {}
    }
    Ok(prefix)
}

/// Edits a `tokenizer.json` so that text at `place` gets no space in front; whether it had to.
fn drop_prefix(json: &mut Value, place: Place) -> bool {
    let mut changed = false;
    if place == Place::Middle
        && let Some(normalizer) = json.get_mut("normalizer")
    {
        changed |= drop_prepend(normalizer);
    }
    if let Some(pre_tokenizer) = json.get_mut("pre_tokenizer") {
        changed |= drop_prefix_space(pre_tokenizer, place);
    }
    changed
}

fn drop_prepend(normalizer: &mut Value) -> bool {
    if normalizer["type"] == "Prepend" {
        *normalizer = Value::Null;
        return true;
    }
    let Some(steps) = normalizer
        .get_mut("normalizers")
        .and_then(Value::as_array_mut)
    else {
        return false;
    };
    let mut changed = false;
    for step in steps.iter_mut() {
        changed |= drop_prepend(step);
    }
    steps.retain(|step| !step.is_null());
    changed
}

fn drop_prefix_space(pre_tokenizer: &mut Value, place: Place) -> bool {
    let kind = pre_tokenizer["type"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let scheme = pre_tokenizer["prepend_scheme"].as_str();
    match kind.as_str() {
        "Sequence" => {
            let steps = pre_tokenizer
                .get_mut("pretokenizers")
                .and_then(Value::as_array_mut);
            steps.into_iter().flatten().fold(false, |changed, step| {
                drop_prefix_space(step, place) | changed
            })
        }
        // `first` means the first of the sequence, so after a special token there is no space
        // either; `always` means every text between special tokens.
        "Metaspace" if place == Place::Middle || scheme == Some("first") => {
            let changed = scheme != Some("never");
            pre_tokenizer["prepend_scheme"] = "never".into();
            pre_tokenizer["add_prefix_space"] = false.into();
            changed
        }
        "ByteLevel" if place == Place::Middle => {
            let changed = pre_tokenizer["add_prefix_space"] == true;
            pre_tokenizer["add_prefix_space"] = false.into();
            changed
        }
        _ => false,
    }
}
