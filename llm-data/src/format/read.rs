//! From the JSON of each format to a record.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::{Document, Format, Preference, Record, chat_text, tool_calls};
use crate::issue::Reason;
use crate::load::Problems;
use crate::record::{AlpacaRecord, Conversation, Message, Role, type_name};

pub(super) fn read(value: Value, format: Format, lenient: bool) -> Result<Record, Problems> {
    of_object(value, lenient, |fields| match format {
        Format::Text => {
            let text = fields.required("text");
            Record::Text(Document {
                id: fields.take_text("id"),
                text,
                extra: fields.rest(),
            })
        }
        Format::Preference => preference(fields, "conversations"),
        Format::PreferencePrompt => preference(fields, "prompt"),
        other => Record::Conversation(conversation(fields, other)),
    })
}

/// A ShareGPT conversation.
pub(crate) fn sharegpt(value: Value) -> Result<Conversation, Problems> {
    of_object(value, false, |fields| {
        conversation(fields, Format::ShareGpt)
    })
}

/// An Alpaca record; fields that are not its own are passed over.
pub(crate) fn alpaca_record(value: Value) -> Result<AlpacaRecord, Problems> {
    of_object(value, false, alpaca)
}

/// A Self-Instruct task by its first instance.
pub(crate) fn seed_task(value: Value) -> Result<AlpacaRecord, Problems> {
    of_object(value, false, |fields| {
        let Ok([question, answer]) = <[Message; 2]>::try_from(seed(fields)) else {
            // There are problems then.
            return AlpacaRecord::default();
        };
        let (instruction, input) = question.instruction_and_input();
        AlpacaRecord {
            instruction: instruction.to_owned(),
            input: input.to_owned(),
            output: answer.content,
            ..AlpacaRecord::default()
        }
    })
}

fn of_object<T>(
    value: Value,
    lenient: bool,
    read: impl FnOnce(&mut Fields) -> T,
) -> Result<T, Problems> {
    let map = object(value).map_err(|reason| vec![(String::new(), reason)])?;
    let mut fields = Fields::new(map, String::new(), lenient);
    let record = read(&mut fields);
    if fields.problems.is_empty() {
        Ok(record)
    } else {
        Err(fields.problems)
    }
}

fn object(value: Value) -> Result<Map<String, Value>, Reason> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(Reason::WrongType {
            expected: "an object",
            got: type_name(&other),
        }),
    }
}

fn conversation(fields: &mut Fields, format: Format) -> Conversation {
    let (list, messages) = match format {
        Format::ShareGpt => ("conversations", messages(fields, "conversations")),
        Format::OpenAi => ("messages", messages(fields, "messages")),
        Format::ChineseVicuna => ("input", lists(fields)),
        Format::Gpt4All => ("", pair(fields, "prompt", "response")),
        Format::Pygmalion => ("text", pygmalion(fields)),
        Format::Belle => ("", belle(fields)),
        Format::BelleMultiturn => ("instruction", belle_multiturn(fields)),
        Format::SelfInstruct => ("", seed(fields)),
        _ => ("", Conversation::from(alpaca(fields)).messages),
    };
    if fields.problems.is_empty() && !fields.lenient && !list.is_empty() {
        check(fields, list, &messages, format);
    }
    finish(fields, messages)
}

/// The conversation of these messages, with the fields that are left.
fn finish(fields: &mut Fields, messages: Vec<Message>) -> Conversation {
    let tools = match fields.take("tools") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(json @ (Value::Array(_) | Value::Object(_))) => Some(json.to_string()),
        Some(other) => {
            fields.wrong_type("tools", "an array or a string", &other);
            None
        }
    };
    Conversation {
        id: fields.take_text("id"),
        messages,
        tools,
        extra: fields.rest(),
    }
}

fn alpaca(fields: &mut Fields) -> AlpacaRecord {
    let mut record = AlpacaRecord {
        system: fields.optional("system"),
        instruction: fields.required("instruction"),
        input: fields.optional("input").unwrap_or_default(),
        output: fields.required("output"),
        history: Vec::new(),
    };
    let history = match fields.take("history") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(rows)) => rows,
        Some(other) => {
            fields.wrong_type("history", "an array", &other);
            Vec::new()
        }
    };
    for (index, row) in history.into_iter().enumerate() {
        let place = format!("history[{index}]");
        let sides: Result<[Value; 2], Value> = match row {
            Value::Array(sides) => sides.try_into().map_err(Value::Array),
            other => Err(other),
        };
        match sides {
            Ok([question, answer]) => {
                let question = fields.text(&format!("{place}[0]"), question);
                let answer = fields.text(&format!("{place}[1]"), answer);
                record.history.push((question, answer));
            }
            Err(other) => fields.wrong_type(&place, "an array of two strings", &other),
        }
    }
    record
}

fn system(fields: &mut Fields) -> Vec<Message> {
    let system = fields.optional("system").into_iter();
    system
        .map(|text| Message::new(Role::System, text))
        .collect()
}

