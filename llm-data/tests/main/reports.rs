//! Surveys of records and the reports that hold them.

use std::path::Path;

use llm_data::clean::{Pipeline, Step};
use llm_data::{
    BadRecords, Conversation, CountTokens, Document, EncodeOptions, Error, Format, Histogram,
    Message, OnLoss, Preference, ReadOptions, Record, RecordReader, RecordWriter, Report,
    ReportFile, Role, Survey, WriteOptions, hash_file,
};
use proptest::prelude::*;
use serde_json::json;

use crate::common::{encoder, long, shared, tiny};

fn conversation(messages: &[(Role, &str)]) -> Conversation {
    let messages = messages
        .iter()
        .map(|(role, text)| Message::new(*role, *text));
    Conversation::from(messages.collect::<Vec<_>>())
}

fn records(path: &Path) -> Vec<Record> {
    let reader = RecordReader::open(path.to_str().unwrap(), ReadOptions::default()).unwrap();
    reader.map(|record| record.unwrap().record).collect()
}

fn survey(records: &[Record]) -> Survey {
    let mut survey = Survey::default();
    survey.add_all(records, CountTokens::No).unwrap();
    survey
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

#[test]
fn shares_of_languages_are_of_the_records_looked_at() {
    let one = |number: usize| {
        let text = format!("Please explain number {number} to me in a few simple English words.");
        Record::Conversation(conversation(&[(Role::User, &text)]))
    };
    let records: Vec<Record> = (0..640).map(one).collect();
    let mut survey = Survey::languages_one_in(16);
    survey.add_all(&records, CountTokens::No).unwrap();
    let looked_at: usize = survey.languages.values().sum();
    assert!((1..100).contains(&looked_at), "{looked_at}");
    let languages = survey.languages.clone();
    let mut report = Report::new("stats", json!({}));
    report.before = Some(survey);
    let page = report.to_markdown();
    assert!(page.contains("| language, of one record in 16 |"), "{page}");
    for (code, count) in languages {
        let share = 100.0 * count as f64 / looked_at as f64;
        assert!(
            page.contains(&format!("`{code}` | {count} ({share:.1} %)")),
            "{page}"
        );
    }
}

proptest! {
    #[test]
    fn percentiles_are_those_of_the_sorted_list(
        mut values in prop::collection::vec(
            prop_oneof![0_usize..300, 0_usize..100_000, any::<usize>()], 1..200),
        percent in 0_usize..=100,
    ) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value));
        values.sort_unstable();
        let rank = (values.len() * percent).div_ceil(100).max(1);
        let exact = values[rank - 1];
        let got = histogram.percentile(percent);
        if exact < 256 || rank == 1 || rank == values.len() {
            prop_assert_eq!(got, exact);
        } else {
            prop_assert!(got.abs_diff(exact) as f64 <= exact as f64 * 0.004, "{} {}", got, exact);
        }
        let counted: usize = histogram.buckets().map(|(_, count)| count).sum();
        prop_assert_eq!(counted, values.len());
        for (range, _) in histogram.buckets() {
            prop_assert!(values.iter().any(|value| range.contains(value) || *value == usize::MAX));
        }
    }

    #[test]
    fn a_merge_is_the_whole(
        texts in prop::collection::vec("[a-z今天 |`]{0,40}", 0..40),
        place in 0_usize..40,
    ) {
        let records: Vec<Record> = texts.iter().enumerate().map(|(number, text)| match number % 3 {
            0 => Record::Text(Document { text: text.clone(), ..Document::default() }),
            1 => Record::Conversation(conversation(&[(Role::User, text), (Role::Assistant, "ok")])),
            _ => Record::Preference(Box::new(Preference {
                conversation: conversation(&[(Role::System, "s"), (Role::User, text)]),
                chosen: Message::new(Role::Assistant, text.as_str()),
                rejected: Message::new(Role::Assistant, "no"),
            })),
        }).collect();
        let (first, second) = records.split_at(place.min(records.len()));
        let mut merged = survey(first);
        merged.merge(&survey(second));
        let mut single = Survey::default();
        for record in &records {
            single.add(record, CountTokens::No).unwrap();
        }
        prop_assert_eq!(&merged, &single);
        let json = serde_json::to_string(&merged).unwrap();
        let again: Survey = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), json);
        prop_assert_eq!(again, merged);
    }
}

