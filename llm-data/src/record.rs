//! Instruction records and conversations, as they stand in data files.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// One Alpaca record (<https://github.com/tatsu-lab/stanford_alpaca>, with the `system` and
/// `history` of LLaMA-Factory).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlpacaRecord {
    /// What the user asks for. Never empty in a loaded record.
    pub instruction: String,
    /// What the instruction is about; may be empty.
    #[serde(default)]
    pub input: String,
    /// The answer to learn. Never empty in a loaded record.
    pub output: String,
    /// A system text of the record's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Earlier turns, oldest first: what the user said, what the assistant answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<(String, String)>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The frame of the conversation.
    System,
    /// The one who asks.
    User,
    /// The one who answers, and whose words are learned.
    Assistant,
    /// The assistant calls a function: a JSON object `{name, arguments}`, or an array of them.
    FunctionCall,
    /// What a function gave back.
    Observation,
}

impl Role {
    /// The name: `system`, `user`, `assistant`, `function_call`, `observation`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::FunctionCall => "function_call",
            Self::Observation => "observation",
        }
    }
}

/// One message of a conversation, as chat templates take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text. Of an Alpaca record it is the instruction and, on the next line, the input.
    pub content: String,
    /// Whether its words are learned, where the file says so (`weight` 1 or 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<bool>,
    /// The message's other fields. `input` says which end of the content is an Alpaca record's input.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            loss: None,
            extra: Map::new(),
        }
    }

    /// A user message: instruction and, on the next line, input.
    pub(crate) fn asking(instruction: String, input: Option<String>) -> Self {
        let Some(input) = input.filter(|input| !input.is_empty()) else {
            return Self::new(Role::User, instruction);
        };
        let mut message = Self::new(Role::User, format!("{instruction}\n{input}"));
        message.extra.insert("input".to_owned(), input.into());
        message
    }

    /// Whether the field `input` says where the content divides; others may have a field of that name.
    pub(crate) fn has_input(&self) -> bool {
        !self.instruction_and_input().1.is_empty()
    }

    /// Marks this end of the content as the input, after the content has changed; nothing, where it is no
    /// such end.
    pub(crate) fn mark_input(&mut self, input: &str) {
        self.extra.insert("input".to_owned(), input.into());
        if !self.has_input() {
            self.extra.shift_remove("input");
        }
    }

    /// Instruction and input: the content, divided where the field `input` says so; without one the
    /// input is empty.
    pub fn instruction_and_input(&self) -> (&str, &str) {
        let input = self.extra.get("input").and_then(Value::as_str);
        let divided = input.filter(|input| !input.is_empty()).and_then(|input| {
            let instruction = self.content.strip_suffix(input)?.strip_suffix('\n')?;
            Some((instruction, input))
        });
        divided.unwrap_or((&self.content, ""))
    }
}

/// A conversation: at most one system message, then user and assistant by turns, with calls of
/// functions and what they gave back between them where there are any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The file's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// The functions that the assistant may call, mostly a JSON array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
    /// The record's other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Conversation {
    /// About the bytes that it takes in memory.
    pub fn size(&self) -> usize {
        let texts = [&self.id, &self.tools].into_iter().flatten();
        let messages = self.messages.iter();
        size_of_val(self)
            + texts.map(String::len).sum::<usize>()
            + size_of_map(&self.extra)
            + messages.map(Message::size).sum::<usize>()
    }
}

impl Message {
    pub(crate) fn size(&self) -> usize {
        size_of_val(self) + self.content.len() + size_of_map(&self.extra)
    }
}

pub(crate) fn size_of_map(map: &Map<String, Value>) -> usize {
    let fields = map.iter();
    fields
        .map(|(name, value)| 2 * size_of_val(value) + name.len() + size_of_value(value))
        .sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values
            .iter()
            .map(|value| size_of_val(value) + size_of_value(value))
            .sum(),
        Value::Object(map) => size_of_map(map),
    }
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Self {
        Self {
            messages,
            ..Self::default()
        }
    }
}

impl From<AlpacaRecord> for Conversation {
    /// The same dialogue; an input is marked as one.
    fn from(record: AlpacaRecord) -> Self {
        let system = record.system.map(|text| Message::new(Role::System, text));
        let mut messages: Vec<Message> = system.into_iter().collect();
        for (question, answer) in record.history {
            messages.push(Message::new(Role::User, question));
            messages.push(Message::new(Role::Assistant, answer));
        }
        messages.push(Message::asking(record.instruction, Some(record.input)));
        messages.push(Message::new(Role::Assistant, record.output));
        Self::from(messages)
    }
}

