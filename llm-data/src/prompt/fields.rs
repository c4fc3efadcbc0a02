//! The fields of one template in a file.

use std::path::Path;

use serde_json::{Map, Value};

use super::alpaca::Alpaca;
use super::separators::{Eos, Separated, SeparatorStyle};
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::issue::Reason;
use crate::record::type_name;

/// A template as it stands in a file.
pub(super) enum Entry {
    /// One with `preamble`.
    Alpaca(Alpaca),
    /// One with `sep_style`, FastChat's fields.
    Separated(Separated),
    /// One with `chat_template`, and the tokens that it names itself.
    Jinja(ChatTemplate, [Option<String>; 2]),
}

impl Entry {
    pub(super) fn new(path: &Path, name: &str, fields: &Map<String, Value>) -> Result<Self> {
        let fields = Fields { path, name, fields };
        fields.check_names()?;
        if fields.value("chat_template").is_some() {
            let source = fields.text("chat_template")?;
            let tokens = [
                fields.optional_text("bos_token")?,
                fields.optional_text("eos_token")?,
            ];
            let [bos, eos] = tokens.each_ref().map(|token| token.as_deref());
            let chat =
                ChatTemplate::new(&source, bos.unwrap_or_default(), eos.unwrap_or_default())?;
            return Ok(Self::Jinja(chat, tokens));
        }
        match fields.value("preamble") {
            Some(_) => fields.alpaca().map(Self::Alpaca),
            None => fields.separated().map(Self::Separated),
        }
    }
}

/// All fields of templates.
const KNOWN: [&str; 22] = [
    "name",
    "system_template",
    "system_message",
    "roles",
    "messages",
    "preset_messages",
    "offset",
    "sep_style",
    "sep",
    "sep2",
    "stop_str",
    "stop_token_ids",
    "eos",
    "bos",
    "chat_template",
    "bos_token",
    "eos_token",
    "preamble",
    "preamble_with_input",
    "instruction",
    "input",
    "response",
];

/// How many characters have to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

/// The fields, and where they stand.
struct Fields<'a> {
    path: &'a Path,
    name: &'a str,
    fields: &'a Map<String, Value>,
}

