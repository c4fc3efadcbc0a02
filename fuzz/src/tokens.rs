//! Tokenizers, and what they make of conversations.

use std::sync::LazyLock;

use llm_data::{
    Conversation, EncodeOptions, Encoder, Error, IGNORE_INDEX, Message, Role, Template, Tokenizer,
    TokenizerFiles, Truncation,
};
use serde_json::{Map, Value, json};

use super::{messages, parts, shown, split, text};

fn tokenizer(json: &str, config: &str) -> Tokenizer {
    let files = TokenizerFiles {
        path: "fuzz/tokenizer.json".into(),
        tokenizer_json: json.to_owned(),
        tokenizer_config: Some(config.to_owned()),
        ..TokenizerFiles::default()
    };
    Tokenizer::from_parts(files).expect("a tokenizer")
}

/// The tiny model's: byte-level BPE, one special token.
static TINY: LazyLock<Tokenizer> = LazyLock::new(|| {
    tokenizer(
        include_str!("../../examples/models/tiny/tokenizer.json"),
        include_str!("../../examples/models/tiny/tokenizer_config.json"),
    )
});

/// A token for each byte, as in SentencePiece's models; with a chat template.
static BYTES: LazyLock<Tokenizer> = LazyLock::new(|| {
    const SPECIAL: [&str; 5] = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"];
    let bytes = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>"));
    let tokens = SPECIAL.map(str::to_owned).into_iter().chain(bytes);
    let tokens = tokens.chain(["▁", "a", "▁a"].map(str::to_owned));
    let vocab: Map<String, Value> = tokens.zip((0..).map(Value::from)).collect();
    let added = SPECIAL.iter().enumerate().map(|(id, content)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    });
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.collect::<Value>(),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
                  "byte_fallback": true, "vocab": vocab, "merges": [["▁", "a"]]},
    });
    const CHAT: &str = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {% if m.role == \
        'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}\
        {{ m.content }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}";
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": CHAT});
    tokenizer(&json.to_string(), &config.to_string())
});

pub(crate) fn bytes() -> &'static Tokenizer {
    &BYTES
}

fn encoders(tokenizer: &Tokenizer) -> Vec<Encoder> {
    let names = Template::NAMES.into_iter();
    let names = names.filter(|name| *name != "model" || tokenizer.chat_template().is_some());
    let options = EncodeOptions {
        max_seq_len: 1 << 20,
        ..EncodeOptions::default()
    };
    names
        .map(|name| {
            let template = Template::by_name(name, tokenizer).expect(name);
            Encoder::new(tokenizer.clone(), template, options.clone()).expect(name)
        })
        .collect()
}

/// A tokenizer's files: `tokenizer.json`, the configuration, the map of special tokens, a chat
/// template.
pub fn tokenizer_json(data: &[u8]) {
    let text = text(data);
    let mut parts = parts(&text).into_iter().map(str::to_owned);
    let files = TokenizerFiles {
        path: "fuzz/tokenizer.json".into(),
        tokenizer_json: parts.next().unwrap_or_default(),
        tokenizer_config: parts.next(),
        special_tokens_map: parts.next(),
        chat_template: parts.next(),
        ..TokenizerFiles::default()
    };
    let tokenizer = match Tokenizer::from_parts(files) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return shown(&error),
    };
    for text in [
        "",
        "a",
        " a b  c\n",
        "<|im_end|></s>",
        "你好😀é",
        "\u{0}\t▁12",
    ] {
        let ids = match tokenizer.encode(text) {
            Ok(ids) => ids,
            Err(error) => return shown(&error),
        };
        let _ = tokenizer.encode_with_special_tokens(text);
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        decoded(&tokenizer, &ids);
    }
    if let Ok(template) = Template::default_for(&tokenizer)
        && let Ok(encoder) = Encoder::new(tokenizer, template, EncodeOptions::default())
    {
        let _ = encoder.prompt(&[Message::new(Role::User, "a")]);
    }
}

/// No panic; whether the stream gives what decoding as a whole does, a caller may ask.
fn decoded(tokenizer: &Tokenizer, ids: &[u32]) -> Option<(String, String)> {
    let mut stream = tokenizer.decode_stream();
    let mut pieces = String::new();
    for &id in ids {
        pieces += &stream.push(id).ok()?.unwrap_or_default();
    }
    pieces += &stream.finish().ok()?.unwrap_or_default();
    Some((pieces, tokenizer.decode(ids, true).ok()?))
}

