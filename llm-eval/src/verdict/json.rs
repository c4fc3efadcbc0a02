//! Verdicts in JSON objects, wherever they stand in a reply: fenced, after a preamble, in a list.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::decide::{Found, decide};
use super::{Preference, Range, Reason, Verdict};

/// An object's fields in their order, those that occur twice included.
#[derive(Clone, PartialEq)]
pub(super) struct Fields(Vec<(String, Field)>);

/// A field's value.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Field {
    /// Another object.
    Fields(Fields),
    /// Anything else.
    Value(Value),
}

impl Field {
    fn is_null(&self) -> bool {
        matches!(self, Self::Value(Value::Null))
    }
}

impl Fields {
    /// The value of `name`, whose case does not matter; `None` when absent or `null`.
    ///
    /// # Errors
    ///
    /// When the object has the field twice, with different values.
    pub(super) fn get(&self, name: &str) -> Result<Option<&Field>, Reason> {
        let name = name.to_lowercase();
        let mut values = self
            .0
            .iter()
            .filter(|(key, _)| key.trim().to_lowercase() == name)
            .map(|(_, value)| value);
        let first = values.next();
        if values.any(|value| Some(value) != first) {
            Err(Reason::Contradictory)
        } else {
            Ok(first.filter(|value| !value.is_null()))
        }
    }

    /// The fields' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.trim())
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The outermost objects of a text, and whether it ends inside one.
pub(super) fn objects(text: &str) -> (Vec<Found<Fields>>, bool) {
    let mut found = Vec::new();
    let mut cut_off = false;
    let mut from = 0;
    while let Some(at) = text[from..].find('{').map(|at| from + at) {
        let mut stream = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Fields>();
        match stream.next() {
            Some(Ok(value)) => {
                from = at + stream.byte_offset();
                cut_off = false;
                found.push(Found {
                    start: at,
                    end: from,
                    value,
                });
            }
            Some(Err(error)) => {
                cut_off |= error.is_eof();
                from = at + 1;
            }
            None => break,
        }
    }
    (found, cut_off)
}

/// The last object's `winner`, or else its `score`.
pub(super) fn verdict(text: &str, range: Range) -> Result<Verdict, Reason> {
    let (objects, cut_off) = objects(text);
    if cut_off {
        return Err(Reason::Truncated);
    }
    let mut found = Vec::new();
    for one in objects {
        if let Some(value) = of_object(&one.value, range) {
            found.push(Found {
                start: one.start,
                end: one.end,
                value,
            });
        }
    }
    decide(text, &found)?
}

/// What an object says; `None` when it has neither field.
fn of_object(fields: &Fields, range: Range) -> Option<Result<Verdict, Reason>> {
    match (fields.get("winner"), fields.get("score")) {
        (Err(reason), _) => Some(Err(reason)),
        (Ok(Some(winner)), _) => Some(preference(winner).map(Verdict::Preference)),
        (Ok(None), Err(reason)) => Some(Err(reason)),
        (Ok(None), Ok(Some(score))) => Some(number(score, range).map(Verdict::Score)),
        (Ok(None), Ok(None)) => None,
    }
}

fn preference(winner: &Field) -> Result<Preference, Reason> {
    let Field::Value(Value::String(name)) = winner else {
        return Err(Reason::NoVerdict);
    };
    let name = name.trim().to_ascii_lowercase();
    let prefix = ["assistant", "model", "answer", "response"]
        .into_iter()
        .find(|prefix| name.starts_with(prefix));
    match name[prefix.map_or(0, str::len)..].trim_matches([' ', '_', '[', ']']) {
        "a" => Ok(Preference::A),
        "b" => Ok(Preference::B),
        "c" | "tie" | "draw" | "平局" => Ok(Preference::Tie),
        _ => Err(Reason::NoVerdict),
    }
}

/// A score written as a number, or as a string that holds one, the highest score its denominator.
pub(super) fn number(value: &Field, range: Range) -> Result<f64, Reason> {
    let number = match value {
        Field::Value(Value::Number(number)) => number.as_f64(),
        Field::Value(Value::String(text)) => match text.split_once('/') {
            Some((_, max)) if max.trim().parse() != Ok(range.max()) => None,
            Some((score, _)) => score.trim().parse().ok(),
            None => text.trim().parse().ok(),
        },
        _ => None,
    };
    range.check(number.ok_or(Reason::NotANumber)?)
}
