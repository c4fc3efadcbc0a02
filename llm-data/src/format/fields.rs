//! Taking an object's fields one by one, noting what is wrong with them.

use serde_json::{Map, Value};

use crate::issue::Reason;
use crate::load::Problems;
use crate::record::type_name;

/// The fields that are left of an object, and the problems of those that were taken.
pub(super) struct Fields {
    left: Map<String, Value>,
    /// Where the object stands in the record, such as `conversations[2].`; empty for the record.
    place: String,
    pub(super) problems: Problems,
    /// Whether empty texts are no problem.
    pub(super) lenient: bool,
}

impl Fields {
    pub(super) fn new(left: Map<String, Value>, place: String, lenient: bool) -> Self {
        Self {
            left,
            place,
            problems: Problems::new(),
            lenient,
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.left.contains_key(field)
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.left.get(field)
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.left.shift_remove(field)
    }

    /// Takes a text if it is one; anything else stays.
    pub(super) fn take_text(&mut self, field: &str) -> Option<String> {
        if !self.left.get(field)?.is_string() {
            return None;
        }
        match self.take(field) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn put(&mut self, field: &str, value: Value) {
        self.left.insert(field.to_owned(), value);
    }

    /// All fields that are left.
    pub(super) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.left)
    }

    pub(super) fn problem(&mut self, field: &str, reason: Reason) {
        self.problems
            .push((format!("{}{field}", self.place), reason));
    }

    pub(super) fn wrong_type(&mut self, field: &str, expected: &'static str, got: &Value) {
        let got = type_name(got);
        self.problem(field, Reason::WrongType { expected, got });
    }

    /// A text that must be there and, unless lenient, say something.
    pub(super) fn required(&mut self, field: &str) -> String {
        match self.take(field) {
            Some(value) => self.text(field, value),
            None => {
                self.problem(field, Reason::Missing);
                String::new()
            }
        }
    }

    /// A text that may be absent or null; one of white space alone is none.
    pub(super) fn optional(&mut self, field: &str) -> Option<String> {
        match self.take(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.trim().is_empty()),
            Some(other) => {
                self.wrong_type(field, "a string", &other);
                None
            }
        }
    }

    /// A list that must be there and, unless lenient, have elements.
    pub(super) fn list(&mut self, field: &str) -> Vec<Value> {
        match self.take(field) {
            Some(Value::Array(values)) if values.is_empty() && !self.lenient => {
                self.problem(field, Reason::Empty);
            }
            Some(Value::Array(values)) => return values,
            Some(other) => self.wrong_type(field, "an array", &other),
            None => self.problem(field, Reason::Missing),
        }
        Vec::new()
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, field: &str) -> Vec<String> {
        let values = self.list(field).into_iter().enumerate();
        values
            .map(|(index, value)| self.text(&format!("{field}[{index}]"), value))
            .collect()
    }

    pub(super) fn text(&mut self, field: &str, value: Value) -> String {
        match value {
            Value::String(text) => {
                if text.trim().is_empty() && !self.lenient {
                    self.problem(field, Reason::Empty);
                }
                text
            }
            other => {
                self.wrong_type(field, "a string", &other);
                String::new()
            }
        }
    }
}