/// Any ids: the pieces of a stream are the text.
pub fn decode_stream(data: &[u8]) {
    let (options, bytes) = split(data);
    let tokenizer: &Tokenizer = if options & 1 != 0 { &TINY } else { &BYTES };
    let ids = bytes.chunks(2).map(|pair| {
        let id = pair.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        // Some that there are not.
        id % (tokenizer.vocab_size() as u32 + 16)
    });
    let ids: Vec<u32> = ids.collect();
    let (pieces, text) = decoded(tokenizer, &ids).expect("decoded");
    if !text.contains('\u{FFFD}') && !pieces.contains('\u{FFFD}') {
        assert_eq!(pieces, text);
    }
    let (before, after) = ids.split_at(ids.len() / 2);
    let mut stream = tokenizer.decode_stream_after(before).expect("begun");
    let mut pieces = tokenizer.decode(before, true).expect("decoded");
    for &id in after {
        pieces += &stream.push(id).expect("pushed").unwrap_or_default();
    }
    pieces += &stream.finish().expect("ended").unwrap_or_default();
    if !text.contains('\u{FFFD}') && !pieces.contains('\u{FFFD}') {
        assert_eq!(pieces, text);
    }
}

/// A conversation in one of the built-in templates, which a second byte names.
pub fn encode(data: &[u8]) {
    static ENCODERS: LazyLock<[Vec<Encoder>; 2]> =
        LazyLock::new(|| [&*TINY, &*BYTES].map(encoders));
    let (options, bytes) = split(data);
    let (template, bytes) = split(bytes);
    let text = text(bytes);
    let texts = parts(&text).into_iter();
    let texts: Vec<&str> = texts.filter(|text| !text.trim().is_empty()).collect();
    let mut conversation = messages(&texts, options & 16 != 0);
    if conversation
        .last()
        .is_some_and(|last| last.role == Role::User)
        && conversation.len() > 2
    {
        conversation.pop();
    }
    let encoders = &ENCODERS[usize::from(options & 1)];
    let encoder = &encoders[usize::from(template) % encoders.len()];
    as_generation_gets_it(encoder, &conversation, false);
    shortened(encoder, &conversation, options);
}

/// The rule of rules: the ids before an answer are those that generation gets, and only what the
/// assistant says is supervised. A template of a file's may refuse.
pub(crate) fn as_generation_gets_it(encoder: &Encoder, conversation: &[Message], may_refuse: bool) {
    let whole = Conversation::from(conversation.to_vec());
    let sample = match encoder.encode_conversation(&whole) {
        Ok(encoded) if encoded.truncation == Truncation::default() => encoded.sample,
        Ok(_) => return,
        Err(error) => {
            let odd = matches!(error, Error::Conversation { .. } | Error::NothingSupervised);
            assert!(odd || may_refuse, "{}: {error}", encoder.template().name());
            return shown(&error);
        }
    };
    assert_eq!(sample.input_ids.len(), sample.labels.len());
    let pairs = sample.input_ids.iter().zip(&sample.labels);
    assert!({ pairs }.all(|(id, label)| *label == IGNORE_INDEX || *label == i64::from(*id)));
    let name = encoder.template().name();
    let mut begin = 0;
    let answers = conversation.iter().enumerate();
    for (place, answer) in answers.filter(|(_, message)| message.role == Role::Assistant) {
        let prompt = match encoder.prompt(&conversation[..place]) {
            Ok(prompt) => prompt,
            Err(error) if may_refuse => return shown(&error),
            Err(error) => panic!("{name}: {error}"),
        };
        assert!(prompt.len() >= begin, "{name}");
        assert!(
            sample.input_ids.starts_with(&prompt),
            "{name}: message {place}"
        );
        if !may_refuse {
            let supervised = &sample.labels[prompt.len()..];
            let run = supervised
                .iter()
                .take_while(|label| **label != IGNORE_INDEX)
                .count();
            let said = &sample.input_ids[prompt.len()..prompt.len() + run];
            let said = encoder.tokenizer().decode(said, true).expect("decoded");
            let plain = |text: &str| text.replace(['▁', ' '], "").trim().to_owned();
            assert!(
                plain(&said).contains(&plain(&answer.content)),
                "{name}: {said:?} instead of {:?}",
                answer.content
            );
        }
        begin = prompt.len();
    }
}

/// With little room the sample fits, or there is a reason why not.
fn shortened(encoder: &Encoder, conversation: &[Message], options: u8) {
    let limits = EncodeOptions {
        max_seq_len: 8 << (options >> 5),
        mask_history: options & 2 != 0,
        train_on_input: options & 6 == 4,
        skip_refused: false,
    };
    let short = Encoder::new(
        encoder.tokenizer().clone(),
        encoder.template().clone(),
        limits.clone(),
    );
    let whole = Conversation::from(conversation.to_vec());
    match short.expect("as before").encode_conversation(&whole) {
        Ok(encoded) => {
            let sample = encoded.sample;
            assert!(sample.input_ids.len() <= limits.max_seq_len);
            assert!(sample.supervised_tokens() > 0);
        }
        Err(Error::DoesNotFit { .. } | Error::NothingSupervised | Error::Conversation { .. }) => {}
        Err(error) => panic!("{}: {error}", encoder.template().name()),
    }
}
