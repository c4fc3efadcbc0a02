//! Cleaning steps against FastChat's, on arbitrary texts, and in time.

use std::time::{Duration, Instant};

use llm_data::clean::{Account, Pipeline, Step};
use llm_data::{Conversation, Message, Role};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{shared_json, tiny};

fn conversation(turns: &[(Role, &str)]) -> Conversation {
    let mut conversation = Conversation::default();
    let messages = turns.iter().map(|(role, text)| Message::new(*role, *text));
    conversation.messages.extend(messages);
    conversation
}

fn pair(question: &str, answer: &str) -> Conversation {
    conversation(&[(Role::User, question), (Role::Assistant, answer)])
}

fn role(name: &str) -> Role {
    match name {
        "h" | "human" => Role::User,
        "g" | "gpt" => Role::Assistant,
        _ => Role::System,
    }
}

fn pipeline(steps: Value) -> Pipeline {
    let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
    Pipeline::with_tokenizer(&steps, tiny()).unwrap()
}

fn goldens() -> Value {
    serde_json::from_str(include_str!("../goldens/fastchat_clean.json")).unwrap()
}

/// FastChat's converter divides some blocks by one line end where ours has two.
fn by_lines(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_preset_cleans_as_fastchat_does() {
    let goldens = goldens();
    let ours = goldens["ours"].as_array().unwrap();
    let strings = |value: &Value| -> Option<Vec<String>> {
        let texts = value.as_array()?.iter();
        Some(
            texts
                .map(|text| text.as_str().unwrap().to_owned())
                .collect(),
        )
    };
    let records = ours.iter().map(|one| {
        let (from, values) = (
            strings(&one["from"]).unwrap(),
            strings(&one["values"]).unwrap(),
        );
        let turns = from.iter().zip(&values);
        let turns: Vec<_> = turns
            .map(|(from, text)| (role(from), text.as_str()))
            .collect();
        let mut record = conversation(&turns);
        let plugins = one.get("plugins").cloned();
        record
            .extra
            .extend(plugins.map(|plugins| ("plugins".to_owned(), plugins)));
        record
    });
    let steps = Step::preset("fastchat").unwrap();
    let cleaned = Pipeline::new(&steps)
        .unwrap()
        .run((0..).zip(records).collect());
    let cleaned = cleaned.unwrap();
    for (number, one) in ours.iter().enumerate() {
        let record = cleaned.records.iter().find(|(kept, _)| *kept == number);
        let texts = record.map(|(_, record)| {
            let messages = record.messages.iter();
            messages.map(|message| by_lines(&message.content)).collect()
        });
        let expected: Option<Vec<String>> =
            strings(&one["kept"]).map(|texts| texts.iter().map(|text| by_lines(text)).collect());
        assert_eq!(texts, expected, "{one}");
    }
    assert_eq!(cleaned.account.records, ours.len());
    assert_eq!(cleaned.account.kept, cleaned.records.len());
}

#[test]
fn the_preset_keeps_what_fastchat_keeps_of_its_own_file() {
    let Some(dummy) = shared_json("data/sharegpt/fastchat_dummy.json") else {
        return;
    };
    let records = dummy.as_array().unwrap().iter().map(|one| {
        let turns = one["conversations"].as_array().unwrap().iter();
        let turns: Vec<_> = turns
            .map(|turn| {
                (
                    role(turn["from"].as_str().unwrap()),
                    turn["value"].as_str().unwrap(),
                )
            })
            .collect();
        conversation(&turns)
    });
    let records: Vec<_> = (1..).zip(records).collect();
    let steps = Step::preset("fastchat").unwrap();
    let cleaned = Pipeline::new(&steps).unwrap().run(records.clone()).unwrap();
    let numbers: Vec<usize> = cleaned.records.iter().map(|(number, _)| *number).collect();
    assert_eq!(json!(numbers), goldens()["dummy"]);
    // FastChat: skip: 206, new: 294, cnt_blocked_words: 60, cnt_value_duplication: 146; and it
    // changes no text.
    let account = cleaned.account;
    assert_eq!(
        (account.kept, account.dropped, account.changed),
        (294, 206, 0)
    );
    let dropped = |step: &str, reason: &str| {
        let step = account.steps.iter().find(|one| one.step == step).unwrap();
        step.dropped[reason].records
    };
    assert_eq!(dropped("phrases", "phrase"), 60);
    assert_eq!(dropped("exact_duplicates", "exact_duplicate"), 146);
    for (number, record) in &cleaned.records {
        assert_eq!(record, &records[number - 1].1);
    }
}

/// Every step with its defaults, so far as it has some.
fn every_step() -> Vec<Value> {
    let steps = [
        json!({"step": "turns"}),
        json!({"step": "phrases", "list": "refusals", "speaker": "assistant"}),
        json!({"step": "phrases", "list": "providers"}),
        json!({"step": "phrases", "list": "errors"}),
        json!({"step": "phrases", "list": {"phrases": ["^a b", "c"]}, "whole_words": false}),
        json!({"step": "html"}),
        json!({"step": "html", "when": "always"}),
        json!({"step": "leftovers"}),
        json!({"step": "empty_turns"}),
        json!({"step": "special_texts"}),
        json!({"step": "special_texts", "action": "remove"}),
        json!({"step": "special_texts", "action": "drop", "texts": ["<x>"]}),
        json!({"step": "control_characters"}),
        json!({"step": "repeated_digits"}),
        json!({"step": "wrong_lists"}),
        json!({"step": "language", "keep": ["eng", "cmn"]}),
        json!({"step": "length", "min_characters": 2, "max_words": 1_000_000}),
        json!({"step": "alpaca_faults"}),
        json!({"step": "code"}),
        json!({"step": "without_fields", "fields": ["plugins"]}),
        json!({"step": "personal_data"}),
        json!({"step": "personal_data", "action": "drop", "kinds": ["email", "ip"]}),
        json!({"step": "exact_duplicates", "compare": "prompt", "normalise": false}),
        json!({"step": "near_duplicates", "minhash": {"threshold": 0.7}}),
        json!({"step": "simhash_duplicates", "compare": "first_turn", "simhash": {"jaccard": 0.5}}),
        json!({"step": "contamination", "evaluation": []}),
    ];
    steps.to_vec()
}

#[test]
fn steps_are_configured_by_name_and_unknown_options_are_refused() {
    for step in every_step() {
        let read: Step = serde_json::from_value(step.clone()).unwrap();
        assert_eq!(json!(read.name()), step["step"]);
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(serde_json::from_value::<Step>(written).unwrap(), read);
        let mut wrong = step;
        wrong["tpyo"] = json!(1);
        assert!(
            serde_json::from_value::<Step>(wrong.clone()).is_err(),
            "{wrong}"
        );
    }
    for name in ["fastchat", "redpajama", "redpajama-books", "alpaca-cleaned"] {
        Pipeline::with_tokenizer(&Step::preset(name).unwrap(), tiny()).unwrap();
    }
    assert!(Step::preset("alpaca").is_err());
    let redpajama = Step::preset("redpajama").unwrap();
    let error = Pipeline::new(&redpajama).unwrap_err().to_string();
    assert!(error.contains("min_letters_per_token"), "{error}");
    for senseless in [
        json!([{"step": "repeated_digits", "run": 0}]),
        json!([{"step": "length", "min_words": 5, "max_words": 4}]),
    ] {
        let steps: Vec<Step> = serde_json::from_value(senseless.clone()).unwrap();
        assert!(Pipeline::new(&steps).is_err(), "{senseless}");
    }
    let absent = json!([{"step": "phrases", "list": {"file": "/nowhere"}}]);
    let steps: Vec<Step> = serde_json::from_value(absent).unwrap();
    assert!(
        Pipeline::new(&steps)
            .unwrap_err()
            .to_string()
            .contains("/nowhere")
    );
}

#[test]
fn the_account_adds_up_and_shows_examples() {
    let records = [
        pair("Write me a mail to a@b.cc", "To a@b.cc: hello.\u{0}"),
        pair("Who are you?", "As an AI language model, I am nobody."),
        pair("What is a bird?", "A bird is an animal with feathers."),
        pair("what is a bird", "A bird is an animal, with feathers!"),
        pair("And this?", "I'm sorry, but no."),
        pair("And that?", "I am sorry, but no."),
    ];
    let pipeline = pipeline(json!([
        {"step": "control_characters"},
        {"step": "personal_data"},
        {"step": "phrases", "list": "refusals", "speaker": "assistant"},
        {"step": "exact_duplicates"},
    ]))
    .examples(2);
    assert!(!pipeline.is_by_record());
    let cleaned = pipeline.run((11..).zip(records).collect()).unwrap();
    let numbers: Vec<usize> = cleaned.records.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [11, 13]);
    assert_eq!(
        cleaned.records[0].1,
        pair("Write me a mail to [EMAIL]", "To [EMAIL]: hello.")
    );
    let account = cleaned.account;
    assert_eq!(
        (
            account.records,
            account.kept,
            account.changed,
            account.dropped
        ),
        (6, 2, 1, 4)
    );
    let value = serde_json::to_value(&account).unwrap();
    assert_eq!(
        value["steps"][1],
        json!({"step": "personal_data", "records": 6, "kept": 6, "changed": 1, "changes":
               {"email": {"records": 1, "examples":
                    [{"record": 11, "text": "Write me a mail to [EMAIL]"}]}}, "dropped": {}})
    );
    let refusals = &account.steps[2].dropped["refusal"];
    let examples: Vec<usize> = refusals.examples.iter().map(|one| one.record).collect();
    assert_eq!((refusals.records, examples), (3, vec![12, 15]));
    let duplicate = &account.steps[3].dropped["exact_duplicate"].examples[0];
    assert!(
        duplicate.text.starts_with("of record 13: what is a bird"),
        "{}",
        duplicate.text
    );
    for step in &account.steps {
        let dropped: usize = step.dropped.values().map(|tally| tally.records).sum();
        assert_eq!(step.records, step.kept + dropped);
    }
    assert!(account.to_string().starts_with(
        "cleaning    2 of 6 records kept, 1 changed, 4 dropped\n  control_characters: 1 changed"
    ));
}

