//! Samples: what is supervised, by which options, and what becomes of a data set.

use llm_data::{AlpacaRecord, EncodeOptions, Encoder, Error, Template, Tokenizer};
use serde_json::json;

use crate::common::{encoder, long, record, shown, tiny, tiny_json, tokenizer, with_template};

fn with_history() -> AlpacaRecord {
    AlpacaRecord {
        system: Some("Sys.".into()),
        history: vec![("q1".into(), "a1".into())],
        ..record("q2", "in", "a2")
    }
}

#[test]
fn each_template_is_written_as_documented() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/data-format.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let check = |tokenizer: &Tokenizer, template: &str, record: &AlpacaRecord| {
        let sample = encoder(tokenizer, template, long())
            .encode(record)
            .unwrap()
            .sample;
        let block = format!("```text\n{}\n```", shown(tokenizer, &sample).trim_end());
        assert!(docs.contains(&block), "{template}:\n{block}");
    };
    let json = docs
        .lines()
        .find(|line| line.starts_with("{\"system\""))
        .unwrap();
    let record: AlpacaRecord = serde_json::from_str(json).unwrap();
    let bare = AlpacaRecord {
        system: None,
        history: vec![],
        ..record.clone()
    };
    let tokenizer = tiny();
    for template in ["alpaca", "alpaca-lora", "chatml", "vicuna"] {
        check(&tokenizer, template, &record);
    }
    check(&tokenizer, "alpaca", &bare);
    check(
        &tokenizer,
        "alpaca",
        &crate::common::record("Name a prime.", "", "7"),
    );
    check(&tokenizer, "alpaca-zh", &bare);
    if let Some(smollm2) = crate::common::shared_tokenizer("smollm2") {
        check(
            &smollm2,
            "model",
            &AlpacaRecord {
                system: None,
                ..record
            },
        );
    }
}

#[test]
fn the_chinese_templates_are_those_of_chinese_alpaca() {
    let tokenizer = tiny();
    let zh = encoder(&tokenizer, "alpaca-zh", long());
    let text = |record| shown(&tokenizer, &zh.encode(&record).unwrap().sample);
    assert_eq!(
        text(record("问", "", "答")),
        "下方是一个描述任务的指令。请为下面的请求编写一个合适的回答。\n\n### 指令:\n问\n\n### 回答:[答</s>]"
    );
    assert_eq!(
        text(record("问", "入", "答")),
        "下方是一个描述任务的指令，与之配对的是进一步提供上下文的输入。请为下面的请求编写一个合适的回答。\n\n### 指令:\n问\n\n### 输入:\n入\n\n### 回答:[答</s>]"
    );
    assert_eq!(
        text(with_history()),
        "Sys.\n\n### 指令:\nq1\n\n### 回答:[a1</s>]\n\n### 指令:\nq2\n\n### 输入:\nin\n\n### 回答:[a2</s>]"
    );
}

#[test]
fn a_later_input_does_not_change_the_preamble_of_an_earlier_answer() {
    let tokenizer = tiny();
    let record = AlpacaRecord {
        system: None,
        ..with_history()
    };
    let text = shown(
        &tokenizer,
        &encoder(&tokenizer, "alpaca", long())
            .encode(&record)
            .unwrap()
            .sample,
    );
    assert!(
        text.starts_with("Below is an instruction that describes a task. Write"),
        "{text}"
    );
    assert!(text.contains("### Input:\nin"));
}

#[test]
fn mask_history_and_train_on_input_move_the_mask_only() {
    let tokenizer = tiny();
    let encode = |mask_history, train_on_input| {
        let options = EncodeOptions {
            mask_history,
            train_on_input,
            ..long()
        };
        encoder(&tokenizer, "chatml", options)
            .encode(&with_history())
            .unwrap()
            .sample
    };
    let (plain, last, all) = (
        encode(false, false),
        encode(true, false),
        encode(false, true),
    );
    assert_eq!(plain.input_ids, last.input_ids);
    assert_eq!(plain.input_ids, all.input_ids);
    let text = shown(&tokenizer, &last);
    assert!(
        text.contains("\na1<|im_end|>") && text.ends_with("\n[a2<|im_end|>]\n"),
        "{text}"
    );
    assert_eq!(all.supervised_tokens(), all.input_ids.len());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let tokenizer = tiny();
    let build = |options| {
        let template = Template::by_name("alpaca", &tokenizer).unwrap();
        Encoder::new(tokenizer.clone(), template, options).unwrap_err()
    };
    let zero = EncodeOptions {
        max_seq_len: 0,
        ..long()
    };
    assert!(matches!(
        build(zero),
        Error::Option {
            field: "max_seq_len",
            ..
        }
    ));
    let both = EncodeOptions {
        mask_history: true,
        train_on_input: true,
        ..long()
    };
    assert!(matches!(
        build(both),
        Error::Option {
            field: "mask_history",
            ..
        }
    ));
    let error = Template::by_name("alpacca", &tokenizer)
        .unwrap_err()
        .to_string();
    assert!(error.contains("alpacca") && error.contains("alpaca-zh") && error.contains("model"));
}

