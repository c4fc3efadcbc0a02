//! Calls of functions in chat templates, as transformers renders them and as they are learned.

use std::path::Path;

use llm_data::{
    ChatTemplate, Conversation, EncodeOptions, Encoder, Error, Format, IGNORE_INDEX, Message,
    ReadOptions, Record, RecordReader, Role, Template, Tokenizer,
};
use serde_json::{Value, json};

use crate::chat_marks::smollm2_with;
use crate::common::{encoder, long, shared, shown, tiny, with_template};

fn goldens() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/chat_tools.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn conversations(goldens: &Value) -> Vec<Conversation> {
    serde_json::from_value(goldens["conversations"].clone()).unwrap()
}

fn source(goldens: &Value, name: &str) -> String {
    let templates = goldens["templates"].as_array().unwrap();
    let found = templates.iter().find(|template| template["name"] == name);
    found.unwrap()["template"].as_str().unwrap().to_owned()
}

fn glaive() -> Option<Vec<Conversation>> {
    let path = shared("data/sharegpt/glaive_toolcall_en.json")?;
    let options = ReadOptions {
        format: Some(Format::ShareGpt),
        ..ReadOptions::default()
    };
    let records = RecordReader::open(path.to_str().unwrap(), options).unwrap();
    let conversation = |record: Record| match record {
        Record::Conversation(conversation) => conversation,
        other => panic!("{other:?}"),
    };
    Some(
        records
            .map(|one| conversation(one.unwrap().record))
            .collect(),
    )
}

/// What a template finds, by the one way in which a conversation's own tools reach it.
fn text(tokenizer: &Tokenizer, conversation: &Conversation) -> Result<String, Error> {
    let encoder = encoder(tokenizer, "model", long());
    let ids = match conversation.messages.last().unwrap().role {
        Role::User | Role::Observation => encoder.prompt_conversation(conversation)?,
        _ => encoder.encode_conversation(conversation)?.sample.input_ids,
    };
    Ok(tokenizer.decode(&ids, false).unwrap())
}

fn fnv(text: &str) -> String {
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{hash:016x}")
}

#[test]
fn conversations_with_calls_are_the_texts_of_transformers() {
    let goldens = goldens();
    let conversations = conversations(&goldens);
    let (mut texts, mut refused) = (0, 0);
    for golden in goldens["templates"].as_array().unwrap() {
        let tokenizer = with_template(golden["template"].as_str().unwrap());
        for case in golden["cases"].as_array().unwrap() {
            let number = case["conversation"].as_u64().unwrap() as usize;
            let mut conversation = conversations[number].clone();
            let end = case["messages"].as_u64().unwrap() as usize;
            conversation.messages.truncate(end);
            let name = format!("{} {number} up to {end}", golden["name"]);
            match (text(&tokenizer, &conversation), case["text"].as_str()) {
                (Ok(text), Some(golden)) => {
                    assert_eq!(text, golden, "{name}");
                    texts += 1;
                }
                (Err(Error::ChatTemplateRefused { message }), None) => {
                    assert_eq!(message, case["error"].as_str().unwrap(), "{name}");
                    refused += 1;
                }
                (found, golden) => panic!("{name}: {found:?}, {golden:?}"),
            }
        }
    }
    assert!((texts, refused) == (140, 5), "{texts} {refused}");
}

#[test]
fn every_record_of_glaive_is_the_text_of_transformers() {
    let Some(records) = glaive() else { return };
    for golden in goldens()["templates"].as_array().unwrap() {
        let source = golden["template"].as_str().unwrap();
        let Some(tokenizer) = smollm2_with(source) else {
            return;
        };
        let template = Template::by_name("model", &tokenizer).unwrap();
        let hashes = golden["glaive"].as_array().unwrap();
        assert_eq!(hashes.len(), records.len());
        for (number, (record, hash)) in records.iter().zip(hashes).enumerate() {
            let tools = record.tools.as_deref().unwrap_or_default();
            let tools: Value = serde_json::from_str(tools).unwrap_or_default();
            let wrap = |tool: &Value| json!({"type": "function", "function": tool});
            let tools: Vec<Value> = tools.as_array().unwrap().iter().map(wrap).collect();
            let text = match tools.is_empty() {
                true => template.text(&record.messages),
                false => template
                    .with_tools(tools.into())
                    .unwrap()
                    .text(&record.messages),
            };
            let text = text.unwrap();
            assert_eq!(
                json!([text.len(), fnv(&text)]),
                *hash,
                "{} {number}",
                golden["name"]
            );
        }
    }
}