fn pair(fields: &mut Fields, question: &str, answer: &str) -> Vec<Message> {
    vec![
        Message::new(Role::User, fields.required(question)),
        Message::new(Role::Assistant, fields.required(answer)),
    ]
}

/// `instruction`, `input` and `target`, of which one of the first two may be absent.
fn belle(fields: &mut Fields) -> Vec<Message> {
    let question = match fields.optional("instruction") {
        Some(instruction) => Message::asking(instruction, fields.optional("input")),
        None => Message::new(Role::User, fields.required("input")),
    };
    let answer = Message::new(Role::Assistant, fields.required("target"));
    vec![question, answer]
}

fn belle_multiturn(fields: &mut Fields) -> Vec<Message> {
    let mut messages = system(fields);
    let instruction = fields.required("instruction");
    let input = fields.optional("input");
    let mut turns = chat_text::multiturn(&instruction);
    if let (Some(input), Some(last)) = (input, turns.last_mut()) {
        *last = Message::asking(std::mem::take(&mut last.content), Some(input));
    }
    messages.extend(turns);
    messages.push(Message::new(Role::Assistant, fields.required("output")));
    messages
}

/// `input` and `output`, a list each.
fn lists(fields: &mut Fields) -> Vec<Message> {
    let questions = fields.texts("input");
    let answers = fields.texts("output");
    let (left, right) = (questions.len(), answers.len());
    if left != right {
        fields.problem("input", Reason::Lengths { left, right });
    }
    let pairs = questions.into_iter().zip(answers);
    let turns = pairs.map(|(question, answer)| {
        [
            Message::new(Role::User, question),
            Message::new(Role::Assistant, answer),
        ]
    });
    turns.flatten().collect()
}

/// The first instance; the others stay.
fn seed(fields: &mut Fields) -> Vec<Message> {
    let instruction = fields.required("instruction");
    let mut instances = fields.list("instances");
    if instances.is_empty() {
        return Vec::new();
    }
    let first = instances.remove(0);
    let mut first = match object(first) {
        Ok(map) => Fields::new(map, "instances[0].".to_owned(), fields.lenient),
        Err(reason) => {
            fields.problem("instances[0]", reason);
            return Vec::new();
        }
    };
    let question = Message::asking(instruction, first.optional("input"));
    let mut answer = Message::new(Role::Assistant, first.required("output"));
    answer.extra = first.rest();
    fields.problems.append(&mut first.problems);
    if !instances.is_empty() {
        fields.put("instances", instances.into());
    }
    vec![question, answer]
}

fn pygmalion(fields: &mut Fields) -> Vec<Message> {
    let text = fields.required("text");
    if !fields.problems.is_empty() {
        return Vec::new();
    }
    let character = fields.take_text("character");
    let chat = chat_text::pygmalion(&text, character.as_deref());
    let Some(turns) = chat.messages else {
        fields.problem("text", Reason::NoSpeaker);
        return Vec::new();
    };
    if chat.character != chat_text::CHARACTER {
        fields.put("character", chat.character.into());
    }
    let persona = chat.persona.into_iter();
    let mut messages: Vec<Message> = persona
        .map(|persona| Message::new(Role::System, persona))
        .collect();
    messages.extend(turns);
    messages
}

/// The prompt in `list`, and two answers.
fn preference(fields: &mut Fields, list: &str) -> Record {
    let mut prompt = match fields.get(list) {
        Some(Value::String(_)) if list == "prompt" => {
            vec![Message::new(Role::User, fields.required(list))]
        }
        None if list == "prompt" => Vec::new(),
        _ => messages(fields, list),
    };
    let absent = prompt.is_empty();
    let mut answer = |name: &'static str| {
        let (before, answer) = answer(fields, name);
        if absent && name == "chosen" {
            prompt.clone_from(&before);
        } else if !before.is_empty() && before != prompt {
            fields.problem(name, Reason::OddOrder);
        }
        answer
    };
    let (chosen, rejected) = (answer("chosen"), answer("rejected"));
    if fields.problems.is_empty() && !fields.lenient {
        match order(&prompt, true, false) {
            Some((_, reason)) if prompt.is_empty() => fields.problem(list, reason),
            Some((at, reason)) => fields.problem(&format!("{list}[{at}]"), reason),
            None => {}
        }
    }
    Record::Preference(Box::new(Preference {
        conversation: finish(fields, prompt),
        chosen,
        rejected,
    }))
}

/// An answer, and what stands before it where it comes as a list.
fn answer(fields: &mut Fields, name: &str) -> (Vec<Message>, Message) {
    let none = || (Vec::new(), Message::new(Role::Assistant, ""));
    let (before, answer) = match fields.get(name) {
        Some(Value::Array(_)) => {
            let mut before = messages(fields, name);
            match before.pop() {
                Some(answer) => (before, answer),
                None => return none(),
            }
        }
        Some(Value::Object(_)) => match fields.take(name) {
            Some(value) => match message(fields, name, value) {
                Some(answer) => (Vec::new(), answer),
                None => return none(),
            },
            None => return none(),
        },
        _ => (
            Vec::new(),
            Message::new(Role::Assistant, fields.required(name)),
        ),
    };
    if !matches!(answer.role, Role::Assistant | Role::FunctionCall) && !fields.lenient {
        fields.problem(name, Reason::OddOrder);
    }
    (before, answer)
}

