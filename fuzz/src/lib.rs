//! What the fuzz targets do with their input, one function each.
//!
//! A target panics where a promise of llm-data is broken; a typed error is what bad input gets.
//! The first byte of an input holds options, a line `---` divides its parts. The functions need no
//! fuzzer: the tests of llm-data run the corpus through them too.

mod cleaning;
mod generation;
mod records;
mod templates;
mod tokens;

use std::borrow::Cow;
use std::path::Path;

use llm_data::{Error, Message, Role};

pub use cleaning::{cleaning, html, leakage, similarity, steps_yaml};
#[cfg(feature = "http")]
pub use generation::wire;
pub use generation::{prompts_dir, replies, reply_cache};
pub use records::{loaders, records_compressed, records_json, records_parquet, text_files};
pub use templates::{chat_template, templates_file};
pub use tokens::{decode_stream, encode, tokenizer_json};

/// A target's name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("chat_template", chat_template),
    ("cleaning", cleaning),
    ("decode_stream", decode_stream),
    ("encode", encode),
    ("html", html),
    ("leakage", leakage),
    ("loaders", loaders),
    ("prompts_dir", prompts_dir),
    ("records_compressed", records_compressed),
    ("records_json", records_json),
    ("records_parquet", records_parquet),
    ("replies", replies),
    ("reply_cache", reply_cache),
    ("similarity", similarity),
    ("steps_yaml", steps_yaml),
    ("templates_file", templates_file),
    ("text_files", text_files),
    ("tokenizer_json", tokenizer_json),
    #[cfg(feature = "http")]
    ("wire", wire),
];

/// Takes back the fuzzer's own way with panics: it ends the process even where llm-data catches
/// what a dependency does. One that nobody catches still ends it.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}

/// Options and the rest.
fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((0, data), |(first, rest)| (*first, rest))
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// What lines `---` divide.
fn parts(text: &str) -> Vec<&str> {
    text.split("\n---\n").collect()
}

/// Calls `read` with the path of a file of this name.
fn in_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    read(&path)
}

/// A message says something, and not without end.
fn shown(error: &Error) {
    let length = error.to_string().len();
    assert!(
        (1..4 << 20).contains(&length),
        "a message of {length} bytes"
    );
}

/// User and assistant by turns; with `system` a system text before them.
fn messages(texts: &[&str], system: bool) -> Vec<Message> {
    let turns = [Role::User, Role::Assistant].into_iter().cycle();
    let roles = system.then_some(Role::System).into_iter().chain(turns);
    let messages = roles
        .zip(texts)
        .map(|(role, text)| Message::new(role, *text));
    messages.collect()
}
