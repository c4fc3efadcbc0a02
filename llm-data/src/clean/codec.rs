//! Records as bytes, for the time that they are on disk.

use serde_json::{Map, Value};

use crate::record::{Conversation, Message, Role};

/// A record on its way through the steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// Its number.
    pub(super) number: usize,
    /// Whether a step changed it.
    pub(super) changed: bool,
    pub(super) record: Conversation,
}

const ROLES: [Role; 5] = [
    Role::System,
    Role::User,
    Role::Assistant,
    Role::FunctionCall,
    Role::Observation,
];

impl Item {
    /// Writes the record behind `bytes`.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) -> serde_json::Result<()> {
        let Conversation {
            id,
            messages,
            tools,
            extra,
        } = &self.record;
        put(bytes, self.number);
        bytes.push(u8::from(self.changed));
        for text in [id, tools] {
            bytes.push(u8::from(text.is_some()));
            put_text(bytes, text.as_deref().unwrap_or_default());
        }
        put_map(bytes, extra)?;
        put(bytes, messages.len());
        for message in messages {
            let role = ROLES.iter().position(|role| *role == message.role);
            bytes.push(role.unwrap_or_default() as u8);
            bytes.push(message.loss.map_or(2, u8::from));
            put_text(bytes, &message.content);
            put_map(bytes, &message.extra)?;
        }
        Ok(())
    }

    /// Reads a record; none if the bytes are not those that [`Item::encode`] writes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let number = get(&mut rest)?;
        let changed = get_byte(&mut rest)? == 1;
        let mut texts = [None, None];
        for text in &mut texts {
            let present = get_byte(&mut rest)? == 1;
            *text = Some(get_text(&mut rest)?).filter(|_| present);
        }
        let [id, tools] = texts;
        let extra = get_map(&mut rest)?;
        let count = get(&mut rest)?;
        let mut messages = Vec::with_capacity(count.min(rest.len()));
        for _ in 0..count {
            messages.push(Message {
                role: *ROLES.get(usize::from(get_byte(&mut rest)?))?,
                loss: match get_byte(&mut rest)? {
                    2 => None,
                    loss => Some(loss == 1),
                },
                content: get_text(&mut rest)?,
                extra: get_map(&mut rest)?,
            });
        }
        rest.is_empty().then_some(Self {
            number,
            changed,
            record: Conversation {
                id,
                messages,
                tools,
                extra,
            },
        })
    }
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend((number as u64).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len());
    bytes.extend(text.as_bytes());
}

/// Nothing but a length where there are no fields, as in most messages.
fn put_map(bytes: &mut Vec<u8>, map: &Map<String, Value>) -> serde_json::Result<()> {
    if map.is_empty() {
        put(bytes, 0);
    } else {
        put_text(bytes, &serde_json::to_string(map)?);
    }
    Ok(())
}

fn get_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

fn get(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u64::from_le_bytes(*number)).ok()
}

fn get_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = get(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

fn get_text(rest: &mut &[u8]) -> Option<String> {
    let text = std::str::from_utf8(get_bytes(rest)?).ok()?;
    Some(text.to_owned())
}

fn get_map(rest: &mut &[u8]) -> Option<Map<String, Value>> {
    match get_bytes(rest)? {
        [] => Some(Map::new()),
        json => serde_json::from_slice(json).ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_of_a_record_comes_back_and_cut_bytes_do_not() {
        let mut record = Conversation::default();
        for (role, loss) in ROLES.into_iter().zip([None, Some(true), Some(false)]) {
            let mut message = Message::new(role, format!("text of {} 语\u{0}", role.as_str()));
            message.loss = loss;
            record.messages.push(message);
        }
        record.messages[1].extra = json!({"content": 0.1, "b": [1, {"a": null}], "a": "x"})
            .as_object()
            .unwrap()
            .clone();
        // Under the names of fields, which JSON of the whole would mix up.
        record.extra = json!({"messages": 1, "id": 2}).as_object().unwrap().clone();
        for id in [None, Some(String::new()), Some("7".to_owned())] {
            record.id = id;
            record.tools = record.id.clone().map(|id| id + "[]");
            let item = Item {
                number: usize::MAX,
                changed: record.id.is_none(),
                record: record.clone(),
            };
            let mut bytes = Vec::new();
            item.encode(&mut bytes).unwrap();
            assert_eq!(Item::decode(&bytes).unwrap(), item);
            for end in 0..bytes.len() {
                assert_eq!(Item::decode(&bytes[..end]), None);
            }
        }
    }
}
