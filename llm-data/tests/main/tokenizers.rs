//! Reading tokenizers and where they put spaces and BOS.

use std::fs;
use std::time::Instant;

use llm_data::{Error, Template, Tokenizer, TokenizerFiles};
use serde_json::json;

use crate::common::{encoder, long, record, shared, shared_tokenizer, tiny, tiny_json, tokenizer};

#[test]
fn smollm2_says_what_its_files_say() {
    let Some(tokenizer) = shared_tokenizer("smollm2") else {
        return;
    };
    assert_eq!(
        (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()),
        (Some(1), Some(2), Some(2))
    );
    assert_eq!(
        (tokenizer.vocab_size(), tokenizer.adds_bos()),
        (49152, false)
    );
    assert_eq!(tokenizer.token(2).as_deref(), Some("<|im_end|>"));
    assert_eq!(tokenizer.token(49152), None);
    assert!(tokenizer.chat_template().unwrap().contains("SmolLM"));
    tokenizer.check_embeddings(49152).unwrap();
    let error = tokenizer.check_embeddings(32000).unwrap_err().to_string();
    assert_eq!(
        error,
        "the tokenizer has 49152 ids, the model only 32000 embeddings"
    );
}

#[test]
fn the_jinja_file_wins_and_configurations_fill_in_the_end_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("tokenizer.json", &tiny_json().to_string());
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "default", "template": "field"}]}"#,
    );
    write("generation_config.json", r#"{"eos_token_id": [2, 4]}"#);
    write("config.json", r#"{"eos_token_id": 3, "bos_token_id": 1}"#);
    let read = || Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!((read().eos_ids(), read().bos_id()), (&[2, 4][..], Some(1)));
    assert_eq!(read().chat_template(), Some("field"));
    write("chat_template.jinja", "file");
    write(
        "special_tokens_map.json",
        r#"{"eos_token": {"content": "<|im_end|>"}, "pad_token": "<unk>"}"#,
    );
    assert_eq!((read().eos_ids(), read().pad_id()), (&[4][..], Some(0)));
    assert_eq!(read().chat_template(), Some("file"));
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = |dir: &std::path::Path| Tokenizer::from_dir(dir).unwrap_err();
    assert!(
        matches!(error(dir.path()), Error::Io { path, .. } if path.ends_with("tokenizer.json"))
    );
    for content in ["", "[]", "{}", "{\"model\": 3}"] {
        fs::write(dir.path().join("tokenizer.json"), content).unwrap();
        assert!(
            matches!(error(dir.path()), Error::Tokenizer { path, .. } if path.ends_with("tokenizer.json"))
        );
    }
    fs::write(dir.path().join("tokenizer.json"), tiny_json().to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), "{").unwrap();
    assert!(
        matches!(error(dir.path()), Error::Tokenizer { path, .. } if path.ends_with("tokenizer_config.json"))
    );
    fs::write(
        dir.path().join("tokenizer_config.json"),
        r#"{"eos_token": "<end>"}"#,
    )
    .unwrap();
    assert!(error(dir.path()).to_string().contains("<end>"));
}

#[test]
fn a_file_on_which_the_engine_panics_is_a_broken_file() {
    let mut json = tiny_json();
    json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="});
    let files = TokenizerFiles {
        tokenizer_json: json.to_string(),
        ..TokenizerFiles::default()
    };
    let error = Tokenizer::from_parts(files).unwrap_err();
    assert!(matches!(error, Error::Tokenizer { .. }), "{error:?}");
}

#[test]
fn a_bos_comes_once_or_not_at_all() {
    let Some(llama) = shared_tokenizer("llama2_spm") else {
        return;
    };
    assert!(llama.adds_bos());
    let source = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}";
    let dir = shared("fixtures/tokenizers/llama2_spm").unwrap();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let with_template = Tokenizer::from_parts(TokenizerFiles {
        tokenizer_json: read("tokenizer.json"),
        tokenizer_config: Some(read("tokenizer_config.json")),
        chat_template: Some(source.to_owned()),
        ..TokenizerFiles::default()
    })
    .unwrap();
    // BELLE has no such token, and Llama 2 writes one behind each answer.
    let others = ["belle", "llama-2", "chinese-alpaca2"];
    for name in Template::NAMES.iter().filter(|name| !others.contains(name)) {
        let ids = encoder(&with_template, name, long())
            .encode(&record("a", "", "b"))
            .unwrap()
            .sample
            .input_ids;
        assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 1, "{name}");
        assert_eq!(ids[0], 1, "{name}");
    }
    let smollm2 = shared_tokenizer("smollm2").unwrap();
    let ids = encoder(&smollm2, "alpaca", long())
        .encode(&record("a", "", "b"))
        .unwrap()
        .sample
        .input_ids;
    assert!(!ids.contains(&1));
}

