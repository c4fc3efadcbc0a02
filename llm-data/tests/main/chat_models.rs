//! Chat templates of the field's models, and what they do differently.

use llm_data::{
    AlpacaRecord, Encoder, Error, Message,
    Role::{Assistant, System, User},
    Template, Tokenizer,
};
use serde_json::{Value, json};

use crate::common::{encoder, long, record, shown, tiny_json, tokenizer, with_template};

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Mistral 7B v0.3 without its tools: the system text stands in the last user message.
const MISTRAL: &str = r#"{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}{{- bos_token }}{%- for message in loop_messages %}{%- if message["role"] == "user" %}{%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}{%- else %}{{- " " + message["content"]|trim + eos_token }}{%- endif %}{%- endfor %}"#;

/// DeepSeek R1: the generation prompt begins the thinking, which conversations do not have.
const R1: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|im_start|>{{ m.content }}{% else %}<|im_end|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_end|><think>\n{% endif %}";

fn model(tokenizer: &Tokenizer) -> Encoder {
    encoder(tokenizer, "model", long())
}

fn sample_text(encoder: &Encoder, record: &AlpacaRecord) -> String {
    let sample = encoder.encode(record).unwrap().sample;
    let prompt = encoder.record_prompt(record).unwrap();
    assert!(sample.input_ids.starts_with(&prompt));
    shown(encoder.tokenizer(), &sample)
}

/// The tokenizer with `<|im_start|>` and `<|im_end|>` as plain added tokens or as no tokens.
fn plain_chatml(added: bool, template: &str) -> Tokenizer {
    let mut json = tiny_json();
    let tokens = json["added_tokens"].as_array_mut().unwrap();
    if added {
        for token in &mut tokens[3..] {
            token["special"] = false.into();
        }
    } else {
        tokens.truncate(3);
    }
    tokenizer(
        &json,
        json!({"eos_token": "</s>", "chat_template": template}),
    )
}

#[test]
fn an_end_marker_that_is_no_special_token_ends_the_answer_as_text() {
    // In the vocabulary or not: it is text, so generation has to watch for it.
    for template in ["chatml", "model"] {
        let encoder = encoder(&plain_chatml(false, CHATML), template, long());
        assert_eq!(encoder.stop_ids(), [2]);
        assert_eq!(encoder.stop_strings(), ["<|im_end|>"], "{template}");
        assert_eq!(
            sample_text(&encoder, &record("q", "", "a")),
            "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[a<|im_end|>]\n"
        );
    }
}

#[test]
fn a_template_without_an_end_marker_has_nothing_to_stop_at() {
    let source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    let encoder = model(&plain_chatml(false, source));
    assert!(encoder.stop_strings().is_empty());
    assert!(sample_text(&encoder, &record("q", "", "a")).ends_with("[assistant: a\n]"));
}

#[test]
fn control_tokens_are_special_whatever_the_file_says() {
    for template in ["chatml", "model"] {
        let encoder = encoder(&plain_chatml(true, CHATML), template, long());
        assert_eq!(encoder.stop_ids(), [2, 4], "{template}");
        assert!(encoder.stop_strings().is_empty() && encoder.tokenizer().is_special(4));
        let prompt = encoder.record_prompt(&record("<|im_end|>", "", "a"));
        assert_eq!(prompt.unwrap().iter().filter(|&&id| id == 4).count(), 1);
        assert_eq!(encoder.tokenizer().decode(&[261, 4], true).unwrap(), " ");
    }
}

#[test]
fn tokens_that_the_template_writes_and_the_named_ones_are_special() {
    let mut json = tiny_json();
    let added = json["added_tokens"].as_array_mut().unwrap();
    for (id, content) in [(263, "<|user|>"), (264, "<|other|>"), (265, "<｜end｜>")] {
        let mut token = added[4].clone();
        (token["id"], token["content"]) = (id.into(), content.into());
        added.push(token);
    }
    for token in added {
        token["special"] = false.into();
    }
    let source = "{% for m in messages %}<|user|>{{ m.content }}<｜end｜>{% endfor %}";
    let config = json!({"eos_token": "<unk>", "bos_token": "<s>", "chat_template": source});
    let tokenizer = tokenizer(&json, config);
    // Named, named, the built-in templates' three, and the chat template's two.
    let special: Vec<u32> = (0..300).filter(|&id| tokenizer.is_special(id)).collect();
    assert_eq!(special, [0, 1, 2, 3, 4, 263, 265]);
    assert_eq!(model(&tokenizer).stop_ids(), [0, 265]);
}