#[test]
fn a_survey_counts_what_is_in_the_records() {
    let mut call = conversation(&[
        (Role::System, "Be brief."),
        (Role::User, "Weather today?"),
        (
            Role::FunctionCall,
            r#"{"name": "weather", "arguments": {}}"#,
        ),
        (Role::Observation, "rain"),
        (Role::Assistant, "It rains."),
        (Role::User, "Thanks"),
        (Role::Assistant, "Bye"),
    ]);
    call.tools = Some("[{}]".to_owned());
    let mut alpaca = conversation(&[(Role::User, "写一首诗\n春天"), (Role::Assistant, "花")]);
    alpaca.messages[0]
        .extra
        .insert("input".to_owned(), json!("春天"));
    let mut survey = Survey::default();
    survey.add(&call, CountTokens::No).unwrap();
    survey.add(&alpaca, CountTokens::No).unwrap();
    assert_eq!((survey.records, survey.kinds["conversation"]), (2, 2));
    assert_eq!(survey.messages["assistant"], 3);
    assert_eq!(survey.messages["function_call"], 1);
    assert_eq!(
        (
            survey.with_system,
            survey.with_tools,
            survey.with_tool_calls
        ),
        (1, 1, 1)
    );
    assert_eq!(survey.without_input, 1);
    assert_eq!((survey.turns.sum(), survey.turns.lengths().max), (3, 2));
    let answers = &survey.characters.answers;
    assert_eq!(
        (answers.count(), answers.sum()),
        (3, "It rains.Bye花".chars().count())
    );
    let alpaca_size = (
        survey.characters.records.lengths().min,
        survey.words.records.lengths().min,
    );
    assert_eq!(alpaca_size, (8, 7));
    assert_eq!(survey.bytes.records.lengths().min, "写一首诗\n春天花".len());
    assert_eq!(
        (
            survey.first_words.get("weather"),
            survey.first_words.get("写一")
        ),
        (1, 1)
    );
}

#[test]
fn tokens_are_those_of_the_texts_or_of_the_samples() {
    let tokenizer = tiny();
    let records = [
        Record::Conversation(conversation(&[
            (Role::User, "a b"),
            (Role::Assistant, "ccc"),
        ])),
        Record::Conversation(conversation(&[(Role::User, "unanswered")])),
        Record::Text(Document {
            text: "plain".to_owned(),
            ..Document::default()
        }),
    ];
    let mut texts = Survey::default();
    texts
        .add_all(&records, CountTokens::Tokenizer(&tokenizer))
        .unwrap();
    assert_eq!(
        (texts.tokens.records.sum(), texts.tokens.supervised.sum()),
        (6 + 10 + 5, 3 + 5)
    );

    let encoder = encoder(&tokenizer, "chatml", long());
    let mut samples = Survey::default();
    samples
        .add_all(&records, CountTokens::Encoder(&encoder))
        .unwrap();
    let Record::Conversation(first) = &records[0] else {
        unreachable!()
    };
    let sample = encoder.encode_conversation(first).unwrap().sample;
    assert_eq!(samples.tokens.records.sum(), sample.input_ids.len() + 5);
    assert_eq!(
        samples.tokens.supervised.sum(),
        sample.supervised_tokens() + 5
    );
    assert_eq!(samples.tokens.not_encoded["wrong_order"], 1);
    assert_eq!(samples.records, 3);
}

