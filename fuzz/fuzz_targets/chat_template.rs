#![no_main]

libfuzzer_sys::fuzz_target!(init: llm_fuzz::let_panics_be_caught(), |data: &[u8]| llm_fuzz::chat_template(data));