#[test]
fn add_bos_token_decides_where_it_is_given() {
    let config = |add: bool| json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": add});
    assert!(!tiny().adds_bos());
    let adds = tokenizer(&tiny_json(), config(true));
    assert!(adds.adds_bos());
    let ids = encoder(&adds, "vicuna", long())
        .encode(&record("a", "", "b"))
        .unwrap()
        .sample
        .input_ids;
    assert_eq!((ids[0], ids[1]), (1, adds.token_id("<0x41>").unwrap()));
}

#[test]
fn no_space_is_put_into_the_middle_of_a_text() {
    let count = |tokenizer: &Tokenizer, template: &str| {
        let sample = encoder(tokenizer, template, long())
            .encode(&record("a", "", "a"))
            .unwrap()
            .sample;
        let answer = sample.labels.iter().position(|&label| label >= 0).unwrap();
        let space = tokenizer.token_id("▁").unwrap();
        (
            sample.input_ids[0] == space,
            sample.input_ids[answer] == space,
        )
    };
    let config = json!({"eos_token": "</s>"});
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
    let mut json = tiny_json();
    json["normalizer"] = serde_json::Value::Null;
    for (scheme, first) in [("always", true), ("first", true), ("never", false)] {
        json["pre_tokenizer"] = metaspace(scheme);
        // The answer follows "### Response:" at once, in the middle of the text.
        assert_eq!(
            count(&tokenizer(&json, config.clone()), "alpaca"),
            (first, false),
            "{scheme}"
        );
    }
    // Right after a special token the tokenizer does as it always does: `always` puts a space
    // there, `first` does not.
    for (scheme, expected) in [("always", true), ("first", false), ("never", false)] {
        json["pre_tokenizer"] = metaspace(scheme);
        let tokenizer = tokenizer(&json, config.clone());
        let prompt = encoder(&tokenizer, "chatml", long())
            .prompt(&[llm_data::Message::new(llm_data::Role::User, "a")])
            .unwrap();
        assert_eq!(
            prompt[1] == tokenizer.token_id("▁").unwrap(),
            expected,
            "{scheme}"
        );
    }
}

#[test]
fn runs_of_white_space_that_would_come_out_wrong_are_refused() {
    let Some(tokenizer) = shared_tokenizer("smollm2") else {
        return;
    };
    let spaces = " ".repeat(100_000);
    let ids = tokenizer.encode(&format!("{spaces}a")).unwrap();
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), format!("{spaces}a"));
    for run in [" ", "\n", "\u{a0}"] {
        let error = tokenizer
            .encode(&format!("a{}b", run.repeat(1_000_000)))
            .unwrap_err();
        assert!(matches!(
            error,
            Error::WhitespaceRun {
                length: 1_000_000,
                limit: 100_000
            }
        ));
    }
    // Much white space, but no run of it.
    let lines = "word \n".repeat(200_000);
    assert_eq!(
        tokenizer
            .decode(&tokenizer.encode(&lines).unwrap(), false)
            .unwrap(),
        lines
    );
}

#[test]
fn a_stream_keeps_spaces_and_whole_characters() {
    let Some(llama) = shared_tokenizer("llama2_spm") else {
        return;
    };
    let text = "Hello  world 你好😀 end";
    let ids = llama.encode(text).unwrap();
    let mut stream = llama.decode_stream();
    let pieces: Vec<String> = ids
        .iter()
        .filter_map(|&id| stream.push(id).unwrap())
        .collect();
    assert_eq!(pieces.concat(), text);
    assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
    assert_eq!(stream.finish().unwrap(), None);
    // Bytes of a character that never ends come out at the end.
    let smollm2 = shared_tokenizer("smollm2").unwrap();
    let cut = &smollm2.encode("a😀").unwrap()[..2];
    let mut stream = smollm2.decode_stream();
    assert_eq!(stream.push(cut[0]).unwrap().as_deref(), Some("a"));
    assert_eq!(stream.push(cut[1]).unwrap(), None);
    assert_eq!(stream.finish().unwrap().as_deref(), Some("\u{fffd}"));
}