/// Records of the Chinese file that are mostly English letters (code, translations) are no Chinese.
#[test]
fn languages_of_real_data_are_recognized() {
    let share = |path, code: &str, expected: fn(&str) -> bool| {
        let records = records(&shared(path)?);
        let languages = survey(&records).languages;
        let texts = records.iter().map(|record| match record {
            Record::Conversation(one) => one.messages.iter().map(|m| &*m.content).collect(),
            _ => String::new(),
        });
        let expected = texts.filter(|text| expected(text)).count();
        Some(languages[code] as f64 / expected as f64)
    };
    let english = share("data/alpaca/alpaca_en_1k.json", "eng", |_| true);
    let chinese = share("data/alpaca/alpaca_zh_1k.json", "cmn", |text| {
        let count = |letter: fn(char) -> bool| text.chars().filter(|c| letter(*c)).count();
        count(|c| ('\u{4E00}'..='\u{9FFF}').contains(&c)) > count(|c| c.is_ascii_alphabetic())
    });
    for share in [english, chinese].into_iter().flatten() {
        assert!((0.95..=1.0).contains(&share), "{share}");
    }
}

/// From <https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json>: the
/// input is 0, 1, …, 250, 0, 1, …
#[test]
fn hashes_are_those_of_the_specification() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    for (length, expected) in [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        ),
        (
            1,
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        ),
        (
            1024,
            "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        ),
        (
            102_400,
            "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
        ),
    ] {
        let bytes: Vec<u8> = (0..length)
            .map(|place: usize| (place % 251) as u8)
            .collect();
        std::fs::write(&path, bytes).unwrap();
        let hash = hash_file(&path).unwrap();
        assert_eq!((hash.bytes, &*hash.blake3), (length as u64, expected));
    }
    assert!(matches!(
        hash_file(dir.path().join("none")),
        Err(Error::Io { .. })
    ));
}

/// Cleans a real file and accounts for it.
fn cleaned(input: &Path, output: &Path) -> Report {
    let mut report = Report::new("clean", json!({"preset": "alpaca-cleaned"}));
    let records = records(input);
    report
        .inputs
        .push(ReportFile::of("Cargo.toml", None).unwrap());
    report.before = Some(survey(&records));
    let conversations = records
        .into_iter()
        .enumerate()
        .map(|(number, record)| match record {
            Record::Conversation(conversation) => (number + 1, conversation),
            _ => unreachable!(),
        });
    let steps = Step::preset("alpaca-cleaned").unwrap();
    let cleaned = Pipeline::new(&steps)
        .unwrap()
        .run(conversations.collect())
        .unwrap();
    let encoder = encoder(&tiny(), "alpaca", EncodeOptions::default());
    let mut after = Survey::default();
    after
        .add_all(&cleaned.records, CountTokens::Encoder(&encoder))
        .unwrap();
    report.after = Some(after);
    let options = WriteOptions {
        format: Format::Gpt4All,
        on_loss: OnLoss::Count,
    };
    let mut writer = RecordWriter::create(output, options).unwrap();
    let kept: Vec<Conversation> = cleaned
        .records
        .into_iter()
        .map(|(_, record)| record)
        .collect();
    for conversation in &kept {
        writer
            .write(&Record::Conversation(conversation.clone()))
            .unwrap();
    }
    let written = writer.finish().unwrap();
    report
        .outputs
        .push(ReportFile::written(output, &written).unwrap());
    report.cleaning.push(cleaned.account);
    report.encoding = Some(encoder.encode_conversations(&kept).unwrap().statistics);
    report
}

#[test]
fn a_report_is_the_same_on_any_number_of_threads_and_read_as_it_was() {
    let Some(input) = shared("data/alpaca/alpaca_en_1k.json") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let report = on_threads(1, || cleaned(&input, &output));
    let json = serde_json::to_string_pretty(&report).unwrap();
    let other = on_threads(2, || cleaned(&input, &output));
    assert_eq!(serde_json::to_string_pretty(&other).unwrap(), json);
    assert_eq!(other.to_markdown(), report.to_markdown());
    let again: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(again, report);
    assert_eq!(serde_json::to_string_pretty(&again).unwrap(), json);

    let (before, account) = (report.before.unwrap(), &report.cleaning[0]);
    assert_eq!((before.records, account.records), (999, 999));
    assert_eq!(report.after.unwrap().records, account.kept);
    assert_eq!(report.outputs[0].records, Some(account.kept));
    assert!(report.outputs[0].losses["input"] > 0);
}