#[test]
fn a_template_of_the_alpaca_kind_needs_an_end_token() {
    let tokenizer = tokenizer(&tiny_json(), json!({}));
    let template = Template::by_name("alpaca", &tokenizer).unwrap();
    let error = Encoder::new(tokenizer.clone(), template, long()).unwrap_err();
    assert!(matches!(
        error,
        Error::NoEndToken { template, .. } if template == "alpaca"
    ));
    // The others bring their own.
    encoder(&tokenizer, "chatml", long());
}

#[test]
fn answers_stop_at_the_templates_own_end_token() {
    let tokenizer = tiny();
    assert_eq!(encoder(&tokenizer, "alpaca", long()).stop_ids(), [2]);
    let chatml = encoder(&tokenizer, "chatml", long());
    assert_eq!(
        (chatml.stop_ids(), chatml.stop_strings()),
        (&[2, 4][..], vec![])
    );
    let mut json = tiny_json();
    json["added_tokens"].as_array_mut().unwrap().truncate(3);
    for token in ["<|im_start|>", "<|im_end|>"] {
        json["model"]["vocab"]
            .as_object_mut()
            .unwrap()
            .remove(token);
    }
    let without = crate::common::tokenizer(&json, json!({"eos_token": "</s>"}));
    let chatml = encoder(&without, "chatml", long());
    assert_eq!(
        (chatml.stop_ids(), chatml.stop_strings()),
        (&[2][..], vec!["<|im_end|>"])
    );
}

#[test]
fn what_a_chat_template_writes_after_the_end_token_is_not_supervised() {
    let source = "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }} {{ eos_token }}<|im_end|>\n\n{% endif %}{% endfor %}";
    let tokenizer = with_template(source);
    let record = AlpacaRecord {
        system: None,
        ..with_history()
    };
    let sample = encoder(&tokenizer, "model", long())
        .encode(&record)
        .unwrap()
        .sample;
    assert_eq!(
        shown(&tokenizer, &sample),
        "[INST] q1 [/INST][ a1 </s>]<|im_end|>\n\n[INST] q2\nin [/INST][ a2 </s>]<|im_end|>\n\n"
    );
}

#[test]
fn a_template_that_rewrites_history_supervises_the_last_answer_after_what_generation_gets() {
    // As Qwen3 does: the last answer has a thinking block, earlier ones lose theirs.
    let source = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    let tokenizer = with_template(source);
    let encoder = encoder(&tokenizer, "model", long());
    let record = AlpacaRecord {
        system: None,
        ..with_history()
    };
    let sample = encoder.encode(&record).unwrap().sample;
    assert_eq!(
        shown(&tokenizer, &sample),
        "<|im_start|>user\nq1<|im_end|><|im_start|>assistant\na1<|im_end|><|im_start|>user\nq2\nin<|im_end|><|im_start|>assistant\n[<think></think>a2<|im_end|>]"
    );
    let prompt = encoder.record_prompt(&record).unwrap();
    assert_eq!(sample.input_ids[..prompt.len()], prompt);
}

#[test]
fn the_templates_refusal_reaches_the_user_with_the_record() {
    let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system, please') }}{% endif %}{{ m.content }}</s>{% endfor %}";
    let tokenizer = with_template(source);
    let encoder = encoder(&tokenizer, "model", long());
    let error = encoder
        .encode_all(&[record("a", "", "b"), with_history()])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "record 2: the chat template refuses the conversation: No system, please"
    );
}