/// Each answer and each call is supervised, and before each stands what generation starts from.
fn check(encoder: &Encoder, conversation: &Conversation) -> usize {
    let sample = encoder.encode_conversation(conversation).unwrap().sample;
    let messages = &conversation.messages;
    let mut supervised = 0;
    for (index, message) in messages.iter().enumerate() {
        if !matches!(message.role, Role::Assistant | Role::FunctionCall)
            || messages[index - 1].role == Role::Assistant
        {
            continue;
        }
        let before = Conversation {
            messages: messages[..index].to_vec(),
            ..conversation.clone()
        };
        let prompt = encoder.prompt_conversation(&before).unwrap();
        assert_eq!(sample.input_ids[..prompt.len()], prompt);
        assert_eq!(sample.labels[prompt.len() - 1], IGNORE_INDEX);
        assert_ne!(sample.labels[prompt.len()], IGNORE_INDEX);
        supervised += 1;
    }
    let runs = sample.labels.windows(2);
    let runs = runs.filter(|pair| pair[0] == IGNORE_INDEX && pair[1] != IGNORE_INDEX);
    assert_eq!(runs.count(), supervised);
    supervised
}

#[test]
fn all_of_glaive_is_learned_with_its_calls() {
    let Some(records) = glaive() else { return };
    let Some(tokenizer) = smollm2_with(&source(&goldens(), "hermes")) else {
        return;
    };
    let encoder = encoder(&tokenizer, "model", long());
    let replies: usize = records.iter().map(|record| check(&encoder, record)).sum();
    let says = |message: &&Message| matches!(message.role, Role::Assistant | Role::FunctionCall);
    let messages = records.iter().flat_map(|record| &record.messages);
    assert_eq!(replies, messages.filter(says).count());
    let set = encoder.encode_conversations(&records).unwrap();
    assert_eq!(
        (set.statistics.kept, set.statistics.dropped.len()),
        (300, 0)
    );
    // What the functions gave is never learned, and calls are, in short contexts too.
    let options = EncodeOptions {
        max_seq_len: 256,
        ..EncodeOptions::default()
    };
    let short = Encoder::new(tokenizer, encoder.template().clone(), options).unwrap();
    let set = short.encode_conversations(&records).unwrap();
    let left_out: usize = set.statistics.dropped.values().sum();
    assert_eq!(set.statistics.kept + left_out, 300);
    for sample in &set.samples {
        assert!(sample.input_ids.len() <= 256);
        let learned: Vec<u32> = sample
            .labels
            .iter()
            .filter_map(|label| u32::try_from(*label).ok())
            .collect();
        let text = short.tokenizer().decode(&learned, false).unwrap();
        assert!(
            !text.is_empty() && !text.contains("<tool_response>"),
            "{text}"
        );
    }
}

#[test]
fn calls_and_answers_are_supervised_and_results_are_not() {
    let goldens = goldens();
    let tokenizer = with_template(&source(&goldens, "hermes"));
    let conversations = conversations(&goldens);
    let encoder = encoder(&tokenizer, "model", long());
    let marked = |conversation: &Conversation| {
        let sample = encoder.encode_conversation(conversation).unwrap().sample;
        let text = shown(&tokenizer, &sample);
        text.split_once("<|im_start|>user").unwrap().1.to_owned()
    };
    assert_eq!(
        marked(&conversations[1]),
        "\nBoth, please.<|im_end|>\n<|im_start|>assistant\n[<tool_call>\n{\"name\": \"get_weather\", \
         \"arguments\": {\"city\": \"Bern\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"noop\", \
         \"arguments\": {}}\n</tool_call><|im_end|>]\n<|im_start|>user\n<tool_response>\n{\"t\": 1}\n\
         </tool_response>\n<tool_response>\nnothing done\n</tool_response><|im_end|>\n\
         <|im_start|>assistant\n[Done.<|im_end|>]\n<|im_start|>user\nThanks<|im_end|>\n\
         <|im_start|>assistant\n[Welcome.<|im_end|>]\n"
    );
    for conversation in &conversations {
        if conversation.messages.last().unwrap().role != Role::Observation {
            check(&encoder, conversation);
        }
    }
    // A special token in arguments is text, escaped or not.
    let sample = encoder
        .encode_conversation(&conversations[3])
        .unwrap()
        .sample;
    let ends = sample.input_ids.iter().filter(|&&id| id == 4).count();
    assert_eq!(ends, 5);
}

