//! Templates as data: what FastChat makes of the same fields, and what is wrong with a file.

use std::fs;
use std::path::{Path, PathBuf};

use llm_data::{Encoder, Error, Message, Role, Template};
use serde_json::{Value, json};

use crate::common::{encoder, long, record, shared, shared_json, shared_tokenizer, tiny};

pub(crate) fn data(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/main/data")
        .join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The messages of a rendering: turns of user and assistant, null where one is to be generated.
fn messages(system: &Value, turns: &Value) -> Vec<Message> {
    let system = system.as_str().map(|text| Message::new(Role::System, text));
    let turns = turns.as_array().unwrap().iter().enumerate();
    let turn = |(index, text): (usize, &Value)| {
        let role = [Role::User, Role::Assistant][index % 2];
        text.as_str().map(|text| Message::new(role, text))
    };
    system.into_iter().chain(turns.filter_map(turn)).collect()
}

fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn every_template_of_the_fixture_renders_as_in_fastchat() {
    let Some(path) = shared("fixtures/prompts/fastchat_prompts.json") else {
        return;
    };
    let goldens = shared_json("fixtures/prompts/fastchat_prompts.json").unwrap();
    let goldens = goldens["templates"].as_array().unwrap();
    let (mut renderings, mut refused) = (0, 0);
    for golden in goldens {
        let name = golden["name"].as_str().unwrap();
        let template = Template::from_file(&path, name);
        if golden["sep_style"].is_null() {
            let error = template.unwrap_err();
            assert!(
                matches!(&error, Error::TemplateEntry { entry, field, .. } if entry == name && field == "sep_style"),
                "{error}"
            );
            refused += 1;
            continue;
        }
        let template = template.unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let messages = messages(&case["system_override"], &case["messages"]);
            let text = template.text(&messages).unwrap();
            assert_eq!(
                text,
                case["rendered"].as_str().unwrap(),
                "{name} {}",
                case["case"]
            );
            renderings += 1;
        }
    }
    assert_eq!((goldens.len(), renderings, refused), (62, 57 * 7, 5));
    assert_eq!(Template::names_in_file(&path).unwrap().len(), 62);
}

#[test]
fn every_separator_style_renders_as_in_fastchat() {
    let goldens = data("separators.json");
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "styles.json", &goldens["styles"].to_string());
    let yaml = file(
        &dir,
        "styles.YAML",
        &serde_saphyr::to_string(&goldens["styles"]).unwrap(),
    );
    let tokenizer = tiny();
    let mut renderings = 0;
    for (golden, built_in) in goldens["styles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|golden| (golden, false))
        .chain(
            goldens["built_in"]
                .as_array()
                .unwrap()
                .iter()
                .map(|golden| (golden, true)),
        )
    {
        let name = golden["name"].as_str().unwrap();
        let templates = match built_in {
            true => vec![Template::by_name(name, &tokenizer).unwrap()],
            false => [&path, &yaml]
                .map(|path| Template::from_file(path, name).unwrap())
                .into(),
        };
        for case in golden["cases"].as_array().unwrap() {
            // A blank system text counts as none in a conversation: then the template's own holds.
            if case["system"] == "" && golden["system_message"] != "" {
                continue;
            }
            for template in &templates {
                let text = template
                    .text(&messages(&case["system"], &case["messages"]))
                    .unwrap();
                assert_eq!(text, case["rendered"].as_str().unwrap(), "{name} {case}");
                renderings += 1;
            }
        }
    }
    assert!(renderings > 2000, "{renderings}");
}

