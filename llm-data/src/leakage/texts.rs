//! What of a record is compared.

use serde_json::{Map, Value};

use crate::record::{AlpacaRecord, Conversation, Role, said};

/// The texts of a record that are compared; system texts are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub(super) Vec<Text>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) part: Part,
    pub(super) content: String,
}

/// What a text is in its record, which decides how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What opens the conversation, instruction and input in one; of a record in an unknown form,
    /// any text.
    Prompt,
    /// The input alone, whose n-grams are the prompt's already.
    Input,
    /// An answer or a later turn.
    Other,
}

/// Records that the model is to be evaluated on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationSet {
    pub(super) name: String,
    pub(super) records: Vec<(usize, Texts)>,
}

impl EvaluationSet {
    /// The records, each with its number, under a name that reports call them by.
    pub fn new<T: Into<Texts>>(
        name: impl Into<String>,
        records: impl IntoIterator<Item = (usize, T)>,
    ) -> Self {
        let records = records.into_iter();
        Self {
            name: name.into(),
            records: records.map(|(n, record)| (n, record.into())).collect(),
        }
    }
}

impl Texts {
    fn push(&mut self, part: Part, content: &str) {
        if let Some(content) = said(content) {
            let content = content.to_owned();
            self.0.push(Text { part, content });
        }
    }

    /// The instruction with its input, and the input alone.
    fn push_prompt(&mut self, part: Part, instruction: &str, input: &str) {
        if said(input).is_some() {
            self.push(part, &format!("{instruction}\n{input}"));
            self.push(Part::Input, input);
        } else {
            self.push(part, instruction);
        }
    }

    pub(super) fn of_prompts(contents: &[String]) -> Self {
        let mut texts = Self::default();
        for content in contents {
            texts.push(Part::Prompt, content);
        }
        texts
    }

    /// All strings of a value in any form, as prompts.
    pub(super) fn from_json(value: &Value) -> Self {
        let mut texts = Self::default();
        texts.push_json(value);
        texts
    }

    fn push_json(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.push(Part::Prompt, text),
            Value::Array(values) => values.iter().for_each(|value| self.push_json(value)),
            Value::Object(object) => self.push_object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn push_object(&mut self, object: &Map<String, Value>) {
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        let prompt = text("instruction").zip(text("input"));
        if let Some((instruction, input)) = prompt {
            self.push_prompt(Part::Prompt, instruction, input);
        }
        for (field, value) in object {
            if prompt.is_none() || !matches!(field.as_str(), "instruction" | "input") {
                self.push_json(value);
            }
        }
    }
}

impl From<&AlpacaRecord> for Texts {
    fn from(record: &AlpacaRecord) -> Self {
        let mut texts = Self::default();
        let mut part = Part::Prompt;
        for (question, answer) in &record.history {
            texts.push(part, question);
            texts.push(Part::Other, answer);
            part = Part::Other;
        }
        texts.push_prompt(part, &record.instruction, &record.input);
        texts.push(Part::Other, &record.output);
        texts
    }
}

impl From<Conversation> for Texts {
    fn from(conversation: Conversation) -> Self {
        Self::from(&conversation)
    }
}

impl From<&Conversation> for Texts {
    fn from(conversation: &Conversation) -> Self {
        let mut texts = Self::default();
        let spoken = conversation.messages.iter();
        for message in spoken.filter(|message| message.role != Role::System) {
            let opens = texts.0.is_empty() && message.role == Role::User;
            let part = if opens { Part::Prompt } else { Part::Other };
            texts.push(part, &message.content);
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::Message;

    fn shown(texts: &Texts) -> Vec<(Part, &str)> {
        let texts = texts.0.iter();
        texts.map(|text| (text.part, &*text.content)).collect()
    }

    #[test]
    fn only_what_opens_a_conversation_is_its_prompt() {
        let mut record = AlpacaRecord {
            instruction: "Translate.".to_owned(),
            input: "Hund".to_owned(),
            output: "dog".to_owned(),
            system: Some("Be brief.".to_owned()),
            history: Vec::new(),
        };
        let alone = [
            (Part::Prompt, "Translate.\nHund"),
            (Part::Input, "Hund"),
            (Part::Other, "dog"),
        ];
        assert_eq!(shown(&Texts::from(&record)), alone);
        record.history = vec![("Hi".to_owned(), "Hello".to_owned())];
        assert_eq!(
            shown(&Texts::from(&record)),
            [
                (Part::Prompt, "Hi"),
                (Part::Other, "Hello"),
                (Part::Other, "Translate.\nHund"),
                (Part::Input, "Hund"),
                (Part::Other, "dog"),
            ]
        );
        let messages = [
            (Role::System, "Be brief."),
            (Role::User, "Hi"),
            (Role::Assistant, "Hello"),
            (Role::User, "Bye"),
        ];
        let messages = messages.map(|(role, content)| Message::new(role, content));
        let conversation = Conversation::from(Vec::from(messages));
        assert_eq!(
            shown(&Texts::from(&conversation)),
            [
                (Part::Prompt, "Hi"),
                (Part::Other, "Hello"),
                (Part::Other, "Bye"),
            ]
        );
    }

    #[test]
    fn every_string_of_unknown_json_counts_and_no_key() {
        let value = json!({"id": 7, "turns": ["a", {"b": "c"}, [" "]], "ok": true, "none": null});
        let texts = Texts::from_json(&value);
        assert_eq!(shown(&texts), [(Part::Prompt, "a"), (Part::Prompt, "c")]);
        let value = json!({"output": "o", "input": "i", "instruction": "q"});
        let texts = Texts::from_json(&value);
        assert_eq!(
            shown(&texts),
            [
                (Part::Prompt, "q\ni"),
                (Part::Input, "i"),
                (Part::Prompt, "o"),
            ]
        );
        let value = json!({"instruction": "q", "instances": [{"input": "i"}]});
        let texts = Texts::from_json(&value);
        assert_eq!(shown(&texts), [(Part::Prompt, "q"), (Part::Prompt, "i")]);
    }
}
