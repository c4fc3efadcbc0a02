//! The protocol's JSON, as servers that call themselves compatible write it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{ChatReply, ChatRequest, Choice, FinishReason, Usage};
use crate::record::Message;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    temperature: f64,
    top_p: f64,
    #[serde(skip_serializing_if = "is_one")]
    n: u32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

/// The request's body. Fields of `extra` stand beside the others; `null` there leaves one out that
/// the server does not take.
pub(crate) fn body(request: &ChatRequest, max_tokens_field: &str) -> serde_json::Result<Vec<u8>> {
    let sampling = &request.sampling;
    let body = Body {
        model: &request.model,
        messages: &request.messages,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        n: request.n,
        stop: &sampling.stop,
        seed: sampling.seed,
        others: Map::from_iter([(max_tokens_field.to_owned(), sampling.max_tokens.into())]),
    };
    let mut body = serde_json::to_value(&body)?;
    if let Some(fields) = body.as_object_mut() {
        for (name, value) in &sampling.extra {
            match value {
                Value::Null => fields.shift_remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
    }
    serde_json::to_vec(&body)
}

/// The reply in a body, or what is wrong with it.
pub(crate) fn reply(body: &[u8]) -> Result<ChatReply, String> {
    let reply: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| format!("{error}; it begins with {}", beginning(body)))?;
    // Fields are looked at one by one, so that an odd one spoils itself only.
    let field = |name: &str| reply.get(name).unwrap_or(&Value::Null);
    if !field("error").is_null() {
        return Err(format!(
            "the server says: {}",
            error_value(field("error")).0
        ));
    }
    let choices = field("choices")
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if choices.is_empty() {
        return Err(format!("no choices; it begins with {}", beginning(body)));
    }
    let mut choices = choices.iter().enumerate().map(|(place, value)| {
        let index = value["index"].as_u64().unwrap_or(place as u64);
        Some((index, choice(value)?))
    });
    let choices: Option<Vec<_>> = choices.by_ref().collect();
    let mut choices =
        choices.ok_or_else(|| format!("no text; it begins with {}", beginning(body)))?;
    choices.sort_by_key(|(index, _)| *index);
    Ok(ChatReply {
        choices: choices.into_iter().map(|(_, choice)| choice).collect(),
        usage: usage(field("usage")),
    })
}

fn choice(value: &Value) -> Option<Choice> {
    let finish_reason = match value["finish_reason"].as_str() {
        Some("stop" | "eos" | "eos_token" | "stop_sequence" | "end_turn") => FinishReason::Stop,
        Some("length" | "max_tokens") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        other => FinishReason::Other(other.unwrap_or_default().to_owned()),
    };
    let text = match (&value["message"]["content"], &value["text"]) {
        (Value::String(text), _) | (_, Value::String(text)) => text.clone(),
        (Value::Array(parts), _) => parts
            .iter()
            .filter_map(|part| part.as_str().or(part["text"].as_str()))
            .collect(),
        (_, _) if finish_reason == FinishReason::ContentFilter => String::new(),
        // A model that spent all its tokens on hidden reasoning has no content.
        (Value::Null, _) if finish_reason == FinishReason::Length => String::new(),
        _ => return None,
    };
    Some(Choice {
        text,
        finish_reason,
    })
}

/// Counts, where both are there; some servers write them as floating-point numbers.
fn usage(value: &Value) -> Option<Usage> {
    let count = |name: &str| {
        let value = &value[name];
        // The cast saturates.
        value
            .as_u64()
            .or_else(|| value.as_f64().map(|count| count as u64))
    };
    Some(Usage {
        prompt_tokens: count("prompt_tokens")?,
        completion_tokens: count("completion_tokens")?,
    })
}

/// What an error's body says: the message and the code.
pub(crate) fn error_text(body: &[u8]) -> (String, Option<String>) {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.is_object() => {
            let named = value.get("error").or_else(|| value.get("detail"));
            error_value(named.unwrap_or(&value))
        }
        _ => (beginning(body), None),
    }
}

fn error_value(error: &Value) -> (String, Option<String>) {
    let message = error.as_str().or_else(|| error["message"].as_str());
    let message = message.map_or_else(|| error.to_string(), str::to_owned);
    let code = error["code"].as_str().or_else(|| error["type"].as_str());
    (message, code.map(str::to_owned))
}

/// As much of a body as is looked at for a message; the redactor shortens it.
fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(8 << 10)]).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{error_text, reply};

    fn values() -> impl Strategy<Value = Value> {
        let leaves = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
        ];
        let names = prop::sample::select(vec![
            "choices",
            "message",
            "content",
            "text",
            "usage",
            "prompt_tokens",
            "completion_tokens",
            "error",
            "code",
            "index",
            "finish_reason",
        ]);
        leaves.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..4).prop_map(|fields| {
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect()
                }),
            ]
        })
    }

    proptest! {
        /// Whatever a server sends, there is a reply with a choice, or a reason.
        #[test]
        fn any_json_is_a_reply_or_an_error(
            value in values(), choices in prop::collection::vec(values(), 0..3), usage in values(),
        ) {
            let whole = json!({"choices": choices, "usage": usage});
            for body in [value.to_string(), whole.to_string()] {
                match reply(body.as_bytes()) {
                    Ok(reply) => prop_assert!(!reply.choices.is_empty()),
                    Err(reason) => prop_assert!(!reason.is_empty()),
                }
                error_text(body.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_a_reply_or_an_error(body in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(reply(&body).is_err());
            error_text(&body);
        }
    }
}