impl Fields<'_> {
    /// Files may hold more than templates have; a name that is nearly a field's is a mistake.
    fn check_names(&self) -> Result<()> {
        for name in self
            .fields
            .keys()
            .filter(|name| !KNOWN.contains(&name.as_str()))
        {
            // A name of any length costs no more than the fields' own.
            let near = |known: &&&str| {
                name.len().abs_diff(known.len()) <= 8
                    && distance(name, known) <= (name.len() / 3).min(2)
            };
            if let Some(meant) = KNOWN.iter().find(near) {
                return Err(self.bad(name, Reason::UnknownField { meant }));
            }
        }
        Ok(())
    }

    /// What a field has, unless it is null.
    fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn bad(&self, field: &str, reason: Reason) -> Error {
        Error::TemplateEntry {
            path: self.path.to_owned(),
            entry: self.name.to_owned(),
            field: field.to_owned(),
            reason,
        }
    }

    fn wrong(&self, field: &str, expected: &'static str, value: &Value) -> Error {
        let got = type_name(value);
        self.bad(field, Reason::WrongType { expected, got })
    }

    fn optional_text(&self, field: &str) -> Result<Option<String>> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(field, "a string", other)),
        }
    }

    fn text(&self, field: &str) -> Result<String> {
        match self.fields.get(field) {
            Some(value @ Value::Null) => Err(self.wrong(field, "a string", value)),
            None => Err(self.bad(field, Reason::Missing)),
            Some(_) => self.optional_text(field).map(Option::unwrap_or_default),
        }
    }

    fn alpaca(&self) -> Result<Alpaca> {
        let preamble = self.text("preamble")?;
        let input = self.optional_text("input")?;
        Ok(Alpaca {
            name: self.name.to_owned(),
            preamble_with_input: match input {
                Some(_) => self.text("preamble_with_input")?,
                None => preamble.clone(),
            },
            preamble,
            instruction: self.text("instruction")?,
            input,
            response: self.text("response")?,
        })
    }

    fn separated(&self) -> Result<Separated> {
        let sep_style = self.style()?;
        let separator = |field: &str, used: bool| match used {
            true => self.text(field),
            false => self.optional_text(field).map(Option::unwrap_or_default),
        };
        let mut template = Separated {
            name: self.name.to_owned(),
            system_template: self.system_template()?,
            system_message: self.optional_text("system_message")?.unwrap_or_default(),
            roles: self.roles()?,
            messages: self.messages()?,
            sep_style,
            sep: separator("sep", sep_style.uses_sep())?,
            sep2: separator("sep2", sep_style.uses_sep2())?,
            stop_str: self.stop_str()?,
            stop_token_ids: self.stop_token_ids()?,
            eos: self.eos()?,
            bos: self.bos()?,
            source: String::new(),
        };
        template.source = serde_json::to_string(&template).unwrap_or_default();
        Ok(template)
    }

    fn bos(&self) -> Result<bool> {
        match self.value("bos") {
            None => Ok(true),
            Some(Value::Bool(bos)) => Ok(*bos),
            Some(other) => Err(self.wrong("bos", "a boolean", other)),
        }
    }

    fn style(&self) -> Result<SeparatorStyle> {
        let style = self.text("sep_style")?;
        let known = SeparatorStyle::NAMED.iter();
        let found = known.clone().find(|(name, _)| *name == style);
        found
            .map(|(_, style)| *style)
            .ok_or_else(|| Error::UnknownSeparatorStyle {
                path: self.path.to_owned(),
                entry: self.name.to_owned(),
                style,
                known: known.map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            })
    }

    fn system_template(&self) -> Result<Vec<String>> {
        const FIELD: &str = "system_template";
        let Some(template) = self.optional_text(FIELD)? else {
            return Ok(vec![String::new(), String::new()]);
        };
        let (expected, got) = (
            "no placeholder but {system_message} (a brace is {{ or }})",
            "another brace",
        );
        around_system(&template).ok_or_else(|| self.bad(FIELD, Reason::WrongType { expected, got }))
    }

    /// The names of user and assistant; FastChat passes over what else is there.
    fn roles(&self) -> Result<[String; 2]> {
        let Some(value) = self.fields.get("roles") else {
            return Err(self.bad("roles", Reason::Missing));
        };
        match value.as_array().map(Vec::as_slice) {
            Some([Value::String(user), Value::String(assistant), ..]) => {
                Ok([user.clone(), assistant.clone()])
            }
            _ => Err(self.wrong("roles", "an array of two strings", value)),
        }
    }

    /// The examples. `preset_messages` is a name under which they are found in data derived from
    /// FastChat's; `offset` must not count more than there are.
    fn messages(&self) -> Result<Vec<(String, String)>> {
        let field = match self.value("messages") {
            Some(_) => "messages",
            None => "preset_messages",
        };
        let no_messages = Vec::new();
        let rows = match self.value(field) {
            None => &no_messages,
            Some(Value::Array(rows)) => rows,
            Some(other) => return Err(self.wrong(field, "an array", other)),
        };
        let row = |(index, row): (usize, &Value)| match row.as_array().map(Vec::as_slice) {
            Some([Value::String(role), Value::String(text)]) => Ok((role.clone(), text.clone())),
            _ => Err(self.wrong(
                &format!("{field}[{index}]"),
                "an array of role and text",
                row,
            )),
        };
        let messages: Vec<_> = rows.iter().enumerate().map(row).collect::<Result<_>>()?;
        let offset = self.value("offset");
        let fits = |value: &Value| value.as_u64().is_some_and(|n| n <= messages.len() as u64);
        match offset.filter(|value| !fits(value)) {
            Some(value) => Err(self.wrong("offset", "at most the number of messages", value)),
            None => Ok(messages),
        }
    }

    fn stop_str(&self) -> Result<Vec<String>> {
        let (field, expected) = ("stop_str", "a string or an array of strings");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let Some(value) = self.value(field) else {
            return Ok(Vec::new());
        };
        let texts = match value {
            Value::Array(rows) => rows.iter().map(text).collect(),
            other => text(other).map(|text| vec![text]),
        };
        texts.ok_or_else(|| self.wrong(field, expected, value))
    }

    fn stop_token_ids(&self) -> Result<Vec<u32>> {
        let (field, expected) = ("stop_token_ids", "an array of token ids");
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let Some(value) = self.value(field) else {
            return Ok(Vec::new());
        };
        let ids = value.as_array().map(|rows| rows.iter().map(id).collect());
        ids.flatten()
            .ok_or_else(|| self.wrong(field, expected, value))
    }

    fn eos(&self) -> Result<Eos> {
        let Some(value) = self.value("eos") else {
            return Ok(Eos::Never);
        };
        match value.as_str() {
            Some("never") => Ok(Eos::Never),
            Some("each") => Ok(Eos::Each),
            Some("last") => Ok(Eos::Last),
            _ => Err(self.wrong("eos", "never, each or last", value)),
        }
    }
}

/// What stands around the places of the system text, by the rules of Python's `str.format`; none
/// where there are other places.
fn around_system(template: &str) -> Option<Vec<String>> {
    const PLACE: &str = "{system_message}";
    let mut around = vec![String::new()];
    let mut rest = template;
    while let Some(place) = rest.find(['{', '}']) {
        let last = around.last_mut()?;
        last.push_str(&rest[..place]);
        rest = &rest[place..];
        if let Some(behind) = rest.strip_prefix(PLACE) {
            around.push(String::new());
            rest = behind;
        } else if rest.starts_with("{{") || rest.starts_with("}}") {
            last.push_str(&rest[..1]);
            rest = &rest[2..];
        } else {
            return None;
        }
    }
    around.last_mut()?.push_str(rest);
    Some(around)
}

#[cfg(test)]
mod tests {
    use super::around_system;

    #[test]
    fn braces_are_those_of_python() {
        let around = |template| around_system(template).map(|texts| texts.join("S"));
        assert_eq!(around("a {system_message}{{}}!").as_deref(), Some("a S{}!"));
        assert_eq!(around("").as_deref(), Some(""));
        for bad in ["{}", "{system}", "{", "}", "{0}", "{{{"] {
            assert_eq!(around(bad), None, "{bad}");
        }
    }
}
