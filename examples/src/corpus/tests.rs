//! Tests of the corpus and of the two sets of records that belong to it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::documents;

const TRAINING: &str = include_str!("../../data/alpaca_tiny.json");
const HELD_OUT: &str = include_str!("../../data/alpaca_tiny_heldout.json");

/// A run of so many words is shared text; of so many characters where there is Chinese in it.
const WORDS: usize = 4;
const CHARACTERS: usize = 8;

fn records(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("the records are a JSON array")
}

/// What the user says in a record.
fn user_texts(record: &Value) -> Vec<&str> {
    let mut texts: Vec<&str> = ["instruction", "input"]
        .iter()
        .filter_map(|&field| record[field].as_str())
        .collect();
    for turn in record["history"].as_array().into_iter().flatten() {
        texts.extend(turn[0].as_str());
    }
    texts
}

/// What anybody says in a record before its output.
fn prompt_texts(record: &Value) -> Vec<&str> {
    let mut texts = user_texts(record);
    for turn in record["history"].as_array().into_iter().flatten() {
        texts.extend(turn[1].as_str());
    }
    texts
}

fn is_chinese(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

/// Lower-case words and numbers, and Chinese characters one by one; no punctuation.
fn units(text: &str) -> Vec<String> {
    let mut units = Vec::new();
    let mut word = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_alphanumeric() && !is_chinese(c) {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            units.push(std::mem::take(&mut word));
        }
        if is_chinese(c) {
            units.push(c.to_string());
        }
    }
    units.extend((!word.is_empty()).then_some(word));
    units
}

/// The first run of units of the text that also stands in one of the others; a text that is
/// shorter than a run counts as a whole, unless it is a single unit.
fn shared_run(text: &str, others: &[Vec<String>]) -> Option<String> {
    let own = units(text);
    let full = if text.chars().any(is_chinese) {
        CHARACTERS
    } else {
        WORDS
    };
    let length = full.min(own.len());
    if length < 2 {
        return None;
    }
    own.windows(length)
        .find(|run| {
            others
                .iter()
                .any(|other| other.windows(length).any(|window| window == *run))
        })
        .map(|run| run.join(" "))
}

#[test]
fn same_seed_same_documents() {
    assert_eq!(documents(42), documents(42));
    assert_ne!(documents(42), documents(43));
}

#[test]
fn documents_keep_their_sizes() {
    let documents = documents(42);
    let bytes: usize = documents.iter().map(String::len).sum();
    assert!((1_500_000..2_500_000).contains(&bytes), "{bytes} bytes");
    for document in &documents {
        let characters = document.chars().count();
        assert!(
            (200..=1500).contains(&characters),
            "{characters}: {document}"
        );
    }
}

#[test]
fn the_world_is_small() {
    let text = documents(42).concat();
    let chinese: BTreeSet<char> = text.chars().filter(|&c| is_chinese(c)).collect();
    assert!(chinese.len() <= 500, "{} Chinese characters", chinese.len());
    let others: BTreeSet<char> = text.chars().filter(|&c| !is_chinese(c)).collect();
    assert!(others.len() <= 100, "{others:?}");
    let words: BTreeSet<String> = units(&text)
        .into_iter()
        .filter(|unit| unit.chars().all(|c| c.is_ascii_alphabetic()))
        .collect();
    assert!(words.len() <= 1200, "{} English words", words.len());
}

#[test]
fn every_place_in_a_sentence_is_filled() {
    for document in documents(42) {
        assert!(!document.contains(['{', '}', '_']), "{document}");
    }
}

#[test]
fn no_prompt_format_in_the_corpus() {
    let text = documents(42).concat();
    for mark in [
        "### Instruction",
        "### Input",
        "### Response",
        "### 指令",
        "### 输入",
        "### 回答",
    ] {
        assert!(!text.contains(mark), "{mark}");
    }
}

#[test]
fn no_instruction_in_the_corpus_but_greetings() {
    let text = documents(42).concat();
    let greetings = [super::sayings::GREETINGS_EN, super::sayings::GREETINGS_ZH].concat();
    for record in records(TRAINING).iter().chain(&records(HELD_OUT)) {
        let instruction = record["instruction"].as_str().unwrap_or_default();
        // Under `You are a translator.` the instruction is a single word.
        let short = units(instruction).len() <= 2;
        assert!(
            short || greetings.contains(instruction) || !text.contains(instruction),
            "{instruction}"
        );
    }
}

#[test]
fn records_are_plain_alpaca() {
    const FIELDS: [&str; 5] = ["instruction", "input", "output", "system", "history"];
    let (training, held_out) = (records(TRAINING), records(HELD_OUT));
    let all: Vec<&Value> = training.iter().chain(&held_out).collect();
    for record in &all {
        let fields = record.as_object().expect("a record is an object");
        assert!(
            fields.keys().all(|key| FIELDS.contains(&key.as_str())),
            "{record}"
        );
        for field in ["instruction", "output"] {
            assert!(
                record[field].as_str().is_some_and(|text| !text.is_empty()),
                "{record}"
            );
        }
    }
    let with = |field: &str| {
        let has = |record: &&Value| !matches!(record[field].as_str(), None | Some(""));
        training.iter().filter(has).count()
    };
    let with_history = training
        .iter()
        .filter(|record| record["history"].is_array())
        .count();
    assert!(training.len() >= 400 && held_out.len() >= 40);
    assert!(with("input") >= 25 && with("system") >= 20 && with_history >= 20);
    let prompts: BTreeSet<String> = all
        .iter()
        .map(|record| format!("{:?}{}", prompt_texts(record), record["system"]))
        .collect();
    assert_eq!(prompts.len(), all.len(), "a prompt occurs twice");
}

#[test]
fn held_out_prompts_share_no_text_with_training_records() {
    let training = records(TRAINING);
    let known: Vec<Vec<String>> = training.iter().flat_map(prompt_texts).map(units).collect();
    for record in records(HELD_OUT) {
        for text in user_texts(&record) {
            let shared = shared_run(text, &known);
            assert!(shared.is_none(), "{text:?} shares {shared:?}");
        }
    }
}

#[test]
fn held_out_answers_are_not_trained() {
    // The verdicts on opinions and the assistant's name are the same everywhere.
    const COMMON: [&str; 6] = [
        "The sentence is positive.",
        "The sentence is negative.",
        "这句话是正面的。",
        "这句话是负面的。",
        "My name is Pebble.",
        "我叫小石。",
    ];
    let training = records(TRAINING);
    let trained: BTreeSet<&str> = training
        .iter()
        .filter_map(|record| record["output"].as_str())
        .collect();
    for record in records(HELD_OUT) {
        let output = record["output"].as_str().unwrap_or_default();
        assert!(
            COMMON.contains(&output) || !trained.contains(output),
            "{output}"
        );
    }
}

#[test]
fn shared_runs_are_found() {
    let known = [
        units("What is the capital of France?"),
        units("今天天气很好，我们去看书。"),
    ];
    for text in [
        "So: what IS the capital?",
        "of France",
        "天天气很好我们去",
        "很好",
    ] {
        assert!(shared_run(text, &known).is_some(), "{text}");
    }
    for text in ["What is a capital?", "France", "去", "我们今天去看书了吗？"] {
        assert!(shared_run(text, &known).is_none(), "{text}");
    }
}