#[test]
fn streaming_costs_the_same_however_long_the_text_is() {
    let tokenizer = tiny();
    let a = tokenizer.token_id("a").unwrap();
    let mut stream = tokenizer.decode_stream();
    // The quickest of several rounds: whatever else the machine does, it does not shorten any.
    let mut time = |rounds: usize| {
        let round = |_| {
            let start = Instant::now();
            for _ in 0..1_000 {
                assert_eq!(stream.push(a).unwrap().as_deref(), Some("a"));
            }
            start.elapsed()
        };
        (0..rounds).map(round).min().unwrap()
    };
    let early = time(5);
    time(50);
    let late = time(5);
    assert!(late < early * 5, "{early:?} became {late:?}");
}

#[test]
fn a_prompt_without_a_template_begins_as_the_tokenizer_begins_a_sequence() {
    let Some(llama) = shared_tokenizer("llama2_spm") else {
        return;
    };
    let ids = llama.encode_sequence("Hello </s>").unwrap();
    assert_eq!(ids[0], 1);
    assert!(!ids[1..].contains(&1) && !ids.contains(&2));
    assert_eq!(llama.encode_sequence("").unwrap(), [1]);
}

#[test]
fn a_bos_is_found_where_a_letter_has_no_token() {
    let mut json = tiny_json();
    let vocab = json["model"]["vocab"].as_object_mut().unwrap();
    vocab.retain(|token, _| token.starts_with("<|") || ["<s>", "</s>", "的"].contains(&&token[..]));
    (json["model"]["unk_token"], json["model"]["byte_fallback"]) = (json!(null), false.into());
    json["added_tokens"].as_array_mut().unwrap().remove(0);
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let tokens = json!({"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                        "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}});
    json["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [special("<s>"), text, special("</s>")],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": tokens});
    let config = json!({"bos_token": "<s>", "eos_token": "</s>"});
    // No probe has a token, then only the last one.
    let none = tokenizer(&json, config);
    assert_eq!(none.encode_sequence("a").unwrap(), [1]);
    json["model"]["vocab"]["的"] = 5.into();
    let last = tokenizer(&json, json!({"bos_token": "<s>"}));
    assert_eq!(last.encode_sequence("的").unwrap(), [1, 5]);
}

#[test]
fn the_whole_prefix_counts_as_written_already() {
    let mut json = tiny_json();
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let tokens = json!({"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                        "<|im_start|>": {"id": "<|im_start|>", "ids": [3], "tokens": ["<|im_start|>"]}});
    json["post_processor"] = json!({"type": "TemplateProcessing",
        "single": [special("<|im_start|>"), special("<s>"), text],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": tokens});
    let tokenizer = tokenizer(&json, json!({"bos_token": "<s>", "eos_token": "</s>"}));
    // ChatML begins with the prefix's first token, but not with the prefix.
    let prompt = encoder(&tokenizer, "chatml", long()).record_prompt(&record("a", "", "b"));
    assert_eq!(prompt.unwrap()[..3], [3, 1, 3]);
}

#[test]
fn a_padding_token_that_does_not_exist_is_none() {
    let config = json!({"eos_token": "</s>", "pad_token": "<pad>"});
    assert_eq!(tokenizer(&tiny_json(), config).pad_id(), None);
}

#[test]
fn a_stream_after_a_prompt_keeps_the_space_between() {
    let mut json = tiny_json();
    let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
    json["decoder"]["decoders"]
        .as_array_mut()
        .unwrap()
        .push(strip);
    let tokenizer = tokenizer(&json, json!({"bos_token": "<s>", "eos_token": "</s>"}));
    let streamed = |prompt: &[u32], ids: &[u32]| {
        let mut stream = tokenizer.decode_stream_after(prompt).unwrap();
        let mut text = String::new();
        for &id in ids {
            text.extend(stream.push(id).unwrap());
        }
        text.extend(stream.finish().unwrap());
        text
    };
    let word = tokenizer.encode(" is 你好").unwrap();
    assert_eq!(streamed(&[], &word), "is 你好");
    // Whatever stands before: words, special tokens at the end, cut characters, nothing shown.
    let long = "😀".repeat(9) + "abc";
    for before in ["The capital", "x", "你好", &long] {
        let mut prompt = tokenizer.encode_sequence(before).unwrap();
        assert_eq!(streamed(&prompt, &word), " is 你好", "{before}");
        prompt.push(4);
        assert_eq!(streamed(&prompt, &word), " is 你好", "{before}");
    }
    assert_eq!(streamed(&[1], &word), "is 你好");
    // The last ids of the prompt begin within a character, and bytes follow bytes.
    let prompt = tokenizer.encode(&("😀".repeat(9) + "b")).unwrap();
    assert_eq!(
        streamed(&prompt, &tokenizer.encode("你好").unwrap()),
        "你好"
    );
}
