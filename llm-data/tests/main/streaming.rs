//! Streams of any pieces: arrays against serde_json.

use std::io::{BufRead, Read};

use llm_data::{Error, Format, ReadOptions, Record, RecordReader};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Bytes that come in pieces of these lengths, over and over.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    lengths: Vec<usize>,
    piece: usize,
    left: usize,
}

impl Pieces {
    fn new(bytes: Vec<u8>, lengths: Vec<usize>) -> Self {
        Self {
            bytes,
            at: 0,
            lengths,
            piece: 0,
            left: 0,
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.fill_buf()?;
        let count = piece.len().min(out.len());
        out[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.left == 0 {
            self.left = self.lengths[self.piece % self.lengths.len()];
            self.piece += 1;
        }
        let end = (self.at + self.left).min(self.bytes.len());
        Ok(&self.bytes[self.at..end])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        self.left -= count;
    }
}

fn options(format: Format) -> ReadOptions {
    ReadOptions {
        format: Some(format),
        lenient: true,
        ..ReadOptions::default()
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![".{0,8}", r#"[\[\]{},:"\\ \n]{0,12}"#];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..4)
                .prop_map(|fields| fields.into_iter().collect::<Value>()),
        ]
    })
}

/// JSON with white space from `spaces` wherever some may be.
fn spaced(value: &Value, spaces: &mut impl FnMut() -> &'static str) -> String {
    let list = |parts: Vec<String>, open: &str, close: &str, space: &str| {
        format!("{open}{space}{}{close}", parts.join(","))
    };
    let inner = match value {
        Value::Array(values) => {
            let parts = values.iter().map(|value| spaced(value, spaces)).collect();
            list(parts, "[", "]", spaces())
        }
        Value::Object(fields) => {
            let part = |(name, value): (&String, &Value)| {
                format!(
                    "{}{}{}:{}",
                    spaces(),
                    json!(name),
                    spaces(),
                    spaced(value, spaces)
                )
            };
            let parts = fields.iter().map(part).collect();
            list(parts, "{", "}", spaces())
        }
        leaf => leaf.to_string(),
    };
    format!("{}{inner}{}", spaces(), spaces())
}

/// Rows through the reader: any value as the one other field of a text.
fn streamed(bytes: Vec<u8>, pieces: Vec<usize>) -> (Vec<Value>, Option<Error>) {
    let mut values = Vec::new();
    for record in RecordReader::of_reader("x", Pieces::new(bytes, pieces), options(Format::Text)) {
        match record {
            Ok(one) => match one.record {
                Record::Text(mut text) => values.extend(text.extra.shift_remove("v")),
                other => panic!("{other:?}"),
            },
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

fn document(values: &[Value], spaces: &[&'static str]) -> String {
    let rows = values.iter().map(|value| json!({"text": "t", "v": value}));
    let mut turn = spaces.iter().copied().cycle();
    spaced(&Value::Array(rows.collect()), &mut || {
        turn.next().unwrap_or("")
    })
}

fn spaces() -> impl Strategy<Value = Vec<&'static str>> {
    let one = prop::sample::select(vec!["", "", " ", "\n", "\r\n", "\t ", "  \n\n "]);
    prop::collection::vec(one, 1..12)
}

proptest! {
    #[test]
    fn arrays_are_streamed_as_serde_json_reads_them(
        values in prop::collection::vec(json_value(), 0..6),
        spaces in spaces(),
        pieces in prop::collection::vec(1_usize..9, 1..6),
    ) {
        let text = document(&values, &spaces);
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        let expected: Vec<Value> = rows.into_iter().map(|mut row| row["v"].take()).collect();
        let (read, error) = streamed(text.into_bytes(), pieces);
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(read, expected);
    }

    /// Broken in one place: an error where serde_json has one, else the same values.
    #[test]
    fn broken_arrays_are_refused_when_serde_json_refuses_them(
        values in prop::collection::vec(json_value(), 0..4),
        spaces in spaces(),
        pieces in prop::collection::vec(1_usize..9, 1..6),
        place in any::<prop::sample::Index>(),
        change in prop::sample::select(vec![None, Some(b','), Some(b']'), Some(b'"'), Some(b'}'), Some(b'['), Some(0xFF), Some(b'x'), Some(b'\\')]),
        cut in any::<bool>(),
    ) {
        let mut bytes = document(&values, &spaces).into_bytes();
        let at = place.index(bytes.len());
        match change {
            Some(byte) => bytes[at] = byte,
            None if cut => bytes.truncate(at),
            None => { bytes.remove(at); }
        }
        // Only arrays: other bytes are lines.
        if bytes.trim_ascii_start().first() != Some(&b'[') {
            return Ok(());
        }
        let whole = serde_json::from_slice::<Vec<serde_json::Map<String, Value>>>(&bytes);
        let (read, error) = streamed(bytes.clone(), pieces);
        match whole {
            Ok(rows) if rows.iter().all(|row| row.get("text").is_some_and(Value::is_string)) => {
                prop_assert!(error.is_none(), "{:?}", error);
                prop_assert!(read.into_iter().eq(rows.into_iter().filter_map(|mut row| row.remove("v"))));
            }
            _ => prop_assert!(error.is_some(), "{:?}", String::from_utf8_lossy(&bytes)),
        }
    }

    /// No bytes make it panic or hang, and JSON lines are lines.
    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200), pieces in prop::collection::vec(1_usize..9, 1..6)) {
        let reader = RecordReader::of_reader("x", Pieces::new(bytes.clone(), pieces), options(Format::ShareGpt));
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
        prop_assert!(reader.count() <= lines.max(bytes.len()));
    }
}
