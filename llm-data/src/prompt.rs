//! Prompt templates: what stands around instructions and answers.

mod alpaca;
mod code;
mod fields;
mod model;
mod registry;
mod separators;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::chat::{ChatOptions, ChatTemplate};
use crate::error::{Error, Result};
use crate::prompt::alpaca::Alpaca;
use crate::prompt::code::{CHATML_END, VICUNA_END, VICUNA_SYSTEM, chatml, vicuna};
use crate::prompt::fields::Entry;
use crate::prompt::registry::Registry;
use crate::prompt::separators::{Eos, Separated};
use crate::record::{Dialogue, Message, Role, Turn};
use crate::special::{Specials, unused_mark};
use crate::tokenizer::Tokenizer;

/// How a conversation is written down for the model.
///
/// Those of the Alpaca kind end each answer with the tokenizer's end-of-sequence token; most others
/// end it with a token of their own. Each template is shown with an example in
/// `docs/data-format.md`. All but `chatml`, `vicuna` and `model` are data, in the format of the
/// files that [`from_file`](Self::from_file) reads.
#[derive(Debug, Clone)]
pub struct Template(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Alpaca(Arc<Alpaca>),
    Separated(Arc<Separated>),
    Chatml,
    Vicuna,
    Model(Arc<Jinja>),
}

/// A chat template with what it is given beside the messages.
#[derive(Debug, Clone)]
struct Jinja {
    name: String,
    chat: ChatTemplate,
    /// Whether the tokens for the beginning and the end of a sequence are still the tokenizer's to
    /// name.
    open: [bool; 2],
    tools: Option<Value>,
}

/// Tokens that the templates here write; special wherever a tokenizer has added them.
pub(crate) const BUILT_IN_TOKENS: [&str; 3] = ["<|im_start|>", CHATML_END, VICUNA_END];

/// A stretch of a rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Template text, in which people's special-token text is marked.
    pub(crate) text: String,
    /// Whether the assistant says it.
    pub(crate) supervised: bool,
    /// Whether the tokenizer's end-of-sequence token follows the text.
    pub(crate) ends: bool,
    /// The reply that it belongs to, counted from 0 in the dialogue: an answer or a call.
    pub(crate) reply: usize,
}

/// A rendered conversation and the mark in it.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) segments: Vec<Segment>,
    pub(crate) mark: char,
    /// Whether the tokenizer may put its beginning-of-sequence token in front.
    pub(crate) bos: bool,
    /// Replies before those of the last turn.
    pub(crate) earlier: usize,
    /// The reply that is being written.
    reply: usize,
}

impl Rendered {
    fn new(dialogue: &Dialogue<'_>, mark: char) -> Self {
        Self {
            segments: Vec::new(),
            mark,
            bos: true,
            earlier: dialogue.replies(dialogue.turns.len().saturating_sub(1)),
            reply: 0,
        }
    }

    fn context(&mut self, text: impl Into<String>) {
        self.segments.push(Segment {
            text: text.into(),
            supervised: false,
            ends: false,
            reply: self.reply,
        });
    }

    fn answer(&mut self, text: impl Into<String>, ends: bool) {
        self.segments.push(Segment {
            text: text.into(),
            supervised: true,
            ends,
            reply: self.reply,
        });
    }
}

impl Template {
    /// The names that [`by_name`](Self::by_name) knows.
    pub const NAMES: [&'static str; 16] = [
        "alpaca",
        "alpaca-lora",
        "alpaca-zh",
        "chatml",
        "vicuna",
        "model",
        "qlora",
        "chinese-alpaca",
        "vicuna_v1.1",
        "llama-2",
        "chinese-alpaca2",
        "baize",
        "stable-vicuna",
        "metharme",
        "belle",
        "pygmalion",
    ];

    /// The template of a name; `model` is the chat template that comes with `tokenizer`.
    ///
    /// # Errors
    /// [`Error::UnknownTemplate`] with the known names; for `model` those of
    /// [`model`](Self::model).
    pub fn by_name(name: &str, tokenizer: &Tokenizer) -> Result<Self> {
        match name {
            "chatml" => Ok(Self(Kind::Chatml)),
            "vicuna" => Ok(Self(Kind::Vicuna)),
            "model" => Self::model(tokenizer),
            _ => Self::built_in(name),
        }
    }

