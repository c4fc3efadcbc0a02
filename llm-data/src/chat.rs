//! Chat templates: the Jinja text that comes with a checkpoint.
//!
//! A template is a program that somebody else wrote, so it runs within limits: steps, recursion,
//! and bytes of text and lists that are made or looked at on the way and written out.

mod bounded;
mod clock;
mod functions;
mod generation;
pub(crate) mod messages;
mod work;

use std::io;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context};
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::record::Message;

pub(crate) use clock::today;

/// Steps of the engine for one rendering: some fifty a message in real templates.
const MAX_STEPS: u64 = 400_000;
/// The stack that a rendering runs on. Within its steps a template can nest a list some 80 000
/// levels deep, and to write or drop such a value the engine recurses as deep.
const STACK_BYTES: usize = 256 << 20;
/// Nesting of macros and recursive loops.
const MAX_DEPTH: usize = 100;
/// Bytes of text that a rendering may make on the way, and that it may write out.
const MAX_TEXT: usize = 64 << 20;
/// The longest template source.
const MAX_SOURCE: usize = 1 << 20;

const NAME: &str = "chat";

/// A compiled chat template.
///
/// Renders as transformers' `apply_chat_template` does: `trim_blocks` and `lstrip_blocks`, loop
/// controls, the methods of Python's strings and dictionaries, `raise_exception`, `strftime_now`
/// (in UTC), a `tojson` that does not escape, `{% generation %}` blocks.
///
/// A [`Role::FunctionCall`](crate::Role) is an assistant's message with `tool_calls` there, and one of
/// the assistant right before it is its `content`; a [`Role::Observation`](crate::Role) has the role
/// `tool`.
///
/// ```
/// use llm_data::{ChatTemplate, Message, Role};
///
/// # fn main() -> llm_data::Result<()> {
/// let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}";
/// let template = ChatTemplate::new(source, "<s>", "</s>")?;
/// let text = template.render(&[Message::new(Role::User, "Hi")], false)?;
/// assert_eq!(text, "user: Hi</s>");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    marks_generation: bool,
    bos_token: String,
    eos_token: String,
}

