//! Templates as data: the file that comes with the crate, and files of users.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::fields::Entry;
use crate::error::{Error, Result};
use crate::issue::Reason;
use crate::record::type_name;

/// The templates that come with the crate, in the format of users' files.
const BUILT_IN: &str = include_str!("templates.json");

/// A file of templates.
pub(super) struct Registry {
    path: PathBuf,
    entries: Vec<(String, Map<String, Value>)>,
}

impl Registry {
    pub(super) fn built_in() -> Result<Self> {
        let path = Path::new("templates.json");
        Self::new(path, json(path, BUILT_IN)?)
    }

    /// Reads a file: YAML where its name says so, a single Jinja template where it says so, JSON
    /// otherwise.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let value = match extension.map(str::to_lowercase).as_deref() {
            Some("jinja" | "jinja2" | "j2") => return Ok(Self::jinja(path, text)),
            Some("yaml" | "yml") => serde_saphyr::from_str(&text).map_err(|error| Error::Yaml {
                path: path.to_owned(),
                reason: error.to_string(),
            })?,
            _ => json(path, text.trim_start_matches('\u{FEFF}'))?,
        };
        Self::new(path, value)
    }

    fn jinja(path: &Path, source: String) -> Self {
        let stem = path.file_stem().unwrap_or_default();
        let name = stem.to_string_lossy().into_owned();
        let fields = Map::from_iter([("chat_template".to_owned(), Value::from(source))]);
        Self {
            path: path.to_owned(),
            entries: vec![(name, fields)],
        }
    }

    fn new(path: &Path, value: Value) -> Result<Self> {
        let bad = |entry: String, field: &str, reason| Error::TemplateEntry {
            path: path.to_owned(),
            entry,
            field: field.to_owned(),
            reason,
        };
        let list = match value {
            Value::Object(mut object) if object.contains_key("templates") => {
                object.remove("templates").unwrap_or_default()
            }
            one @ Value::Object(_) => Value::Array(vec![one]),
            other => other,
        };
        let Value::Array(list) = list else {
            let reason = Reason::WrongType {
                expected: "an array of templates",
                got: type_name(&list),
            };
            return Err(bad(String::new(), "", reason));
        };
        let mut entries: Vec<(String, Map<String, Value>)> = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            let number = || format!("number {}", index + 1);
            let wrong = |expected, value: &Value| Reason::WrongType {
                expected,
                got: type_name(value),
            };
            let Value::Object(fields) = value else {
                return Err(bad(number(), "", wrong("an object", &value)));
            };
            let name = match fields.get("name") {
                Some(Value::String(name)) if !name.is_empty() => name.clone(),
                Some(Value::String(_)) => return Err(bad(number(), "name", Reason::Empty)),
                Some(other) => return Err(bad(number(), "name", wrong("a string", other))),
                None => return Err(bad(number(), "name", Reason::Missing)),
            };
            if entries.iter().any(|(earlier, _)| *earlier == name) {
                let reason = Reason::WrongType {
                    expected: "a name of its own",
                    got: "that of another template",
                };
                return Err(bad(name, "name", reason));
            }
            entries.push((name, fields));
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.entries.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The template of a name; none where the file has none of it.
    pub(super) fn entry(&self, name: &str) -> Option<Result<Entry>> {
        let (name, fields) = self.entries.iter().find(|(other, _)| other == name)?;
        Some(Entry::new(&self.path, name, fields))
    }
}

fn json(path: &Path, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: error.to_string(),
    })
}
