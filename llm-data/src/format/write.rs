//! From a record to the JSON of each format.

use serde_json::{Map, Value, json};

use super::{Format, Preference, Record, chat_text, tool_calls};
use crate::record::{Conversation, Message, Role};

type Written = std::result::Result<Value, &'static str>;

/// Writes what the format has a place for; or says what it has none for.
pub(super) fn write(record: &Record, format: Format) -> Written {
    match (record, format) {
        (Record::Text(text), Format::Text) => {
            let mut map = Map::new();
            put(&mut map, "id", text.id.clone());
            put(&mut map, "text", Some(text.text.clone()));
            Ok(with_extra(map, &text.extra))
        }
        (Record::Text(_), _) => Err("a plain text"),
        (_, Format::Text) => Err("a conversation"),
        (Record::Preference(pair), Format::Preference | Format::PreferencePrompt) => {
            Ok(preference(pair, format))
        }
        (Record::Conversation(_), Format::Preference | Format::PreferencePrompt) => {
            Err("a conversation without a rejected answer")
        }
        (Record::Preference(pair), format) => {
            let mut conversation = pair.conversation.clone();
            conversation.messages.push(pair.chosen.clone());
            one(&conversation, format)
        }
        (Record::Conversation(conversation), format) => one(conversation, format),
    }
}

fn one(conversation: &Conversation, format: Format) -> Written {
    let messages = &conversation.messages;
    let mut map = Map::new();
    put(&mut map, "id", conversation.id.clone());
    match format {
        Format::ShareGpt => {
            let rows: Vec<Value> = messages.iter().map(sharegpt).collect();
            map.insert("conversations".to_owned(), rows.into());
        }
        Format::OpenAi => {
            map.insert("messages".to_owned(), openai(messages));
        }
        _ => turns(&mut map, conversation, format)?,
    }
    if let Some(tools) = &conversation.tools {
        let json = Some(tools).filter(|_| format == Format::OpenAi);
        let json = json.and_then(|tools| serde_json::from_str(tools).ok());
        let json = json.filter(|json: &Value| json.is_array() || json.is_object());
        map.insert(
            "tools".to_owned(),
            json.unwrap_or_else(|| tools.clone().into()),
        );
    }
    Ok(with_extra(map, &conversation.extra))
}

/// The formats that know questions and answers only; calls and what they gave are left out.
fn turns(
    map: &mut Map<String, Value>,
    conversation: &Conversation,
    format: Format,
) -> Result<(), &'static str> {
    let spoken =
        |message: &&Message| !matches!(message.role, Role::FunctionCall | Role::Observation);
    let messages: Vec<&Message> = conversation.messages.iter().filter(spoken).collect();
    let (system, messages) = match &messages[..] {
        [first, rest @ ..] if first.role == Role::System => (Some(&*first.content), rest),
        all => (None, all),
    };
    if format == Format::Pygmalion {
        let messages: Vec<Message> = messages.iter().map(|&message| message.clone()).collect();
        if messages.iter().any(|message| message.role == Role::System) {
            return Err("a system text within the conversation");
        }
        let character = conversation.extra.get("character").and_then(Value::as_str);
        let character = character.unwrap_or(chat_text::CHARACTER);
        let text = chat_text::write_pygmalion(system, character, &messages);
        put(map, "text", Some(text));
        if system.is_none() {
            put(map, "character", Some(character.to_owned()));
        }
        return Ok(());
    }
    let by_turns = messages.chunks(2).all(|turn| {
        let roles: Vec<Role> = turn.iter().map(|message| message.role).collect();
        roles == [Role::User, Role::Assistant]
    });
    if messages.is_empty() || !by_turns {
        return Err("a conversation in which question and answer do not take turns");
    }
    match format {
        Format::ChineseVicuna => {
            let side = |first: usize| -> Value {
                let texts = messages.iter().skip(first).step_by(2);
                texts.map(|message| message.content.as_str()).collect()
            };
            map.insert("input".to_owned(), side(0));
            map.insert("output".to_owned(), side(1));
        }
        Format::BelleMultiturn => {
            let (last, asked) = messages.split_last().ok_or("an empty conversation")?;
            let asked: Vec<Message> = asked.iter().map(|&message| message.clone()).collect();
            put(map, "system", system.map(str::to_owned));
            put(map, "instruction", Some(chat_text::write_multiturn(&asked)));
            put(map, "input", Some(String::new()));
            put(map, "output", Some(last.content.clone()));
        }
        Format::Alpaca => alpaca(map, system, messages),
        _ => first_turn(map, (messages[0], messages[1]), &conversation.extra, format),
    }
    Ok(())
}

fn alpaca(map: &mut Map<String, Value>, system: Option<&str>, messages: &[&Message]) {
    let (history, last) = messages.split_at(messages.len() - 2);
    let (instruction, input) = last[0].instruction_and_input();
    map.insert("instruction".to_owned(), instruction.into());
    map.insert("input".to_owned(), input.into());
    map.insert("output".to_owned(), last[1].content.clone().into());
    put(map, "system", system.map(str::to_owned));
    if !history.is_empty() {
        let turn = |turn: &[&Message]| json!([turn[0].content, turn[1].content]);
        let history: Value = history.chunks(2).map(turn).collect();
        map.insert("history".to_owned(), history);
    }
}