#[test]
fn parts_of_a_file_have_one_account() {
    let steps = json!([{"step": "control_characters"}, {"step": "length", "min_words": 4}]);
    let pipeline = pipeline(steps).examples(4);
    assert!(pipeline.is_by_record());
    let records: Vec<_> = (1..=20)
        .map(|n| (n, pair(if n % 3 == 0 { "a\u{1}" } else { "a b" }, "c d")))
        .collect();
    let whole = pipeline.run(records.clone()).unwrap();
    let mut account = Account::default();
    let mut kept = Vec::new();
    for part in records.chunks(7) {
        let cleaned = pipeline.run(part.to_vec()).unwrap();
        account.merge(cleaned.account, 4);
        kept.extend(cleaned.records);
    }
    assert_eq!((kept, account), (whole.records, whole.account));
}

#[test]
fn contamination_is_found_by_evaluation_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.jsonl");
    std::fs::write(
        &path,
        r#"{"question": "How many legs has a spider, and how many an ant?"}"#,
    )
    .unwrap();
    let pipeline = pipeline(json!([{"step": "contamination", "evaluation": [path]}]));
    let records = vec![
        (1, pair("How many legs has a dog?", "Four.")),
        (
            2,
            pair(
                "how many legs has a SPIDER and how many an ant",
                "Eight and six.",
            ),
        ),
    ];
    let cleaned = pipeline.run(records).unwrap();
    assert_eq!(cleaned.records.len(), 1);
    let tally = &cleaned.account.steps[0].dropped["evaluation_overlap"];
    assert_eq!(tally.examples[0].record, 2);
    assert!(
        tally.examples[0]
            .text
            .contains("test.jsonl, record 1: how many legs")
    );
}