    fn built_in(name: &str) -> Result<Self> {
        let entry = Registry::built_in()?.entry(name);
        let entry = entry.ok_or_else(|| Error::UnknownTemplate {
            name: name.to_owned(),
            known: Self::NAMES.join(", "),
        })?;
        Ok(Self::from_entry(name, entry?))
    }

    /// A template of a file of one's own: JSON, or YAML where it is named `.yaml` or `.yml`. The file
    /// holds an array of templates, an object with such an array under `templates`, or one template.
    /// A file named `.jinja` is one chat template, named as the file without the ending.
    ///
    /// A template has a `name` and either FastChat's fields (`system_template`, `system_message`,
    /// `roles`, `messages`, `offset`, `sep_style`, `sep`, `sep2`, `stop_str`, `stop_token_ids`; and
    /// `eos`, after which answers the tokenizer's end-of-sequence token follows: `never`, `each` or
    /// `last`; and `bos`, false where no beginning-of-sequence token comes first), or a
    /// `chat_template` (Jinja, with `bos_token` and `eos_token`, by default the tokenizer's), or
    /// Alpaca's (`preamble`, `preamble_with_input`, `instruction`, `input`, `response`).
    ///
    /// The stop ids of the template that the tokenizer does not have are passed over.
    ///
    /// ```
    /// use llm_data::{Message, Role, Template};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("mine.yaml");
    /// # std::fs::write(&path, "
    /// # - {name: mine, system_message: Hi., roles: [Q, A], sep_style: ADD_COLON_SINGLE, sep: \"\\n\"}
    /// # ")?;
    /// let template = Template::from_file(&path, "mine")?;
    /// let text = template.text(&[Message::new(Role::User, "1+1?")])?;
    /// assert_eq!(text, "Hi.\nQ: 1+1?\nA:");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] and [`Error::Yaml`] for the file as a whole;
    /// [`Error::TemplateNotInFile`]; [`Error::UnknownSeparatorStyle`] and [`Error::TemplateEntry`]
    /// for the template, and for all of them where one has no name;
    /// [`Error::ChatTemplateSyntax`].
    pub fn from_file(path: impl AsRef<Path>, name: &str) -> Result<Self> {
        let registry = Registry::read(path.as_ref())?;
        let entry = registry
            .entry(name)
            .ok_or_else(|| Error::TemplateNotInFile {
                path: path.as_ref().to_owned(),
                name: name.to_owned(),
                known: registry.names(),
            })?;
        Ok(Self::from_entry(name, entry?))
    }

    /// The names of the templates in a file, in its order.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file) for the file as a whole.
    pub fn names_in_file(path: impl AsRef<Path>) -> Result<Vec<String>> {
        Ok(Registry::read(path.as_ref())?.names())
    }

    fn from_entry(name: &str, entry: Entry) -> Self {
        Self(match entry {
            Entry::Alpaca(texts) => Kind::Alpaca(Arc::new(texts)),
            Entry::Separated(fields) => Kind::Separated(Arc::new(fields)),
            Entry::Jinja(chat, tokens) => Kind::Model(Arc::new(Jinja {
                name: name.to_owned(),
                chat,
                open: tokens.map(|token| token.is_none()),
                tools: None,
            })),
        })
    }

    /// The checkpoint's own chat template.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`], [`Error::NoDefaultTemplate`] where there are several and none is
    /// the default, or [`Error::ChatTemplateSyntax`] where it cannot be parsed.
    pub fn model(tokenizer: &Tokenizer) -> Result<Self> {
        let Some(source) = tokenizer.chat_template() else {
            if !tokenizer.named_templates().is_empty() {
                return Err(Error::NoDefaultTemplate {
                    path: tokenizer.path().with_file_name("tokenizer_config.json"),
                    names: tokenizer.named_templates().to_vec(),
                });
            }
            return Err(Error::NoChatTemplate {
                path: tokenizer.path().to_owned(),
            });
        };
        let [bos, eos] = ends(tokenizer);
        Ok(Self(Kind::Model(Arc::new(Jinja {
            name: "model".to_owned(),
            chat: ChatTemplate::new(source, &bos, &eos)?,
            open: [false; 2],
            tools: None,
        }))))
    }

