//! Long conversations in pieces that fit the context.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::{Conversation, Message, Role};
use crate::tokenizer::Tokenizer;

/// Tokens that FastChat reckons for a message beside its own.
const PER_MESSAGE: usize = 6;

/// By which rule conversations are divided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PieceRule {
    /// Nothing is lost: each exchange (a question and all up to the next one) is in one piece. The system
    /// message and the tools go with every piece, and count in it.
    #[default]
    Fixed,
    /// As FastChat's `split_long_conversation.py`: messages two by two, without the last one of an odd
    /// number. A pair that no longer fits begins the next piece; the last pair of a conversation, where it no
    /// longer fits, is lost. A piece in which user and assistant do not take turns, the user first, is left
    /// out.
    Compat,
}

/// Divides conversations into pieces of at most so many tokens, by messages: their own tokens, as
/// `tokenizers` counts them by default, and six for each. An exchange that is longer by itself is a piece
/// of its own; encoding cuts it.
///
/// ```no_run
/// use llm_data::{Conversation, Pieces, Tokenizer};
///
/// # fn f(conversation: &Conversation) -> llm_data::Result<()> {
/// let pieces = Pieces::new(Tokenizer::from_dir("models/SmolLM2-135M-Instruct")?);
/// for piece in pieces.divide(conversation)? {
///     // `id_0` where all of it fits, else `id_0`, `id_4` and so on: where the piece begins.
///     println!("{:?}", piece.id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Pieces {
    tokenizer: Tokenizer,
    max_tokens: usize,
    rule: PieceRule,
}

impl Pieces {
    /// Pieces of 2048 tokens, FastChat's default, by [`PieceRule::Fixed`].
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            max_tokens: 2048,
            rule: PieceRule::default(),
        }
    }

    /// Of so many tokens instead.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// By another rule.
    #[must_use]
    pub fn rule(mut self, rule: PieceRule) -> Self {
        self.rule = rule;
        self
    }

    /// The pieces of a conversation, in its order. A piece has the conversation's other fields; its id is the
    /// conversation's, with the place of its first message behind it.
    ///
    /// # Errors
    /// [`Error::WhitespaceRun`].
    pub fn divide(&self, conversation: &Conversation) -> Result<Vec<Conversation>> {
        let messages = &conversation.messages;
        let (head, spans) = match self.rule {
            PieceRule::Fixed => {
                let head = usize::from(messages.first().is_some_and(|m| m.role == Role::System));
                (head, self.fixed(conversation, head)?)
            }
            PieceRule::Compat => (0, self.compat(messages)?),
        };
        let piece = |(start, end): (usize, usize)| Conversation {
            id: conversation.id.as_ref().map(|id| format!("{id}_{start}")),
            messages: [&messages[..head], &messages[start..end]].concat(),
            tools: conversation.tools.clone(),
            extra: conversation.extra.clone(),
        };
        Ok(spans.into_iter().map(piece).collect())
    }

    fn tokens(&self, text: &str) -> Result<usize> {
        let ids = self.tokenizer.encode_with_special_tokens(text)?;
        Ok(ids.len() + PER_MESSAGE)
    }

    fn fixed(&self, conversation: &Conversation, head: usize) -> Result<Vec<(usize, usize)>> {
        let messages = &conversation.messages;
        let mut taken = 0;
        let repeated = messages[..head].iter().map(|message| &message.content);
        for text in repeated.chain(&conversation.tools) {
            taken += self.tokens(text)?;
        }
        let mut pieces: Vec<(usize, usize)> = Vec::new();
        let mut tokens = 0;
        let mut start = head;
        for exchange in exchanges(&messages[head..]) {
            let mut length = 0;
            for message in exchange {
                length += self.tokens(&message.content)?;
            }
            let end = start + exchange.len();
            match pieces.last_mut() {
                Some(piece) if tokens + length <= self.max_tokens => {
                    piece.1 = end;
                    tokens += length;
                }
                _ => {
                    pieces.push((start, end));
                    tokens = taken + length;
                }
            }
            start = end;
        }
        Ok(pieces)
    }

    fn compat(&self, messages: &[Message]) -> Result<Vec<(usize, usize)>> {
        let (pairs, _) = messages.as_chunks::<2>();
        let (mut pieces, mut start, mut tokens) = (Vec::new(), 0, 0);
        for (number, [question, answer]) in pairs.iter().enumerate() {
            let length = self.tokens(&question.content)? + self.tokens(&answer.content)?;
            if tokens + length > self.max_tokens {
                pieces.push((start, 2 * number));
                (start, tokens) = (2 * number, 0);
            } else if number + 1 == pairs.len() {
                pieces.push((start, 2 * pairs.len()));
            }
            tokens += length;
        }
        let takes_turns = |(start, end): &(usize, usize)| {
            let (pairs, _) = messages[*start..*end].as_chunks::<2>();
            let roles = |[question, answer]: &[Message; 2]| {
                (question.role, answer.role) == (Role::User, Role::Assistant)
            };
            start < end && pairs.iter().all(roles)
        };
        pieces.retain(takes_turns);
        Ok(pieces)
    }
}

/// A question each, with everything up to the next one; what stands before the first one goes with it.
fn exchanges(messages: &[Message]) -> impl Iterator<Item = &[Message]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let asked = rest.iter().position(|message| message.role == Role::User);
        let behind = asked.map_or(rest.len(), |asked| asked + 1);
        let next = rest[behind..]
            .iter()
            .position(|message| message.role == Role::User);
        let end = next.map_or(rest.len(), |next| behind + next);
        let (exchange, others) = rest.split_at(end);
        rest = others;
        (!exchange.is_empty()).then_some(exchange)
    })
}

impl std::str::FromStr for PieceRule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "fixed" => Ok(Self::Fixed),
            "compat" => Ok(Self::Compat),
            _ => Err(Error::option("rule", "fixed or compat", name)),
        }
    }
}
