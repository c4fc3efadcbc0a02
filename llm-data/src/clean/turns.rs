//! Who speaks when: FastChat's rules for ShareGPT conversations.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::record::{Conversation, Message, Role};

use super::verdict::{Found, Verdict, beginning};

/// Options of [`Step::Turns`](super::Step).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turns {
    /// Whether a system message stays in front. FastChat, which has none, strips it as a message
    /// that is not the user's. Default true.
    pub keep_system: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self { keep_system: true }
    }
}

impl Turns {
    /// Strips the answer of an assistant who speaks first, and at the end a question (two at most)
    /// and results without an answer; in between user and assistant must take turns. Calls of
    /// functions with their results belong to the assistant's turn.
    pub(super) fn apply(&self, conversation: &mut Conversation) -> Verdict {
        let messages = &mut conversation.messages;
        let kept = usize::from(self.keep_system && starts_with(messages, Role::System));
        let mut changes = Vec::new();
        let too_short = |messages: &[Message]| {
            if messages.len() <= kept + 1 {
                let text = messages.last().map(|message| message.content.as_str());
                return Err(Found::new(
                    "too_few_turns",
                    beginning(text.unwrap_or_default()),
                ));
            }
            Ok(())
        };
        too_short(messages)?;
        if messages[kept].role != Role::User {
            let first = beginning(&messages[kept].content);
            changes.push(Found::new("leading_answer", first));
            let spoken = messages[kept..].iter();
            let calls = spoken.take_while(|message| is_tool(message.role)).count();
            let end = (kept + calls + 1).min(messages.len());
            messages.drain(kept..end);
            too_short(messages)?;
        }
        let mut strip_end = |messages: &mut Vec<Message>| {
            if let Some(last) = messages.pop_if(|last| last.role == Role::User) {
                changes.push(Found::new("trailing_question", beginning(&last.content)));
            }
            while let Some(last) = messages.pop_if(|last| last.role == Role::Observation) {
                changes.push(Found::new("trailing_result", beginning(&last.content)));
            }
        };
        strip_end(messages);
        too_short(messages)?;
        let mut before = None;
        for message in &messages[kept..] {
            if !follows(before, message.role) {
                return Err(Found::new("no_alternation", beginning(&message.content)));
            }
            before = Some(message.role);
        }
        strip_end(messages);
        Ok(changes)
    }
}

/// Whether `next` may speak after `before`; none begins.
fn follows(before: Option<Role>, next: Role) -> bool {
    match before {
        None | Some(Role::Assistant) => next == Role::User,
        Some(Role::User) => matches!(next, Role::Assistant | Role::FunctionCall),
        // Several calls may have several results.
        Some(Role::FunctionCall) => is_tool(next),
        Some(Role::Observation) => is_tool(next) || next == Role::Assistant,
        Some(Role::System) => false,
    }
}

fn is_tool(role: Role) -> bool {
    matches!(role, Role::FunctionCall | Role::Observation)
}

fn starts_with(messages: &[Message], role: Role) -> bool {
    messages.first().is_some_and(|message| message.role == role)
}

/// Ends the conversation before the first empty message, and after the assistant's last: what
/// FastChat does with <https://sharegpt.com/c/mrllZ6u>. Without an answer it is dropped. What a
/// function gives back may be empty.
pub(super) fn cut_empty(conversation: &mut Conversation) -> Verdict {
    let messages = &mut conversation.messages;
    let kept = usize::from(starts_with(messages, Role::System));
    let spoken = messages.iter().skip(kept);
    let says = |message: &&Message| says(message) || message.role == Role::Observation;
    let mut end = kept + spoken.take_while(says).count();
    if end == messages.len() {
        return Ok(Vec::new());
    }
    while end > kept && matches!(messages[end - 1].role, Role::User | Role::Observation) {
        end -= 1;
    }
    let question = messages.get(kept).map(|message| message.content.as_str());
    let found = Found::new("empty_turn", beginning(question.unwrap_or_default()));
    if end == kept {
        return Err(found);
    }
    messages.truncate(end);
    Ok(vec![found])
}

