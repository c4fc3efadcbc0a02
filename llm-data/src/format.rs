//! The formats of data files, and the one record that holds what all of them hold.

mod chat_text;
mod fields;
mod loss;
mod read;
pub(crate) mod tool_calls;
mod write;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::load::Problems;
use crate::record::{Conversation, Message, size_of_map, type_name};

pub use loss::Loss;
pub(crate) use read::{alpaca_record, seed_task, sharegpt};

/// A format of data files. Each record is one JSON value (or one row of a Parquet file).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// `{instruction, input, output, system, history: [[question, answer], …]}`; BELLE 1M and 2M.
    Alpaca,
    /// `{id, conversations: [{from, value}, …], tools, system}`; of Vicuna, FastChat, BELLE.
    ShareGpt,
    /// `{messages: [{role, content, tool_calls, weight}, …], tools}`.
    OpenAi,
    /// `{input: [question, …], output: [answer, …]}`.
    ChineseVicuna,
    /// `{prompt, response, source}`.
    Gpt4All,
    /// `{text}` with `Name's Persona: …`, a line `<START>` and lines `You: …` and `Name: …`.
    Pygmalion,
    /// `{text}`, or a text a line in a file `.txt`: for pre-training.
    Text,
    /// `{conversations, chosen: {from, value}, rejected: {from, value}}`; of LLaMA-Factory.
    Preference,
    /// `{prompt, chosen, rejected}`, each a text or a list of `{role, content}`; of TRL.
    PreferencePrompt,
    /// BELLE 0.5M: `{instruction, input, target}`, mostly without instruction.
    Belle,
    /// BELLE multiturn 0.8M: Alpaca whose instruction is `Human:…\nAssistant:…\nHuman:…\nAssistant:`.
    BelleMultiturn,
    /// `{id, name, instruction, instances: [{input, output}, …]}`. The first instance is the
    /// conversation; others stay in the record's field `instances`.
    SelfInstruct,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 12] = [
        Self::Alpaca,
        Self::ShareGpt,
        Self::OpenAi,
        Self::ChineseVicuna,
        Self::Gpt4All,
        Self::Pygmalion,
        Self::Text,
        Self::Preference,
        Self::PreferencePrompt,
        Self::Belle,
        Self::BelleMultiturn,
        Self::SelfInstruct,
    ];

    /// The format's name, such as `alpaca`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::ShareGpt => "sharegpt",
            Self::OpenAi => "openai",
            Self::ChineseVicuna => "chinese-vicuna",
            Self::Gpt4All => "gpt4all",
            Self::Pygmalion => "pygmalion",
            Self::Text => "text",
            Self::Preference => "preference",
            Self::PreferencePrompt => "preference-prompt",
            Self::Belle => "belle",
            Self::BelleMultiturn => "belle-multiturn",
            Self::SelfInstruct => "self-instruct",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    /// [`Error::UnknownFormatName`].
    ///
    /// ```
    /// assert_eq!(llm_data::Format::by_name("sharegpt")?, llm_data::Format::ShareGpt);
    /// # Ok::<(), llm_data::Error>(())
    /// ```
    pub fn by_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| Error::UnknownFormatName {
            name: name.to_owned(),
            known: Self::names(),
        })
    }

    /// The format of a record, told by its fields; none where they are no format's.
    pub fn detect(record: &Value) -> Option<Self> {
        let has = |field: &str| record.get(field).is_some();
        let text = |field: &str| record.get(field).and_then(Value::as_str);
        let list = |field: &str| record.get(field).is_some_and(Value::is_array);
        Some(if has("chosen") && has("rejected") {
            match (has("conversations"), has("prompt") || list("chosen")) {
                (true, _) => Self::Preference,
                (false, true) => Self::PreferencePrompt,
                (false, false) => return None,
            }
        } else if has("conversations") {
            Self::ShareGpt
        } else if has("messages") {
            Self::OpenAi
        } else if has("instances") {
            Self::SelfInstruct
        } else if list("input") && list("output") {
            Self::ChineseVicuna
        } else if has("prompt") && has("response") {
            Self::Gpt4All
        } else if has("target") {
            Self::Belle
        } else if let Some(instruction) = text("instruction") {
            if chat_text::is_multiturn(instruction) {
                Self::BelleMultiturn
            } else {
                Self::Alpaca
            }
        } else if has("instruction") {
            Self::Alpaca
        } else if text("text").is_some_and(chat_text::is_pygmalion) {
            Self::Pygmalion
        } else if has("text") {
            Self::Text
        } else {
            return None;
        })
    }

    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// What stands in a record of no format, for a message.
    pub(crate) fn describe(record: &Value) -> String {
        const SHOWN: usize = 10;
        match record {
            Value::Object(fields) => {
                let names = fields.keys().take(SHOWN).map(String::as_str);
                let names: Vec<&str> = names.collect();
                format!("its fields: {}", names.join(", "))
            }
            other => type_name(other).to_owned(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The levels of arrays and objects that the JSON parser reads.
const MAX_DEPTH: usize = 127;

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(values) => values.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

/// A record of any format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// What a conversation or an instruction with its answer is.
    Conversation(Conversation),
    /// A conversation with a better and a worse answer.
    Preference(Box<Preference>),
    /// A text to learn as it is.
    Text(Document),
}

/// A conversation that waits for an answer, a better one and a worse one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// What both answer.
    pub conversation: Conversation,
    /// The better answer.
    pub chosen: Message,
    /// The worse answer.
    pub rejected: Message,
}

/// A plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The file's name for it.
    pub id: Option<String>,
    /// The text.
    pub text: String,
    /// The record's other fields.
    pub extra: Map<String, Value>,
}