/// A list of messages; a field `system` is the first one.
fn messages(fields: &mut Fields, list: &str) -> Vec<Message> {
    let rows = fields.list(list).into_iter().enumerate();
    let mut messages: Vec<Message> = rows
        .filter_map(|(index, row)| message(fields, &format!("{list}[{index}]"), row))
        .collect();
    if fields.get("system").is_none_or(Value::is_string) && !matches!(list, "chosen" | "rejected") {
        messages.splice(0..0, system(fields));
    }
    tool_calls::forget_ids(&mut messages);
    messages
}

/// A message as `{from, value}` or as `{role, content}`.
fn message(fields: &mut Fields, place: &str, row: Value) -> Option<Message> {
    let map = match object(row) {
        Ok(map) => map,
        Err(reason) => {
            fields.problem(place, reason);
            return None;
        }
    };
    let mut own = Fields::new(map, format!("{place}."), fields.lenient);
    let message = speech(&mut own);
    fields.problems.append(&mut own.problems);
    message
}

fn speech(own: &mut Fields) -> Option<Message> {
    let (from, value) = match own.has("role") && !own.has("from") {
        true => ("role", "content"),
        false => ("from", "value"),
    };
    let name = own.required(from);
    let role = role(&name);
    if role.is_none() && !name.trim().is_empty() {
        own.problem(from, Reason::NoSuchRole(name));
    }
    let calls = if value == "content" && role == Some(Role::Assistant) {
        calls(own)
    } else {
        None
    };
    let mut message = match calls {
        Some((text, ids)) => {
            let mut message = Message::new(Role::FunctionCall, text);
            if let Some(said) = own.optional("content") {
                message.extra.insert("content".to_owned(), said.into());
            }
            if ids.iter().any(|id| !id.is_null()) {
                tool_calls::note_ids(&mut message.extra, ids);
            }
            message
        }
        None => Message::new(role.unwrap_or(Role::User), own.required(value)),
    };
    message.loss = match own.get("weight").and_then(Value::as_u64) {
        Some(weight @ (0 | 1)) => own.take("weight").map(|_| weight == 1),
        _ => None,
    };
    message.extra.extend(own.rest());
    role.map(|_| message)
}

/// Takes a message's calls of functions: their text and ids.
fn calls(own: &mut Fields) -> Option<(String, Vec<Value>)> {
    if let Some(found) = own.get("tool_calls").and_then(tool_calls::text) {
        own.take("tool_calls");
        return Some(found);
    }
    let function = own.get("function_call").and_then(tool_calls::function)?;
    own.take("function_call");
    Some((function.to_string(), Vec::new()))
}

/// The roles of ShareGPT, FastChat's cleaning, LLaMA-Factory and OpenAI.
fn role(name: &str) -> Option<Role> {
    Some(match name {
        "system" | "developer" => Role::System,
        "human" | "user" => Role::User,
        "gpt" | "assistant" | "chatgpt" | "bing" | "bard" => Role::Assistant,
        "function_call" => Role::FunctionCall,
        "observation" | "tool" | "function" => Role::Observation,
        _ => return None,
    })
}

fn check(fields: &mut Fields, list: &str, messages: &[Message], format: Format) {
    let greets = format == Format::Pygmalion;
    let Some((at, reason)) = order(messages, false, greets) else {
        return;
    };
    let numbered = matches!(format, Format::ShareGpt | Format::OpenAi) && at < messages.len();
    if numbered {
        fields.problem(&format!("{list}[{at}]"), reason);
    } else {
        fields.problem(list, reason);
    }
}

/// What is wrong with the order of the speakers, and at which message: one system message at most,
/// then user and assistant by turns, and between them calls, each followed by what it gave. With
/// `open` the last word is not the assistant's; with `greets` the assistant may speak first.
fn order(messages: &[Message], open: bool, greets: bool) -> Option<(usize, Reason)> {
    let first_is_system = messages
        .first()
        .is_some_and(|first| first.role == Role::System);
    let start = usize::from(first_is_system);
    let mut before: Option<Role> = None;
    for (at, message) in messages.iter().enumerate().skip(start) {
        let fits = match message.role {
            Role::System => false,
            Role::User => matches!(before, None | Some(Role::Assistant)),
            Role::Assistant | Role::FunctionCall => match before {
                None if !greets => return Some((at, Reason::StartsWithAssistant)),
                None | Some(Role::User | Role::Observation) => true,
                _ => false,
            },
            Role::Observation => {
                matches!(before, Some(Role::FunctionCall | Role::Observation))
            }
        };
        if !fits {
            return Some((at, Reason::OddOrder));
        }
        before = Some(message.role);
    }
    let answered = matches!(before, Some(Role::Assistant | Role::FunctionCall));
    (answered == open || before.is_none()).then_some((messages.len(), Reason::OddOrder))
}
