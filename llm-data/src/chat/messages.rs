//! Messages and tools as transformers' chat templates know them.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::format::tool_calls;
use crate::record::{Message, Role, type_name};

/// The messages in transformers' terms. A call of functions is an assistant's message with
/// `tool_calls`, and with the assistant's words before it where there are any; what a function gave
/// back is a message of the role `tool`, with the function's name where that is known. `first` is
/// the number of the first message, for errors.
pub(crate) fn messages(messages: &[Message], first: usize) -> Result<Vec<Value>> {
    let mut values = Vec::with_capacity(messages.len());
    // The last calls; how many of them are answered.
    let (mut calls, mut answered) = (Vec::new(), 0);
    let mut words = None;
    for (index, message) in messages.iter().enumerate() {
        let behind = &messages[index + 1..];
        match message.role {
            Role::Assistant if behind.first().is_some_and(is_call) => {
                words = Some(message.content.as_str());
            }
            Role::FunctionCall => {
                calls = tool_calls::for_templates(message).ok_or(Error::Conversation {
                    message: first + index,
                    expected: "a JSON object {name, arguments} or an array of them",
                    got: "another text",
                })?;
                answered = 0;
                values.push(call(message, words.take(), &calls));
            }
            Role::Observation => {
                let run = behind.iter().take_while(|next| is_result(next));
                let known = answered + 1 + run.count() == calls.len();
                values.push(result(message, calls.get(answered).filter(|_| known)));
                answered += usize::from(known);
            }
            role => values.push(said(role.as_str(), &message.content)),
        }
    }
    Ok(values)
}

/// A message that only says something.
pub(crate) fn said(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

fn is_call(message: &Message) -> bool {
    message.role == Role::FunctionCall
}

fn is_result(message: &Message) -> bool {
    message.role == Role::Observation
}

/// Without words there is no `content`, as in transformers' documentation.
fn call(message: &Message, before: Option<&str>, calls: &[Value]) -> Value {
    let own = message.extra.get("content").and_then(Value::as_str);
    let words: Vec<&str> = before.into_iter().chain(own).collect();
    let mut map = Map::new();
    map.insert("role".to_owned(), "assistant".into());
    if !words.is_empty() {
        map.insert("content".to_owned(), words.join("\n").into());
    }
    map.insert("tool_calls".to_owned(), calls.into());
    Value::Object(map)
}

/// The name is the message's own, or that of the call: the one with its id, or in its place.
fn result(message: &Message, call: Option<&Value>) -> Value {
    let mut map = Map::new();
    map.insert("role".to_owned(), "tool".into());
    let own = message.extra.get("name").filter(|name| name.is_string());
    if let Some(name) = own.or(call.map(|call| &call["function"]["name"])) {
        map.insert("name".to_owned(), name.clone());
    }
    let id = message.extra.get("tool_call_id");
    if let Some(id) = id.or_else(|| call.and_then(|call| call.get("id"))) {
        map.insert("tool_call_id".to_owned(), id.clone());
    }
    map.insert("content".to_owned(), message.content.clone().into());
    Value::Object(map)
}

/// The tools of a record as transformers passes them on: an array of `{type: "function", function}`,
/// into which bare functions are wrapped; none where the text is blank or the array empty.
pub(crate) fn tools(text: &str) -> Result<Option<Value>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let wrong = |got: &str| Error::option("tools", "a JSON array of functions", got);
    let tools = match serde_json::from_str(text) {
        Ok(Value::Array(tools)) => tools,
        Ok(tool @ Value::Object(_)) => vec![tool],
        Ok(other) => return Err(wrong(type_name(&other))),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    if let Some(other) = tools.iter().find(|tool| !tool.is_object()) {
        return Err(wrong(&format!("{} in the array", type_name(other))));
    }
    let wrapped = |tool: Value| match tool.get("name") {
        Some(_) => json!({"type": "function", "function": tool}),
        None => tool,
    };
    let tools: Vec<Value> = tools.into_iter().map(wrapped).collect();
    Ok(Some(Value::Array(tools)).filter(|tools| *tools != json!([])))
}

/// All texts and names in a value.
pub(crate) fn strings<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(fields) => {
            for (name, value) in fields {
                out.push(name);
                strings(value, out);
            }
        }
        _ => {}
    }
}
