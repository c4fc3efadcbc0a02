//! Data files, good ones and bad ones.

use std::path::{Path, PathBuf};

use llm_data::{
    AlpacaRecord, Conversation, Error, LoadOptions, Loaded, Message, OnBadRecord, Reason, Role,
    count_by_reason, load_alpaca, load_sharegpt,
};

use crate::common::{record, shared};

struct DataFile(tempfile::TempDir);

impl DataFile {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data"), content).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn load(&self) -> Result<Loaded<AlpacaRecord>, Error> {
        load_alpaca(self.path(), &LoadOptions::default())
    }

    fn skip(&self) -> Loaded<AlpacaRecord> {
        load_alpaca(self.path(), &skipping()).unwrap()
    }
}

fn skipping() -> LoadOptions {
    LoadOptions {
        on_bad_record: OnBadRecord::Skip,
        ..LoadOptions::default()
    }
}

fn shown(loaded: &Loaded<AlpacaRecord>) -> Vec<String> {
    loaded.issues.iter().map(ToString::to_string).collect()
}

const GOOD: &str = r#"{"instruction": "q", "output": "a"}"#;

#[test]
fn arrays_and_lines_are_told_apart_by_content() {
    for content in [
        format!("[{GOOD}, {GOOD}]"),
        format!("\u{feff}\r\n [\n{GOOD},\n{GOOD}\n]\n"),
        format!("{GOOD}\n{GOOD}"),
        format!("\u{feff}{GOOD}\r\n\r\n{GOOD}\r\n"),
        format!("\n\n{GOOD}\n\n{GOOD}\n\n"),
    ] {
        let loaded = DataFile::new(&content).load().unwrap();
        assert_eq!(
            loaded.records,
            [record("q", "", "a"), record("q", "", "a")],
            "{content:?}"
        );
    }
}

#[test]
fn optional_fields_may_be_absent_or_null_and_unknown_ones_are_passed_over() {
    let file = DataFile::new(
        r#"[{"instruction": "q", "input": null, "output": "a", "system": null, "history": null, "id": 7},
            {"instruction": "q", "input": "i", "output": "a", "system": "s", "history": [["x", "y"]]}]"#,
    );
    let full = AlpacaRecord {
        system: Some("s".into()),
        history: vec![("x".into(), "y".into())],
        ..record("q", "i", "a")
    };
    assert_eq!(
        file.load().unwrap().records,
        [record("q", "", "a"), full.clone()]
    );
    let json = serde_json::to_string(&full).unwrap();
    assert_eq!(DataFile::new(&json).load().unwrap().records, [full]);
}