    /// The same template with tools that the assistant may call, as JSON: what a chat template finds
    /// under `tools`, in training and in generation, in conversations that have none of their own.
    ///
    /// # Errors
    /// [`Error::Option`] where the template is no chat template, or the tools are no array.
    pub fn with_tools(&self, tools: Value) -> Result<Self> {
        let bad = |expected, got: &str| Error::option("tools", expected, got);
        let Kind::Model(jinja) = &self.0 else {
            return Err(bad("a chat template", self.name()));
        };
        if !tools.is_array() {
            return Err(bad("an array", crate::record::type_name(&tools)));
        }
        let tools = Some(tools);
        Ok(Self(Kind::Model(Arc::new(Jinja {
            tools,
            ..Jinja::clone(jinja)
        }))))
    }

    /// The same template with the tokenizer's tokens where it names none of its own.
    pub(crate) fn bind(self, tokenizer: &Tokenizer) -> Self {
        match self.0 {
            Kind::Model(jinja) if jinja.open.contains(&true) => {
                let mut jinja = Arc::unwrap_or_clone(jinja);
                let [bos, eos] = ends(tokenizer);
                let open = std::mem::take(&mut jinja.open);
                jinja.chat = jinja
                    .chat
                    .with_tokens(open[0].then_some(bos), open[1].then_some(eos));
                Self(Kind::Model(Arc::new(jinja)))
            }
            _ => self,
        }
    }

    /// The template for a checkpoint when none is named: its own where it has one, else `alpaca`.
    ///
    /// # Errors
    /// Those of [`model`](Self::model) where it has one that cannot be used.
    pub fn default_for(tokenizer: &Tokenizer) -> Result<Self> {
        match Self::model(tokenizer) {
            Err(Error::NoChatTemplate { .. }) => Self::built_in("alpaca"),
            own => own,
        }
    }

