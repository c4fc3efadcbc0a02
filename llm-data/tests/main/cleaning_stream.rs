//! Cleaning in a stream against the same steps over all records in memory.

use std::collections::HashMap;
use std::path::PathBuf;

use llm_data::clean::{
    Account, MinHash, Pipeline, SimHash, Step, StreamOptions, exact_duplicates, near_duplicates,
    simhash_duplicates,
};
use llm_data::{
    Conversation, Error, EvaluationSet, Message, ReadOptions, Record, RecordReader, Role,
    find_leakage, load_evaluation,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::shared_json;

type Records = Vec<(usize, Conversation)>;

fn steps(steps: &[Value]) -> Vec<Step> {
    serde_json::from_value(json!(steps)).unwrap()
}

fn stream(
    steps: &[Step],
    records: Records,
    options: &StreamOptions,
) -> Result<(Records, Account), Error> {
    let mut kept = Vec::new();
    let records = records.into_iter().map(Ok);
    let account = Pipeline::new(steps)?.stream(records, options, |number, record| {
        kept.push((number, record));
        Ok::<_, Error>(())
    })?;
    Ok((kept, account))
}

/// The texts that are compared: message by message, each with an end of its own.
fn texts(records: &Records) -> Vec<String> {
    let text = |record: &Conversation| {
        let spoken = record.messages.iter();
        let spoken = spoken.filter(|message| message.role != Role::System);
        spoken
            .map(|message| message.content.clone() + "\u{1E}")
            .collect()
    };
    records.iter().map(|(_, record)| text(record)).collect()
}

/// The numbers that are left, step by step over all records: by the functions for texts in memory,
/// and of other steps record by record.
fn by_steps(steps: &[Step], mut records: Records) -> (Records, Vec<usize>) {
    let mut dropped = Vec::new();
    for step in steps {
        let before = records.len();
        let clusters = match step {
            Step::ExactDuplicates { normalise, .. } => {
                Some(exact_duplicates(&texts(&records), *normalise).unwrap())
            }
            Step::NearDuplicates { minhash, .. } => {
                Some(near_duplicates(&texts(&records), minhash).unwrap())
            }
            Step::SimhashDuplicates { simhash, .. } => {
                Some(simhash_duplicates(&texts(&records), simhash).unwrap())
            }
            _ => None,
        };
        let places = (0..).zip(records);
        records = match (clusters, step) {
            (Some(clusters), _) => {
                let first = places.filter(|(place, _)| clusters.first(*place) == *place);
                first.map(|(_, record)| record).collect()
            }
            (None, Step::Contamination(options)) => {
                let sets = options.evaluation.iter().map(load_evaluation);
                let sets: Vec<EvaluationSet> = sets.map(Result::unwrap).collect();
                let places: Vec<_> = places.collect();
                let all = places.iter().map(|(place, (_, record))| (*place, record));
                let leaking = find_leakage(all, &sets).leaking;
                let rest = places.into_iter();
                let rest = rest.filter(|(place, _)| !leaking.contains(place));
                rest.map(|(_, record)| record).collect()
            }
            (None, step) => {
                let alone = Pipeline::new(std::slice::from_ref(step)).unwrap();
                let one = |(_, record)| alone.run(vec![record]).unwrap().records;
                places.flat_map(one).collect()
            }
        };
        dropped.push(before - records.len());
    }
    (records, dropped)
}

/// Chunks, memory for what goes to disk, threads.
const WAYS: [(usize, usize, usize); 6] = [
    (1, 0, 1),
    (2, 1 << 10, 2),
    (7, 0, 2),
    (7, 1 << 14, 1),
    (4096, 0, 2),
    (4096, usize::MAX, 1),
];

fn check(steps: &[Step], records: &Records) -> Result<(), TestCaseError> {
    let (kept, dropped) = by_steps(steps, records.clone());
    let mut accounts = Vec::new();
    for (chunk_records, memory, threads) in WAYS {
        let options = StreamOptions {
            chunk_records,
            memory,
            ..StreamOptions::default()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        let result = pool.install(|| stream(steps, records.clone(), &options));
        let (streamed, account) = result.unwrap();
        prop_assert_eq!(&streamed, &kept);
        accounts.push(account);
    }
    let account = &accounts[0];
    for other in &accounts {
        prop_assert_eq!(other, account);
    }
    let by_step = account.steps.iter().map(|step| step.records - step.kept);
    prop_assert_eq!(by_step.collect::<Vec<_>>(), dropped);
    prop_assert_eq!((account.records, account.kept), (records.len(), kept.len()));
    let original: HashMap<usize, &Conversation> = records
        .iter()
        .map(|(number, record)| (*number, record))
        .collect();
    let changed = kept
        .iter()
        .filter(|(number, record)| original[number] != record);
    prop_assert_eq!(account.changed, changed.count());
    Ok(())
}

/// Texts of some words out of few, copies of them, and copies with another word.
fn records() -> impl Strategy<Value = Records> {
    let words = prop::collection::vec(0..40_u32, 0..30);
    let text = words.prop_map(|words| {
        let words = words.iter().map(|word| format!("w{word}"));
        words.collect::<Vec<_>>().join(" ")
    });
    let original = (text, any::<bool>(), any::<u8>());
    let copies = prop::collection::vec((0..20_usize, 0..6_u8), 0..40);
    (prop::collection::vec(original, 1..20), copies).prop_map(|(originals, copies)| {
        let mut texts: Vec<String> = Vec::new();
        for (text, control, _) in &originals {
            texts.push(text.clone() + if *control { "\u{0}" } else { "" });
        }
        for (of, kind) in copies {
            let text = texts[of % texts.len()].clone();
            texts.push(match kind {
                0 => text,
                1 => text.to_uppercase(),
                2 => text + " end",
                3 => text.replacen("w1", "w2", 1),
                4 => text + "?!",
                _ => text.replacen(' ', "  ", 3),
            });
        }
        let record = |(number, text): (usize, String)| {
            let mut record = Conversation::from(vec![
                Message::new(Role::System, format!("record {number}")),
                Message::new(Role::User, text),
                Message::new(Role::Assistant, "w5 w6 w7"),
            ]);
            record.extra.insert("n".to_owned(), json!(number));
            // Not in order, and each twice.
            (record, (number / 2) ^ 5)
        };
        let all = texts.into_iter().enumerate().map(record);
        all.map(|(record, number)| (number, record)).collect()
    })
}

fn unique(records: Records) -> Records {
    let numbered = records.into_iter().enumerate();
    numbered
        .map(|(place, (_, record))| (1000 - place, record))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_stream_is_cleaned_as_records_in_memory(records in records()) {
        let all = [
            json!({"step": "control_characters"}),
            json!({"step": "length", "min_words": 6}),
            json!({"step": "exact_duplicates"}),
            json!({"step": "near_duplicates", "minhash": {"threshold": 0.6, "shingle": 2}}),
            json!({"step": "repeated_digits", "run": 2}),
            json!({"step": "simhash_duplicates", "simhash": {"distance": 8, "jaccard": 0.3}}),
            json!({"step": "simhash_duplicates", "simhash": {"distance": 1}}),
            json!({"step": "exact_duplicates", "normalise": false}),
        ];
        let records = unique(records);
        check(&steps(&all), &records)?;
        check(&steps(&all[3..4]), &records)?;
        check(&steps(&all[5..6]), &records)?;
        check(&steps(&all[2..3]), &records)?;
        check(&[], &records)?;
    }

    #[test]
    fn contamination_in_a_stream_is_find_leakages(records in records()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.jsonl");
        let lines = records.iter().step_by(7).map(|(_, record)| {
            json!({"question": record.messages[1].content}).to_string() + "\n"
        });
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        let all = [
            json!({"step": "near_duplicates"}),
            json!({"step": "contamination", "evaluation": [path]}),
            json!({"step": "control_characters"}),
        ];
        check(&steps(&all), &unique(records))?;
    }

    #[test]
    fn numbers_need_not_be_each_records_own(records in records()) {
        let all = steps(&[json!({"step": "exact_duplicates"}), json!({"step": "near_duplicates"})]);
        let (kept, account) = stream(&all, records.clone(), &StreamOptions::default()).unwrap();
        prop_assert_eq!(&kept, &by_steps(&all, records.clone()).0);
        let original = |number: usize| records.iter().any(|(other, _)| *other == number);
        for step in &account.steps {
            for example in step.dropped.values().flat_map(|tally| &tally.examples) {
                let text = example.text.strip_prefix("of record ").unwrap();
                let (first, _) = text.split_once(':').unwrap();
                prop_assert!(original(first.parse().unwrap()) && original(example.record));
            }
        }
    }
}

/// The Alpaca file, and every third record again with another beginning.
fn alpaca() -> Option<Records> {
    let file = shared_json("data/alpaca/alpaca_en_1k.json")?;
    let mut records = Vec::new();
    for (place, record) in file.as_array().unwrap().iter().enumerate() {
        let text = |field: &str| record[field].as_str().unwrap();
        let question = format!("{}\n{}", text("instruction"), text("input"));
        let pair = |question: &str| {
            let (question, answer) = (
                Message::new(Role::User, question),
                Message::new(Role::Assistant, text("output")),
            );
            (place, Conversation::from(vec![question, answer]))
        };
        records.push(pair(&question));
        if place % 3 == 0 {
            records.push(pair(&format!("Please: {question}")));
        }
    }
    Some(unique(records.into_iter().take(1000).collect()))
}

#[test]
fn real_records_are_cleaned_alike_in_any_chunks_and_room() {
    let Some(records) = alpaca() else { return };
    let mut all = Step::preset("fastchat").unwrap();
    all.push(Step::NearDuplicates {
        compare: llm_data::clean::Compared::Conversation,
        minhash: MinHash::default(),
    });
    all.push(Step::SimhashDuplicates {
        compare: llm_data::clean::Compared::Conversation,
        simhash: SimHash {
            jaccard: Some(0.5),
            ..SimHash::default()
        },
    });
    let (kept, account) = stream(&all, records.clone(), &StreamOptions::default()).unwrap();
    let near = &account.steps[10].dropped["near_duplicate"];
    assert!(near.records > 100, "{account}");
    let small = StreamOptions {
        chunk_records: usize::MAX,
        chunk_bytes: 10_000,
        memory: 0,
        directory: Some(std::env::temp_dir()),
    };
    assert_eq!(stream(&all, records, &small).unwrap(), (kept, account));
}

#[test]
fn errors_come_out_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.jsonl");
    let good = r#"{"instruction": "Name a colour.", "output": "Red."}"#;
    let lines: Vec<&str> = (0..20)
        .map(|line| {
            if line == 12 {
                r#"{"instruction": 1}"#
            } else {
                good
            }
        })
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let options = StreamOptions {
        chunk_records: 5,
        ..StreamOptions::default()
    };
    let pipeline = Pipeline::new(&steps(&[json!({"step": "control_characters"})])).unwrap();
    let records = || {
        let reader = RecordReader::open(path.to_str().unwrap(), ReadOptions::default());
        reader.unwrap().map(|record| {
            let record = record?;
            match record.record {
                Record::Conversation(conversation) => Ok((record.number, conversation)),
                other => panic!("{other:?}"),
            }
        })
    };
    let mut kept = 0;
    let error = pipeline.stream(records(), &options, |number, _| {
        kept += 1;
        assert_eq!(number, kept);
        Ok(())
    });
    let error: Error = error.unwrap_err();
    assert!(error.to_string().contains("line 13, record 13"), "{error}");
    assert_eq!(kept, 12);

    let full = |number: usize, _| match number {
        7 => Err(Error::Io {
            path: PathBuf::from("out.jsonl"),
            source: std::io::Error::other("the disk is full"),
        }),
        _ => Ok(()),
    };
    let error = pipeline.stream(records(), &options, full).unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

/// An error type of the caller's.
#[derive(Debug)]
enum Own {
    Cancelled,
    Data(Error),
}

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Self::Data(error)
    }
}

