//! The tokenizer of a checkpoint.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokenizers::Tokenizer as Engine;

use crate::bytelevel::ByteLevel;
use crate::decode::DecodeStream;
use crate::error::{Error, Result};
use crate::files::{ControlText, NamedTokens, TokenizerFiles, parse_object};
use crate::place::{Place, drop_prefix};
use crate::special::{Piece, Specials};

/// The longest run of white space that is encoded. The `\s+(?!\S)` of byte-level pre-tokenizers
/// backtracks over a run, and from a million characters on the regex engine gives up and the
/// run comes out wrong, without an error.
const MAX_WHITESPACE_RUN: usize = 100_000;

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
    /// Does the same as those three where it can.
    byte_level: Option<ByteLevel>,
    specials: Specials,
    prefix: Vec<u32>,
    vocab_size: usize,
    /// Characters of the longest token.
    longest_token: usize,
    /// What the model makes of what it does not know.
    unknown: Option<u32>,
    bos: Option<u32>,
    pad: Option<u32>,
    eos_ids: Vec<u32>,
    chat_template: Option<String>,
    named_templates: Vec<String>,
    fingerprint: String,
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
        mark_control_tokens(&mut json, &files.control_text()?);
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
        let prefix = prefix(&own, &named).map_err(&failed)?;
        let vocab = own.get_vocab(true);
        let longest = vocab.keys().map(|token| token.chars().count()).max();
        let unknown = unknown(&json["model"]);
        let added = own.get_added_tokens_decoder();
        let specials = Specials::new(added.clone());
        let byte_level = ByteLevel::new(&json, added.values(), |id| specials.contains(id));
        Ok(Self(Arc::new(Inner {
            byte_level,
            specials,
            path,
            own,
            start,
            after_special,
            middle,
            prefix,
            vocab_size: vocab.values().max().map_or(0, |&id| id as usize + 1),
            longest_token: longest.unwrap_or(1).max(1),
            unknown,
            bos: named.bos,
            pad: named.pad,
            eos_ids: named.eos_ids,
            chat_template: named.chat_template,
            named_templates: named.named_templates,
            fingerprint: files.fingerprint(),
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
        let prefix = self.prefix_before(&ids);
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
        let own = &self.0.own;
        let encoding = guarded(|| own.encode_fast(text, true)).map_err(encode_error)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Decodes ids to text. Ids outside the vocabulary are left out, bytes that are no UTF-8
    /// become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Encode`] where the decoder fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        guarded(|| self.0.own.decode(ids, skip_special_tokens)).map_err(encode_error)
    }

    /// Starts decoding a stream of ids piece by piece, special tokens left out.
    pub fn decode_stream(&self) -> DecodeStream {
        DecodeStream::new(self.clone())
    }

    /// The same for ids that continue `ids`, whose text is not given out again. Decoders in the way
    /// of SentencePiece drop the space at a text's beginning; here it is no beginning.
    ///
    /// # Errors
    /// [`Error::Encode`] where the decoder fails.
    pub fn decode_stream_after(&self, ids: &[u32]) -> Result<DecodeStream> {
        DecodeStream::after(self.clone(), ids)
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

    /// `tokenizer.json`, or what errors call it.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// A hash (BLAKE3, hexadecimal) of the contents of all files that the tokenizer was made from.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    pub(crate) fn specials(&self) -> &Specials {
        &self.0.specials
    }

    /// Characters of the longest token.
    pub(crate) fn longest_token(&self) -> usize {
        self.0.longest_token
    }

    /// The names of the checkpoint's chat templates where there are several and no default.
    pub(crate) fn named_templates(&self) -> &[String] {
        &self.0.named_templates
    }

    /// What the tokenizer puts before the sequence `ids`: nothing where they begin with it already.
    pub(crate) fn prefix_before(&self, ids: &[u32]) -> &[u32] {
        if ids.starts_with(&self.0.prefix) {
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

    /// Encodes plain text, which yields no special token. The engines do not parse them, but a
    /// model may have one's text among its pieces; such text is encoded in two parts.
    fn encode_at(&self, text: &str, place: Place, ids: &mut Vec<u32>) -> Result<()> {
        check_whitespace(text)?;
        let byte_level = self.0.byte_level.as_ref();
        if byte_level.is_some_and(|it| it.encode(text, place, ids)) {
            return Ok(());
        }
        let engine = match place {
            Place::Start => &self.0.start,
            Place::AfterSpecial => &self.0.after_special,
            Place::Middle => &self.0.middle,
        };
        let special = |id: u32| self.is_special(id) && Some(id) != self.0.unknown;
        let encoding = guarded(|| engine.encode_fast(text, false)).map_err(encode_error)?;
        if !encoding.get_ids().iter().any(|&id| special(id)) {
            ids.extend_from_slice(encoding.get_ids());
            return Ok(());
        }
        let encoding = guarded(|| engine.encode(text, false)).map_err(encode_error)?;
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        let mut cuts: Vec<usize> = tokens
            .filter(|&(&id, _)| special(id))
            .filter_map(|(_, &(start, end))| second_char(text, start, end))
            .collect();
        if cuts.is_empty() {
            // A special token of one character, which cannot be written in any other way.
            ids.extend_from_slice(encoding.get_ids());
            return Ok(());
        }
        cuts.push(text.len());
        let (mut begin, mut place) = (0, place);
        for cut in cuts {
            if cut > begin {
                self.encode_at(&text[begin..cut], place, ids)?;
                (begin, place) = (cut, Place::Middle);
            }
        }
        Ok(())
    }
}

/// Where the second character of `text[start..end]` begins.
fn second_char(text: &str, start: usize, end: usize) -> Option<usize> {
    let (second, _) = text.get(start..end)?.char_indices().nth(1)?;
    Some(start + second)
}

/// The crate `tokenizers` panics on some broken files, and on texts that such a file makes trouble
/// with: an error as the others.
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizer's file is broken".to_owned()),
    }
}

fn encode_error(reason: String) -> Error {
    Error::Encode { reason }
}

fn engine(json: &Value, specials_as_text: bool) -> std::result::Result<Engine, String> {
    let mut engine = guarded(|| Engine::from_bytes(json.to_string()))?;
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
            // For the message: the length of the whole run, which may go on behind this character.
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

/// Marks the added tokens that structure conversations as special where the file does not: those
/// in `control`, and of those in the chat template the ones spelled `<|…|>`. Others that a template
/// writes, such as `<think>`, are the model's words and stay what they are.
fn mark_control_tokens(json: &mut Value, control: &ControlText) {
    let tokens = json.get_mut("added_tokens").and_then(Value::as_array_mut);
    for token in tokens.into_iter().flatten() {
        let text = token["content"].as_str().unwrap_or_default();
        let bars = [("<|", "|>"), ("<｜", "｜>")]
            .iter()
            .any(|(begin, end)| text.starts_with(begin) && text.ends_with(end));
        let written = bars && control.chat_template.contains(text);
        if written || control.tokens.iter().any(|token| token == text) {
            token["special"] = true.into();
        }
    }
}

/// The id of what a model does not know: Unigram names it by id, the others by its text.
fn unknown(model: &Value) -> Option<u32> {
    let id = match model["unk_token"].as_str() {
        Some(token) => &model["vocab"][token],
        None => &model["unk_id"],
    };
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// What the post-processor puts before a sequence, and what `add_bos_token` says about it.
fn prefix(engine: &Engine, named: &NamedTokens) -> std::result::Result<Vec<u32>, String> {
    let ids = |text, special| {
        let encoding = guarded(|| engine.encode_fast(text, special))?;
        Ok::<_, String>(encoding.get_ids().to_vec())
    };
    // A text can have no tokens at all, so there are several.
    let mut found = None;
    for text in ["a", "1", ".", " ", "的"] {
        let (with, without) = (ids(text, true)?, ids(text, false)?);
        if !without.is_empty() {
            let mut places = with.windows(without.len());
            let begin = places.position(|window| window == without);
            found = begin.map(|begin| with[..begin].to_vec());
            break;
        }
    }
    let mut prefix = match found {
        Some(prefix) => prefix,
        // Without a text between them, what ends a sequence is known by its name only.
        None => ids("", true)?
            .into_iter()
            .take_while(|id| !named.eos_ids.contains(id))
            .collect(),
    };
    match (named.add_bos_token, named.bos) {
        (Some(true), Some(bos)) if !prefix.contains(&bos) => prefix.insert(0, bos),
        (Some(false), Some(bos)) => prefix.retain(|&id| id != bos),
        _ => {}
    }
    Ok(prefix)
}