#[test]
fn all_refusals_are_told_together_or_counted() {
    let source = "{% for m in messages %}{% if 'no' in m.content %}{{ raise_exception('No ' + m.content) }}{% endif %}{{ m.content }}</s>{% endfor %}";
    let tokenizer = with_template(source);
    let mut records = vec![record("yes", "", "b")];
    records.extend((0..25).map(|number| record(&format!("no {number}"), "", "b")));
    let strict = encoder(&tokenizer, "model", long());
    let error = strict.encode_all(&records).unwrap_err();
    assert!(
        matches!(&error, Error::Records { total: 25, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("\n  record 2: ") && text.contains("No no 19"),
        "{text}"
    );
    assert!(
        !text.contains("No no 20") && text.ends_with("and 5 more"),
        "{text}"
    );
    let numbers: Vec<usize> = (1..=26).map(|number| number * 10).collect();
    let text = error.with_numbers(&numbers).to_string();
    assert!(
        text.contains("\n  record 20: ") && text.contains("\n  record 210: "),
        "{text}"
    );
    let options = EncodeOptions {
        skip_refused: true,
        ..long()
    };
    let set = encoder(&tokenizer, "model", options)
        .encode_all(&records)
        .unwrap();
    assert_eq!(
        (set.records, set.statistics.dropped["template_refused"]),
        (vec![0], 25)
    );
}

#[test]
fn white_space_alone_is_no_input_and_no_system_text() {
    let tokenizer = tiny();
    let blank = AlpacaRecord {
        system: Some("\n".into()),
        ..record("q", " \t", "a")
    };
    for name in ["alpaca", "chatml", "vicuna"] {
        let encoder = encoder(&tokenizer, name, long());
        assert_eq!(
            encoder.encode(&blank).unwrap(),
            encoder.encode(&record("q", "", "a")).unwrap()
        );
        let asked = llm_data::Message::new(llm_data::Role::User, "q");
        let system = llm_data::Message::new(llm_data::Role::System, " ");
        assert_eq!(
            encoder.prompt(&[system, asked.clone()]).unwrap(),
            encoder.prompt(&[asked]).unwrap()
        );
    }
}

#[test]
fn a_data_set_is_counted() {
    let tokenizer = tiny();
    let options = EncodeOptions {
        max_seq_len: 60,
        ..long()
    };
    let encoder = encoder(&tokenizer, "chatml", options);
    let long_system = AlpacaRecord {
        system: Some("s".repeat(80)),
        ..record("q", "", "a")
    };
    let records = [
        record("q", "", "a"),
        long_system,
        record("q", "", &"a".repeat(100)),
        record("q", "", &format!("a{}", " ".repeat(100_001))),
    ];
    let set = encoder.encode_all(&records).unwrap();
    let statistics = &set.statistics;
    assert_eq!(
        (statistics.records, statistics.kept, set.records.clone()),
        (4, 2, vec![0, 2])
    );
    let lengths: Vec<usize> = set
        .samples
        .iter()
        .map(|sample| sample.input_ids.len())
        .collect();
    assert_eq!(statistics.tokens, lengths.iter().sum::<usize>());
    assert_eq!(
        (statistics.lengths.min, statistics.lengths.max),
        (lengths[0], 60)
    );
    assert_eq!(
        (
            statistics.cut.history,
            statistics.cut.user,
            statistics.cut.answer
        ),
        (0, 0, 1)
    );
    let json = serde_json::to_value(statistics).unwrap();
    assert_eq!(
        json["dropped"],
        json!({"template_does_not_fit": 1, "white_space_run": 1})
    );
    assert!(
        statistics.to_string().contains("records     4 (2 kept)"),
        "{statistics}"
    );
}

#[test]
fn a_data_set_of_which_nothing_is_left_is_an_error_before_the_first_step() {
    let tokenizer = tiny();
    let options = EncodeOptions {
        max_seq_len: 5,
        ..long()
    };
    let error = encoder(&tokenizer, "alpaca", options)
        .encode_all(&[record("q", "", "a")])
        .unwrap_err();
    assert!(
        matches!(error, Error::NothingLeft { records: 1, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("template_does_not_fit 1"),
        "{error}"
    );
    let empty = encoder(&tokenizer, "alpaca", long())
        .encode_all(&[])
        .unwrap_err();
    assert!(matches!(empty, Error::NothingLeft { records: 0, .. }));
}

#[test]
fn an_answer_without_tokens_is_refused() {
    let tokenizer = tiny();
    let error = encoder(&tokenizer, "chatml", long())
        .encode(&record("q", "", ""))
        .unwrap_err();
    assert!(matches!(error, Error::NothingSupervised));
    let mute = "{% for m in messages if m.role == 'user' %}{{ m.content }}</s>{% endfor %}";
    let encoder = encoder(&with_template(mute), "model", long());
    assert!(matches!(
        encoder.encode(&record("q", "", "a")),
        Err(Error::NothingSupervised)
    ));
    let error = encoder.encode_all(&[record("q", "", "a")]).unwrap_err();
    assert!(
        error.to_string().contains("nothing_supervised 1"),
        "{error}"
    );
}

#[test]
fn messages_in_an_odd_order_are_refused_with_their_number() {
    use llm_data::{
        Message,
        Role::{Assistant, System, User},
    };
    let encoder = encoder(&tiny(), "vicuna", long());
    let refused = |roles: &[llm_data::Role], number: usize| {
        let messages: Vec<Message> = roles.iter().map(|&role| Message::new(role, "x")).collect();
        match encoder.prompt(&messages) {
            Err(Error::Conversation { message, .. }) => assert_eq!(message, number, "{roles:?}"),
            other => panic!("{roles:?}: {other:?}"),
        }
    };
    refused(&[], 1);
    refused(&[System], 2);
    refused(&[Assistant], 1);
    refused(&[User, User], 2);
    refused(&[User, System], 2);
    refused(&[System, System, User], 2);
    refused(&[User, Assistant], 3);
    refused(&[User, Assistant, Assistant], 3);
    let open = llm_data::Conversation::from(vec![Message::new(User, "x")]);
    assert!(matches!(
        encoder.encode_conversation(&open),
        Err(Error::Conversation { message: 2, .. })
    ));
}