#[test]
fn a_callers_own_error_passes_and_the_directory_is_named() {
    let near = Pipeline::new(&steps(&[json!({"step": "near_duplicates"})])).unwrap();
    let record = || Conversation::from(vec![Message::new(Role::User, "a b c d")]);
    let mut options = StreamOptions {
        chunk_records: 3,
        memory: 0,
        ..StreamOptions::default()
    };
    // Endless but for the error.
    let records = (0..).map(|number| match number {
        100 => Err(Own::Cancelled),
        _ => Ok((number, record())),
    });
    let nothing = |_, _| panic!("nothing is known yet");
    let error = near.stream(records, &options, nothing).unwrap_err();
    assert!(matches!(error, Own::Cancelled));

    options.directory = Some(PathBuf::from("/nowhere/at/all"));
    let records = (0..).map(|number| Ok((number, record())));
    let error = near.stream(records.take(9), &options, |_, _| Ok(()));
    match error.unwrap_err() {
        Own::Data(error) => assert!(error.to_string().contains("/nowhere/at/all"), "{error}"),
        Own::Cancelled => panic!("not cancelled"),
    }
    options.chunk_records = 0;
    let none = std::iter::empty::<Result<(usize, Conversation), Error>>();
    assert!(near.stream(none, &options, |_, _| Ok(())).is_err());
}

/// Who reads an endless source is not waited for once nobody wants more.
#[test]
fn an_error_of_the_sink_stops_the_reader() {
    let pipeline = Pipeline::new(&[]).unwrap();
    let records = (0..).map(|number| Ok((number, Conversation::default())));
    let options = StreamOptions {
        chunk_records: 2,
        ..StreamOptions::default()
    };
    let error = pipeline.stream(records, &options, |number, _| match number {
        5 => Err(Own::Cancelled),
        _ => Ok(()),
    });
    assert!(matches!(error.unwrap_err(), Own::Cancelled));
}