impl Record {
    /// The record as JSON in `format`, and what it loses there.
    ///
    /// Nothing is assumed about losses: what is written is read again and compared. Fields that a
    /// format has no place for are kept as fields of their own. Not counted as losses: other names
    /// of the same role, `null` in place of nothing, the writing of JSON within texts of calls.
    ///
    /// # Errors
    /// [`Error::CannotConvert`] where the format has no place for such a record at all, or nests it
    /// deeper than the JSON parser reads.
    ///
    /// ```
    /// use llm_data::{Conversation, Format, Loss, Message, Record, Role};
    ///
    /// let messages = vec![
    ///     Message::new(Role::System, "Be brief."),
    ///     Message::new(Role::User, "Hi"),
    ///     Message::new(Role::Assistant, "Hello."),
    /// ];
    /// let record = Record::Conversation(Conversation::from(messages));
    /// let (json, losses) = record.to_json(Format::Alpaca)?;
    /// assert_eq!(json["system"], "Be brief.");
    /// assert!(losses.is_empty());
    /// let (json, losses) = record.to_json(Format::Gpt4All)?;
    /// assert_eq!(json.to_string(), r#"{"prompt":"Hi","response":"Hello."}"#);
    /// assert!(losses.into_iter().eq([Loss::System]));
    /// # Ok::<(), llm_data::Error>(())
    /// ```
    pub fn to_json(&self, format: Format) -> Result<(Value, BTreeSet<Loss>)> {
        let cannot = |what| Error::CannotConvert {
            what,
            format: format.name(),
        };
        let value = write::write(self, format).map_err(cannot)?;
        if depth(&value) > MAX_DEPTH {
            return Err(cannot("what is nested in more than 127 levels"));
        }
        let again = Self::read(value.clone(), format, true);
        let again = again.map_err(|_| cannot("what could not be read again"))?;
        Ok((value, loss::between(self, &again)))
    }

    /// About the bytes that it takes in memory.
    pub fn size(&self) -> usize {
        match self {
            Self::Conversation(conversation) => conversation.size(),
            Self::Preference(preference) => {
                let answers = [&preference.chosen, &preference.rejected];
                preference.conversation.size() + answers.map(Message::size).iter().sum::<usize>()
            }
            Self::Text(document) => {
                let id = document.id.as_ref().map_or(0, String::len);
                size_of_val(document) + id + document.text.len() + size_of_map(&document.extra)
            }
        }
    }

    /// Reads a record, with every problem that it has.
    pub(crate) fn read(
        value: Value,
        format: Format,
        lenient: bool,
    ) -> std::result::Result<Self, Problems> {
        read::read(value, format, lenient)
    }
}
