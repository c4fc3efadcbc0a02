//! ShareGPT conversations: `{"conversations": [{"from": "human", "value": "…"}, …]}`.

use serde_json::Value;

use crate::issue::Reason;
use crate::load::Problems;
use crate::record::{Conversation, Message, Role, required, type_name};

/// Reads one conversation, with every problem that it has.
pub(crate) fn conversation(value: &Value) -> Result<Conversation, Problems> {
    let rows = match value.get("conversations") {
        Some(Value::Array(rows)) if !rows.is_empty() => rows,
        Some(Value::Array(_)) => return Err(vec![("conversations".into(), Reason::Empty)]),
        Some(other) => {
            let reason = Reason::WrongType {
                expected: "an array",
                got: type_name(other),
            };
            return Err(vec![("conversations".into(), reason)]);
        }
        None if value.is_object() => return Err(vec![("conversations".into(), Reason::Missing)]),
        None => {
            let reason = Reason::WrongType {
                expected: "an object",
                got: type_name(value),
            };
            return Err(vec![(String::new(), reason)]);
        }
    };
    let mut problems = Vec::new();
    let messages: Vec<Message> = rows
        .iter()
        .enumerate()
        .filter_map(|(i, row)| message(i, row, &mut problems))
        .collect();
    if problems.is_empty() {
        problems.extend(order(&messages));
    }
    if problems.is_empty() {
        Ok(messages.into())
    } else {
        Err(problems)
    }
}

fn message(index: usize, row: &Value, problems: &mut Problems) -> Option<Message> {
    let place = format!("conversations[{index}]");
    let Some(object) = row.as_object() else {
        let reason = Reason::WrongType {
            expected: "an object",
            got: type_name(row),
        };
        problems.push((place, reason));
        return None;
    };
    let mut own = Problems::new();
    let from = required(object, "from", &mut own);
    let content = required(object, "value", &mut own);
    let role = match from.as_str() {
        "system" => Some(Role::System),
        "human" | "user" => Some(Role::User),
        "gpt" | "assistant" => Some(Role::Assistant),
        "" => None,
        _ => {
            own.push(("from".into(), Reason::UnknownRole(from)));
            None
        }
    };
    problems.extend(
        own.into_iter()
            .map(|(field, reason)| (format!("{place}.{field}"), reason)),
    );
    Some(Message::new(role?, content))
}

/// What is wrong with the order of the speakers.
fn order(messages: &[Message]) -> Option<(String, Reason)> {
    let system = usize::from(
        messages
            .first()
            .is_some_and(|first| first.role == Role::System),
    );
    let turns = &messages[system..];
    if turns
        .first()
        .is_some_and(|first| first.role == Role::Assistant)
    {
        return Some((
            format!("conversations[{system}]"),
            Reason::StartsWithAssistant,
        ));
    }
    let expected = [Role::User, Role::Assistant];
    let odd = turns
        .iter()
        .zip(expected.iter().cycle())
        .position(|(turn, &role)| turn.role != role);
    match odd {
        Some(at) => Some((format!("conversations[{}]", at + system), Reason::OddOrder)),
        None if turns.is_empty() || turns.len() % 2 == 1 => {
            Some(("conversations".into(), Reason::OddOrder))
        }
        None => None,
    }
}
