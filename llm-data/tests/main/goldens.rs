//! What the references make of the same texts.

use llm_data::{
    ChatTemplate, Conversation, Encoder, Error, IGNORE_INDEX, Message, Role, Sample, Template,
    Tokenizer,
};
use serde_json::Value;

use crate::common::{encoder, long, record, shared_json, shared_tokenizer};

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

#[test]
fn tokenizers_give_the_reference_ids() {
    let Some(cases) = shared_json("fixtures/tokenizers/tokenizer_cases.json") else {
        return;
    };
    for name in ["smollm2", "llama2_spm"] {
        let tokenizer = shared_tokenizer(name).unwrap();
        for case in cases[name].as_array().unwrap() {
            let source = text(&case["text"]);
            let with = tokenizer.encode_with_special_tokens(&source).unwrap();
            assert_eq!(with, ids(&case["ids"]), "{name}: {source:?}");
            let plain = ids(&case["ids_no_special"]);
            assert_eq!(
                tokenizer.decode(&plain, false).unwrap(),
                text(&case["decoded"])
            );
            let skipped = text(&case["decoded_skip_special"]);
            assert_eq!(tokenizer.decode(&with, true).unwrap(), skipped);
            let spells_special = plain.iter().any(|&id| tokenizer.is_special(id));
            if !spells_special {
                assert_eq!(
                    tokenizer.encode(&source).unwrap(),
                    plain,
                    "{name}: {source:?}"
                );
            } else if name == "llama2_spm" && !source.contains("<unk>") {
                // SentencePiece never parses special tokens from text either.
                let reference = ids(&case["sentencepiece_ids"]);
                assert_eq!(tokenizer.encode(&source).unwrap(), reference, "{source:?}");
            }
        }
    }
}

/// What generation starts from, as text; the tiny differences of whole and split encoding vanish.
fn prompt_text(encoder: &Encoder, messages: &[Message]) -> String {
    let ids = encoder.prompt(messages).unwrap();
    encoder.tokenizer().decode(&ids, false).unwrap()
}

#[test]
fn alpaca_prompts_are_those_of_stanford_and_alpaca_lora() {
    let Some(cases) = shared_json("fixtures/prompts/alpaca_prompts.json") else {
        return;
    };
    let tokenizer = shared_tokenizer("smollm2").unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let field = |name: &str| text(&case[name]);
        let record = record(&field("instruction"), &field("input"), &field("output"));
        for (template, golden) in [("alpaca", "stanford"), ("alpaca-lora", "alpaca_lora")] {
            let encoder = encoder(&tokenizer, template, long());
            let prompt = encoder.record_prompt(&record).unwrap();
            assert_eq!(tokenizer.decode(&prompt, false).unwrap(), field(golden));
            assert_eq!(prompt, tokenizer.encode(&field(golden)).unwrap());
        }
    }
}

#[test]
fn vicuna_prompts_are_those_of_fastchat() {
    let Some(goldens) = shared_json("fixtures/prompts/fastchat_prompts.json") else {
        return;
    };
    let tokenizer = shared_tokenizer("smollm2").unwrap();
    let encoder = encoder(&tokenizer, "vicuna", long());
    let golden = goldens["templates"].as_array().unwrap();
    let golden = golden
        .iter()
        .find(|golden| golden["name"] == "vicuna_v1.1")
        .unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let mut messages = Vec::new();
        if let Some(system) = case["system_override"].as_str() {
            messages.push(Message::new(Role::System, system));
        }
        for (index, turn) in case["messages"].as_array().unwrap().iter().enumerate() {
            let role = if index % 2 == 0 {
                Role::User
            } else {
                Role::Assistant
            };
            messages.extend(turn.as_str().map(|turn| Message::new(role, turn)));
        }
        let rendered = if messages.last().unwrap().role == Role::User {
            prompt_text(&encoder, &messages)
        } else {
            let sample = encoder
                .encode_conversation(&Conversation::from(messages))
                .unwrap()
                .sample;
            tokenizer.decode(&sample.input_ids, false).unwrap()
        };
        assert_eq!(rendered, text(&case["rendered"]));
    }
    assert_eq!(encoder.stop_strings(), ["</s>"]);
}

#[test]
fn chat_templates_render_as_in_transformers() {
    let Some(goldens) = shared_json("fixtures/prompts/chat_templates.json") else {
        return;
    };
    let templates = goldens["templates"].as_array().unwrap();
    assert_eq!(templates.len(), 12);
    for golden in templates {
        let field = |name: &str| text(&golden[name]);
        let template =
            ChatTemplate::new(&field("template"), &field("bos_token"), &field("eos_token"))
                .unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let rendered = template.render(&messages, case["add_generation_prompt"] == true);
            let place = format!(
                "{} {} {}",
                golden["name"], case["case"], case["add_generation_prompt"]
            );
            match (rendered, case["error"].as_str()) {
                (Ok(rendered), None) => assert_eq!(rendered, text(&case["rendered"]), "{place}"),
                (Err(Error::ChatTemplateRefused { message }), Some(error)) => {
                    assert_eq!(message, error, "{place}");
                }
                (rendered, error) => panic!("{place}: {rendered:?}, expected {error:?}"),
            }
        }
    }
}