/// The ids of the whole conversation are those of FastChat's text, where that has all of it.
#[test]
fn samples_say_what_the_text_says() {
    let (Some(path), Some(tokenizer)) = (
        shared("fixtures/prompts/fastchat_prompts.json"),
        shared_tokenizer("smollm2"),
    ) else {
        return;
    };
    let conversation = llm_data::Conversation {
        messages: ["Hello!", "Hi!", "你好?", "Well,\n\nbye."]
            .into_iter()
            .enumerate()
            .map(|(index, text)| Message::new([Role::User, Role::Assistant][index % 2], text))
            .collect(),
        ..Default::default()
    };
    for name in Template::names_in_file(&path).unwrap() {
        let Ok(template) = Template::from_file(&path, &name) else {
            continue;
        };
        let text = template.text(&conversation.messages).unwrap();
        let encoder = Encoder::new(tokenizer.clone(), template, long()).unwrap();
        let sample = encoder.encode_conversation(&conversation).unwrap().sample;
        let decoded = tokenizer.decode(&sample.input_ids, false).unwrap();
        let supervised: Vec<u32> = sample
            .labels
            .iter()
            .filter_map(|label| u32::try_from(*label).ok())
            .collect();
        let supervised = tokenizer.decode(&supervised, false).unwrap();
        if name == "yuan2" {
            // The style has its separator behind the question, as in generation.
            assert_eq!(decoded, "Hello!<n>Hi!<n>你好?<sep>Well,\n\nbye.<eod>");
            assert_eq!(supervised, "Well,\n\nbye.<eod>");
            continue;
        }
        assert_eq!(decoded, text, "{name}");
        assert!(
            supervised.contains("Hi!") && supervised.contains("bye."),
            "{name}: {supervised}"
        );
        assert!(
            !supervised.contains("Hello") && !supervised.contains("你好"),
            "{name}: {supervised}"
        );
    }
}

#[test]
fn what_has_to_be_said_to_end_an_answer_is_supervised_and_no_more() {
    let tokenizer = tiny();
    let supervised = |name: &str| {
        let encoder = encoder(&tokenizer, name, long());
        let sample = encoder.encode(&record("q", "", "a")).unwrap().sample;
        let ids: Vec<u32> = sample
            .labels
            .iter()
            .filter_map(|label| u32::try_from(*label).ok())
            .collect();
        (
            tokenizer.decode(&ids, false).unwrap(),
            encoder.stop_ids().to_vec(),
            encoder.stop_strings().join("|"),
        )
    };
    for (name, said, strings) in [
        ("alpaca", "a</s>", ""),
        ("qlora", "a</s>", ""),
        ("chinese-alpaca", "a</s>", ""),
        ("vicuna_v1.1", " a</s>", ""),
        // What follows, `<s>`, begins the next turn.
        ("llama-2", " a </s>", ""),
        ("chinese-alpaca2", " a </s>", ""),
        ("belle", "a</s>", ""),
        ("metharme", "a</s>", "<|user|>"),
        ("baize", "a</s>", "[|Human|]"),
        ("stable-vicuna", " a</s>", "### Human:"),
        ("pygmalion", " a</s>", "\nYou:"),
    ] {
        assert_eq!(
            supervised(name),
            (said.to_owned(), vec![2], strings.to_owned()),
            "{name}"
        );
    }
}

#[test]
fn a_files_stops_are_added_and_ids_that_the_tokenizer_lacks_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let entry = json!({"name": "x", "roles": ["Q", "A"], "sep_style": "ADD_COLON_SINGLE", "sep": "\n### ", "stop_str": ["###", "END"], "stop_token_ids": [3, 2, 99_999]});
    let template = Template::from_file(file(&dir, "t.json", &entry.to_string()), "x").unwrap();
    assert_eq!(template.stop_strings(), ["###", "END"]);
    let encoder = Encoder::new(tiny(), template, long()).unwrap();
    assert_eq!(
        (encoder.stop_ids(), encoder.stop_strings()),
        (&[2, 3][..], vec!["###", "END"])
    );
    // Without its end token a tokenizer is no good for a template that needs one.
    let without = crate::common::tokenizer(&crate::common::tiny_json(), json!({}));
    for name in ["belle", "baize"] {
        let template = Template::by_name(name, &without).unwrap();
        let error = Encoder::new(without.clone(), template, long()).unwrap_err();
        assert!(matches!(error, Error::NoEndToken { template, .. } if template == name));
    }
}