    /// The template's name: one of [`NAMES`](Self::NAMES), or that in its file.
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Alpaca(texts) => &texts.name,
            Kind::Separated(fields) => &fields.name,
            Kind::Chatml => "chatml",
            Kind::Vicuna => "vicuna",
            Kind::Model(jinja) => &jinja.name,
        }
    }

    /// All that makes up the template, as text: two templates of the same definition write the same.
    /// To be hashed, where one must know later which it was.
    pub fn definition(&self) -> String {
        let parts = match &self.0 {
            Kind::Alpaca(texts) => [
                texts.preamble.as_str(),
                &texts.preamble_with_input,
                &texts.instruction,
                texts.input.as_deref().unwrap_or_default(),
                &texts.response,
            ]
            .join("\n"),
            Kind::Separated(fields) => fields.source.clone(),
            Kind::Chatml => ["<|im_start|>", CHATML_END].join("\n"),
            Kind::Vicuna => [VICUNA_SYSTEM, VICUNA_END].join("\n"),
            Kind::Model(jinja) => jinja.definition(),
        };
        format!("{}\n{parts}", self.name())
    }

    /// The texts that end an answer, for tokenizers that have no token for them; empty where answers
    /// end with the tokenizer's own end-of-sequence token.
    pub fn stop_strings(&self) -> Vec<&str> {
        match &self.0 {
            Kind::Alpaca(_) | Kind::Model(_) => Vec::new(),
            Kind::Separated(fields) => fields.stop_str.iter().map(String::as_str).collect(),
            Kind::Chatml => vec![CHATML_END],
            Kind::Vicuna => vec![VICUNA_END],
        }
    }

    /// The stops that a template's file names beside what the template writes: texts and ids.
    pub(crate) fn extra_stops(&self) -> (&[String], &[u32]) {
        match &self.0 {
            Kind::Separated(fields) => (&fields.stop_str, &fields.stop_token_ids),
            _ => (&[], &[]),
        }
    }

    /// Whether answers end with the tokenizer's end-of-sequence token.
    pub(crate) fn needs_eos(&self) -> bool {
        match &self.0 {
            Kind::Alpaca(_) => true,
            Kind::Separated(fields) => fields.eos != Eos::Never,
            _ => false,
        }
    }

    /// The text of a conversation as the template writes it; up to where generation goes on, where
    /// the last message is the user's. An end-of-sequence token that only the tokenizer can name is
    /// not in it. FastChat's `get_prompt`.
    ///
    /// # Errors
    /// [`Error::Conversation`] for an order of messages that no template knows, [`Error::NoCalls`]
    /// for calls of functions in a template that has no place for them, and what a chat template
    /// refuses.
    pub fn text(&self, messages: &[Message]) -> Result<String> {
        if let Kind::Model(jinja) = &self.0 {
            let asks = |last: &Message| matches!(last.role, Role::User | Role::Observation);
            let options = ChatOptions {
                add_generation_prompt: messages.last().is_some_and(asks),
                tools: jinja.tools.as_ref(),
            };
            return Ok(jinja.chat.render_with(messages, options)?.text);
        }
        let dialogue = Dialogue::from_messages(messages)?;
        self.check_calls(&dialogue)?;
        if let Kind::Separated(fields) = &self.0
            && let Some(text) = fields.whole(&dialogue)
        {
            return Ok(text);
        }
        let rendered = self.render(&dialogue, &Specials::new([]))?;
        let texts = rendered.segments.into_iter().map(|segment| segment.text);
        Ok(texts.collect())
    }

    /// Writes a conversation down. The text before an answer is what the same conversation
    /// without that answer and what follows gives.
    pub(crate) fn render(&self, dialogue: &Dialogue<'_>, specials: &Specials) -> Result<Rendered> {
        if let Kind::Model(jinja) = &self.0 {
            return model::render(jinja, dialogue, specials);
        }
        self.check_calls(dialogue)?;
        let source = match &self.0 {
            Kind::Separated(fields) => fields.source.as_str(),
            _ => "",
        };
        let mark = unused_mark(dialogue.texts().chain([source]));
        let mut out = Rendered::new(dialogue, mark);
        let guard = |text: &str| specials.guard(text, mark).into_owned();
        match &self.0 {
            Kind::Alpaca(texts) => texts.write(dialogue, guard, &mut out),
            Kind::Separated(fields) => fields.write(dialogue, specials, guard, &mut out),
            Kind::Chatml => chatml(dialogue, guard, &mut out),
            Kind::Vicuna => vicuna(dialogue, guard, &mut out),
            // Written above.
            Kind::Model(_) => {}
        }
        Ok(out)
    }

    /// Calls of functions are for chat templates.
    fn check_calls(&self, dialogue: &Dialogue<'_>) -> Result<()> {
        match dialogue.turns.iter().find(|turn| !turn.calls.is_empty()) {
            Some(_) => Err(Error::NoCalls {
                template: self.name().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Whether it is a chat template, which may have a place for tools and their calls.
    pub(crate) fn is_chat(&self) -> bool {
        matches!(self.0, Kind::Model(_))
    }
}

impl Jinja {
    /// The template and its tools, as text.
    fn definition(&self) -> String {
        let source = self.chat.source();
        match &self.tools {
            Some(tools) => format!("{source}\n{tools}"),
            None => source.to_owned(),
        }
    }
}

/// The tokenizer's tokens for the beginning and the end of a sequence, as text.
fn ends(tokenizer: &Tokenizer) -> [String; 2] {
    let token = |id: Option<u32>| id.and_then(|id| tokenizer.token(id));
    [tokenizer.bos_id(), tokenizer.eos_id()].map(|id| token(id).unwrap_or_default())
}

impl<'a> Dialogue<'a> {
    fn texts(&self) -> impl Iterator<Item = &'a str> + Clone {
        let turns = self.turns.clone().into_iter();
        self.system.into_iter().chain(turns.flat_map(|turn| {
            [
                turn.instruction,
                turn.input,
                turn.answer.unwrap_or_default(),
            ]
        }))
    }
}

/// The user's message in chat templates: the instruction, and the input on the line below.
pub(crate) fn user_text(turn: &Turn<'_>) -> String {
    match turn.input {
        "" => turn.instruction.to_owned(),
        input => format!("{}\n{input}", turn.instruction),
    }
}
