//! The faults of Alpaca's data that Alpaca-cleaned lists.

use std::sync::LazyLock;

use regex::Regex;

use crate::record::{Conversation, Role};

use super::verdict::{Found, Verdict, beginning};

struct Patterns {
    no_input: Regex,
    not_available: Regex,
    image: Regex,
    url: Regex,
    merged: Regex,
}

/// None only if a pattern were wrong, which a test excludes.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    Some(Patterns {
        no_input: Regex::new(r"(?i)<no\s?input>|\(no input\)|\n\s?no ?input\.?\s*\z").ok()?,
        not_available: Regex::new(r"(?i)\A\W*(?:n/a|not applicable|none|null|nan|no ?output)\W*\z")
            .ok()?,
        image: Regex::new(r"!\[[^\]\n]*\]\(http").ok()?,
        url: Regex::new(r"(?:\A|\n)\s?https?://\S+\s*\z").ok()?,
        merged: Regex::new(r"(?i)\d{1,2}\.\s(?:Instruction:|指令[:：])").ok()?,
    })
});

/// Rules after <https://github.com/gururise/AlpacaDataCleaned> (its README and `tools/`): an answer
/// that is empty or says "N/A", an input that is only a link or has a picture's, further
/// instructions merged into the answer drop the record; "<noinput>" and its kin are cut out.
pub(super) fn apply(conversation: &mut Conversation) -> Verdict {
    let Some(patterns) = &*PATTERNS else {
        return Ok(Vec::new());
    };
    let mut changes = Vec::new();
    for message in &mut conversation.messages {
        let text = &message.content;
        if message.role == Role::Assistant {
            if text.trim().is_empty() {
                return Err(Found::new("empty_output", ""));
            }
            if patterns.not_available.is_match(text) {
                return Err(Found::new("na_output", beginning(text)));
            }
            if let Some(found) = patterns.merged.find(text) {
                return Err(Found::at("merged_instruction", text, found.range()));
            }
        } else if message.role == Role::User {
            let link = patterns.image.find(text);
            if let Some(found) = link.or_else(|| patterns.url.find(text)) {
                return Err(Found::at("url_input", text, found.range()));
            }
            if let Some(found) = patterns.no_input.find(text) {
                changes.push(Found::at("noinput", text, found.range()));
                let text = patterns.no_input.replace_all(text, "");
                message.content = text.trim_end().to_owned();
            }
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::record::Message;

    #[test]
    fn each_class_is_found_and_sound_records_stay() {
        let run = |question: &str, answer: &str| {
            let mut conversation = Conversation::default();
            conversation.messages.extend([
                Message::new(Role::User, question),
                Message::new(Role::Assistant, answer),
            ]);
            match apply(&mut conversation) {
                Ok(_) => conversation.messages[0].content.clone(),
                Err(found) => format!("! {}", found.reason),
            }
        };
        assert_eq!(run("Name a colour.\n<noinput>", "Red"), "Name a colour.");
        assert_eq!(run("Name a colour.\nNo input", "Red"), "Name a colour.");
        assert_eq!(
            run("What does noinput mean?", "x"),
            "What does noinput mean?"
        );
        for answer in ["", " \n"] {
            assert_eq!(run("q", answer), "! empty_output");
        }
        for answer in ["N/A", "n/a.", "<nooutput>", "None", "[No Output]"] {
            assert_eq!(run("q", answer), "! na_output", "{answer}");
        }
        assert_eq!(run("q", "None of them"), "q");
        let merged = "Yes.\n\n21. Instruction: Name a bird.";
        assert_eq!(run("q", merged), "! merged_instruction");
        let url = "Summarise this article.\nhttps://example.com/a?b=c";
        assert_eq!(run(url, "a"), "! url_input");
        assert_eq!(
            run("Describe.\n![alt](https://x/y.png) now", "a"),
            "! url_input"
        );
        let part = "Is https://example.com/ a safe site?";
        assert_eq!(run(part, "a"), part);
    }
}
