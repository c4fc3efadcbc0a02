//! Conversations within one text: BELLE's multiturn instructions, Pygmalion's chats.

use crate::record::{Message, Role};

const HUMAN: &str = "Human:";
const ASSISTANT: &str = "Assistant:";
/// The line between Pygmalion's persona and chat.
const START: &str = "<START>";
/// The user in Pygmalion's chats.
const YOU: &str = "You";
const PERSONA: &str = "'s Persona:";
/// The character of a record that names none.
pub(super) const CHARACTER: &str = "Assistant";

/// Whether an instruction holds several turns of BELLE's.
pub(super) fn is_multiturn(instruction: &str) -> bool {
    let text = instruction.trim_end();
    text.starts_with(HUMAN) && text.ends_with(&format!("\n{ASSISTANT}"))
}

/// The messages of BELLE's instruction, the last of which is the user's; the `Assistant:` behind it
/// asks for the answer.
pub(super) fn multiturn(instruction: &str) -> Vec<Message> {
    let text = instruction.trim_end();
    let text = text.strip_suffix(ASSISTANT).unwrap_or(text);
    let speaker = |line: &str| {
        [(HUMAN, Role::User), (ASSISTANT, Role::Assistant)]
            .into_iter()
            .find(|(mark, _)| line.starts_with(mark))
            .map(|(mark, role)| (mark.len(), role))
    };
    chat(text, speaker)
}

/// The instruction of BELLE's that [`multiturn`] reads.
pub(super) fn write_multiturn(messages: &[Message]) -> String {
    let mut text = String::new();
    for message in messages {
        let mark = match message.role {
            Role::User => HUMAN,
            _ => ASSISTANT,
        };
        text += &format!("{mark}{}\n", message.content);
    }
    text + ASSISTANT
}

pub(super) fn is_pygmalion(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == START)
}

/// A chat of Pygmalion's.
pub(super) struct Pygmalion {
    pub(super) persona: Option<String>,
    pub(super) character: String,
    /// None where the first line of the chat has no speaker.
    pub(super) messages: Option<Vec<Message>>,
}

/// Reads persona and chat. The one who is not `You` is the character, whose name stands before
/// `'s Persona:`, or is given, or stands before the first line that is not the user's.
pub(super) fn pygmalion(text: &str, given: Option<&str>) -> Pygmalion {
    let (persona, lines) = divide(text);
    let named = persona.and_then(|persona| {
        let (name, persona) = persona.split_once(PERSONA)?;
        (!name.contains('\n')).then_some((name.trim(), persona.trim()))
    });
    let first = lines.lines().find_map(|line| {
        let (name, _) = line.split_once(':')?;
        (name != YOU).then_some(name)
    });
    let name = named.map(|(name, _)| name).or(given).or(first);
    let character = name.unwrap_or(CHARACTER);
    let speaker = |line: &str| {
        let (name, _) = line.split_once(':')?;
        match name {
            YOU => Some((name.len() + 1, Role::User)),
            name if name == character => Some((name.len() + 1, Role::Assistant)),
            _ => None,
        }
    };
    let begins = lines
        .lines()
        .next()
        .is_some_and(|line| speaker(line).is_some());
    let persona = named.map(|(_, text)| text).or(persona);
    Pygmalion {
        persona: persona.filter(|text| !text.is_empty()).map(str::to_owned),
        character: character.to_owned(),
        messages: begins.then(|| chat(lines, speaker)),
    }
}

pub(super) fn write_pygmalion(
    persona: Option<&str>,
    character: &str,
    messages: &[Message],
) -> String {
    let mut text = match persona {
        Some(persona) => format!("{character}{PERSONA} {persona}\n{START}"),
        None => START.to_owned(),
    };
    for message in messages {
        let name = match message.role {
            Role::User => YOU,
            _ => character,
        };
        text += &format!("\n{name}: {}", message.content);
    }
    text
}

/// What stands before the line `<START>` and behind it.
fn divide(text: &str) -> (Option<&str>, &str) {
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let end = from + line.len();
        if line.trim_end() == START {
            return (Some(text[..from].trim()), text[end..].trim());
        }
        from = end;
    }
    (None, text.trim())
}

/// The messages of lines; one without a speaker belongs to the message before it.
fn chat(text: &str, speaker: impl Fn(&str) -> Option<(usize, Role)>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (speaker(line), messages.last_mut()) {
            (Some((mark, role)), _) => messages.push(Message::new(role, &line[mark..])),
            (None, Some(message)) => message.content.push_str(line),
            (None, None) => {}
        }
    }
    for message in &mut messages {
        message.content = message.content.trim().to_owned();
    }
    messages
}
