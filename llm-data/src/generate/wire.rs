//! The protocol's JSON, as servers that call themselves compatible write it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::model::{
    Alternative, ChatReply, ChatRequest, Choice, FinishReason, TokenLogprob, Usage,
};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

/// The request's body. Fields of `extra` and `optional` stand beside the others; `null` there leaves one out that
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
        logprobs: sampling.logprobs.map(|_| true),
        top_logprobs: sampling.logprobs,
        others: Map::from_iter([(max_tokens_field.to_owned(), sampling.max_tokens.into())]),
    };
    let mut body = serde_json::to_value(&body)?;
    if let Some(fields) = body.as_object_mut() {
        for (name, value) in sampling.extra.iter().chain(&sampling.optional) {
            match value {
                Value::Null => fields.shift_remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
    }
    serde_json::to_vec(&body)
}

/// The reply in a body, with up to `alternatives` to each token where they were asked for, or what is
/// wrong with it.
pub(crate) fn reply(body: &[u8], alternatives: Option<u8>) -> Result<ChatReply, String> {
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
        Some((index, choice(value, alternatives)?))
    });
    let choices: Option<Vec<_>> = choices.by_ref().collect();
    let mut choices =
        choices.ok_or_else(|| format!("no text; it begins with {}", beginning(body)))?;
    choices.sort_by_key(|(index, _)| *index);
    Ok(ChatReply {
        choices: choices.into_iter().map(|(_, choice)| choice).collect(),
        usage: usage(field("usage")),
        optional_refused: false,
    })
}

fn choice(value: &Value, alternatives: Option<u8>) -> Option<Choice> {
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
        logprobs: alternatives.and_then(|most| logprobs(&value["logprobs"], most.into())),
    })
}

/// A reply's tokens; `None` where one of them is not what the protocol says, since the places of the
/// others would be in doubt.
fn logprobs(value: &Value, most: usize) -> Option<Vec<TokenLogprob>> {
    let tokens = value["content"].as_array().filter(|one| !one.is_empty())?;
    let token = |value: &Value| {
        let Alternative { token, logprob } = alternative(value)?;
        let bytes = value["bytes"].as_array().map(|bytes| {
            let byte = |byte: &Value| u8::try_from(byte.as_u64()?).ok();
            bytes.iter().map(byte).collect::<Option<Vec<u8>>>()
        });
        let bytes = match bytes {
            Some(bytes) => Some(bytes?).filter(|bytes| bytes != token.as_bytes()),
            None => None,
        };
        let others = value["top_logprobs"].as_array();
        let others = others.into_iter().flatten().filter_map(alternative);
        Some(TokenLogprob {
            token,
            bytes,
            logprob,
            alternatives: others.take(most).collect(),
        })
    };
    tokens.iter().map(token).collect()
}

/// A token with a log-probability; servers round, so that a certain token's can be a little above 0.
fn alternative(value: &Value) -> Option<Alternative> {
    Some(Alternative {
        token: value["token"].as_str()?.to_owned(),
        logprob: value["logprob"].as_f64().filter(|one| *one <= 1e-3)?,
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

    use super::{body, error_text, reply};
    use crate::generate::{ChatRequest, Sampling, TokenLogprob};

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
            "logprobs",
            "token",
            "logprob",
            "bytes",
            "top_logprobs",
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

    /// The tokens of a reply with these `logprobs`.
    fn tokens(logprobs: &Value, alternatives: Option<u8>) -> Option<Vec<TokenLogprob>> {
        let message = json!({"role": "assistant", "content": "M"});
        let choice = json!({"message": message, "finish_reason": "stop", "logprobs": logprobs});
        let body = json!({"choices": [choice]}).to_string();
        let mut reply = reply(body.as_bytes(), alternatives).unwrap();
        assert_eq!(reply.choices[0].text, "M");
        reply.choices.remove(0).logprobs
    }

    #[test]
    fn log_probabilities_are_asked_for_and_read() {
        let sampling = Sampling {
            logprobs: Some(5),
            ..Sampling::default()
        };
        let body = body(&ChatRequest::new("m", "Hi", sampling), "max_tokens").unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["logprobs"], &body["top_logprobs"]),
            (&json!(true), &json!(5))
        );
        // As OpenAI, vLLM and llama.cpp's server write it; the last one has an `id` too.
        let content = json!([
            {"id": 44, "token": "M", "bytes": [77], "logprob": -0.0176, "top_logprobs": [
                {"id": 44, "token": "M", "bytes": [77], "logprob": -0.0176},
                {"id": 76, "token": "m", "bytes": [109], "logprob": -4.0488},
                {"token": "x", "logprob": null},
                {"token": "y", "logprob": 3.0},
                {"token": "Both", "bytes": null, "logprob": -9999.0},
            ]},
            {"token": "\u{fffd}", "bytes": [228, 189], "logprob": 0.0000002, "top_logprobs": []},
        ]);
        let found = tokens(&json!({"content": content, "refusal": null}), Some(20)).unwrap();
        let named: Vec<_> = found[0]
            .alternatives
            .iter()
            .map(|one| (&*one.token, one.logprob))
            .collect();
        assert_eq!(named, [("M", -0.0176), ("m", -4.0488), ("Both", -9999.0)]);
        assert_eq!(
            (&*found[0].token, found[0].logprob, &found[0].bytes),
            ("M", -0.0176, &None)
        );
        assert_eq!(found[1].bytes, Some(vec![228, 189]));
        // No more than was asked for.
        assert_eq!(
            tokens(&json!({"content": content}), Some(2)).unwrap()[0]
                .alternatives
                .len(),
            2
        );
        assert_eq!(tokens(&json!({"content": content}), None), None);
    }

    #[test]
    fn what_are_no_log_probabilities_spoils_them_only() {
        for logprobs in [
            json!(null),
            json!({"content": null}),
            json!({"content": []}),
            json!({"content": [{"logprob": -1.0}]}),
            json!({"content": [{"token": "M", "logprob": "low"}]}),
            json!({"content": [{"token": "M", "logprob": 0.5}]}),
            json!({"content": [{"token": "M", "logprob": -1.0, "bytes": [300]}]}),
            json!({"tokens": ["M"], "token_logprobs": [-1.0]}),
        ] {
            assert_eq!(tokens(&logprobs, Some(20)), None, "{logprobs}");
        }
        let odd =
            json!({"content": [{"token": "M", "logprob": -1.0, "top_logprobs": {"M": -1.0}}]});
        assert_eq!(tokens(&odd, Some(20)).unwrap()[0].alternatives, []);
    }

    proptest! {
        /// Whatever a server sends, there is a reply with a choice, or a reason.
        #[test]
        fn any_json_is_a_reply_or_an_error(
            value in values(), choices in prop::collection::vec(values(), 0..3), usage in values(),
        ) {
            let whole = json!({"choices": choices, "usage": usage});
            for body in [value.to_string(), whole.to_string()] {
                match reply(body.as_bytes(), Some(20)) {
                    Ok(reply) => prop_assert!(!reply.choices.is_empty()),
                    Err(reason) => prop_assert!(!reason.is_empty()),
                }
                error_text(body.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_a_reply_or_an_error(body in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(reply(&body, None).is_err());
            error_text(&body);
        }
    }
}
