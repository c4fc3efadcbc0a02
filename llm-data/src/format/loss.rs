//! What a record loses when it is written in a format: the difference to what is read again.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::Record;
use crate::record::{Conversation, Message, Role};

/// A kind of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Loss {
    /// The record's name.
    Id,
    /// The system text.
    System,
    /// The functions that may be called.
    Tools,
    /// Calls of functions and what they gave.
    ToolTurns,
    /// Turns behind the first one.
    Turns,
    /// A text is read again as another one, such as one with `Human:` within it.
    Text,
    /// Where an instruction ends and its input begins.
    Input,
    /// Which messages are learned.
    LossFlags,
    /// Other fields of messages.
    MessageFields,
    /// Other fields of the record.
    Fields,
    /// The rejected answer.
    Rejected,
}

impl Loss {
    /// A short, stable name to count by.
    pub fn key(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::System => "system",
            Self::Tools => "tools",
            Self::ToolTurns => "tool_turns",
            Self::Turns => "turns",
            Self::Text => "text",
            Self::Input => "input",
            Self::LossFlags => "loss_flags",
            Self::MessageFields => "message_fields",
            Self::Fields => "fields",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// What `again` has lost of `record`.
pub(super) fn between(record: &Record, again: &Record) -> BTreeSet<Loss> {
    let mut losses = BTreeSet::new();
    if record == again {
        return losses;
    }
    match (record, again) {
        (Record::Conversation(old), Record::Conversation(new)) => {
            conversations(old, new, &mut losses);
        }
        (Record::Preference(old), Record::Preference(new)) => {
            conversations(&old.conversation, &new.conversation, &mut losses);
            message(&old.chosen, &new.chosen, &mut losses);
            message(&old.rejected, &new.rejected, &mut losses);
        }
        (Record::Preference(old), Record::Conversation(new)) => {
            let mut chosen = old.conversation.clone();
            chosen.messages.push(old.chosen.clone());
            conversations(&chosen, new, &mut losses);
            losses.insert(Loss::Rejected);
        }
        (Record::Text(old), Record::Text(new)) => {
            note(&mut losses, old.id != new.id, Loss::Id);
            note(&mut losses, old.text != new.text, Loss::Text);
            note(&mut losses, old.extra != new.extra, Loss::Fields);
        }
        _ => {
            losses.insert(Loss::Text);
        }
    }
    losses
}

fn note(losses: &mut BTreeSet<Loss>, lost: bool, loss: Loss) {
    if lost {
        losses.insert(loss);
    }
}

fn conversations(old: &Conversation, new: &Conversation, losses: &mut BTreeSet<Loss>) {
    note(losses, old.id != new.id, Loss::Id);
    note(losses, old.extra != new.extra, Loss::Fields);
    let tools = match (&old.tools, &new.tools) {
        (Some(old), Some(new)) => same_json(old, new),
        (old, new) => old == new,
    };
    note(losses, !tools, Loss::Tools);
    let system = |message: &&Message| message.role == Role::System;
    let (systems, rest): (Vec<&Message>, Vec<&Message>) = old.messages.iter().partition(system);
    let (new_systems, new_rest): (Vec<&Message>, Vec<&Message>) =
        new.messages.iter().partition(system);
    if systems.len() == new_systems.len() {
        for (old, new) in systems.into_iter().zip(new_systems) {
            message(old, new, losses);
        }
    } else {
        losses.insert(Loss::System);
    }
    let plain = |messages: Vec<&Message>| -> Vec<Message> {
        let tool =
            |message: &&Message| matches!(message.role, Role::FunctionCall | Role::Observation);
        let plain = messages.into_iter().filter(|message| !tool(message));
        plain.cloned().collect()
    };
    let roles = |messages: &[&Message]| -> Vec<Role> {
        messages.iter().map(|message| message.role).collect()
    };
    let pairs: Vec<(Message, Message)> = if roles(&rest) == roles(&new_rest) {
        let pairs = rest.into_iter().zip(new_rest);
        pairs.map(|(old, new)| (old.clone(), new.clone())).collect()
    } else {
        let (all, new_all) = (rest.len(), new_rest.len());
        let (rest, new_rest) = (plain(rest), plain(new_rest));
        note(
            losses,
            all - rest.len() != new_all - new_rest.len(),
            Loss::ToolTurns,
        );
        note(losses, rest.len() > new_rest.len(), Loss::Turns);
        note(losses, rest.len() < new_rest.len(), Loss::Text);
        rest.into_iter().zip(new_rest).collect()
    };
    for (old, new) in &pairs {
        message(old, new, losses);
    }
}

fn message(old: &Message, new: &Message, losses: &mut BTreeSet<Loss>) {
    let text = match old.role {
        Role::FunctionCall => same_json(&old.content, &new.content),
        _ => old.content == new.content,
    };
    note(losses, !text || old.role != new.role, Loss::Text);
    note(losses, old.loss != new.loss, Loss::LossFlags);
    let input = |message: &Message| message.extra.get("input").cloned();
    note(losses, input(old) != input(new), Loss::Input);
    let others = |message: &Message| {
        let mut fields = message.extra.clone();
        fields.shift_remove("input");
        fields
    };
    note(losses, others(old) != others(new), Loss::MessageFields);
}

/// Whether two texts are the same, or the same JSON.
fn same_json(one: &str, other: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || parse(one).is_some_and(|value| Some(value) == parse(other))
}
