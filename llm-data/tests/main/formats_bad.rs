//! Every format: what is refused, and how that is said.

use llm_data::{Error, Format, ReadOptions, Role};
use serde_json::{Value, json};

use crate::formats::{reader, said};

/// Reads the one bad record and gives its problems.
fn refused(value: &Value, format: Format) -> Vec<String> {
    let options = ReadOptions {
        format: Some(format),
        ..ReadOptions::default()
    };
    match reader(&value.to_string(), options).next().unwrap() {
        Err(Error::BadRecords { issues, total, .. }) => {
            assert_eq!(issues.len(), total);
            let shown = |issue: &llm_data::RecordIssue| {
                let reason = issue.reason.key();
                format!("{}: {reason}", issue.field)
            };
            issues.iter().map(shown).collect()
        }
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn bad_records_name_field_and_reason() {
    let turn = |from: &str, value: &str| json!({"from": from, "value": value});
    let call = r#"{"name": "f", "arguments": {}}"#;
    let sharegpt = |turns: &[Value]| refused(&json!({"conversations": turns}), Format::ShareGpt);
    assert_eq!(
        sharegpt(&[turn("alien", "q"), turn("gpt", " ")]),
        [
            "conversations[0].from: unknown_role",
            "conversations[1].value: empty_field"
        ]
    );
    assert_eq!(
        sharegpt(&[turn("gpt", "a"), turn("human", "q")]),
        ["conversations[0]: starts_with_assistant"]
    );
    assert_eq!(
        sharegpt(&[turn("human", "q"), turn("human", "q"), turn("gpt", "a")]),
        ["conversations[1]: odd_order"]
    );
    assert_eq!(
        sharegpt(&[
            turn("human", "q"),
            turn("observation", "{}"),
            turn("gpt", "a")
        ]),
        ["conversations[1]: odd_order"]
    );
    assert_eq!(
        sharegpt(&[
            turn("human", "q"),
            turn("function_call", call),
            turn("gpt", "a")
        ]),
        ["conversations[2]: odd_order"]
    );
    assert_eq!(
        sharegpt(&[
            turn("human", "q"),
            turn("gpt", "a"),
            turn("system", "s"),
            turn("gpt", "a")
        ]),
        ["conversations[2]: odd_order"]
    );
    assert_eq!(
        sharegpt(&[turn("human", "q"), turn("gpt", "a"), turn("human", "q")]),
        ["conversations: odd_order"]
    );
    assert_eq!(sharegpt(&[]), ["conversations: empty_field"]);
    assert_eq!(
        sharegpt(&[json!({"from": "human"}), json!(7)]),
        [
            "conversations[0].value: missing_field",
            "conversations[1]: wrong_type"
        ]
    );
    assert_eq!(
        refused(
            &json!({"input": ["q"], "output": ["a", "b"]}),
            Format::ChineseVicuna
        ),
        ["input: lengths_differ"]
    );
    assert_eq!(
        refused(
            &json!({"text": "X\n<START>\nno speaker"}),
            Format::Pygmalion
        ),
        ["text: no_speaker"]
    );
    assert_eq!(
        refused(
            &json!({"instruction": "q", "instances": [{"input": 1}]}),
            Format::SelfInstruct
        ),
        [
            "instances[0].input: wrong_type",
            "instances[0].output: missing_field"
        ]
    );
    assert_eq!(
        refused(
            &json!({"prompt": "q", "chosen": [{"role": "user", "content": "q"}], "rejected": null}),
            Format::PreferencePrompt
        ),
        ["chosen: odd_order", "rejected: wrong_type"]
    );
    assert_eq!(
        refused(
            &json!({"instruction": "", "history": [["x"], 5], "output": "a"}),
            Format::Alpaca
        ),
        [
            "instruction: empty_field",
            "history[0]: wrong_type",
            "history[1]: wrong_type"
        ]
    );
    assert_eq!(refused(&json!([1]), Format::Alpaca), [": wrong_type"]);
}

#[test]
fn cleaning_can_read_what_is_out_of_order() {
    let text =
        r#"{"conversations": [{"from": "gpt", "value": ""}, {"from": "human", "value": "q"}]}"#;
    let lenient = ReadOptions {
        lenient: true,
        ..ReadOptions::default()
    };
    let record = reader(text, lenient).next().unwrap().unwrap().record;
    assert_eq!(
        said(&record),
        [
            (Role::Assistant, String::new()),
            (Role::User, "q".to_owned())
        ]
    );
}

/// JSON within a text, and fields of messages that stand deeper in another format.
#[test]
fn what_would_be_nested_too_deeply_to_be_read_again_is_not_written() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let messages = r#"[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#;
    let tools = |levels| format!(r#"{{"messages":{messages},"tools":"{}"}}"#, nested(levels));
    let chosen = |levels| {
        format!(
            r#"{{"prompt":"q","chosen":{{"from":"gpt","value":"a","x":{}}},"rejected":"b"}}"#,
            nested(levels)
        )
    };
    for (text, written) in [
        (tools(126), true),
        (tools(127), false),
        (chosen(124), true),
        (chosen(125), false),
    ] {
        let record = reader(&text, ReadOptions::default())
            .next()
            .unwrap()
            .unwrap();
        let to = match record.format {
            Format::OpenAi => Format::OpenAi,
            _ => Format::ShareGpt,
        };
        match record.record.to_json(to) {
            Ok((json, _)) => {
                assert!(written, "{text}");
                serde_json::from_str::<Value>(&json.to_string()).unwrap();
            }
            Err(error) => {
                assert!(matches!(error, Error::CannotConvert { .. }), "{error}");
                assert!(!written, "{text}");
            }
        }
    }
}

#[test]
fn a_record_of_no_format_is_an_error_with_its_fields() {
    let error = reader(
        r#"{"question": "q", "answer": "a"}"#,
        ReadOptions::default(),
    )
    .next()
    .unwrap()
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("its fields: question, answer") && text.contains("alpaca, sharegpt"),
        "{text}"
    );
}
