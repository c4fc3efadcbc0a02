//! The filters, functions and methods of chat templates beyond the engine's own, and the count of
//! the text that a rendering makes.

use std::fmt::{self, Write as _};

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};
use minijinja_contrib::pycompat;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::{Capped, MAX_TEXT, bounded, clock, generation};

/// What a template said through `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// The rendering made more text than it may.
#[derive(Debug, thiserror::Error)]
#[error("too much text")]
pub(super) struct TooMuchText;

/// What an item of a list counts as.
const BYTES_PER_ITEM: usize = 64;
/// What a single write counts as beyond its text: lists of lists are written a bracket at a time.
const BYTES_PER_WRITE: usize = 32;
/// The most digits of a width in `format`.
const MAX_WIDTH_DIGITS: usize = 3;

type Result<T> = std::result::Result<T, Error>;

pub(super) fn register(environment: &mut Environment<'static>) {
    environment.set_formatter(|out: &mut Output, state: &mut State, value: &Value| {
        charge_text(state, value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", |message: String| -> Result<Value> {
        Err(failed("raise_exception").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |format: &str| {
        clock::strftime_now(format).map_err(failed)
    });
    environment.add_filter(bounded::TERM, |state: &mut State, value: Value| {
        charge_items(state, &value).map(|()| value)
    });
    environment.add_filter(bounded::TEXT, |state: &mut State, value: Value| {
        charge_text(state, &value).map(|()| value)
    });
    environment.add_filter(bounded::FACTOR, |value: Value| match value.kind() {
        ValueKind::Number | ValueKind::Bool => Ok(value),
        kind => Err(failed(format!("`*` is for numbers here, not for a {kind}"))),
    });
    environment.add_filter(generation::FILTER, generation::filter);
    environment.add_filter("tojson", to_json);
    environment.add_filter("join", join_filter);
    environment.add_filter(
        "replace",
        |state: &mut State, text: &str, old: &str, new: &str| replace(state, text, old, new, None),
    );
    environment.add_filter("string", |state: &mut State, value: &Value| {
        charge_text(state, value).map(|()| value.to_string())
    });
    environment.add_filter("list", |state: &mut State, value: Value| {
        let characters = value.as_str().map_or(0, str::len);
        charge(state, characters.saturating_mul(BYTES_PER_ITEM))?;
        charge_items(state, &value)?;
        minijinja::filters::list(state, value)
    });
    environment.add_filter("indent", indent);
    // Not used by chat templates, and without a bound on what they make.
    for filter in ["format", "pprint"] {
        environment.remove_filter(filter);
    }
    environment.remove_global("debug");
}

fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Bytes of text that the rendering has made so far.
#[derive(Default)]
struct Used(usize);

/// Counts `bytes` of text.
pub(super) fn charge(state: &mut State, bytes: usize) -> Result<()> {
    let used = state.get_or_insert_extension_with(Used::default);
    used.0 = used.0.saturating_add(bytes);
    if used.0 > MAX_TEXT {
        return Err(failed("too much text").with_source(TooMuchText));
    }
    Ok(())
}

/// Counts a value whose text is about to be written; for lists and mappings, all that is in them.
fn charge_text(state: &mut State, value: &Value) -> Result<()> {
    let mut counter = Counter(0);
    match (value.as_str(), value.kind()) {
        (Some(text), _) => counter.0 = text.len(),
        (None, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) => {
            // An error means that the limit is passed, and then the count has passed it too.
            let _ = write!(counter, "{value}");
        }
        _ => {}
    }
    charge(state, counter.0)
}

/// Counts a text, or the items of a list, that are about to be copied.
pub(super) fn charge_items(state: &mut State, value: &Value) -> Result<()> {
    let bytes = match value.as_str() {
        Some(text) => text.len(),
        None => value.len().unwrap_or(0).saturating_mul(BYTES_PER_ITEM),
    };
    charge(state, bytes)
}

/// Counts what is written and stops at the limit.
struct Counter(usize);

impl fmt::Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len() + BYTES_PER_WRITE;
        if self.0 > MAX_TEXT {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// Python's methods, those that can make long texts with a count of it.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value> {
    if let Some(text) = value.as_str() {
        match (name, args) {
            ("join", [items]) => return join(state, items, text).map(Value::from),
            ("replace", [old, new, rest @ ..]) => {
                if let (Some(old), Some(new)) = (old.as_str(), new.as_str()) {
                    let count = rest.first().and_then(Value::as_usize);
                    return replace(state, text, old, new, count).map(Value::from);
                }
            }
            ("format", _) => charge_format(state, text, args)?,
            _ => charge(state, text.len())?,
        }
    } else {
        charge_items(state, value)?;
    }
    pycompat::unknown_method_callback(state, value, name, args)
}

/// Counts the most that `format` can make: each placeholder as all the arguments and its width.
fn charge_format(state: &mut State, text: &str, args: &[Value]) -> Result<()> {
    let wide = text
        .split(|c: char| !c.is_ascii_digit())
        .any(|run| run.len() > MAX_WIDTH_DIGITS);
    if wide || text.contains(":{") {
        return Err(failed("a format's width has at most three digits"));
    }
    for _ in text.matches('{') {
        args.iter()
            .try_for_each(|argument| charge_text(state, argument))?;
        charge(state, 10_usize.pow(MAX_WIDTH_DIGITS as u32))?;
    }
    charge(state, text.len())
}

fn join_filter(
    state: &mut State,
    items: Value,
    joiner: Option<&str>,
    attribute: Option<String>,
    kwargs: Kwargs,
) -> Result<String> {
    let attribute = match attribute {
        Some(attribute) => Some(attribute),
        None => kwargs.get::<Option<String>>("attribute")?,
    };
    kwargs.assert_all_used()?;
    let items = match attribute {
        Some(attribute) => items
            .try_iter()?
            .map(|item| item.get_attr(&attribute))
            .collect::<Result<Value>>()?,
        None => items,
    };
    join(state, &items, joiner.unwrap_or_default())
}

fn join(state: &mut State, items: &Value, joiner: &str) -> Result<String> {
    let mut text = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        charge(state, joiner.len())?;
        charge_text(state, &item)?;
        if index > 0 {
            text.push_str(joiner);
        }
        text.push_str(&item.to_string());
    }
    Ok(text)
}

fn replace(
    state: &mut State,
    text: &str,
    old: &str,
    new: &str,
    count: Option<usize>,
) -> Result<String> {
    let count = count.unwrap_or(usize::MAX).min(text.matches(old).count());
    charge(
        state,
        text.len().saturating_add(count.saturating_mul(new.len())),
    )?;
    Ok(text.replacen(old, new, count))
}

/// Indents every line but the first, or that too with `first`, and empty ones with `blank`.
fn indent(
    state: &mut State,
    text: &str,
    width: Option<usize>,
    first: Option<bool>,
    kwargs: Kwargs,
) -> Result<String> {
    let width = width.or(kwargs.get("width")?).unwrap_or(4);
    let first = first.or(kwargs.get("first")?).unwrap_or(false);
    let blank = kwargs.get::<Option<bool>>("blank")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let lines = text.split('\n').count();
    charge(
        state,
        text.len().saturating_add(lines.saturating_mul(width)),
    )?;
    let space = " ".repeat(width);
    let indented = text.split('\n').enumerate().map(|(number, line)| {
        let bare = if number == 0 {
            !first
        } else {
            line.is_empty() && !blank
        };
        if bare {
            line.to_owned()
        } else {
            format!("{space}{line}")
        }
    });
    Ok(indented.collect::<Vec<_>>().join("\n"))
}

/// `json.dumps` as transformers calls it: nothing is escaped but what JSON requires.
fn to_json(state: &mut State, value: Value, _: Rest<Value>, kwargs: Kwargs) -> Result<String> {
    charge_text(state, &value)?;
    let indent: Option<usize> = kwargs.get("indent")?;
    let mut value = serde_json::to_value(&value).map_err(|error| failed(error.to_string()))?;
    if kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false) {
        value.sort_all_objects();
    }
    kwargs.get::<Option<bool>>("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let json = match indent {
        Some(width) => {
            charge(state, width)?;
            let space = " ".repeat(width);
            write_json(&value, PrettyFormatter::with_indent(space.as_bytes()))
        }
        None => write_json(&value, Spaced(CompactFormatter)),
    }?;
    charge(state, json.len())?;
    Ok(json)
}

/// Spaces of a wide indentation are text like any other, and end at the limit.
fn write_json(value: &serde_json::Value, formatter: impl Formatter) -> Result<String> {
    let mut json = Capped(Vec::new());
    value
        .serialize(&mut serde_json::Serializer::with_formatter(
            &mut json, formatter,
        ))
        .map_err(|error| match error.is_io() {
            true => failed("too much text").with_source(TooMuchText),
            false => failed(error.to_string()),
        })?;
    String::from_utf8(json.0).map_err(|error| failed(error.to_string()))
}

/// A finite number as Python writes it: with an exponent of two digits and a sign below 1e-4 and from
/// 1e16 on.
fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        // Whole numbers keep their point.
        _ => format!("{value:?}"),
    }
}

/// JSON on one line with Python's spaces: `{"a": 1, "b": [2, 3]}`.
struct Spaced(CompactFormatter);

impl Formatter for Spaced {
    fn write_f64<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        value: f64,
    ) -> std::io::Result<()> {
        writer.write_all(python_float(value).as_bytes())
    }

    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