#[test]
fn flags_and_history_are_by_reply() {
    let goldens = goldens();
    let tokenizer = with_template(&source(&goldens, "hermes"));
    let conversation = &conversations(&goldens)[2];
    // The first characters of each run.
    let learned = |sample: &llm_data::Sample| {
        let runs = sample.labels.chunk_by(|a, b| (*a < 0) == (*b < 0));
        let runs = runs.filter(|run| run[0] >= 0);
        let text = |run: &[i64]| {
            let ids: Vec<u32> = run.iter().map(|label| *label as u32).collect();
            tokenizer.decode(&ids, false).unwrap()
        };
        runs.map(|run| text(run).chars().take(6).collect())
            .collect::<Vec<String>>()
    };
    let encoder = encoder(&tokenizer, "model", long());
    let flagged = |flags: [bool; 7]| encoder.encode_conversation_flagged(conversation, &flags);
    let sample = flagged([false, true, true, true, false, true, false]).unwrap();
    assert_eq!(learned(&sample.sample)[0], "I look");
    let one = flagged([true, false, false, true, true, true, false]).unwrap();
    assert_eq!(learned(&one.sample), ["<tool_"]);
    // Words and call are one reply, learned where both are.
    let none = flagged([true, false, true, true, false, true, false]);
    assert!(matches!(none, Err(Error::NothingSupervised)));
    let options = EncodeOptions {
        mask_history: true,
        ..long()
    };
    let last = crate::common::encoder(&tokenizer, "model", options);
    let sample = last.encode_conversation(conversation).unwrap().sample;
    assert_eq!(learned(&sample), [" Rain."]);
}

#[test]
fn an_exchange_that_is_too_long_ends_early() {
    let goldens = goldens();
    let tokenizer = with_template(
        &source(&goldens, "thinking").replace("{%- if loop.last %}", "{%- if false %}"),
    );
    let call = Message::new(Role::FunctionCall, r#"{"name": "f", "arguments": {}}"#);
    let mut messages = vec![Message::new(Role::User, "q"), call];
    messages.push(Message::new(Role::Observation, "x".repeat(500)));
    messages.push(Message::new(Role::Assistant, "a"));
    let options = EncodeOptions {
        max_seq_len: 200,
        ..long()
    };
    let cut = crate::common::encoder(&tokenizer, "model", options.clone());
    let encoded = cut.encode_conversation(&messages.clone().into()).unwrap();
    let text = shown(&tokenizer, &encoded.sample);
    assert_eq!(text.matches('[').count(), 1, "{text}");
    assert!(
        text.contains("assistant\n[<tool_call>") && text.ends_with("xxx"),
        "{text}"
    );
    assert!(encoded.truncation.answer_tokens > 0);
    let options = EncodeOptions {
        mask_history: true,
        ..options
    };
    let last = crate::common::encoder(&tokenizer, "model", options);
    let nothing = last.encode_conversation(&messages.into());
    assert!(matches!(nothing, Err(Error::NothingSupervised)));
}

#[test]
fn a_template_that_passes_over_calls_is_refused() {
    let goldens = goldens();
    let conversation = &conversations(&goldens)[0];
    // No `tool_calls`; and calls, but not what they gave.
    let plain = "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}";
    let deaf = "{% for m in messages if m.role != 'tool' %}<|im_start|>{{ m.role }} {{ m.content }}{{ m.tool_calls }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}";
    for source in [plain, deaf] {
        let error = text(&with_template(source), conversation).unwrap_err();
        assert!(
            matches!(&error, Error::NoCalls { template } if template == "model"),
            "{error}"
        );
    }
    for name in Template::NAMES.into_iter().filter(|name| *name != "model") {
        let encoder = encoder(&tiny(), name, long());
        for error in [
            encoder.encode_conversation(conversation).unwrap_err(),
            encoder.prompt(&conversation.messages[..3]).unwrap_err(),
            encoder.template().text(&conversation.messages).unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::NoCalls { template } if template == name),
                "{error}"
            );
        }
    }
    // Such records can be left out, and are counted.
    let options = EncodeOptions {
        skip_refused: true,
        ..long()
    };
    let encoder = crate::common::encoder(&tiny(), "vicuna", options);
    let plain: Conversation = vec![
        Message::new(Role::User, "q"),
        Message::new(Role::Assistant, "a"),
    ]
    .into();
    let set = encoder
        .encode_conversations(&[conversation.clone(), plain])
        .unwrap();
    assert_eq!(
        (set.records, set.statistics.dropped["template_refused"]),
        (vec![1], 1)
    );
}

