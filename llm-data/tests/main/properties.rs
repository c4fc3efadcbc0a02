//! What must hold for any text.

use llm_data::{AlpacaRecord, ChatTemplate, Encoder, Message, Role, Template, Tokenizer};
use proptest::prelude::*;

use crate::common::{begins, encoder, long, shared_tokenizer, tiny, unigram};

/// Texts with what is hard about them: special tokens, templates' own words, white space, scripts.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => "[ -~]{1,8}",
        2 => "\\PC{1,5}",
        1 => "[\\s]{1,4}",
        2 => proptest::sample::select(vec![
            "<|im_start|>", "<|im_end|>", "</s>", "<s>", "<unk>", "<|endoftext|>", "<|im_", "end|>",
            "### Response:", "ASSISTANT:", "▁", "你好", "😀", "{{ x }}", "{input}", "\u{E000}", "\n\n",
        ]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

/// A text that is not only white space, as loaded records have it.
fn some_text() -> impl Strategy<Value = String> {
    any_text().prop_filter("white space only", |text| !text.trim().is_empty())
}

fn any_record() -> impl Strategy<Value = AlpacaRecord> {
    let history = proptest::collection::vec((some_text(), some_text()), 0..3);
    let input = prop_oneof![Just(String::new()), any_text()];
    (
        some_text(),
        input,
        some_text(),
        proptest::option::of(any_text()),
        history,
    )
        .prop_map(
            |(instruction, input, output, system, history)| AlpacaRecord {
                instruction,
                input,
                output,
                system,
                history,
            },
        )
}

fn tokenizers() -> Vec<Tokenizer> {
    let shared = ["smollm2", "llama2_spm"]
        .into_iter()
        .filter_map(shared_tokenizer);
    [tiny(), unigram()].into_iter().chain(shared).collect()
}

fn encoders() -> Vec<Encoder> {
    let mut encoders = Vec::new();
    for tokenizer in tokenizers() {
        for name in Template::NAMES {
            if name != "model" || tokenizer.chat_template().is_some() {
                encoders.push(encoder(&tokenizer, name, long()));
            }
        }
    }
    encoders
}

/// The record with its first `turns` turns: what generation had when it was asked.
fn cut_short(record: &AlpacaRecord, turns: usize) -> AlpacaRecord {
    let mut record = record.clone();
    if turns <= record.history.len() {
        let (question, answer) = record.history[turns - 1].clone();
        record.history.truncate(turns - 1);
        (record.instruction, record.input, record.output) = (question, String::new(), answer);
    }
    record
}

fn messages(record: &AlpacaRecord) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(
        record
            .system
            .as_ref()
            .map(|system| Message::new(Role::System, system)),
    );
    for (question, answer) in &record.history {
        messages.push(Message::new(Role::User, question));
        messages.push(Message::new(Role::Assistant, answer));
    }
    messages.push(Message::new(Role::User, &record.instruction));
    messages
}

#[test]
fn what_stands_before_an_answer_is_what_generation_gets() {
    let encoders = encoders();
    let config = ProptestConfig {
        cases: 200,
        ..ProptestConfig::default()
    };
    proptest!(config, |(record in any_record())| {
        for encoder in &encoders {
            let sample = encoder.encode(&record).unwrap().sample;
            let begins = begins(&sample.labels);
            prop_assert_eq!(begins.len(), record.history.len() + 1);
            for (turn, &begin) in begins.iter().enumerate() {
                let earlier = cut_short(&record, turn + 1);
                let prompt = encoder.record_prompt(&earlier).unwrap();
                prop_assert_eq!(&sample.input_ids[..begin], &prompt);
                if earlier.input.trim().is_empty() {
                    prop_assert_eq!(encoder.prompt(&messages(&earlier)).unwrap(), prompt);
                }
            }
        }
    });
}

#[test]
fn what_people_write_never_becomes_a_special_token() {
    let encoders = encoders();
    proptest!(|(record in any_record())| {
        for encoder in &encoders {
            let plain = AlpacaRecord {
                instruction: "x".into(),
                input: if record.input.trim().is_empty() { String::new() } else { "x".into() },
                output: "x".into(),
                system: record.system.clone().map(|system| {
                    if system.trim().is_empty() { system } else { "x".to_owned() }
                }),
                history: record.history.iter().map(|_| ("x".into(), "x".into())).collect(),
            };
            let specials = |record: &AlpacaRecord| {
                let ids = encoder.encode(record).unwrap().sample.input_ids;
                // Unknown characters become `<unk>`, which is special in name only.
                let unknown = encoder.tokenizer().token_id("<unk>");
                ids.into_iter()
                    .filter(|&id| encoder.tokenizer().is_special(id) && Some(id) != unknown)
                    .collect::<Vec<_>>()
            };
            prop_assert_eq!(specials(&record), specials(&plain));
        }
    });
}

#[test]
fn text_comes_back_from_its_ids() {
    let tokenizers = tokenizers();
    proptest!(|(text in any_text())| {
        for tokenizer in &tokenizers {
            let ids = tokenizer.encode(&text).unwrap();
            let special = |id: &u32| tokenizer.is_special(*id);
            prop_assert!(!ids.iter().any(special) || text.contains('<'));
            // The decoder of SentencePiece-like tokenizers writes spaces for both.
            prop_assert_eq!(tokenizer.decode(&ids, false).unwrap().replace('▁', " "), text.replace('▁', " "));
        }
    });
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = tokenizer.decode_stream();
    let mut text = String::new();
    for &id in ids {
        text.extend(stream.push(id).unwrap());
    }
    text.extend(stream.finish().unwrap());
    text
}

#[test]
fn a_stream_gives_the_text_piece_by_piece() {
    let tokenizers = tokenizers();
    let config = ProptestConfig {
        cases: 500,
        ..ProptestConfig::default()
    };
    proptest!(config, |(text in any_text(), special in 0_u32..3, place in 0_usize..20)| {
        for tokenizer in &tokenizers {
            let mut ids = tokenizer.encode(&text).unwrap();
            ids.insert(place.min(ids.len()), special);
            prop_assert_eq!(streamed(tokenizer, &ids), tokenizer.decode(&ids, true).unwrap());
        }
    });
}

#[test]
fn a_stream_of_any_ids_gives_their_text() {
    let Some(tokenizer) = shared_tokenizer("smollm2") else {
        return;
    };
    let ids = proptest::collection::vec(0_u32..49_200, 0..40);
    proptest!(|(ids in ids)| {
        prop_assert_eq!(streamed(&tokenizer, &ids), tokenizer.decode(&ids, true).unwrap());
    });
}

#[test]
fn no_chat_template_makes_the_program_panic() {
    let part = proptest::sample::select(vec![
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "-",
        "+",
        "~",
        "*",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        " ",
        "\n",
        "1.5",
        "x",
        "你",
        "messages",
        "for ",
        "in ",
        "if ",
        "set ",
        "=",
        "raw",
        "endraw",
        "endfor",
        "endif",
        "generation",
        "|",
        ".",
        "join",
        "'a'",
        "loop.index",
    ]);
    let source = proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat());
    let config = ProptestConfig {
        cases: 2_000,
        ..ProptestConfig::default()
    };
    proptest!(config, |(source in source)| {
        if let Ok(template) = ChatTemplate::new(&source, "", "") {
            let _ = template.render(&[Message::new(Role::User, "q")], true);
        }
    });
}
