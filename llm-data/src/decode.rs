//! Decoding ids one by one.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// How many ids may wait for the rest of a character. A character has at most four bytes, a token
/// at least one; what still ends in the middle after this many ids is no UTF-8 at all.
const MAX_PENDING: usize = 16;

/// Text from a stream of ids, special tokens left out; see
/// [`Tokenizer::decode_stream`].
///
/// The pieces put together are what [`Tokenizer::decode`] gives for all the ids, and none of them
/// ends in the middle of a character. (Only where a model emits bytes that are no UTF-8 can the
/// number of replacement characters differ.) An id costs the same at the end of a long text as at
/// its beginning.
#[derive(Debug, Clone)]
pub struct DecodeStream {
    tokenizer: Tokenizer,
    /// The ids of the last piece, for what decoders do depending on the text before, and their text.
    context: Vec<u32>,
    context_text: String,
    /// Ids whose text has not been given out.
    pending: Vec<u32>,
}

impl DecodeStream {
    pub(crate) fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            context: Vec::new(),
            context_text: String::new(),
            pending: Vec::new(),
        }
    }

    /// A stream whose ids continue `ids`. Of these only the last ones matter to a decoder.
    pub(crate) fn after(tokenizer: Tokenizer, ids: &[u32]) -> Result<Self> {
        let mut stream = Self::new(tokenizer);
        let shown = ids.iter().rev().filter(|&&id| stream.is_shown(id));
        let mut context: Vec<u32> = shown.take(MAX_PENDING).copied().collect();
        context.reverse();
        let mut text = stream.tokenizer.decode(&context, true)?;
        // It must not begin in the middle of a character: that would break the ones behind it.
        while context.len() > 1 && text.starts_with(char::REPLACEMENT_CHARACTER) {
            context.remove(0);
            text = stream.tokenizer.decode(&context, true)?;
        }
        (stream.context, stream.context_text) = (context, text);
        Ok(stream)
    }

    fn is_shown(&self, id: u32) -> bool {
        !self.tokenizer.is_special(id) && self.tokenizer.token(id).is_some()
    }

    /// Takes the next id; gives the text that is complete with it, if there is any.
    ///
    /// # Errors
    /// [`Error::Encode`](crate::Error::Encode) where the decoder fails.
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        if !self.is_shown(id) {
            return Ok(None);
        }
        self.pending.push(id);
        self.next_piece(self.pending.len() >= MAX_PENDING)
    }

    /// Ends the stream; gives what was held back, such as the bytes of an unfinished character.
    ///
    /// # Errors
    /// The same as [`push`](Self::push).
    pub fn finish(mut self) -> Result<Option<String>> {
        self.next_piece(true)
    }

    fn next_piece(&mut self, unfinished_too: bool) -> Result<Option<String>> {
        let ids = [self.context.as_slice(), &self.pending].concat();
        let text = self.tokenizer.decode(&ids, true)?;
        let piece = match text.strip_prefix(&self.context_text) {
            Some(piece) => piece.to_owned(),
            // Broken bytes changed what came before them, and that is given out already.
            None => self.tokenizer.decode(&self.pending, true)?,
        };
        let unfinished = piece.ends_with(char::REPLACEMENT_CHARACTER);
        if piece.is_empty() || (unfinished && !unfinished_too) {
            return Ok(None);
        }
        self.context = std::mem::take(&mut self.pending);
        self.context_text = self.tokenizer.decode(&self.context, true)?;
        Ok(Some(piece))
    }
}
