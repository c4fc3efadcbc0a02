//! A client of OpenAI-compatible servers (`/chat/completions`), blocking, one attempt a call.

use std::io::Read;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::cost::{Spent, prompt_tokens};
use super::limit::RateLimit;
use super::model::{ChatModel, ChatReply, ChatRequest, ModelError, ModelErrorKind};
use super::redact::{Redactor, holds_secret, shown_url};
use super::wire;
use crate::error::{Error, Result};

/// How a server is reached.
#[derive(Clone)]
pub struct OpenAiOptions {
    /// The address before `/chat/completions`, such as `https://api.openai.com/v1`. A query is
    /// kept: `https://host/openai/deployments/d?api-version=2024-06-01`. One that holds a password
    /// or a key is refused, since addresses get into logs: that is what `api_key` is for.
    pub base_url: String,
    /// Sent as a header, and shown nowhere.
    pub api_key: Option<SecretString>,
    /// The key's header. `authorization` gets the key after `Bearer `, any other one, such as
    /// Azure's `api-key`, the key alone.
    pub api_key_header: String,
    /// The longest time for one attempt, from the connection to the reply's last byte.
    pub timeout: Duration,
    /// The longest time for the connection.
    pub connect_timeout: Duration,
    /// The longest reply in bytes.
    pub max_body_bytes: u64,
    /// Requests a minute, as a token bucket of that size, which is how providers count.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, likewise: a request takes its prompt (estimated) and `max_tokens`.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// The body's field for `max_tokens`; OpenAI's newer models want `max_completion_tokens`.
    pub max_tokens_field: String,
}

impl OpenAiOptions {
    /// A server at `base_url`, with 10 min for an attempt, 16 MiB for a reply, no rate limit.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            api_key_header: "authorization".to_owned(),
            timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(15),
            max_body_bytes: 16 << 20,
            requests_per_minute: None,
            tokens_per_minute: None,
            max_tokens_field: "max_tokens".to_owned(),
        }
    }
}

impl std::fmt::Debug for OpenAiOptions {
    /// Without the address, which may hold what it should not.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiOptions")
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .field("requests_per_minute", &self.requests_per_minute)
            .field("tokens_per_minute", &self.tokens_per_minute)
            .finish_non_exhaustive()
    }
}

/// A client of an OpenAI-compatible server: OpenAI, vLLM, llama.cpp, Ollama and their like.
///
/// It asks once; [`Runner`](crate::generate::Runner) asks again, and remembers. Redirects are not followed,
/// so that the key reaches no other host. The key is in no error, `Debug` or log; to that end the
/// feature `http` compiles the level `trace` of the crate `log` out of the whole program, at which
/// ureq writes all that it sends.
///
/// ```no_run
/// use llm_data::generate::{OpenAiClient, OpenAiOptions};
///
/// # fn main() -> llm_data::Result<()> {
/// let mut options = OpenAiOptions::new("https://api.openai.com/v1");
/// options.api_key = std::env::var("OPENAI_API_KEY").ok().map(Into::into);
/// options.requests_per_minute = std::num::NonZeroU32::new(500);
/// let client = OpenAiClient::new(options)?;
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
pub struct OpenAiClient {
    agent: ureq::Agent,
    url: Uri,
    shown_url: String,
    authorization: Option<(HeaderName, HeaderValue)>,
    redactor: Redactor,
    max_body_bytes: u64,
    max_tokens_field: String,
    limit: RateLimit,
}

impl std::fmt::Debug for OpenAiClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiClient")
            .field("url", &self.shown_url)
            .finish_non_exhaustive()
    }
}

/// How much of an error's body is read.
const ERROR_BODY_BYTES: u64 = 64 << 10;

