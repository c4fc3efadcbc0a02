//! Calls of functions: OpenAI's `tool_calls` and the one text of ShareGPT's `function_call`.

use serde_json::{Map, Value, json};

use crate::record::{Message, Role};

/// The ids of a message's calls, where they are not the ones that [`id`] gives.
const IDS: &str = "tool_call_ids";

/// The id of a call where the record has none: that of the call in its message.
fn id(message: usize, call: usize) -> String {
    format!("call_{message}_{call}")
}

/// A message's calls as the text of a [`Role::FunctionCall`], and their ids; none where `calls` are
/// no calls of functions, or hold more than that.
pub(super) fn text(calls: &Value) -> Option<(String, Vec<Value>)> {
    let calls = calls.as_array().filter(|calls| !calls.is_empty())?;
    let mut ids = Vec::with_capacity(calls.len());
    let mut functions = Vec::with_capacity(calls.len());
    for call in calls {
        let call = call.as_object()?;
        let known = |key: &String| matches!(key.as_str(), "id" | "type" | "function");
        if !call.keys().all(known) || call.get("type").is_some_and(|kind| kind != "function") {
            return None;
        }
        ids.push(call.get("id").cloned().unwrap_or(Value::Null));
        functions.push(function(call.get("function")?)?);
    }
    let one = functions.len() == 1;
    let text = match functions.pop() {
        Some(function) if one => function.to_string(),
        last => {
            functions.extend(last);
            Value::Array(functions).to_string()
        }
    };
    Some((text, ids))
}

/// `{name, arguments}` with the arguments as JSON where they are an object's text.
pub(super) fn function(function: &Value) -> Option<Value> {
    let function = function.as_object().filter(|fields| fields.len() == 2)?;
    let (name, arguments) = (function.get("name")?.as_str()?, function.get("arguments")?);
    let parsed = arguments.as_str().and_then(|text| {
        let value: Value = serde_json::from_str(text).ok()?;
        value.is_object().then_some(value)
    });
    let arguments = parsed.unwrap_or_else(|| arguments.clone());
    Some(json!({"name": name, "arguments": arguments}))
}

/// A message's calls as chat templates take them: arguments as JSON, ids where the record has them;
/// none where the text is no JSON of calls, or holds more than that.
pub(crate) fn for_templates(message: &Message) -> Option<Vec<Value>> {
    let ids = message.extra.get(IDS).and_then(Value::as_array);
    let call = |(number, value): (usize, &Value)| {
        let mut call = Map::new();
        let id = ids.and_then(|ids| ids.get(number));
        if let Some(id) = id.filter(|id| id.is_string()) {
            call.insert("id".to_owned(), id.clone());
        }
        call.insert("type".to_owned(), "function".into());
        call.insert("function".to_owned(), function(value)?);
        Some(Value::Object(call))
    };
    let values = match serde_json::from_str(&message.content).ok()? {
        Value::Array(values) if !values.is_empty() => values,
        value => vec![value],
    };
    values.iter().enumerate().map(call).collect()
}

/// The calls of a [`Role::FunctionCall`]'s text: names and arguments.
fn calls(text: &str) -> Option<Vec<(String, String)>> {
    let call = |value: &Value| {
        let arguments = match value.get("arguments")? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((value.get("name")?.as_str()?.to_owned(), arguments))
    };
    match serde_json::from_str(text).ok()? {
        Value::Array(values) if !values.is_empty() => values.iter().map(call).collect(),
        value @ Value::Object(_) => Some(vec![call(&value)?]),
        _ => None,
    }
}

/// `tool_calls` of a message; none where its text is no JSON of calls.
pub(super) fn to_json(index: usize, message: &Message) -> Option<Value> {
    let calls = calls(&message.content)?;
    let ids = message.extra.get(IDS).and_then(Value::as_array);
    let call = |(number, (name, arguments)): (usize, (String, String))| {
        let given = ids.and_then(|ids| ids.get(number)).cloned();
        let id = given.unwrap_or_else(|| id(index, number).into());
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    };
    Some(calls.into_iter().enumerate().map(call).collect())
}

/// Notes the ids of a message's calls.
pub(super) fn note_ids(extra: &mut Map<String, Value>, ids: Vec<Value>) {
    extra.insert(IDS.to_owned(), Value::Array(ids));
}

/// The fields of a call's message that are written in other places.
pub(super) fn is_written(field: &str) -> bool {
    matches!(field, IDS | "content")
}

/// The id that belongs to each observation: that of the call which it answers.
pub(super) fn answered(messages: &[Message]) -> Vec<Option<Value>> {
    let mut open: Vec<Value> = Vec::new();
    let mut ids = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let mut own = None;
        match message.role {
            Role::FunctionCall => {
                let count = calls(&message.content).map_or(0, |calls| calls.len());
                open = match message.extra.get(IDS) {
                    Some(Value::Array(given)) => given.clone(),
                    _ => (0..count).map(|call| id(index, call).into()).collect(),
                };
                open.reverse();
            }
            Role::Observation => own = open.pop(),
            _ => open.clear(),
        }
        ids.push(own);
    }
    ids
}

/// Takes away the ids that say nothing: those that writing would give.
pub(super) fn forget_ids(messages: &mut [Message]) {
    for (message, id) in answered(messages).into_iter().enumerate() {
        let extra = &mut messages[message].extra;
        if id.is_some() && extra.get("tool_call_id") == id.as_ref() {
            extra.shift_remove("tool_call_id");
        }
    }
    for (index, message) in messages.iter_mut().enumerate() {
        let given = message.extra.get(IDS).and_then(Value::as_array);
        let said = given.is_some_and(|ids| {
            let mut ids = ids.iter().enumerate();
            ids.any(|(call, given)| *given != id(index, call))
        });
        if !said {
            message.extra.shift_remove(IDS);
        }
    }
}
