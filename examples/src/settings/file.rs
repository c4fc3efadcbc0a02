//! YAML files of settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::Settings;
use super::keys::{KEYS, MORE, UNSUPPORTED, UNSUPPORTED_PREFIXES, WITHOUT_EFFECT};
use super::resolve::Layer;

/// The file in the output that holds the resolved settings.
pub const FILE: &str = "finetune.yaml";

/// The template with which the adapter or model of a directory was trained, where it is recorded.
pub fn recorded_template(dir: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Recorded {
        #[serde(alias = "template")]
        chat_template: Option<String>,
    }
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let recorded: Result<Recorded, _> = serde_saphyr::from_str(&text);
    Ok(recorded
        .map_err(|error| anyhow!("{}: {error}", path.display()))?
        .chat_template)
}

/// What a file says. All that is wrong with it is reported at once, with lines.
pub(super) fn read_file(path: &Path) -> Result<Layer> {
    let text = fs::read_to_string(path)?;
    let mut reader = Reader {
        keys: serde_saphyr::from_str(&text).map_err(|error| anyhow!("{error}"))?,
        ..Reader::default()
    };
    let names_base_model = reader.has("base_model");
    reader.translate();
    reader.rest();
    if !reader.problems.is_empty() {
        reader.problems.sort();
        let problems = reader.problems.into_iter();
        let lines = problems.map(|(line, problem)| format!("line {line}: {problem}"));
        bail!("{}", lines.collect::<Vec<_>>().join("\n  "));
    }
    Ok(Layer {
        fields: reader.fields,
        names_base_model,
    })
}

/// A file on its way to fields.
#[derive(Default)]
pub(super) struct Reader {
    /// The file's keys that are still to be read.
    keys: BTreeMap<String, Spanned<Value>>,
    /// What has been read, by the fields of [`Settings`].
    fields: Map<String, Value>,
    /// The keys by which fields were set.
    said_by: BTreeMap<String, String>,
    /// What is wrong, and on which line.
    problems: Vec<(u64, String)>,
}

impl Reader {
    /// Whether the file has the key, and a value for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys
            .get(key)
            .is_some_and(|entry| !entry.value.is_null())
    }

    /// The line of a key and its value, which is not read again.
    pub(super) fn take(&mut self, key: &str) -> Option<(u64, Value)> {
        let entry = self.keys.remove(key)?;
        Some((entry.referenced.line(), entry.value))
    }

    /// As [`take`](Self::take), of a type. A key without a value says nothing.
    pub(super) fn typed<T: DeserializeOwned>(&mut self, key: &str) -> Option<(u64, T)> {
        let (line, value) = self.take(key)?;
        if value.is_null() {
            return None;
        }
        match serde_json::from_value(value) {
            Ok(value) => Some((line, value)),
            Err(error) => {
                self.problem(line, key, explain(&error));
                None
            }
        }
    }

    pub(super) fn problem(&mut self, line: u64, key: &str, problem: impl AsRef<str>) {
        let problem = format!("`{key}`: {}", problem.as_ref());
        self.problems.push((line, problem));
    }

    /// What a field has been set to.
    pub(super) fn field(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// Sets a field to what a key says.
    pub(super) fn set(&mut self, (line, key): (u64, &str), field: &str, value: impl Into<Value>) {
        let value = whole_as_integer(value.into());
        if let Some(other) = self.said_by.insert(field.to_owned(), key.to_owned()) {
            return self.problem(
                line,
                key,
                format!("`{other}` says the same; keep one of them"),
            );
        }
        let alone = Map::from_iter([(field.to_owned(), value.clone())]);
        match serde_json::from_value::<Settings>(Value::Object(alone)) {
            Ok(_) => {
                self.fields.insert(field.to_owned(), value);
            }
            Err(error) => self.problem(line, key, explain(&error)),
        }
    }

    /// The keys that are settings as they stand, and those that are none.
    fn rest(&mut self) {
        let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
        for (key, entry) in std::mem::take(&mut self.keys) {
            let (line, value) = (entry.referenced.line(), entry.value);
            let known = KEYS
                .iter()
                .find(|(name, field)| key == *name || key == *field);
            let field = known
                .map(|(_, field)| *field)
                .or((key == "qlora").then_some("qlora"));
            if let Some(field) = field {
                // A key without a value says nothing, or that there is no such limit.
                if !value.is_null() || defaults[field].is_null() {
                    self.set((line, &key), field, value);
                }
            } else if let Some(advice) = unsupported(&key) {
                if is_set(&value) {
                    let advice = if advice.is_empty() {
                        String::new()
                    } else {
                        format!(": {advice}")
                    };
                    self.problem(line, &key, format!("not supported{advice}"));
                }
            } else if !WITHOUT_EFFECT.contains(&key.as_str()) {
                self.problems.push((line, unknown(&key)));
            }
        }
    }
}

/// What to do instead of a key of axolotl's that is not supported.
fn unsupported(key: &str) -> Option<&'static str> {
    let by_name = UNSUPPORTED.iter().find(|(name, _)| key == *name);
    let by_prefix = || {
        UNSUPPORTED_PREFIXES
            .iter()
            .find(|(prefix, _)| key.starts_with(prefix))
    };
    by_name.or_else(by_prefix).map(|(_, advice)| *advice)
}

fn unknown(key: &str) -> String {
    let names = KEYS.iter().flat_map(|(name, field)| [*name, *field]);
    let likeness = |name: &&str| (strsim::jaro_winkler(key, name) * 1000.0) as u32;
    let closest = names
        .chain(MORE)
        .chain(WITHOUT_EFFECT)
        .max_by_key(likeness)
        .filter(|name| likeness(name) > 800);
    match closest {
        Some(closest) => format!("unknown key `{key}`; did you mean `{closest}`?"),
        None => format!("unknown key `{key}`"),
    }
}

/// Whether a value asks for something.
pub(super) fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(array) => !array.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}

/// What was expected and found, in words.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let bare = text
        .strip_prefix("invalid type: ")
        .or(text.strip_prefix("invalid value: "));
    let Some((got, expected)) = bare.and_then(|bare| bare.split_once(", expected ")) else {
        return text;
    };
    let expected = match expected {
        "usize" | "u64" => "a whole number, 0 or more",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "path string" => "a path",
        other => other,
    };
    let got = match got.strip_prefix("string ") {
        Some(text) => format!("the text {text}"),
        None => got.to_owned(),
    };
    format!("expected {expected}, got {got}")
}

/// 3.0 as 3, so that a count may be written either way, and is written one way.
pub(super) fn whole_as_integer(value: Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 1e15 => {
            Value::from(number as i64)
        }
        _ => value,
    }
}