impl OpenAiClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Option`] for an address or a key that HTTP cannot carry.
    pub fn new(options: OpenAiOptions) -> Result<Self> {
        let url = completions_url(&options.base_url)?;
        let redactor = Redactor::new(&url, options.api_key.as_ref());
        let authorization = authorization(&options)?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(options.connect_timeout))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            shown_url: shown_url(&url),
            url,
            authorization,
            redactor,
            max_body_bytes: options.max_body_bytes,
            max_tokens_field: options.max_tokens_field,
            limit: RateLimit::new(options.requests_per_minute, options.tokens_per_minute),
        })
    }

    fn post(&self, body: Vec<u8>) -> std::result::Result<Vec<u8>, ModelError> {
        let mut request = self.agent.post(self.url.clone());
        request = request.header("content-type", "application/json");
        if let Some((name, value)) = &self.authorization {
            request = request.header(name, value.clone());
        }
        let mut response = request.send(body).map_err(|error| self.transport(&error))?;
        let status = response.status();
        if status == StatusCode::OK {
            let body = response.body_mut().with_config().limit(self.max_body_bytes);
            return body.read_to_vec().map_err(|error| self.transport(&error));
        }
        let mut text = Vec::new();
        let reader = response.body_mut().as_reader();
        // What the server says is a help only: a broken text says less, not something else.
        let _ = reader.take(ERROR_BODY_BYTES).read_to_end(&mut text);
        Err(self.refusal(status, response.headers(), &text))
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ModelError {
        let (message, code) = wire::error_text(body);
        let number = status.as_u16();
        let kind = match number {
            // Money does not come back by waiting.
            429 if code.as_deref() == Some("insufficient_quota") => ModelErrorKind::Refused(429),
            429 => ModelErrorKind::RateLimited,
            408 | 409 | 425 | 500..=599 => ModelErrorKind::Server(number),
            _ => ModelErrorKind::Refused(number),
        };
        let mut error = self.error(kind, &message);
        error.retry_after = retry_after(headers);
        error
    }

    fn transport(&self, error: &ureq::Error) -> ModelError {
        let kind = match error {
            ureq::Error::Timeout(_) => ModelErrorKind::Timeout,
            ureq::Error::BodyExceedsLimit(_) => ModelErrorKind::BodyTooLarge,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Tls(_) => {
                ModelErrorKind::Connect
            }
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                ModelErrorKind::Connect
            }
            ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                ModelErrorKind::Timeout
            }
            ureq::Error::Io(_) | ureq::Error::Protocol(_) => ModelErrorKind::Interrupted,
            _ => ModelErrorKind::Other,
        };
        self.error(kind, &error.to_string())
    }

    fn error(&self, kind: ModelErrorKind, message: &str) -> ModelError {
        ModelError::new(kind, self.redactor.message(message))
    }
}

impl ChatModel for OpenAiClient {
    fn ask(&self, request: &ChatRequest) -> std::result::Result<ChatReply, ModelError> {
        let body = wire::body(request, &self.max_tokens_field)
            .map_err(|error| self.error(ModelErrorKind::Other, &error.to_string()))?;
        let bound = Spent::bound(request).usage;
        self.limit
            .wait(prompt_tokens(request).saturating_add(bound.completion_tokens));
        let body = self.post(body)?;
        wire::reply(&body, request.sampling.logprobs)
            .map_err(|message| self.error(ModelErrorKind::Malformed, &message))
    }

    fn endpoint(&self) -> String {
        self.shown_url.clone()
    }

    fn identity(&self) -> String {
        let (url, shown) = (self.url.to_string(), self.shown_url.clone());
        match url == shown {
            true => shown,
            false => format!("{shown}#{}", blake3::hash(url.as_bytes())),
        }
    }
}

fn completions_url(base_url: &str) -> Result<Uri> {
    // The address may hold a password, and one that cannot be parsed cannot be redacted.
    let wrong = |expected| Error::option("base_url", expected, "another");
    let (path, query) = match base_url.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (base_url, String::new()),
    };
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix("/chat/completions").unwrap_or(path);
    let url = format!("{path}/chat/completions{query}");
    let url: Uri = url
        .parse()
        .map_err(|_| wrong("an address such as https://host/v1"))?;
    match (url.scheme_str(), url.authority()) {
        _ if holds_secret(&url) => Err(wrong("one without password or key; they go into api_key")),
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err(wrong("an address that begins with http:// or https://")),
    }
}

/// The key's header, marked as sensitive.
fn authorization(options: &OpenAiOptions) -> Result<Option<(HeaderName, HeaderValue)>> {
    let Some(key) = &options.api_key else {
        return Ok(None);
    };
    let wrong = |field, expected| Error::option(field, expected, "others");
    let name = HeaderName::from_bytes(options.api_key_header.as_bytes())
        .map_err(|_| wrong("api_key_header", "a header's name"))?;
    let prefix = if name == "authorization" {
        "Bearer "
    } else {
        ""
    };
    let mut value = HeaderValue::from_str(&format!("{prefix}{}", key.expose_secret()))
        .map_err(|_| wrong("api_key", "printable characters in one line"))?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// OpenAI's `retry-after-ms`, or `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name| text(name)?.parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|number| number / 1e3);
    match seconds.or_else(|| number("retry-after")) {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => {
            let date = httpdate::parse_http_date(text("retry-after")?).ok()?;
            // One that has passed asks for no wait.
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}