#[test]
fn what_is_no_call_and_no_tool_is_named() {
    let goldens = goldens();
    let encoder = encoder(&with_template(&source(&goldens, "hermes")), "model", long());
    let with_call = |call: &str| {
        let roles = [
            Role::User,
            Role::FunctionCall,
            Role::Observation,
            Role::Assistant,
        ];
        let texts = ["q", call, "x", "a"];
        let messages = roles.into_iter().zip(texts);
        let messages = messages.map(|(role, text)| Message::new(role, text));
        Conversation::from(messages.collect::<Vec<_>>())
    };
    let good = r#"{"name": "f", "arguments": {}}"#;
    for call in [
        "f(x)",
        "[]",
        "3",
        "{}",
        r#"{"name": "f"}"#,
        r#"{"name": "f", "arguments": {}, "x": 1}"#,
    ] {
        let error = encoder.encode_conversation(&with_call(call)).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Conversation {
                    message: 2,
                    got: "another text",
                    ..
                }
            ),
            "{call}: {error}"
        );
    }
    for tools in ["f", "3", "[3]", "\"f\"", "[{}"] {
        let conversation = Conversation {
            tools: Some(tools.to_owned()),
            ..with_call(good)
        };
        for error in [
            encoder.encode_conversation(&conversation).unwrap_err(),
            encoder.prompt_conversation(&conversation).unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::Option { field: "tools", .. }),
                "{error}"
            );
        }
    }
    let order = |roles: &[Role]| {
        let messages = roles.iter().map(|role| Message::new(*role, good));
        match encoder.encode_conversation(&messages.collect::<Vec<_>>().into()) {
            Err(Error::Conversation {
                message,
                expected,
                got,
            }) => (message, expected, got),
            other => panic!("{other:?}"),
        }
    };
    use Role::{Assistant, FunctionCall, Observation, User};
    assert_eq!(
        order(&[User, FunctionCall, Assistant]),
        (3, "observation", "assistant")
    );
    assert_eq!(
        order(&[User, FunctionCall, User]),
        (3, "observation", "user")
    );
    assert_eq!(order(&[User, Observation]), (2, "assistant", "observation"));
    assert_eq!(order(&[FunctionCall]), (1, "user", "function_call"));
    assert_eq!(
        order(&[User, FunctionCall, Observation]),
        (4, "assistant", "nothing")
    );
    assert_eq!(
        order(&[User, FunctionCall, Observation, User]),
        (4, "assistant", "user")
    );
}

/// OpenAI's ids and names reach the template, which may ask for them.
#[test]
fn ids_and_names_reach_the_template() {
    let source = "{% for m in messages %}{% for c in m.tool_calls %}{{ c.id }}{{ c.function.name }}{% endfor %}{% if m.role == 'tool' %}<{{ m.tool_call_id }} {{ m.name }}>{% endif %}{{ m.content }}{% endfor %}";
    let template = ChatTemplate::new(source, "", "").unwrap();
    let line = json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "Now.", "tool_calls": [
            {"id": "A", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "B", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "A", "content": "1"},
        {"role": "tool", "tool_call_id": "B", "content": "2"},
        {"role": "assistant", "content": "a"}]});
    let reader = std::io::Cursor::new(line.to_string());
    let mut records = RecordReader::of_reader("openai", reader, ReadOptions::default());
    let Record::Conversation(conversation) = records.next().unwrap().unwrap().record else {
        panic!("no conversation");
    };
    let text = template.render(&conversation.messages, false).unwrap();
    assert_eq!(text, "qAfBgNow.<A f>1<B g>2a");
}
