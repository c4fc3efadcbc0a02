//! Every format: what is read, what is written, what is lost.

use llm_data::{Error, Format, Loss, Numbered, ReadOptions, Record, RecordReader, Role};
use serde_json::{Value, json};

pub(crate) fn reader(text: &str, options: ReadOptions) -> RecordReader {
    RecordReader::of_reader("test", std::io::Cursor::new(text.to_owned()), options)
}

/// The one record of a text, and the format that it is in.
pub(crate) fn one(value: &Value) -> (Record, Format) {
    let mut records = reader(&value.to_string(), ReadOptions::default());
    let Numbered { record, format, .. } = records.next().unwrap().unwrap();
    (record, format)
}

/// Roles and texts.
pub(crate) fn said(record: &Record) -> Vec<(Role, String)> {
    let Record::Conversation(conversation) = record else {
        panic!("{record:?}");
    };
    let messages = conversation.messages.iter();
    messages
        .map(|one| (one.role, one.content.clone()))
        .collect()
}

const PYGMALION: &str = "Bob's Persona: Bob is kind.\nHe likes tea.\n<START>\nBob: *waves*\nHello: you!\nYou: Hi, Bob\nBob: Tea?";

/// A record of each format, as its own documentation has it.
fn examples() -> Vec<(Format, Value)> {
    let text = |text: &str| json!([{"role": "user", "content": text}]);
    vec![
        (
            Format::Alpaca,
            json!({"instruction": "q", "input": "i", "output": "a", "system": "s", "history": [["x", "y"]]}),
        ),
        (
            Format::Alpaca,
            json!({"instruction": "Human: no more than a name", "input": "", "output": "a", "id": 7}),
        ),
        (
            Format::ShareGpt,
            json!({"id": "x", "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a", "weight": 0}]}),
        ),
        (
            Format::ShareGpt,
            json!({"tools": "[]", "conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}"}, {"from": "observation", "value": "{}"}, {"from": "gpt", "value": "a"}]}),
        ),
        (
            Format::OpenAi,
            json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 1, "name": "n"}], "lang": "en"}),
        ),
        (
            Format::OpenAi,
            json!({"tools": [{"type": "function", "function": {"name": "f"}}], "messages": [{"role": "user", "content": "q"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "A", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}, {"id": "B", "type": "function", "function": {"name": "g", "arguments": "not json"}}]},
            {"role": "tool", "tool_call_id": "A", "content": "1"}, {"role": "tool", "tool_call_id": "B", "content": "2"},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [{"id": "call_4_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_4_0", "content": "3"}, {"role": "assistant", "content": "a"}]}),
        ),
        (
            Format::ChineseVicuna,
            json!({"input": ["q", "r"], "output": ["a", "b"]}),
        ),
        (
            Format::Gpt4All,
            json!({"prompt": "q", "response": "a", "source": "laion"}),
        ),
        (
            Format::Pygmalion,
            json!({"character": "Bob", "text": PYGMALION}),
        ),
        (Format::Text, json!({"text": "a\nb", "meta": {"url": "u"}})),
        (
            Format::Preference,
            json!({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}),
        ),
        (
            Format::PreferencePrompt,
            json!({"prompt": "q", "chosen": "a", "rejected": "b", "margin": 1.5}),
        ),
        (
            Format::PreferencePrompt,
            json!({"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}),
        ),
        (Format::Belle, json!({"input": "q", "target": "a"})),
        (
            Format::Belle,
            json!({"instruction": "q", "input": "i", "target": "a"}),
        ),
        (
            Format::BelleMultiturn,
            json!({"instruction": "Human:q\nAssistant:a\nHuman:r\nand more\nAssistant:", "input": "", "output": "b"}),
        ),
        (
            Format::SelfInstruct,
            json!({"id": "seed_task_0", "name": "n", "instruction": "q", "instances": [{"input": "i", "output": "a"}, {"input": "", "output": "b"}], "is_classification": false}),
        ),
        (
            Format::SelfInstruct,
            json!({"instruction": "q", "instances": [{"input": "", "output": "a"}], "messages_of": text("x")}),
        ),
    ]
}

#[test]
fn formats_are_detected_and_written_as_they_were() {
    for (format, value) in examples() {
        let (record, detected) = one(&value);
        assert_eq!(detected, format, "{value}");
        let (written, losses) = record.to_json(format).unwrap();
        assert!(losses.is_empty(), "{losses:?}: {value}");
        assert_eq!(written, value, "{format}");
        assert_eq!(Format::by_name(format.name()).unwrap(), format);
    }
    assert!(
        matches!(Format::by_name("alpacca"), Err(Error::UnknownFormatName { known, .. }) if known.contains("alpaca, sharegpt"))
    );
}