/// One question and, unless it is still to be generated, its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn<'a> {
    pub(crate) instruction: &'a str,
    pub(crate) input: &'a str,
    /// What stands between question and answer: calls of functions, what they gave, words before calls.
    pub(crate) calls: &'a [Message],
    /// The number of the first of `calls` in the conversation, from 1.
    pub(crate) first_call: usize,
    pub(crate) answer: Option<&'a str>,
}

impl Turn<'_> {
    /// Whether nothing is to be said any more: there is an answer, or a call for one.
    pub(crate) fn is_answered(&self) -> bool {
        let calls = self.calls.last();
        self.answer.is_some() || calls.is_some_and(|last| last.role == Role::FunctionCall)
    }

    /// How often the assistant speaks: calls and answer.
    pub(crate) fn replies(&self) -> usize {
        let calls = self.calls.iter();
        let calls = calls.filter(|message| message.role == Role::FunctionCall);
        calls.count() + usize::from(self.answer.is_some())
    }
}

/// What the templates are filled with: the one view of records and conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialogue<'a> {
    pub(crate) system: Option<&'a str>,
    /// The tools of the conversation's own, as chat templates take them.
    pub(crate) tools: Option<&'a Value>,
    pub(crate) turns: Vec<Turn<'a>>,
}

impl<'a> Dialogue<'a> {
    /// The record's turns; input and system text of white space alone count as none.
    pub(crate) fn from_record(record: &'a AlpacaRecord) -> Self {
        let history = record.history.iter().map(|(question, answer)| Turn {
            instruction: question,
            answer: Some(answer),
            ..Turn::default()
        });
        let last = Turn {
            instruction: &record.instruction,
            input: said(&record.input).unwrap_or_default(),
            answer: Some(&record.output),
            ..Turn::default()
        };
        Self {
            system: record.system.as_deref().and_then(said),
            tools: None,
            turns: history.chain([last]).collect(),
        }
    }

    /// The turns of `messages`: a system message or none, then user and assistant by turns, user
    /// first, with calls of functions and what they gave between. The last turn may lack its answer.
    pub(crate) fn from_messages(messages: &'a [Message]) -> Result<Self> {
        check_order(messages)?;
        let first = messages.first().filter(|first| first.role == Role::System);
        let asks = |message: &Message| message.role == Role::User;
        let mut turns = Vec::new();
        let mut place = usize::from(first.is_some());
        while let Some((question, behind)) = messages[place..].split_first() {
            let next = behind.iter().position(asks).unwrap_or(behind.len());
            let (calls, answer) = match behind[..next].split_last() {
                Some((last, calls)) if last.role == Role::Assistant => {
                    (calls, Some(&*last.content))
                }
                _ => (&behind[..next], None),
            };
            let (instruction, input) = question.instruction_and_input();
            turns.push(Turn {
                instruction,
                input,
                calls,
                first_call: place + 2,
                answer,
            });
            place += 1 + next;
        }
        Ok(Self {
            system: first.and_then(|first| said(&first.content)),
            tools: None,
            turns,
        })
    }

    /// The same dialogue without its last answer and the calls before it: what generation starts from.
    pub(crate) fn unanswered(mut self) -> Self {
        if let Some(turn) = self.turns.last_mut() {
            (turn.calls, turn.answer) = (&[], None);
        }
        self
    }

    /// How often the assistant speaks in the first turns.
    pub(crate) fn replies(&self, turns: usize) -> usize {
        self.turns.iter().take(turns).map(Turn::replies).sum()
    }
}

/// Whether the messages stand in an order that templates know, and begin with a question.
fn check_order(messages: &[Message]) -> Result<()> {
    let expected = |before: Option<Role>| match before {
        None | Some(Role::System | Role::Assistant) => "user",
        Some(Role::User | Role::Observation) => "assistant",
        Some(Role::FunctionCall) => "observation",
    };
    let mut before = None;
    for (index, message) in messages.iter().enumerate() {
        let asked = matches!(before, Some(Role::User | Role::Observation));
        let called = matches!(before, Some(Role::FunctionCall | Role::Observation));
        let fits = match message.role {
            Role::System => index == 0,
            Role::User => !asked && before != Some(Role::FunctionCall),
            Role::Assistant => asked,
            // The assistant may say something before it calls.
            Role::FunctionCall => asked || before == Some(Role::Assistant),
            Role::Observation => called,
        };
        if !fits {
            return Err(Error::Conversation {
                message: index + 1,
                expected: expected(before),
                got: message.role.as_str(),
            });
        }
        before = Some(message.role);
    }
    match before {
        None | Some(Role::System) => Err(Error::Conversation {
            message: messages.len() + 1,
            expected: "user",
            got: "nothing",
        }),
        _ => Ok(()),
    }
}

/// The text, unless it is white space alone.
pub(crate) fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty())
}

pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