#[test]
fn bad_records_are_counted_with_their_first_places() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.jsonl");
    let mut lines = r#"{"instruction": "q"}"#.to_owned() + "\n";
    lines += &"{\"instruction\": 7, \"output\": []}\n".repeat(30);
    std::fs::write(&path, lines).unwrap();
    let mut bad = BadRecords::default();
    for record in RecordReader::open(path.to_str().unwrap(), ReadOptions::default()).unwrap() {
        match record {
            Err(Error::BadRecords { path, issues, .. }) => bad.add(&path, &issues),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (
            bad.records,
            bad.reasons["wrong_type"],
            bad.reasons["missing_field"]
        ),
        (31, 30, 1)
    );
    assert_eq!(bad.places.len(), 11);
    let (first, second) = (&bad.places[0], &bad.places[1]);
    assert_eq!((first.line, first.record, &*first.field), (1, 1, "output"));
    assert_eq!((second.line, &*second.field), (2, "instruction"));
    assert_eq!(second.message, "expected a string, got a number");
    let report = Report {
        bad,
        ..Report::new("check", json!(null))
    };
    let page = report.to_markdown();
    assert!(
        page.contains("data.jsonl`, line 1, record 1, field `output`: `missing`"),
        "{page}"
    );
}

/// Whatever stands in a record, a name or an option.
#[test]
fn nothing_of_a_record_is_markup() {
    let hostile = "| <script>alert(1)</script> `x` ``` \n\n# [a](http://b) \u{202E}\u{200B}\0\r\u{2028}<!-- |";
    let page = |text: &str| {
        let mut report = Report::new(text, json!({ "option": text }));
        let mut file = ReportFile {
            path: text.to_owned(),
            ..ReportFile::default()
        };
        file.losses.insert(text.to_owned(), 1);
        report.inputs.push(file.clone());
        report.outputs.push(file);
        let mut survey = Survey::default();
        survey.languages.insert(text.to_owned(), 1);
        report.before = Some(survey);
        let step = json!({"step": text, "records": 2, "kept": 1, "changed": 1,
            "changes": {text: {"records": 1, "examples": [{"record": 1, "text": text}]}},
            "dropped": {text: {"records": 1, "examples": [{"record": 2, "text": text}]}}});
        let account = json!({"records": 2, "kept": 1, "changed": 1, "dropped": 1, "steps": [step]});
        report
            .cleaning
            .push(serde_json::from_value(account).unwrap());
        let place = json!({"file": text, "line": 1, "record": 1, "field": text, "reason": text,
            "message": text});
        let bad = json!({"records": 1, "reasons": {text: 1}, "places": [place]});
        report.bad = serde_json::from_value(bad).unwrap();
        report.to_markdown()
    };
    let (tame, hostile) = (page("tame"), page(hostile));
    // The same lines, but for the fence of the options, and in tables the same cells.
    assert_eq!(hostile.lines().count(), tame.lines().count());
    for (tame, hostile) in tame.lines().zip(hostile.lines()) {
        assert!(
            !hostile
                .chars()
                .any(|c| c.is_control() || "\u{202E}\u{200B}\u{2028}".contains(c))
        );
        if tame.starts_with('|') {
            assert_eq!(
                hostile.matches('|').count(),
                tame.matches('|').count(),
                "{hostile}"
            );
        }
        if tame == "```" {
            assert_eq!(hostile, "````");
        } else if !hostile.trim_start().starts_with("\"option\"") {
            assert_eq!(outside(hostile), outside(tame), "{hostile}");
        }
    }
}

/// A line without its code spans, found as CommonMark finds them: by runs of equally many backticks.
fn outside(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        out += &rest[..start];
        let behind = rest[start..].trim_start_matches('`');
        let fence = rest.len() - start - behind.len();
        let mut place = 0;
        rest = loop {
            let Some(next) = behind[place..].find('`') else {
                return out + rest;
            };
            let after = behind[place + next..].trim_start_matches('`');
            let run = behind.len() - place - next - after.len();
            if run == fence {
                break after;
            }
            place = behind.len() - after.len();
        };
        out.push('#');
    }
    out + rest
}
