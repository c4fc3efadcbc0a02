//! Benchmarks, verdicts, files and figures against other people's code, and against themselves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod coverage;
mod data;
mod files;
mod goldens;
mod harness;
#[path = "../../../llm-data/tests/main/http.rs"]
mod http;
mod judge_audit;
mod judge_export;
mod judge_faults;
mod judge_kill;
mod judge_logprobs;
mod judge_panel;
mod judge_people;
mod judge_prompts;
mod judge_run;
mod judge_schema;
mod judge_stubs;
#[path = "../../../llm-data/tests/main/killed.rs"]
mod killed;
#[cfg(feature = "local")]
mod local;
mod perplexities;
mod properties;
mod ratings;
mod replay;
mod replies;
mod report;
mod report_figures;
mod scoring;
mod toy;
mod verdicts;