/// Whether a message says something: its first character that is not white space can be printed, by the
/// rule of Python's `isprintable`.
fn says(message: &Message) -> bool {
    // None only if the pattern were wrong, which a test excludes.
    static UNSEEN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A[\p{C}\p{Z}]").ok());
    let white = |c: char| c.is_whitespace() || matches!(c, '\x1C'..='\x1F');
    let text = message.content.trim_start_matches(white);
    let unseen = UNSEEN.as_ref().is_some_and(|unseen| unseen.is_match(text));
    !text.is_empty() && !unseen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn conversation(turns: &str) -> Conversation {
        let mut conversation = Conversation::default();
        conversation
            .messages
            .extend(turns.chars().map(|turn| match turn {
                's' => Message::new(Role::System, "be brief"),
                'u' => Message::new(Role::User, "question"),
                'U' => Message::new(Role::User, ""),
                'A' => Message::new(Role::Assistant, " \u{1}"),
                'f' => Message::new(Role::FunctionCall, "{}"),
                'o' => Message::new(Role::Observation, ""),
                _ => Message::new(Role::Assistant, "answer"),
            }));
        conversation
    }

    fn shown(conversation: &Conversation) -> String {
        let roles = conversation.messages.iter().map(|message| message.role);
        roles.map(|role| &role.as_str()[..1]).collect()
    }

    #[test]
    fn the_ends_are_stripped_and_the_rest_must_alternate() {
        let run = |turns: &str, keep_system| {
            let mut conversation = conversation(turns);
            match (Turns { keep_system }).apply(&mut conversation) {
                Ok(changes) => format!("{} {}", shown(&conversation), changes.len()),
                Err(found) => found.reason.to_owned(),
            }
        };
        assert_eq!(run("ua", true), "ua 0");
        assert_eq!(run("auau", true), "ua 2");
        assert_eq!(run("suau", true), "sua 1");
        assert_eq!(run("suau", false), "ua 2");
        assert_eq!(run("saua", true), "sua 1");
        assert_eq!(run("uaua", true), "uaua 0");
        assert_eq!(run("uauu", true), "ua 2");
        for short in ["", "u", "a", "au", "su", "uu", "s"] {
            assert_eq!(run(short, true), "too_few_turns", "{short}");
        }
        for odd in ["uua", "aaua", "uuu", "uaa", "sus"] {
            assert_eq!(run(odd, true), "no_alternation", "{odd}");
        }
    }

    #[test]
    fn calls_and_their_results_belong_to_the_assistants_turn() {
        let run = |turns: &str| {
            let mut conversation = conversation(turns);
            match Turns::default().apply(&mut conversation) {
                Ok(changes) => format!("{} {}", shown(&conversation), changes.len()),
                Err(found) => found.reason.to_owned(),
            }
        };
        for sound in ["ufoa", "suauffooa", "ufofoaufoa", "uauf"] {
            assert_eq!(run(sound), format!("{sound} 0"));
        }
        assert_eq!(run("ufoau"), "ufoa 1");
        assert_eq!(run("uaufoo"), "uauf 2");
        assert_eq!(run("ufou"), "uf 2");
        assert_eq!(run("sfoaua"), "sua 1");
        for odd in ["uoa", "ufa", "ufua", "uafoa", "ufoua", "ufosa"] {
            assert_eq!(run(odd), "no_alternation", "{odd}");
        }
        assert_eq!(run("uo"), "too_few_turns");
        let mut empty = conversation("ufoaufoA");
        assert_eq!(cut_empty(&mut empty).unwrap().len(), 1);
        assert_eq!(shown(&empty), "ufoauf");
    }

    #[test]
    fn an_empty_turn_ends_the_conversation() {
        let run = |turns: &str| {
            let mut conversation = conversation(turns);
            let verdict = cut_empty(&mut conversation);
            verdict.map(|changes| (shown(&conversation), changes.len()))
        };
        assert_eq!(run("sua").unwrap(), ("sua".to_owned(), 0));
        assert_eq!(run("suauA").unwrap(), ("sua".to_owned(), 1));
        assert_eq!(run("uaUa").unwrap(), ("ua".to_owned(), 1));
        assert_eq!(run("uAua").unwrap_err().reason, "empty_turn");
        assert_eq!(run("sU").unwrap_err().reason, "empty_turn");
        // As Python's `text.strip()[0].isprintable()` has it.
        for (text, expected) in [
            ("a", true),
            ("\u{1F} \u{3000}a", true),
            ("☺\u{FE0F}", true),
            ("\u{1C}", false),
            ("\u{200B}a", false),
            ("\u{FEFF}a", false),
            ("\u{E000}", false),
            ("\u{7F}a", false),
        ] {
            assert_eq!(says(&Message::new(Role::User, text)), expected, "{text:?}");
        }
    }
}