/// What a rendering is given beside the messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChatOptions<'a> {
    /// Whether the beginning of the next reply is written, in templates that have one.
    pub add_generation_prompt: bool,
    /// The tools that the assistant may call: what the template finds under `tools`.
    pub tools: Option<&'a Json>,
}

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatText {
    /// The text.
    pub text: String,
    /// What of it stands in `{% generation %}` blocks, in bytes and in order.
    pub generation: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Compiles a template's source. `bos_token` and `eos_token` are what it finds under those
    /// names; empty where the tokenizer has none.
    ///
    /// # Errors
    /// [`Error::ChatTemplateSyntax`] with the line; [`Error::ChatTemplateLimit`] for a source of
    /// more than 1 MiB.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        if source.len() > MAX_SOURCE {
            return Err(Error::ChatTemplateLimit {
                limit: "1 MiB of source",
            });
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(syntax_error)?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_recursion_limit(MAX_DEPTH);
        functions::register(&mut environment);
        work::register(&mut environment);
        let bounded = bounded::rewrite(source);
        let marks_generation = bounded.contains(generation::FILTER);
        environment
            .add_template_owned(NAME, bounded)
            .map_err(syntax_error)?;
        Ok(Self {
            environment,
            source: source.to_owned(),
            marks_generation,
            bos_token: bos_token.to_owned(),
            eos_token: eos_token.to_owned(),
        })
    }

    /// The source as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes the messages down; with `add_generation_prompt`, also the beginning of the next
    /// reply, in templates that have one.
    ///
    /// # Errors
    /// [`Error::ChatTemplateRefused`] with the message of the template's `raise_exception`,
    /// [`Error::ChatTemplateLimit`] for endless loops, recursion and strings,
    /// [`Error::ChatTemplateFailed`] for everything else; [`Error::Conversation`] for a function's
    /// call that is no JSON of one.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let options = ChatOptions {
            add_generation_prompt,
            tools: None,
        };
        self.render_apart(&messages::messages(messages, 1)?, options, None)
    }

    /// Writes the messages down as [`render`](Self::render) does, with tools, and says what of the
    /// text stands in `{% generation %}` blocks: what transformers' `return_assistant_tokens_mask`
    /// marks.
    ///
    /// ```
    /// use llm_data::{ChatOptions, ChatTemplate, Message, Role};
    ///
    /// # fn main() -> llm_data::Result<()> {
    /// let source = "{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }}\
    ///               {% endgeneration %}{% endfor %}";
    /// let template = ChatTemplate::new(source, "", "")?;
    /// let messages = [Message::new(Role::Assistant, "Hi")];
    /// let rendered = template.render_with(&messages, ChatOptions::default())?;
    /// assert_eq!(&rendered.text[rendered.generation[0].clone()], "Hi");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`render`](Self::render).
    pub fn render_with(&self, messages: &[Message], options: ChatOptions<'_>) -> Result<ChatText> {
        self.render_json(&messages::messages(messages, 1)?, options)
    }

    /// As [`render_with`](Self::render_with), of messages in transformers' terms.
    pub(crate) fn render_json(
        &self,
        messages: &[Json],
        options: ChatOptions<'_>,
    ) -> Result<ChatText> {
        if !self.marks_generation {
            let text = self.render_apart(messages, options, None)?;
            return Ok(ChatText {
                text,
                generation: Vec::new(),
            });
        }
        let mut texts = vec![self.source()];
        for value in messages.iter().chain(options.tools) {
            messages::strings(value, &mut texts);
        }
        let marks = generation::marks(texts.into_iter());
        let marked = self.render_apart(messages, options, Some(marks))?;
        let (text, generation) = generation::take(&marked, marks);
        Ok(ChatText { text, generation })
    }

    /// Whether the template has `{% generation %}` blocks.
    pub fn marks_generation(&self) -> bool {
        self.marks_generation
    }

    /// The same template with other tokens where they are given.
    pub(crate) fn with_tokens(self, bos: Option<String>, eos: Option<String>) -> Self {
        Self {
            bos_token: bos.unwrap_or(self.bos_token),
            eos_token: eos.unwrap_or(self.eos_token),
            ..self
        }
    }

    /// Renders on a thread of its own, whose stack is large.
    fn render_apart(
        &self,
        messages: &[Json],
        options: ChatOptions<'_>,
        marks: Option<[char; 2]>,
    ) -> Result<String> {
        let failed = |reason: &str| Error::ChatTemplateFailed {
            line: 0,
            reason: reason.to_owned(),
        };
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || self.render_here(messages, options, marks))
                .map_err(|error| failed(&format!("no thread to render on: {error}")))?;
            worker
                .join()
                .unwrap_or_else(|_| Err(failed("the template engine panicked")))
        })
    }

    fn render_here(
        &self,
        messages: &[Json],
        options: ChatOptions<'_>,
        marks: Option<[char; 2]>,
    ) -> Result<String> {
        let values = context! {
            messages => messages.iter().map(value).collect::<Value>(),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
            tools => options.tools.map(value),
            documents => (),
            _generation_marks => marks.map(String::from_iter),
        };
        let mut output = Capped(Vec::new());
        let template = self.environment.get_template(NAME).map_err(render_error)?;
        template
            .render_captured_to(values, &mut output)
            .map_err(render_error)?;
        // The engine writes whole strings, so these bytes are UTF-8.
        Ok(String::from_utf8_lossy(&output.0).into_owned())
    }
}

fn value(json: &Json) -> Value {
    Value::from(Serde(json))
}

/// Output that ends at a limit instead of filling the memory.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::Error::other(functions::TooMuchText));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn message(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn syntax_error(error: minijinja::Error) -> Error {
    Error::ChatTemplateSyntax {
        line: error.line().unwrap_or(0),
        reason: message(&error),
    }
}

fn render_error(error: minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(this) = cause {
        if let Some(functions::Raised(message)) = this.downcast_ref() {
            return Error::ChatTemplateRefused {
                message: message.clone(),
            };
        }
        let io_cause = this
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if this.is::<functions::TooMuchText>()
            || io_cause.is_some_and(|inner| inner.is::<functions::TooMuchText>())
        {
            return Error::ChatTemplateLimit {
                limit: "64 MiB of text",
            };
        }
        if let Some(engine) = this.downcast_ref::<minijinja::Error>() {
            if engine.kind() == ErrorKind::OutOfFuel {
                return Error::ChatTemplateLimit {
                    limit: "400 000 steps",
                };
            }
            if engine.detail() == Some("recursion limit exceeded") {
                return Error::ChatTemplateLimit {
                    limit: "a recursion of 100 levels",
                };
            }
        }
        cause = this.source();
    }
    Error::ChatTemplateFailed {
        line: error.line().unwrap_or(0),
        reason: message(&error),
    }
}
