//! Tests across modules, against the references' goldens where `../shared` is at hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chat_limits;
mod chat_marks;
mod chat_models;
mod chat_tools;
mod cleaning;
mod cleaning_inputs;
mod cleaning_stream;
mod common;
mod data_files;
mod data_round_trips;
mod duplicates;
mod encoding;
mod faults;
mod format_data;
mod formats;
mod formats_bad;
mod fuzz_corpus;
mod generate;
mod generate_bounds;
mod generate_cache;
mod generate_kill;
mod generate_optional;
mod generate_tasks;
mod goldens;
#[cfg(feature = "http")]
mod http;
mod killed;
mod leakage;
#[cfg(feature = "http")]
mod openai;
mod pieces;
mod prepared;
mod properties;
mod reports;
mod stream_bad;
mod stream_files;
mod streaming;
mod template_files;
mod template_rules;
mod tokenizers;
mod truncation;
