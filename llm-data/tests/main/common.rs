//! The shared fixtures, and a tokenizer that needs none.

use std::path::PathBuf;

use llm_data::{
    AlpacaRecord, EncodeOptions, Encoder, IGNORE_INDEX, Sample, Template, Tokenizer, TokenizerFiles,
};
use serde_json::{Value, json};

/// A path in the shared folder; none, with the reason printed, where it is absent and
/// `REQUIRE_SHARED` is unset.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if path.exists() {
        return Some(path);
    }
    let absent = format!("{} is absent", path.display());
    assert!(std::env::var_os("REQUIRE_SHARED").is_none(), "{absent}");
    eprintln!("skipped: {absent}");
    None
}

pub(crate) fn shared_json(path: &str) -> Option<Value> {
    let text = std::fs::read_to_string(shared(path)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

pub(crate) fn shared_tokenizer(name: &str) -> Option<Tokenizer> {
    let dir = shared(&format!("fixtures/tokenizers/{name}"))?;
    Some(Tokenizer::from_dir(dir).unwrap())
}

/// What `tiny` is made with; each test changes what it is about.
pub(crate) fn tiny_json() -> Value {
    let vocab: serde_json::Map<String, Value> =
        ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
            .map(str::to_owned)
            .into_iter()
            .chain((0..=255_u8).map(|byte| format!("<0x{byte:02X}>")))
            .chain(["▁".to_owned(), "a".to_owned()])
            .enumerate()
            .map(|(id, token)| (token, json!(id)))
            .collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"),
                         special(3, "<|im_start|>"), special(4, "<|im_end|>")],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
                  "byte_fallback": true, "vocab": vocab, "merges": []},
    })
}

pub(crate) fn tokenizer(json: &Value, config: Value) -> Tokenizer {
    Tokenizer::from_parts(TokenizerFiles {
        path: "tiny/tokenizer.json".into(),
        tokenizer_json: json.to_string(),
        tokenizer_config: Some(config.to_string()),
        ..TokenizerFiles::default()
    })
    .unwrap()
}

/// A tokenizer of bytes: each character costs its UTF-8 length, so lengths are plain to count.
pub(crate) fn tiny() -> Tokenizer {
    tokenizer(
        &tiny_json(),
        json!({"bos_token": "<s>", "eos_token": "</s>"}),
    )
}

pub(crate) fn encoder(tokenizer: &Tokenizer, template: &str, options: EncodeOptions) -> Encoder {
    let template = Template::by_name(template, tokenizer).unwrap();
    Encoder::new(tokenizer.clone(), template, options).unwrap()
}

pub(crate) fn long() -> EncodeOptions {
    EncodeOptions {
        max_seq_len: 1_000_000,
        ..EncodeOptions::default()
    }
}

pub(crate) fn record(instruction: &str, input: &str, output: &str) -> AlpacaRecord {
    AlpacaRecord {
        instruction: instruction.to_owned(),
        input: input.to_owned(),
        output: output.to_owned(),
        ..AlpacaRecord::default()
    }
}

/// A Unigram tokenizer, whose special tokens are pieces of the model, and the likeliest of all.
pub(crate) fn unigram() -> Tokenizer {
    let mut json = tiny_json();
    let special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"];
    let bytes = (0..=255_u8).map(|byte| json!([format!("<0x{byte:02X}>"), -20.0]));
    let letters = ('!'..='~').map(|letter| json!([letter, -5.0]));
    let vocab: Vec<Value> = special
        .map(|token| json!([token, 0.0]))
        .into_iter()
        .chain([json!(["▁", -3.0])])
        .chain(letters)
        .chain(bytes)
        .collect();
    json["model"] = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": vocab});
    tokenizer(&json, json!({"bos_token": "<s>", "eos_token": "</s>"}))
}

/// The sample as text, `[` and `]` around what is supervised.
pub(crate) fn shown(tokenizer: &Tokenizer, sample: &Sample) -> String {
    let mut text = String::new();
    let mut run = Vec::new();
    let mut inside = false;
    for (&id, &label) in sample.input_ids.iter().zip(&sample.labels) {
        if (label != IGNORE_INDEX) != inside {
            text += &tokenizer.decode(&std::mem::take(&mut run), false).unwrap();
            text.push(if inside { ']' } else { '[' });
            inside = !inside;
        }
        run.push(id);
    }
    text += &tokenizer.decode(&run, false).unwrap();
    if inside { text + "]" } else { text }
}

pub(crate) fn with_template(source: &str) -> Tokenizer {
    tokenizer(
        &tiny_json(),
        json!({"eos_token": "</s>", "bos_token": "<s>", "chat_template": source}),
    )
}

/// Where each supervised segment begins: where the labels start, and behind an end token that
/// another segment follows at once.
pub(crate) fn begins(labels: &[i64]) -> Vec<usize> {
    let supervised = |place: usize| labels[place] != IGNORE_INDEX;
    (0..labels.len())
        .filter(|&place| supervised(place) && (place == 0 || !supervised(place - 1)))
        .collect()
}