#[test]
fn the_built_in_texts_are_those_of_their_projects() {
    let tokenizer = tiny();
    let decoded = |name: &str| {
        let encoder = encoder(&tokenizer, name, long());
        let mut record = record("Translate.", "Good morning", "Bonjour");
        record.history = vec![("Hi".to_owned(), "Hello.".to_owned())];
        let ids = encoder.encode(&record).unwrap().sample.input_ids;
        tokenizer.decode(&ids, false).unwrap()
    };
    let preamble = "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
    assert_eq!(
        decoded("qlora"),
        format!(
            "{preamble}\n\n### Instruction:\nHi\n\n### Response: Hello.</s>\n\n### Instruction:\nTranslate.\n\n### Input:\nGood morning\n\n### Response: Bonjour</s>"
        )
    );
    assert_eq!(
        decoded("chinese-alpaca"),
        format!(
            "{preamble}\n\n### Instruction:\nHi\n\n### Response: Hello.</s>\n\n### Instruction:\nTranslate.\nGood morning\n\n### Response: Bonjour</s>"
        )
    );
    assert_eq!(
        decoded("belle"),
        "Human: \nHi\n\nAssistant: \nHello.</s>Human: \nTranslate.\nGood morning\n\nAssistant: \nBonjour</s>"
    );
    assert_eq!(
        decoded("pygmalion"),
        "Assistant's Persona: \n<START>\nYou: Hi\nAssistant: Hello.\nYou: Translate.\nGood morning\nAssistant: Bonjour</s>\n"
    );
    // One record with an input in its first turn: the preamble without it all the same.
    let chinese = Template::by_name("chinese-alpaca", &tokenizer).unwrap();
    let chinese = Encoder::new(tokenizer.clone(), chinese, long()).unwrap();
    let prompt = chinese.record_prompt(&record("a", "b", "c")).unwrap();
    let text = tokenizer.decode(&prompt, false).unwrap();
    assert_eq!(
        text,
        format!("{preamble}\n\n### Instruction:\na\nb\n\n### Response: ")
    );
    // BELLE trains without a beginning-of-sequence token, whatever the tokenizer puts there.
    let llama = crate::common::tokenizer(
        &crate::common::tiny_json(),
        json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true}),
    );
    let first = |name: &str| {
        encoder(&llama, name, long())
            .encode(&record("a", "", "b"))
            .unwrap()
            .sample
            .input_ids[0]
    };
    assert_eq!(first("alpaca"), 1);
    assert_ne!(first("belle"), 1);
}

#[test]
fn every_known_name_is_a_template() {
    let tokenizer = shared_tokenizer("smollm2").unwrap_or_else(tiny);
    for name in Template::NAMES {
        if name != "model" || tokenizer.chat_template().is_some() {
            assert_eq!(Template::by_name(name, &tokenizer).unwrap().name(), name);
        }
    }
    let definition = |name: &str| Template::by_name(name, &tokenizer).unwrap().definition();
    // Runs and caches are known by these.
    assert!(
        definition("alpaca")
            .starts_with("alpaca\nBelow is an instruction that describes a task. Write")
    );
    assert!(definition("alpaca").ends_with("\n### Instruction:\n\n### Input:\n\n### Response:"));
    assert_eq!(definition("chatml"), "chatml\n<|im_start|>\n<|im_end|>");
    assert!(definition("belle").contains("Human: \\n"));
}

#[test]
fn a_jinja_template_of_a_file_takes_the_tokenizers_tokens_unless_it_names_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let source = "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}";
    let path = file(
        &dir,
        "both.json",
        &json!({"templates": [
            {"name": "open", "chat_template": source},
            {"name": "own", "chat_template": source, "bos_token": "", "eos_token": "<|im_end|>"},
        ]})
        .to_string(),
    );
    let bare = file(&dir, "bare.jinja", source);
    let tokenizer = tiny();
    let ask = [Message::new(Role::User, "q")];
    for (path, name, text, prompt) in [
        (&path, "open", "q>", "<s>q</s>>"),
        (&path, "own", "q<|im_end|>>", "q<|im_end|>>"),
        (&bare, "bare", "q>", "<s>q</s>>"),
    ] {
        let template = Template::from_file(path, name).unwrap();
        assert_eq!(
            (template.name(), template.text(&ask).unwrap().as_str()),
            (name, text)
        );
        let encoder = Encoder::new(tokenizer.clone(), template, long()).unwrap();
        let ids = encoder.prompt(&ask).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), prompt, "{name}");
    }
}

/// The message for the template `x` in a file of this name and text.
fn error(name: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, name, text);
    Template::from_file(path, "x").unwrap_err().to_string()
}

