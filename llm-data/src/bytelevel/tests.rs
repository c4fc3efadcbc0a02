//! Whatever the text, the ids are those of `tokenizers`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::Tokenizer as Engine;

use super::ByteLevel;
use super::split::{GPT2, LLAMA3, QWEN2};
use crate::place::Place;

/// What text hangs on: white space, contractions, digits of many scripts, marks, emoji, controls,
/// unassigned characters, special tokens.
const HARD: [&str; 84] = [
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    " \n ",
    "\u{b}",
    "\u{c}",
    "\u{1c}",
    "\u{85}",
    "\u{a0}",
    "\u{1680}",
    "\u{180e}",
    "\u{2003}",
    "\u{2028}",
    "\u{2029}",
    "\u{200b}",
    "\u{202f}",
    "\u{3000}",
    "\u{feff}",
    "'",
    "'s",
    "'S",
    "’s",
    "'ſ",
    "'T",
    "'re",
    "'RE",
    "'rE",
    "'ve",
    "'ll",
    "'lL",
    "'d",
    "'M",
    "'K",
    "a",
    "hello",
    " world",
    "ÉCOLE",
    "ﬁ",
    "你好",
    "世界",
    "한국어",
    "עברית",
    "हिन्दी",
    "ไทย",
    "ª",
    "ⅷ",
    "²",
    "½",
    "0",
    "12",
    "1234567",
    "٣",
    "൧",
    "𝟗",
    "㊿",
    "〇",
    "e\u{301}",
    "\u{301}",
    "\u{323}\u{307}",
    "é",
    "\u{1100}\u{1161}",
    "👍🏽",
    "👩‍👩‍👧",
    "🇩🇪",
    "!",
    "...",
    "?!\n",
    "_",
    "$",
    "\0",
    "\u{7f}",
    "\u{9f}",
    "\u{378}",
    "\u{e000}",
    "\u{10ffff}",
    "<|im_start|>",
    "<|endoftext|>",
    "<|im_end|>x",
    "<tool>",
];

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared")
        .join(path);
    let absent = !path.exists();
    assert!(!absent || std::env::var_os("REQUIRE_SHARED").is_none());
    (!absent).then_some(path)
}

fn smollm2() -> Option<Value> {
    let path = shared("fixtures/tokenizers/smollm2/tokenizer.json")?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// A vocabulary of bytes and few words, for where `../shared` is absent and for words that are
/// tokens but come of no merges.
fn small() -> Value {
    let letters = super::file::letters().map(String::from);
    let words = [
        "he", "ll", "hell", "lo", "hello", "Ġw", "or", "Ġwor", "ld", "Ġworld", "ĠĠ", "ab",
    ];
    let tokens = letters.into_iter().chain(words.map(str::to_owned));
    let vocab: serde_json::Map<_, _> = tokens.zip((0..).map(Value::from)).collect();
    let merges = [
        "l l", "h e", "he ll", "l o", "Ġ w", "o r", "Ġw or", "l d", "Ġ Ġ",
    ];
    let special = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": !special, "special": special})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(1000, "<|im_start|>", true), special(1001, "<tool>", false)],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                    "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
                  "byte_fallback": false, "ignore_merges": true, "vocab": vocab,
                  "merges": merges},
    })
}

fn byte_level(prefix: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
           "use_regex": regex})
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
           "invert": false})
}

fn digits(individual: bool) -> Value {
    json!({"type": "Digits", "individual_digits": individual})
}

/// A tokenizer both ways.
struct Both {
    ours: ByteLevel,
    engine: Engine,
}

impl Both {
    fn new(json: &Value) -> Self {
        let mut engine = Engine::from_bytes(json.to_string()).unwrap();
        engine.set_encode_special_tokens(true);
        let ours = ours(json).expect("a tokenizer of the known kinds");
        Self { ours, engine }
    }

    /// Whether the text needs no engine; where it does not, the ids are the same. Twice and a third
    /// time, when words are remembered.
    fn check(&self, text: &str) -> bool {
        let expected = self.engine.encode_fast(text, false).unwrap();
        (0..3).all(|_| {
            let mut ids = vec![7];
            let done = self.ours.encode(text, Place::Start, &mut ids);
            let expected = if done { expected.get_ids() } else { &[] };
            assert_eq!((ids[0], &ids[1..]), (7, expected), "{text:?}");
            done
        })
    }
}

fn ours(json: &Value) -> Option<ByteLevel> {
    let engine = Engine::from_bytes(json.to_string()).unwrap();
    let added = engine.get_added_tokens_decoder();
    let special = |id: u32| added.get(&id).is_some_and(|token| token.special);
    ByteLevel::new(json, added.values(), special)
}

/// The known kinds of tokenizers.
fn variants(json: &Value) -> Vec<Both> {
    let parts = [
        vec![byte_level(false, true)],
        vec![byte_level(true, true)],
        vec![byte_level(true, false)],
        vec![digits(true), byte_level(false, true)],
        vec![digits(false), byte_level(false, true)],
        vec![pattern(GPT2), byte_level(false, false)],
        vec![pattern(LLAMA3), byte_level(false, false)],
        vec![pattern(QWEN2), byte_level(false, false)],
        vec![pattern(LLAMA3), digits(true), byte_level(false, true)],
    ];
    let variant = |(number, mut parts): (usize, Vec<Value>)| {
        let mut json = json.clone();
        json["pre_tokenizer"] = match parts.len() {
            1 => parts.remove(0),
            _ => json!({"type": "Sequence", "pretokenizers": parts}),
        };
        if number % 2 == 1 {
            json["normalizer"] = json!({"type": "NFC"});
            json["model"]["ignore_merges"] = false.into();
        }
        Both::new(&json)
    };
    parts.into_iter().enumerate().map(variant).collect()
}