/// Bytes of a hard line: a megabyte where the code is optimised.
const LINE: usize = if cfg!(debug_assertions) {
    1 << 17
} else {
    1 << 20
};

/// Lines that make bad parsers slow.
fn hard_lines() -> Vec<String> {
    let units = [
        "a",
        " ",
        "\n",
        "<",
        "<b>",
        "<b><i>",
        "<b class=\"",
        "<p a='",
        "<!--",
        "<p>x</p>",
        "<pre>",
        "</b>",
        "<p x=1 ",
        "```",
        "```Copy code",
        "Copy code",
        "Copy1 chars / ",
        "1 / ",
        "\n1. ",
        "\n1. 2",
        "0",
        "00000000",
        "1.",
        "1.1.1.1",
        "4111",
        "4 ",
        "+1 ",
        "a@",
        "a@b.",
        "a@b.c",
        "a.b@c.dd ",
        "::",
        "f:",
        "语",
        "我是",
        "<|im_end|",
        "<s>",
        "</s",
        "as an ai ",
        "i'm sorry, ",
        "![",
        "![](http",
        "http://",
        "(no input)",
        "<no input",
        "\u{0}",
        "\r",
        "é",
        "e\u{301}",
        "👩\u{200D}",
        "&lt;",
        "&",
        "1\u{2028}",
    ];
    units.map(|unit| unit.repeat(LINE / unit.len())).to_vec()
}

