//! Tests across modules, against the references' goldens where `../shared` is at hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chat_limits;
mod chat_marks;
mod chat_models;
mod cleaning;
mod common;
mod data_files;
mod duplicates;
mod encoding;
mod format_data;
mod formats;
mod goldens;
mod leakage;
mod properties;
mod stream_files;
mod streaming;
mod template_files;
mod template_rules;
mod tokenizers;
mod truncation;