/// The formats of one question and one answer: the first ones, which need none before them.
fn first_turn(
    map: &mut Map<String, Value>,
    (question, answer): (&Message, &Message),
    extra: &Map<String, Value>,
    format: Format,
) {
    let (instruction, input) = question.instruction_and_input();
    match format {
        Format::SelfInstruct => {
            let mut first = Map::new();
            first.insert("input".to_owned(), input.into());
            first.insert("output".to_owned(), answer.content.clone().into());
            let mut instances = vec![with_extra(first, &answer.extra)];
            if let Some(Value::Array(others)) = extra.get("instances") {
                instances.extend(others.iter().cloned());
            }
            map.insert("instruction".to_owned(), instruction.into());
            map.insert("instances".to_owned(), instances.into());
        }
        Format::Belle => {
            if !input.is_empty() {
                map.insert("instruction".to_owned(), instruction.into());
            }
            let input = if input.is_empty() { instruction } else { input };
            map.insert("input".to_owned(), input.into());
            map.insert("target".to_owned(), answer.content.clone().into());
        }
        _ => {
            map.insert("prompt".to_owned(), question.content.clone().into());
            map.insert("response".to_owned(), answer.content.clone().into());
        }
    }
}

fn preference(pair: &Preference, format: Format) -> Value {
    let Preference {
        conversation,
        chosen,
        rejected,
    } = pair;
    let mut map = Map::new();
    put(&mut map, "id", conversation.id.clone());
    if format == Format::Preference {
        let rows: Vec<Value> = conversation.messages.iter().map(sharegpt).collect();
        map.insert("conversations".to_owned(), rows.into());
        map.insert("chosen".to_owned(), sharegpt(chosen));
        map.insert("rejected".to_owned(), sharegpt(rejected));
    } else {
        let plain = |message: &Message, role| {
            message.role == role && message.loss.is_none() && message.extra.is_empty()
        };
        match &conversation.messages[..] {
            [question]
                if plain(question, Role::User)
                    && plain(chosen, Role::Assistant)
                    && plain(rejected, Role::Assistant) =>
            {
                map.insert("prompt".to_owned(), question.content.clone().into());
                map.insert("chosen".to_owned(), chosen.content.clone().into());
                map.insert("rejected".to_owned(), rejected.content.clone().into());
            }
            messages => {
                map.insert("prompt".to_owned(), openai(messages));
                map.insert("chosen".to_owned(), openai(std::slice::from_ref(chosen)));
                map.insert(
                    "rejected".to_owned(),
                    openai(std::slice::from_ref(rejected)),
                );
            }
        }
    }
    put(&mut map, "tools", conversation.tools.clone());
    with_extra(map, &conversation.extra)
}

fn sharegpt(message: &Message) -> Value {
    let from = match message.role {
        Role::System => "system",
        Role::User => "human",
        Role::Assistant => "gpt",
        Role::FunctionCall => "function_call",
        Role::Observation => "observation",
    };
    let mut map = Map::new();
    map.insert("from".to_owned(), from.into());
    map.insert("value".to_owned(), message.content.clone().into());
    weight(&mut map, message);
    with_extra(map, &message.extra)
}

fn openai(messages: &[Message]) -> Value {
    let answered = tool_calls::answered(messages);
    let rows = messages.iter().zip(answered).enumerate();
    rows.map(|(index, (message, answered))| {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant | Role::FunctionCall => "assistant",
            Role::Observation => "tool",
        };
        let mut map = Map::new();
        map.insert("role".to_owned(), role.into());
        let calls = match message.role {
            Role::FunctionCall => tool_calls::to_json(index, message),
            _ => None,
        };
        let mut extra = message.extra.clone();
        if let Some(calls) = calls {
            let said = extra.get("content").cloned();
            map.insert("content".to_owned(), said.unwrap_or(Value::Null));
            map.insert("tool_calls".to_owned(), calls);
            extra.retain(|field, _| !tool_calls::is_written(field));
        } else {
            map.insert("content".to_owned(), message.content.clone().into());
        }
        if let Some(id) = answered {
            extra.entry("tool_call_id").or_insert(id);
        }
        weight(&mut map, message);
        with_extra(map, &extra)
    })
    .collect()
}

fn weight(map: &mut Map<String, Value>, message: &Message) {
    if let Some(loss) = message.loss {
        map.insert("weight".to_owned(), u8::from(loss).into());
    }
}

fn put(map: &mut Map<String, Value>, field: &str, text: Option<String>) {
    if let Some(text) = text {
        map.insert(field.to_owned(), text.into());
    }
}

/// Adds the other fields, none of which takes the place of one that the format has.
fn with_extra(mut map: Map<String, Value>, extra: &Map<String, Value>) -> Value {
    for (field, value) in extra {
        map.entry(field.as_str()).or_insert_with(|| value.clone());
    }
    Value::Object(map)
}