#[test]
fn errors_name_the_file_the_template_and_the_field() {
    let good = json!({"name": "x", "roles": ["A", "B"], "sep_style": "ADD_COLON_TWO", "sep": " ", "sep2": "</s>"});
    let dir = tempfile::tempdir().unwrap();
    Template::from_file(file(&dir, "t.json", &good.to_string()), "x").unwrap();
    for (field, value, expected) in [
        (
            "sep_style",
            json!("ADD_COLON"),
            "unknown style `ADD_COLON`, expected one of: ADD_COLON_SINGLE, ",
        ),
        ("sep_style", Value::Null, "expected a string, got null"),
        ("sep2", Value::Null, "expected a string, got null"),
        ("sep", json!(1), "expected a string, got a number"),
        (
            "roles",
            json!(["A"]),
            "expected an array of two strings, got an array",
        ),
        ("messages", json!({}), "expected an array, got an object"),
        (
            "offset",
            json!(2),
            "expected at most the number of messages, got a number",
        ),
        (
            "stop_str",
            json!([1]),
            "expected a string or an array of strings",
        ),
        (
            "stop_token_ids",
            json!([-1]),
            "expected an array of token ids",
        ),
        (
            "system_template",
            json!("{x}"),
            "expected no placeholder but {system_message}",
        ),
        (
            "eos",
            json!("all"),
            "expected never, each or last, got a string",
        ),
        ("bos", json!("no"), "expected a boolean, got a string"),
        ("chat_template", json!(1), "expected a string, got a number"),
    ] {
        let mut entry = good.clone();
        entry[field] = value;
        let text = error("t.json", &json!([entry]).to_string());
        let expected = format!("t.json: template `x`, field `{field}`: {expected}");
        assert!(text.contains(&expected), "{text}");
    }
    for field in ["roles", "sep_style", "sep", "sep2"] {
        let mut entry = good.clone();
        entry.as_object_mut().unwrap().remove(field);
        let text = error("t.json", &entry.to_string());
        let expected = format!("t.json: template `x`, field `{field}`: missing");
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn errors_of_a_file_as_a_whole_say_where() {
    for (name, text, expected) in [
        ("t.json", "[{]", "t.json:1:3: "),
        ("t.yml", "a: [", "t.yml: "),
        (
            "t.json",
            "[1]",
            "template `number 1`, field ``: expected an object, got a number",
        ),
        (
            "t.json",
            "[{}]",
            "template `number 1`, field `name`: missing",
        ),
        (
            "t.json",
            r#"[{"name": "y"}, {"name": "y"}]"#,
            "template `y`, field `name`: ",
        ),
        (
            "t.json",
            "3",
            "expected an array of templates, got a number",
        ),
        (
            "t.json",
            r#"[{"name": "y"}, {"name": "z"}]"#,
            "t.json: no template `x`, there are: y, z",
        ),
        (
            "t.json",
            r#"{"name": "x", "preamble": "p"}"#,
            "template `x`, field `instruction`: missing",
        ),
        (
            "t.json",
            r#"{"name": "x", "chat_template": "{% if %}"}"#,
            "chat template, line 1",
        ),
        (
            "t.json",
            r#"{"name": "x", "roles": ["A", "B"], "sep_style": "ROBIN", "sep": "", "messages": [["A"]]}"#,
            "field `messages[0]`: expected an array of role and text, got an array",
        ),
    ] {
        let error = error(name, text);
        assert!(error.contains(expected), "{error}");
    }
    let absent = Template::from_file("/nowhere/t.json", "x").unwrap_err();
    assert!(matches!(absent, Error::Io { .. }));
}

proptest::proptest! {
    /// A file of anything, and templates whose fields hold anything.
    #[test]
    fn no_file_makes_the_program_panic(text in "\\PC{0,40}", style in 0_usize..19, values in proptest::collection::vec("[{}a-z\"\\[\\], :1</>你\n]{0,12}", 8)) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["t.json", "t.yaml", "x.jinja"] {
            let _ = Template::from_file(file(&dir, name, &text), "x");
        }
        let styles = data("separators.json");
        let style = &styles["styles"][4 * style]["sep_style"];
        let [system, role, sep, sep2, stop, ..] = &values[..] else { unreachable!() };
        let entry = json!({"name": "x", "system_template": system, "roles": [role, role], "sep_style": style, "sep": sep, "sep2": sep2, "stop_str": stop, "eos": "each"});
        if let Ok(template) = Template::from_file(file(&dir, "t.json", &entry.to_string()), "x") {
            let messages: Vec<Message> = [Role::User, Role::Assistant].iter().zip(&values[5..]).map(|(role, text)| Message::new(*role, text)).collect();
            let _ = template.text(&messages);
            if let Ok(encoder) = Encoder::new(tiny(), template, long()) {
                let _ = encoder.encode_conversation(&llm_data::Conversation::from(messages));
            }
        }
    }
}