fn all() -> Vec<Both> {
    let files = [Some(small()), smollm2()];
    files.iter().flatten().flat_map(variants).collect()
}

/// All texts in a file's JSON.
fn texts(json: Value, out: &mut Vec<String>) {
    match json {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.into_iter().for_each(|item| texts(item, out)),
        Value::Object(fields) => fields.into_iter().for_each(|(_, item)| texts(item, out)),
        _ => {}
    }
}

fn files(dir: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let items = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
            items
                .map_while(Result::ok)
                .for_each(|item| texts(item, out));
            out.push(text.chars().take(20_000).collect());
        }
    }
}

#[test]
fn the_data_in_shared_is_encoded_as_tokenizers_encodes_it() {
    let (Some(dir), Some(json)) = (shared("data"), smollm2()) else {
        return;
    };
    let mut texts = Vec::new();
    files(&dir, &mut texts);
    assert!(texts.len() > 10_000, "{}", texts.len());
    for (number, both) in variants(&json).iter().enumerate() {
        let done = texts.iter().skip(number % 3).step_by(3);
        let done = done.filter(|text| both.check(text)).count();
        // Without a pattern a long text is one long word.
        assert!(done * 6 > texts.len(), "{number}: {done}");
    }
}

#[test]
fn every_character_is_split_alike_beside_every_class() {
    let mut json = small();
    json["model"]["merges"] = json!([]);
    json["model"]["ignore_merges"] = false.into();
    // What lies above is unassigned, or for private use.
    let assigned = (0..0x3_2400).chain(0xE_0000..0xE_0200);
    let chars: Vec<char> = assigned.filter_map(char::from_u32).collect();
    for both in &variants(&json)[4..8] {
        for chars in chars.chunks(512) {
            let text = |c: &char| format!("a{c}1{c}'{c} {c}");
            both.check(&chars.iter().map(text).collect::<String>());
        }
    }
}

#[test]
fn hard_texts_are_encoded_alike_in_all_pairs() {
    for both in all() {
        both.check("");
        for left in HARD {
            for right in HARD {
                both.check(&format!("{left}{right}"));
            }
        }
    }
}

#[test]
fn a_text_after_another_gets_no_space() {
    let mut json = small();
    json["pre_tokenizer"] = byte_level(true, true);
    let ours = ours(&json).unwrap();
    let encode = |text, place| {
        let mut ids = Vec::new();
        assert!(ours.encode(text, place, &mut ids));
        ids
    };
    let (with, without) = (
        encode(" world", Place::Middle),
        encode("world", Place::Middle),
    );
    assert_ne!(with, without);
    assert_eq!(encode("world", Place::Start), with);
    assert_eq!(encode(" world", Place::Start), with);
    assert_eq!(encode("world", Place::AfterSpecial), with);
}

#[test]
fn what_is_not_known_is_left_to_tokenizers() {
    let mut json = small();
    json["pre_tokenizer"] = byte_level(false, true);
    json["model"]["merges"] = json!([]);
    assert!(ours(&json).is_some());
    let unknown = [
        ("/normalizer", json!({"type": "NFKC"})),
        ("/pre_tokenizer", json!({"type": "Whitespace"})),
        (
            "/pre_tokenizer",
            json!({"type": "Sequence", "pretokenizers": []}),
        ),
        (
            "/pre_tokenizer",
            json!({"type": "Sequence", "pretokenizers": [byte_level(false, true), digits(true)]}),
        ),
        (
            "/pre_tokenizer",
            json!({"type": "Sequence", "pretokenizers": [digits(true), byte_level(true, true)]}),
        ),
        (
            "/pre_tokenizer",
            json!({"type": "Sequence", "pretokenizers": [pattern(r"\s+"), byte_level(false, false)]}),
        ),
        ("/model/continuing_subword_prefix", json!("##")),
        ("/model/end_of_word_suffix", json!("</w>")),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}),
        ),
        ("/added_tokens/0/content", json!("hello")),
    ];
    for (place, value) in unknown {
        let mut json = json.clone();
        *json.pointer_mut(place).unwrap() = value;
        assert!(ours(&json).is_none(), "{place} {json}");
    }
    let ours = ours(&json).unwrap();
    for text in ["a <tool> b", &"x".repeat(2000)] {
        let mut ids = vec![7];
        assert!(!ours.encode(text, Place::Start, &mut ids));
        assert_eq!(ids, [7]);
    }
}

#[test]
fn arbitrary_texts_are_encoded_alike() {
    let all = all();
    let part = prop_oneof![
        4 => prop::sample::select(HARD.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[a-z]{1,40}",
        1 => "\\PC{0,12}",
        1 => "[ \\t\\r\\n]{1,6}",
        1 => any::<char>().prop_map(String::from),
    ];
    let text = prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat());
    proptest!(ProptestConfig::with_cases(1024), |(text in text, number in 0..all.len())| {
        all[number].check(&text);
    });
}