#[test]
fn other_layouts_of_a_format_are_the_same_records() {
    use Format::{Belle, OpenAi, Preference, PreferencePrompt, ShareGpt};
    let turn = |from: &str, value: &str| json!({"from": from, "value": value});
    let user = json!({"role": "user", "content": "q"});
    let answers =
        |a: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": a}]);
    let pair = json!({"prompt": "q", "chosen": "a", "rejected": "b"});
    for (format, value, same) in [
        // BELLE's and FastChat's names.
        (
            ShareGpt,
            json!({"conversations": [turn("user", "q"), turn("assistant", "a"), turn("human", "r"), turn("bing", "b"), turn("human", "s"), turn("chatgpt", "c"), turn("human", "t"), turn("bard", "d")]}),
            json!({"conversations": [turn("human", "q"), turn("gpt", "a"), turn("human", "r"), turn("gpt", "b"), turn("human", "s"), turn("gpt", "c"), turn("human", "t"), turn("gpt", "d")]}),
        ),
        (
            ShareGpt,
            json!({"system": "s", "conversations": answers("a")}),
            json!({"conversations": [turn("system", "s"), turn("human", "q"), turn("gpt", "a")]}),
        ),
        // The older calls of functions.
        (
            OpenAi,
            json!({"messages": [user, {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "content": "1"}, {"role": "assistant", "content": "a"}]}),
            json!({"messages": [user, {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "call_1_0", "content": "1"}, {"role": "assistant", "content": "a"}]}),
        ),
        // TRL's, with the prompt in the answers and without.
        (
            PreferencePrompt,
            json!({"chosen": answers("a"), "rejected": answers("b")}),
            pair.clone(),
        ),
        (
            PreferencePrompt,
            json!({"prompt": "q", "chosen": answers("a"), "rejected": answers("b")}),
            pair.clone(),
        ),
        (
            Preference,
            json!({"conversations": [user], "chosen": answers("a")[1], "rejected": answers("b")[1]}),
            json!({"conversations": [turn("human", "q")], "chosen": turn("gpt", "a"), "rejected": turn("gpt", "b")}),
        ),
        (
            Belle,
            json!({"instruction": "q", "input": "", "target": "a"}),
            json!({"input": "q", "target": "a"}),
        ),
    ] {
        let (record, detected) = one(&value);
        assert_eq!(detected, format, "{value}");
        assert_eq!(record.to_json(format).unwrap().0, same, "{value}");
        assert_eq!(one(&same).0, record, "{value}");
    }
}

#[test]
fn what_a_format_means_is_what_is_read() {
    use Role::{Assistant, System, User};
    let expect = |format: Format, number: usize, expected: &[(Role, &str)]| {
        let all = examples();
        let (_, value) = all
            .iter()
            .filter(|(of, _)| *of == format)
            .nth(number)
            .unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(role, text)| (*role, (*text).to_owned()))
            .collect();
        assert_eq!(said(&one(value).0), expected, "{value}");
    };
    expect(
        Format::Alpaca,
        0,
        &[
            (System, "s"),
            (User, "x"),
            (Assistant, "y"),
            (User, "q\ni"),
            (Assistant, "a"),
        ],
    );
    expect(
        Format::BelleMultiturn,
        0,
        &[
            (User, "q"),
            (Assistant, "a"),
            (User, "r\nand more"),
            (Assistant, "b"),
        ],
    );
    expect(
        Format::ChineseVicuna,
        0,
        &[(User, "q"), (Assistant, "a"), (User, "r"), (Assistant, "b")],
    );
    expect(Format::SelfInstruct, 0, &[(User, "q\ni"), (Assistant, "a")]);
    expect(
        Format::Pygmalion,
        0,
        &[
            (System, "Bob is kind.\nHe likes tea."),
            (Assistant, "*waves*\nHello: you!"),
            (User, "Hi, Bob"),
            (Assistant, "Tea?"),
        ],
    );
    let tools = &examples()[5].1;
    let (record, _) = one(tools);
    let texts = said(&record);
    assert_eq!(
        texts[1],
        (
            Role::FunctionCall,
            r#"[{"name":"f","arguments":{"x":1}},{"name":"g","arguments":"not json"}]"#.to_owned()
        )
    );
    assert_eq!(texts[2], (Role::Observation, "1".to_owned()));
    assert_eq!(
        texts[4],
        (
            Role::FunctionCall,
            r#"{"name":"f","arguments":{}}"#.to_owned()
        )
    );
}

#[test]
fn losses_are_named_and_nothing_else_changes() {
    let lost = |value: &Value, format| {
        let (_, losses) = one(value).0.to_json(format).unwrap();
        losses
            .into_iter()
            .map(Loss::key)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let all = examples();
    let (alpaca, share) = (&all[0].1, &all[2].1);
    for format in [Format::Alpaca, Format::ShareGpt, Format::OpenAi] {
        assert_eq!(lost(alpaca, format), "", "{format}");
    }
    assert_eq!(lost(alpaca, Format::Gpt4All), "system turns");
    assert_eq!(lost(alpaca, Format::ChineseVicuna), "system input");
    assert_eq!(lost(share, Format::Alpaca), "loss_flags");
    assert_eq!(lost(&all[3].1, Format::Alpaca), "tool_turns");
    assert_eq!(lost(&all[3].1, Format::OpenAi), "");
    assert_eq!(lost(&all[5].1, Format::ShareGpt), "");
    assert_eq!(lost(&all[10].1, Format::ShareGpt), "rejected");
    assert_eq!(
        lost(
            &json!({"instruction": "q\nHuman:x", "output": "a"}),
            Format::BelleMultiturn
        ),
        "text"
    );
    let taken = json!({"instruction": "q", "output": "a", "conversations_of": 1, "messages": 3});
    let options = ReadOptions {
        format: Some(Format::Alpaca),
        ..ReadOptions::default()
    };
    let record = reader(&taken.to_string(), options)
        .next()
        .unwrap()
        .unwrap()
        .record;
    let (value, losses) = record.to_json(Format::OpenAi).unwrap();
    assert!(losses.into_iter().eq([Loss::Fields]) && value["messages"].is_array());
    for (value, format, what) in [
        (&all[9].1, Format::Alpaca, "a plain text"),
        (&all[0].1, Format::Text, "a conversation"),
        (
            &all[0].1,
            Format::Preference,
            "a conversation without a rejected answer",
        ),
    ] {
        let error = one(value).0.to_json(format).unwrap_err();
        assert!(
            matches!(error, Error::CannotConvert { what: said, .. } if said == what),
            "{error}"
        );
    }
}
