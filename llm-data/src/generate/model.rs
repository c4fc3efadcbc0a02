//! The trait of a strong model that data comes from, its requests, replies and errors.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::record::{Message, Role};

/// How a reply is drawn. All of it belongs to the cache's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f64,
    /// The share of probability that is drawn from.
    pub top_p: f64,
    /// The longest reply in tokens. Budget limits rest on it.
    pub max_tokens: u32,
    /// Texts that end the reply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The server's own seed, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How many alternatives to each token of the reply come with their log-probabilities: 20 at
    /// most, as far as servers go. `None` asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u8>,
    /// Further fields of the request's body, as they are: `{"reasoning_effort": "low"}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// The same for what not every server has, such as a `response_format`: where one refuses it (400
    /// or 422), [`Runner`](crate::generate::Runner) asks without it, and
    /// [`ChatReply::optional_refused`] says so.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub optional: Map<String, Value>,
}

impl Default for Sampling {
    /// Temperature 1, `top_p` 1, 3072 tokens, as Stanford Alpaca asked.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            max_tokens: 3072,
            stop: Vec::new(),
            seed: None,
            logprobs: None,
            extra: Map::new(),
            optional: Map::new(),
        }
    }
}

/// A question to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The model's name, as the server knows it.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// How the reply is drawn.
    pub sampling: Sampling,
    /// How many replies are drawn.
    pub n: u32,
}

impl ChatRequest {
    /// One user message, one reply.
    pub fn new(model: impl Into<String>, prompt: impl Into<String>, sampling: Sampling) -> Self {
        Self {
            model: model.into(),
            messages: vec![Message::new(Role::User, prompt)],
            sampling,
            n: 1,
        }
    }
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done, or a stop text came.
    Stop,
    /// It was cut off at `max_tokens`.
    Length,
    /// The server's filter withheld it.
    ContentFilter,
    /// Another word of the server's, or none.
    Other(String),
}

/// One of the replies to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The text; empty where a filter withheld it.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Its tokens with their log-probabilities, where they were asked for and the server gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// A token of a reply, and what might have stood in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its text.
    pub token: String,
    /// Its bytes, where they are not those of the text: a part of a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Vec<u8>>,
    /// Its natural log-probability.
    pub logprob: f64,
    /// The likeliest tokens here, this one mostly among them.
    pub alternatives: Vec<Alternative>,
}

/// A token that might have stood in a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its text.
    pub token: String,
    /// Its natural log-probability.
    pub logprob: f64,
}

/// Tokens as the server counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the messages.
    pub prompt_tokens: u64,
    /// Tokens of all choices, hidden reasoning included.
    pub completion_tokens: u64,
}

/// What a model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatReply {
    /// The replies, one at least.
    pub choices: Vec<Choice>,
    /// Token counts, where the source gives them.
    pub usage: Option<Usage>,
    /// Whether the server refused the fields of [`Sampling::optional`], and replied without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional_refused: bool,
}

impl ChatReply {
    /// One complete reply, without counts.
    pub fn new(text: impl Into<String>) -> Self {
        let choice = Choice {
            text: text.into(),
            finish_reason: FinishReason::Stop,
            logprobs: None,
        };
        Self {
            choices: vec![choice],
            usage: None,
            optional_refused: false,
        }
    }
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelErrorKind {
    /// No connection: unknown host, refused, TLS.
    Connect,
    /// No whole reply in time.
    Timeout,
    /// The connection broke before the reply was whole.
    Interrupted,
    /// Status 429.
    RateLimited,
    /// Status 5xx.
    Server(u16),
    /// Another status: 400, 401, 404; the same question would be refused again.
    Refused(u16),
    /// The reply is longer than the limit.
    BodyTooLarge,
    /// The reply is not what the protocol says: broken JSON, no choices.
    Malformed,
    /// Whatever else; not tried again.
    Other,
}

impl ModelErrorKind {
    /// Whether the same question may succeed later.
    pub fn retryable(self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Other)
    }

    /// Whether the server may have done the work, and bill it, although no reply came.
    pub(crate) fn may_be_billed(self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Interrupted
                | Self::BodyTooLarge
                | Self::Malformed
                | Self::Other
                // A gateway that gave up on the server behind it.
                | Self::Server(502 | 504 | 524)
        )
    }

    /// Whether fields of the request may be what the server does not take.
    pub(crate) fn may_concern_fields(self) -> bool {
        matches!(self, Self::Refused(400 | 422))
    }

    /// Whether every other question would be refused as well: the key or the model is wrong.
    pub(crate) fn concerns_all(self) -> bool {
        matches!(self, Self::Refused(401..=404))
    }
}

/// A question that got no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError {
    /// What kind of failure it was.
    pub kind: ModelErrorKind,
    /// What happened, without secrets.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

impl ModelError {
    /// A failure of `kind`.
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ModelErrorKind::Connect => write!(f, "no connection")?,
            ModelErrorKind::Timeout => write!(f, "timed out")?,
            ModelErrorKind::Interrupted => write!(f, "the connection broke")?,
            ModelErrorKind::RateLimited => write!(f, "status 429, too many requests")?,
            ModelErrorKind::Server(status) | ModelErrorKind::Refused(status) => {
                write!(f, "status {status}")?;
            }
            ModelErrorKind::BodyTooLarge => write!(f, "the reply is too long")?,
            ModelErrorKind::Malformed => write!(f, "malformed reply")?,
            ModelErrorKind::Other => return write!(f, "{}", self.message),
        }
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ModelError {}

/// A strong model as a source of data: `OpenAiClient` (feature `http`) or any closure.
///
/// One call is one attempt; [`Runner`](crate::generate::Runner) repeats it, counts its cost, and remembers
/// the reply.
///
/// ```
/// use llm_data::generate::{ChatModel, ChatReply, ChatRequest, ModelError, Sampling};
///
/// let echo = |request: &ChatRequest| -> Result<ChatReply, ModelError> {
///     Ok(ChatReply::new(request.messages[0].content.to_uppercase()))
/// };
/// let reply = echo.ask(&ChatRequest::new("echo", "hello", Sampling::default()));
/// assert_eq!(reply.map(|reply| reply.choices[0].text.clone()), Ok("HELLO".to_owned()));
/// ```
pub trait ChatModel: Sync {
    /// Asks once.
    ///
    /// # Errors
    /// [`ModelError`], whose kind says whether to ask again.
    fn ask(&self, request: &ChatRequest) -> Result<ChatReply, ModelError>;

    /// Where the replies come from, without secrets, to be shown.
    fn endpoint(&self) -> String {
        String::new()
    }

    /// What tells this source from others, a part of the cache's key: the endpoint, and a hash of what that
    /// does not show.
    fn identity(&self) -> String {
        self.endpoint()
    }

    /// Asks once more the question that was asked `attempt` times: another reply is wanted. A source that
    /// draws by a seed of its own takes another one.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    fn ask_again(&self, request: &ChatRequest, attempt: u64) -> Result<ChatReply, ModelError> {
        let _ = attempt;
        self.ask(request)
    }
}

impl<F> ChatModel for F
where
    F: Fn(&ChatRequest) -> Result<ChatReply, ModelError> + Sync,
{
    fn ask(&self, request: &ChatRequest) -> Result<ChatReply, ModelError> {
        self(request)
    }
}