#[test]
fn each_step_takes_under_a_second_for_a_megabyte() {
    // Unoptimised code gets an eighth of the line, and more time.
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });
    let mut slowest = (Duration::ZERO, String::new());
    let lines = hard_lines();
    for step in every_step() {
        // The tokenizer's own time and limits are not a step's.
        let step = match step["step"].as_str() {
            Some("code") => json!({"step": "code", "min_letters_per_token": 0.0}),
            _ => step,
        };
        let pipeline = pipeline(json!([step]));
        for line in &lines {
            let start = Instant::now();
            pipeline
                .run(vec![(1, pair("Go on, please.", line))])
                .unwrap();
            pipeline.run(vec![(1, pair(line, "As you wish."))]).unwrap();
            let time = start.elapsed() / 2;
            let name: String = line.chars().take(12).collect();
            assert!(time < limit, "{step}, {name:?}: {time:?}");
            if time > slowest.0 {
                slowest = (time, format!("{step} {name:?}"));
            }
        }
    }
    println!("slowest: {slowest:?}");
}

/// Pieces that parsers look for, put together at random.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::sample::select(hard_pieces()).prop_map(str::to_owned),
    ]
}

fn hard_pieces() -> Vec<&'static str> {
    vec![
        "<",
        ">",
        "</",
        "<p>",
        "<b",
        "<pre>",
        "</pre>",
        "<code>",
        "<table><tr><td>",
        "</table>",
        "<ul><li>",
        "<a href=\"x",
        "\"",
        "'",
        "=",
        "<!--",
        "-->",
        "&amp;",
        "&#x0;",
        "```",
        "Copy code",
        "1 / 2",
        "\n1. ",
        "000000000",
        "1.2.3.4",
        "::1",
        "a@b.cc",
        "+86 13812345678",
        "</s>",
        "<|im_end|>",
        "<noinput>",
        "N/A",
        "![x](http",
        "https://x",
        "openai",
        "I’m sorry, but",
        "语",
        "\u{0}",
        "\r\n",
        "\u{FEFF}",
        "\u{301}",
        "<math><mi>",
        "<svg>",
        "<select>",
        "<template>",
        "<frameset>",
        "<h1>",
        "<img src=x alt='",
        "<br/>",
        "<ol><li><p>",
        "<th>",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_passes_every_step(
        texts in prop::collection::vec(prop::collection::vec(piece(), 0..12), 0..5),
        roles in prop::collection::vec(0..3_usize, 5),
    ) {
        let texts: Vec<String> = texts.iter().map(|pieces| pieces.concat()).collect();
        let roles = roles.iter().map(|role| [Role::System, Role::User, Role::Assistant][*role]);
        let turns: Vec<_> = roles.zip(texts.iter().map(String::as_str)).collect();
        let records = vec![(1, conversation(&turns)), (2, conversation(&turns)), (3, pair("a", "b"))];
        for step in every_step() {
            let pipeline = pipeline(json!([step]));
            let cleaned = pipeline.run(records.clone()).unwrap();
            prop_assert_eq!(cleaned.account.kept, cleaned.records.len());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            prop_assert_eq!(pool.install(|| pipeline.run(records.clone())).unwrap(), cleaned);
        }
    }
}