#[test]
fn every_problem_is_reported_with_line_record_and_field() {
    let bad = r#"{"instruction": " ", "input": 3}
{"instruction": "q", "output": null}

[1]
{"instruction": "q", "output": "a", "history": [["x"], ["", 5], 7]}
{"instruction": "q", "output": "a", "history": {}, "system": false}
{"instruction": "q", "outp"#;
    let file = DataFile::new(format!("{GOOD}\n{bad}"));
    let expected = [
        "line 2, record 2, field `instruction`: empty",
        "line 2, record 2, field `input`: expected a string, got a number",
        "line 2, record 2, field `output`: missing",
        "line 3, record 3, field `output`: expected a string, got null",
        "line 5, record 4: expected an object, got an array",
        "line 6, record 5, field `history[0]`: expected an array of two strings, got an array",
        "line 6, record 5, field `history[1][0]`: empty",
        "line 6, record 5, field `history[1][1]`: expected a string, got a number",
        "line 6, record 5, field `history[2]`: expected an array of two strings, got a number",
        "line 7, record 6, field `system`: expected a string, got a boolean",
        "line 7, record 6, field `history`: expected an array, got an object",
        "line 8, record 7: EOF while parsing a string (column 26)",
    ];
    let mut sorted = shown(&file.skip());
    let mut wanted = expected.map(str::to_owned).to_vec();
    sorted.sort();
    wanted.sort();
    assert_eq!(sorted, wanted);
    let error = file.load().unwrap_err();
    assert!(matches!(&error, Error::BadRecords { issues, .. } if issues.len() == 12));
    let text = error.to_string();
    assert!(
        text.contains(&file.path().display().to_string()) && text.contains(expected[11]),
        "{text}"
    );
    assert_eq!(file.skip().records.len(), 1);
}

#[test]
fn in_an_array_the_line_is_where_the_record_begins() {
    let file = DataFile::new(format!(
        "\n[\n  {GOOD},\n  {{\n    \"instruction\": \"q\"\n  }},\n  3\n]"
    ));
    assert_eq!(
        shown(&file.skip()),
        [
            "line 4, record 2, field `output`: missing",
            "line 7, record 3: expected an object, got a number"
        ]
    );
}

#[test]
fn the_message_shows_the_first_problems_and_counts_the_others() {
    let text = DataFile::new("{}\n".repeat(100))
        .load()
        .unwrap_err()
        .to_string();
    assert_eq!(text.lines().count(), 22, "{text}");
    assert!(
        text.contains("200 problem(s)") && text.ends_with("and 180 more"),
        "{text}"
    );
}

#[test]
fn records_know_their_number_in_the_file() {
    for content in [
        format!("{GOOD}\n{{}}\n\n{GOOD}\nx\n{GOOD}"),
        format!("[{GOOD}, {{}}, {GOOD}, 1, {GOOD}]"),
    ] {
        assert_eq!(DataFile::new(content).skip().numbers, [1, 3, 5]);
    }
}

#[test]
fn no_more_than_ten_thousand_problems_are_held_and_all_are_counted() {
    let file = DataFile::new(format!("{GOOD}\n") + &"{}\n".repeat(7_000) + &"x\n".repeat(20));
    let loaded = file.skip();
    assert_eq!((loaded.issues.len(), loaded.records.len()), (10_000, 1));
    assert_eq!(
        (loaded.refused["missing_field"], loaded.refused["syntax"]),
        (7_000, 20)
    );
    let error = file.load().unwrap_err();
    assert!(
        matches!(&error, Error::BadRecords { issues, total: 14_020, .. } if issues.len() == 10_000)
    );
    let text = error.to_string();
    assert!(
        text.contains("14020 problem(s)") && text.ends_with("and 14000 more"),
        "{text}"
    );
    let tokenizer = crate::common::tiny();
    let encoder = crate::common::encoder(&tokenizer, "chatml", crate::common::long());
    let mut statistics = encoder.encode_all(&loaded.records).unwrap().statistics;
    statistics.add_refused(&loaded.refused);
    assert_eq!(
        (statistics.records, statistics.dropped["syntax"]),
        (7_021, 20)
    );
}

#[test]
fn a_broken_array_says_where() {
    let place = |content: &str| match DataFile::new(content).load().unwrap_err() {
        Error::Json { line, column, .. } => (line, column),
        other => panic!("{other}"),
    };
    assert_eq!(place("[\n{\"instruction\": \"q\"},\n{\"instr").0, 3);
    assert_eq!(place("\n\n[1,\n2 3]"), (4, 3));
    assert_eq!(place("[] x").0, 1);
    let mut bytes = b"[\n\"".to_vec();
    bytes.push(0xFF);
    assert!(matches!(
        DataFile::new(bytes).load(),
        Err(Error::NotUtf8 { line: 2, .. })
    ));
}

#[test]
fn an_empty_file_is_an_error() {
    for content in ["", "\n \r\n", "[]", "\u{feff}"] {
        assert!(
            matches!(
                DataFile::new(content).load(),
                Err(Error::EmptyDataset { .. })
            ),
            "{content:?}"
        );
    }
    // Nothing good to skip to is an error as well.
    let none = load_alpaca(DataFile::new("{}").path(), &skipping());
    assert!(matches!(none, Err(Error::BadRecords { .. })));
    assert!(matches!(
        load_alpaca(Path::new("/absent/file"), &skipping()),
        Err(Error::Io { path, .. }) if path == Path::new("/absent/file")
    ));
}

#[test]
fn bad_bytes_spoil_one_line_only() {
    let mut bytes = format!("{GOOD}\n").into_bytes();
    bytes.extend_from_slice(b"{\"instruction\": \"\xff\xfe\", \"output\": \"a\"}\n");
    bytes.extend_from_slice(GOOD.as_bytes());
    let loaded = DataFile::new(bytes).skip();
    assert_eq!(
        (loaded.records.len(), shown(&loaded)),
        (2, vec!["line 2, record 2: not UTF-8".to_owned()])
    );
}

#[test]
fn deep_nesting_is_a_bad_record_and_no_stack_overflow() {
    let deep = format!(
        "{{\"instruction\": {}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for content in [format!("{GOOD}\n{deep}"), format!("[{GOOD},{deep}]")] {
        let issues = DataFile::new(content).skip().issues;
        assert!(
            matches!(&issues[..], [issue] if issue.reason.key() == "syntax"
            && issue.reason.to_string().contains("recursion limit")),
            "{issues:?}"
        );
    }
}

#[test]
fn the_limit_counts_a_lines_bytes() {
    let options = LoadOptions {
        max_line_bytes: GOOD.len(),
        ..skipping()
    };
    let file = DataFile::new(format!("{GOOD}\n{GOOD} \n{GOOD}"));
    let loaded = load_alpaca(file.path(), &options).unwrap();
    assert_eq!((loaded.records.len(), loaded.issues.len()), (2, 1));
    assert_eq!(
        loaded.issues[0].reason,
        Reason::TooLong { limit: GOOD.len() }
    );
}

fn sharegpt(conversations: &[&str]) -> Loaded<Conversation> {
    let lines: Vec<String> = conversations
        .iter()
        .map(|turns| format!("{{\"id\": 1, \"conversations\": [{turns}]}}"))
        .collect();
    load_sharegpt(DataFile::new(lines.join("\n")).path(), &skipping()).unwrap()
}

#[test]
fn conversations_are_read_and_bad_ones_counted_by_reason() {
    let turn = |from: &str, value: &str| format!(r#"{{"from": "{from}", "value": "{value}"}}"#);
    let turns = |turns: &[(&str, &str)]| {
        turns
            .iter()
            .map(|(from, value)| turn(from, value))
            .collect::<Vec<_>>()
            .join(",")
    };
    let rows = [
        turns(&[("system", "s"), ("human", "q"), ("gpt", "a")]),
        turns(&[
            ("user", "q"),
            ("assistant", "a"),
            ("human", "q"),
            ("gpt", "a"),
        ]),
        turns(&[
            ("human", "q"),
            ("function_call", "{}"),
            ("observation", "x"),
            ("gpt", "a"),
        ]),
        turns(&[("human", "q"), ("chatgpt", "a")]) + r#"], "tools": [], "more": ["#,
        turns(&[("human", "q"), ("narrator", "a")]),
        turns(&[("gpt", "a"), ("human", "q"), ("gpt", "a")]),
        turns(&[("human", "q"), ("gpt", "  ")]),
        turns(&[("human", "q"), ("human", "q"), ("gpt", "a")]),
        turns(&[("human", "q")]),
        String::new(),
        turns(&[("system", "s"), ("gpt", "a")]),
        turns(&[("human", "q"), ("gpt", "a"), ("system", "s"), ("gpt", "a")]),
        r#"{"from": "human"}, 7"#.to_owned(),
    ];
    let loaded = sharegpt(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    let first = [
        (Role::System, "s"),
        (Role::User, "q"),
        (Role::Assistant, "a"),
    ];
    assert_eq!(loaded.numbers, [1, 2, 3, 4]);
    assert_eq!(loaded.records[2].messages[1].role, Role::FunctionCall);
    assert_eq!(loaded.records[3].tools.as_deref(), Some("[]"));
    assert_eq!(loaded.records[3].extra["id"], 1);
    assert_eq!(
        loaded.records[0].messages,
        first.map(|(role, text)| Message::new(role, text))
    );
    let counts: Vec<_> = count_by_reason(&loaded.issues).into_iter().collect();
    assert_eq!(
        counts,
        [
            ("empty_field", 2),
            ("missing_field", 1),
            ("odd_order", 3),
            ("starts_with_assistant", 2),
            ("unknown_role", 1)
        ]
    );
    assert_eq!(
        loaded.issues[0].to_string(),
        "line 5, record 5, field `conversations[1].from`: unknown role \"narrator\", expected human, user, gpt, \
         assistant, system, function_call or observation"
    );
}

#[test]
fn the_shared_data_loads() {
    for (path, records) in [
        ("alpaca/alpaca_en_1k.json", 999),
        ("alpaca/alpaca_zh_1k.json", 1000),
        ("alpaca/identity.json", 91),
    ] {
        let Some(path) = shared(&format!("data/{path}")) else {
            return;
        };
        let loaded = load_alpaca(path, &skipping()).unwrap();
        assert_eq!(loaded.records.len(), records, "{:?}", loaded.issues);
    }
    let path = shared("data/alpaca/chinese_vicuna_instruct_sample.jsonl").unwrap();
    assert!(!load_alpaca(path, &skipping()).unwrap().records.is_empty());
    let path = shared("data/sharegpt/fastchat_dummy.json").unwrap();
    assert_eq!(load_sharegpt(path, &skipping()).unwrap().records.len(), 500);
    let path = shared("data/sharegpt/glaive_toolcall_en.json").unwrap();
    let glaive = load_sharegpt(path, &LoadOptions::default()).unwrap();
    assert!(glaive.records.iter().all(|one| one.tools.is_some()));
}
