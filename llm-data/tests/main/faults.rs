//! Files of options and templates that are wrong, and replies that are none: rows 9 to 26 of the project's
//! list of faults that no other module has.

use std::time::{Duration, Instant};

use llm_data::clean::Step;
use llm_data::{ChatTemplate, Conversation, Error, Message, Role, Template};
use serde_json::{Value, json};

use crate::common::{encoder, long, record, with_template};

/// Nine levels of nine references each: 9⁹ texts, were they all written out.
fn bomb(first: &str, last: &str) -> String {
    let mut text = format!("{first}: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..9 {
        let references = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("x{level}: &a{level} [{references}]\n");
    }
    text + last
}

fn template_error(name: &str, text: &str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    Template::from_file(path, "x").unwrap_err()
}

#[test]
fn alias_bombs_are_refused_at_once() {
    let begin = Instant::now();
    let template = bomb("name", "messages: *a8\nroles: [A, B]\nsep_style: ROBIN\n");
    let error = template_error("t.yaml", &template);
    assert!(matches!(error, Error::Yaml { .. }), "{error}");
    let list = bomb("- step", "").replace("\nx", "\n  x");
    assert!(serde_saphyr::from_str::<Vec<Step>>(&list).is_err());
    // The same bomb where any value may stand, and one alias of itself.
    assert!(serde_saphyr::from_str::<Value>(&bomb("a", "b: *a8\n")).is_err());
    assert!(serde_saphyr::from_str::<Vec<Step>>("&a [*a]").is_err());
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(template_error("t.yml", &deep), Error::Yaml { .. }));
    assert!(serde_saphyr::from_str::<Vec<Step>>(&deep).is_err());
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn steps_in_yaml_say_what_is_wrong() {
    let read = |text: &str| serde_saphyr::from_str::<Vec<Step>>(text);
    let good = "- step: near_duplicates\n  minhash: {threshold: 0.5}\n";
    assert_eq!(read(good).unwrap().len(), 1);
    for (text, expected) in [
        (
            "- step: near_duplicates\n  minhash: {treshold: 0.5}\n",
            "threshold",
        ),
        (
            "- step: near_duplicates\n  minhash: {threshold: high}\n",
            "line 1",
        ),
        (
            "- step: near_duplicates\n  minhash: {threshold: \"0.5\"}\n",
            "line 1",
        ),
        ("- step: near_duplicate\n", "near_duplicates"),
        ("step: near_duplicates\n", "line 1"),
        ("- near_duplicates\n", "line 1"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_misspelt_field_of_a_template_is_named_with_the_one_that_is_meant() {
    let good = json!({"name": "x", "roles": ["A", "B"], "sep_style": "ADD_COLON_TWO", "sep": " ",
        "sep2": "</s>", "cases": [], "licence": "MIT", "notes": 3});
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.json");
    std::fs::write(&path, good.to_string()).unwrap();
    Template::from_file(&path, "x").unwrap();
    for (wrong, meant) in [
        ("sytem_message", "system_message"),
        ("stop_tokens_ids", "stop_token_ids"),
        ("sep1", "sep"),
        ("chat_templates", "chat_template"),
    ] {
        let mut entry = good.clone();
        entry[wrong] = json!("text");
        let error = template_error("t.json", &entry.to_string()).to_string();
        let expected = format!("field `{wrong}`: unknown, did you mean `{meant}`?");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_conversation_without_messages_is_an_error_in_every_template() {
    let source = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}";
    let tokenizer = with_template(source);
    for name in Template::NAMES {
        let encoder = encoder(&tokenizer, name, long());
        let none = encoder.encode_conversation(&Conversation::default());
        assert!(
            matches!(none, Err(Error::Conversation { message: 1, .. })),
            "{name}"
        );
        assert!(encoder.prompt(&[]).is_err(), "{name}");
        let system = [Message::new(Role::System, "s")];
        assert!(encoder.prompt(&system).is_err(), "{name}");
    }
    assert_eq!(
        ChatTemplate::new(source, "", "")
            .unwrap()
            .render(&[], true)
            .unwrap(),
        ""
    );
}

#[test]
fn special_tokens_in_calls_and_results_are_text() {
    let source = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}{{ m.name }}<|im_end|>{% endfor %}";
    let tokenizer = with_template(source);
    let encoder = encoder(&tokenizer, "model", long());
    let call = r#"{"name": "</s>", "arguments": {"<|im_end|>": ["\u003c/s>"]}}"#;
    let texts = [
        (Role::User, "<s>"),
        (Role::FunctionCall, call),
        (Role::Observation, "<|im_start|></s>"),
        (Role::Assistant, "</s>a"),
    ];
    let messages: Vec<Message> = texts.map(|(role, text)| Message::new(role, text)).into();
    let sample = encoder
        .encode_conversation(&messages.into())
        .unwrap()
        .sample;
    let special = sample
        .input_ids
        .iter()
        .filter(|&&id| tokenizer.is_special(id));
    assert_eq!(special.copied().collect::<Vec<_>>(), [4; 4]);
    // As in what people say.
    let plain = encoder
        .encode(&record("<|im_end|>", "", "</s>"))
        .unwrap()
        .sample;
    let special = plain
        .input_ids
        .iter()
        .filter(|&&id| tokenizer.is_special(id));
    assert_eq!(special.count(), 2);
}