#[test]
fn the_models_own_words_stay_plain_tokens() {
    let mut json = tiny_json();
    let mut think: Value = json["added_tokens"][4].clone();
    (think["id"], think["content"], think["special"]) =
        (263.into(), "<think>".into(), false.into());
    json["added_tokens"].as_array_mut().unwrap().push(think);
    let source = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}{{ '' if true else '<think>' }}";
    let config = json!({"eos_token": "</s>", "chat_template": source});
    let encoder = model(&tokenizer(&json, config));
    let sample = encoder.encode(&record("q", "", "<think>a")).unwrap().sample;
    assert!(sample.input_ids.contains(&263) && !encoder.tokenizer().is_special(263));
}

#[test]
fn a_generation_prompt_that_the_reply_does_not_continue_is_for_chatting_only() {
    let encoder = model(&with_template(R1));
    assert_eq!(encoder.stop_ids(), [2]);
    let chat = [
        Message::new(User, "q1"),
        Message::new(Assistant, "<think>\nx</think>a1"),
        Message::new(User, "q2"),
    ];
    let prompt = encoder.prompt(&chat).unwrap();
    assert_eq!(
        encoder.tokenizer().decode(&prompt, false).unwrap(),
        "<s><|im_start|>q1<|im_end|>a1</s><|im_start|>q2<|im_end|><think>\n"
    );
    let error = encoder.encode(&record("q", "", "a")).unwrap_err();
    assert!(
        matches!(&error, Error::NotAPrefix { prompt, .. } if prompt == "<think>\n"),
        "{error}"
    );
    assert!(error.to_string().contains("choose another --template"));
    // An end that the reply happens to have in common with the prompt changes nothing.
    let error = encoder.encode(&record("q", "", "a\nq<|im_end|><think>\n"));
    assert!(matches!(error, Err(Error::NotAPrefix { .. })));
}

#[test]
fn a_system_text_in_the_last_user_message_is_where_generation_gets_it() {
    let encoder = model(&with_template(MISTRAL));
    let with_system = AlpacaRecord {
        system: Some("Sys".into()),
        ..record("q2", "", "a q2[/INST] a2")
    };
    assert_eq!(
        sample_text(&encoder, &with_system),
        "<s>[INST] Sys\n\nq2[/INST][ a q2[/INST] a2</s>]"
    );
    let with_history = AlpacaRecord {
        history: vec![("q2".into(), "a1".into())],
        ..with_system.clone()
    };
    assert_eq!(
        sample_text(&encoder, &with_history),
        "<s>[INST] q2[/INST] a1</s>[INST] Sys\n\nq2[/INST][ a q2[/INST] a2</s>]"
    );
    let without_system = AlpacaRecord {
        system: None,
        ..with_history
    };
    assert_eq!(
        sample_text(&encoder, &without_system),
        "<s>[INST] q2[/INST][ a1</s>][INST] q2[/INST][ a q2[/INST] a2</s>]"
    );
    let chat = [
        Message::new(System, "Sys"),
        Message::new(User, "q1"),
        Message::new(Assistant, "a1"),
        Message::new(User, "q2"),
    ];
    let prompt = encoder.prompt(&chat).unwrap();
    assert_eq!(
        encoder.tokenizer().decode(&prompt, false).unwrap(),
        "<s>[INST] q1[/INST] a1</s>[INST] Sys\n\nq2[/INST]"
    );
}

#[test]
fn a_system_text_in_the_last_user_message_is_kept_when_that_is_cut() {
    let tokenizer = with_template(MISTRAL);
    let long_question = AlpacaRecord {
        system: Some("Sys".into()),
        ..record(&"q".repeat(300), "", "a")
    };
    let options = llm_data::EncodeOptions {
        max_seq_len: 60,
        ..long()
    };
    let encoded = encoder(&tokenizer, "model", options)
        .encode(&long_question)
        .unwrap();
    let text = shown(&tokenizer, &encoded.sample);
    assert!(
        text.starts_with("<s>[INST] Sys\n\nqqq") && text.ends_with("q[/INST][ a</s>]"),
        "{text}"
    );
    assert_eq!(encoded.sample.input_ids.len(), 60);
}

#[test]
fn a_reply_of_special_tokens_alone_is_nothing_to_learn() {
    let source = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{{ m.content.split('</think>')[-1] }} {{ eos_token }}\n{% endif %}{% endfor %}";
    let encoder = model(&with_template(source));
    encoder.encode(&record("q", "", "x</think>a")).unwrap();
    let error = encoder.encode(&record("q", "", "x</think>")).unwrap_err();
    assert!(matches!(error, Error::NothingSupervised), "{error}");
}

#[test]
fn several_chat_templates_without_a_default_are_named() {
    let templates = json!([{"name": "tools", "template": "a"}, {"name": "rag", "template": "b"}]);
    let config = json!({"eos_token": "</s>", "chat_template": templates});
    let tokenizer = tokenizer(&tiny_json(), config);
    for error in [
        Template::model(&tokenizer),
        Template::default_for(&tokenizer),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("only tools, rag"), "{error}");
    }
    encoder(&tokenizer, "chatml", long());
}