#[test]
fn chatml_prompts_are_those_of_its_chat_template() {
    let Some(goldens) = shared_json("fixtures/prompts/chat_templates.json") else {
        return;
    };
    let tokenizer = shared_tokenizer("smollm2").unwrap();
    let encoder = encoder(&tokenizer, "chatml", long());
    let golden = &goldens["templates"][0];
    assert_eq!(golden["name"], "chatml");
    for case in golden["cases"].as_array().unwrap() {
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let generation = case["add_generation_prompt"] == true;
        let rendered = match messages.last().unwrap().role {
            Role::User
                if generation
                    && !matches!(
                        case["case"].as_str(),
                        Some("uu_bad_alternation" | "a_first")
                    ) =>
            {
                prompt_text(&encoder, &messages)
            }
            Role::Assistant if !generation => {
                let sample = encoder
                    .encode_conversation(&Conversation::from(messages))
                    .unwrap()
                    .sample;
                tokenizer.decode(&sample.input_ids, false).unwrap()
            }
            _ => continue,
        };
        assert_eq!(rendered, text(&case["rendered"]));
    }
}

/// The chat of a masking golden.
fn conversation(case: &Value) -> Conversation {
    let message = |turn: &Value| {
        let role = if turn[0] == "human" {
            Role::User
        } else {
            Role::Assistant
        };
        Message::new(role, text(&turn[1]))
    };
    let messages = case["messages"].as_array().unwrap();
    let messages: Vec<Message> = messages.iter().map(message).collect();
    messages.into()
}

fn masked(tokenizer: &Tokenizer, template: &str, case: &Value) -> Sample {
    encoder(tokenizer, template, long())
        .encode_conversation(&conversation(case))
        .unwrap()
        .sample
}

#[test]
fn masks_are_the_references() {
    let Some(goldens) = shared_json("fixtures/masking/masking.json") else {
        return;
    };
    for (golden, tokenizer, template) in [
        ("smollm2_vicuna", "smollm2", "vicuna"),
        ("smollm2_chatml", "smollm2", "model"),
        ("llama_fastchat", "llama2_spm", "vicuna"),
    ] {
        let tokenizer = shared_tokenizer(tokenizer).unwrap();
        for (index, case) in goldens[golden].as_array().unwrap().iter().enumerate() {
            let sample = masked(&tokenizer, template, case);
            assert_eq!(
                sample.input_ids,
                ids(&case["input_ids"]),
                "{golden} {index}"
            );
            let labels: Vec<i64> = serde_json::from_value(case["labels"].clone()).unwrap();
            if case["tokenization_mismatch"] == true {
                // FastChat gives up on this one; the replies must keep their labels.
                assert!(labels.iter().all(|&label| label == IGNORE_INDEX));
                let kept: Vec<u32> = supervised(&sample);
                let decoded = tokenizer.decode(&kept, false).unwrap();
                assert_eq!(decoded, "你好!😀 很高兴见到你。</s> ok ok</s> 再见</s>");
            } else {
                assert_eq!(sample.labels, labels, "{golden} {index}");
            }
        }
    }
}

fn supervised(sample: &Sample) -> Vec<u32> {
    sample
        .labels
        .iter()
        .filter(|&&label| label >= 0)
        .map(|&label| label as u32)
        .collect()
}

#[test]
fn the_model_template_of_smollm2_is_its_own() {
    let Some(tokenizer) = shared_tokenizer("smollm2") else {
        return;
    };
    let template = Template::default_for(&tokenizer).unwrap();
    assert_eq!(template.name(), "model");
    let plain = shared_tokenizer("llama2_spm").unwrap();
    assert_eq!(Template::default_for(&plain).unwrap().name(), "alpaca");
    assert!(matches!(
        Template::by_name("model", &plain),
        Err(Error::NoChatTemplate { .. })
    ));
}

#[test]
fn real_alpaca_records_are_encoded_as_by_the_peer() {
    // peer_sft.py: prompt and answer encoded apart, the end-of-sequence token behind.
    let Some(path) = crate::common::shared("data/alpaca/alpaca_en_1k.json") else {
        return;
    };
    let tokenizer = shared_tokenizer("smollm2").unwrap();
    let data = llm_data::load_alpaca(path, &llm_data::LoadOptions::default()).unwrap();
    assert_eq!(data.records.len(), 999);
    let encoder = encoder(&tokenizer, "alpaca", long());
    let plain =
        |record: &&llm_data::AlpacaRecord| record.history.is_empty() && record.system.is_none();
    for record in data.records.iter().filter(plain).take(64) {
        let prompt = encoder.record_prompt(record).unwrap();
        let mut expected = prompt.clone();
        expected.extend(tokenizer.encode(&record.output).unwrap());
        expected.push(tokenizer.eos_id().unwrap());
        let sample = encoder.encode(record).unwrap().sample;
        assert_eq!(sample.input_ids, expected);
        assert!(
            sample.labels[..prompt.len()]
                .iter()
                .all(|&label| label == IGNORE_INDEX)
        );
        assert!(
            sample.labels[prompt.len()..]
                .iter()
                .all(|&label| label != IGNORE_INDEX)
        );
    }
}
