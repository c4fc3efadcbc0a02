//! The shared data through every format.

use std::collections::BTreeMap;
use std::path::Path;

use llm_data::{
    Error, Format, LoadOptions, Numbered, OnLoss, ReadOptions, Record, RecordReader, RecordWriter,
    Role, WriteOptions, find_files, load_alpaca,
};
use serde_json::{Value, json};

use crate::common::{encoder, long, shared, tiny};

/// The files of the shared data that are records, with their format and number.
pub(crate) const SHARED: [(&str, Format, usize); 13] = [
    ("alpaca/alpaca_en_1k.json", Format::Alpaca, 999),
    ("alpaca/alpaca_zh_1k.json", Format::Alpaca, 1000),
    (
        "alpaca/chinese_vicuna_instruct_sample.jsonl",
        Format::Alpaca,
        10,
    ),
    ("alpaca/identity.json", Format::Alpaca, 91),
    ("preference/dpo_en_sharegpt.json", Format::Preference, 300),
    ("preference/dpo_zh_sharegpt.json", Format::Preference, 300),
    ("pretrain/c4_300.jsonl", Format::Text, 300),
    ("pretrain/wiki.txt", Format::Text, 30),
    (
        "self_instruct/alpaca_seed_tasks.jsonl",
        Format::SelfInstruct,
        175,
    ),
    (
        "self_instruct/belle_zh_seed_tasks.jsonl",
        Format::SelfInstruct,
        175,
    ),
    (
        "sharegpt/chinese_vicuna_chat_sample.jsonl",
        Format::ChineseVicuna,
        3,
    ),
    ("sharegpt/fastchat_dummy.json", Format::ShareGpt, 500),
    ("sharegpt/glaive_toolcall_en.json", Format::ShareGpt, 300),
];

/// The file as another parser sees it: serde_json on the whole, or lines.
fn whole(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    if path.extension().unwrap() == "json" {
        return serde_json::from_str(&text).unwrap();
    }
    let plain = path.extension().unwrap() == "txt";
    let value = |line: &str| match plain {
        true => json!({"text": line}),
        false => serde_json::from_str(line).unwrap(),
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(value)
        .collect()
}

pub(crate) fn read(path: &Path, options: ReadOptions) -> Vec<Numbered<Record>> {
    RecordReader::open(path.to_str().unwrap(), options)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn the_shared_data_is_read_as_it_stands() {
    let Some(data) = shared("data") else { return };
    for (file, format, count) in SHARED {
        let path = data.join(file);
        let records = read(&path, ReadOptions::default());
        let expected = whole(&path);
        assert_eq!((records.len(), expected.len()), (count, count), "{file}");
        for (numbered, expected) in records.iter().zip(expected) {
            assert_eq!(numbered.format, format, "{file}");
            let (written, losses) = numbered.record.to_json(format).unwrap();
            assert!(losses.is_empty(), "{file}, {}: {losses:?}", numbered.number);
            assert_eq!(written, expected, "{file}, record {}", numbered.number);
        }
    }
    let found = find_files(data.to_str().unwrap()).unwrap();
    let known = |file: &std::path::PathBuf| SHARED.iter().any(|(name, ..)| file.ends_with(name));
    let unknown = found.iter().filter(|file| !known(file));
    assert!(
        unknown
            .clone()
            .all(|file| file.parent().unwrap().ends_with("eval")),
        "{:?}",
        unknown.collect::<Vec<_>>()
    );
}

/// Each file into each format and file type and back: equal, or what is lost is said.
#[test]
fn the_shared_data_goes_through_every_format_and_back() {
    let Some(data) = shared("data") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut account: BTreeMap<String, usize> = BTreeMap::new();
    for (file, from, count) in SHARED {
        let records = read(&data.join(file), ReadOptions::default());
        for format in Format::ALL {
            let ends = [
                "json",
                "jsonl",
                "jsonl.gz",
                #[cfg(feature = "parquet")]
                "parquet",
            ];
            let end = ends[(format as usize + count) % ends.len()];
            let path = dir.path().join(format!("out.{end}"));
            let mut writer = RecordWriter::create(
                &path,
                WriteOptions {
                    format,
                    on_loss: OnLoss::Refuse,
                },
            )
            .unwrap();
            let mut kept = Vec::new();
            for numbered in &records {
                match writer.write(&numbered.record) {
                    Ok(()) => kept.push(&numbered.record),
                    Err(Error::Lossy { losses, .. }) => {
                        *account
                            .entry(format!("{from} to {format} loses {losses}"))
                            .or_default() += 1
                    }
                    Err(Error::CannotConvert { what, .. }) => {
                        *account
                            .entry(format!("{from} to {format}: {what}"))
                            .or_default() += 1
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(writer.finish().unwrap().records, kept.len());
            let options = ReadOptions {
                format: Some(format),
                ..ReadOptions::default()
            };
            let again: Vec<Record> = read(&path, options)
                .into_iter()
                .map(|one| one.record)
                .collect();
            assert!(
                again.iter().eq(kept.iter().copied()) || same_but_for_json(&again, &kept),
                "{file} to {format} as {end}"
            );
        }
    }
    // What LLaMA-Factory and OpenAI read holds all; of tools Alpaca knows nothing.
    let tools = whole(&data.join("sharegpt/glaive_toolcall_en.json"));
    let with_calls = |row: &&Value| row.to_string().contains("function_call");
    let with_calls = tools.iter().filter(with_calls).count();
    assert_eq!(
        account.remove("sharegpt to alpaca loses tool_turns"),
        Some(with_calls)
    );
    let conversations = [
        "alpaca to",
        "sharegpt to",
        "chinese-vicuna to",
        "self-instruct to",
    ];
    for to in ["alpaca", "sharegpt", "openai"] {
        for from in conversations {
            let lost = account
                .keys()
                .find(|what| what.starts_with(&format!("{from} {to}")));
            assert_eq!(lost, None);
        }
        assert_eq!(
            account.get(&format!("preference to {to} loses rejected")),
            Some(&600)
        );
        assert_eq!(
            account.get(&format!("text to {to}: a plain text")),
            Some(&330)
        );
    }
    assert_eq!(account.get("alpaca to gpt4all loses input"), Some(&551));
}

/// Texts of calls and tools may be written with other spaces.
pub(crate) fn same_but_for_json(again: &[Record], kept: &[&Record]) -> bool {
    let normal = |record: &Record| match record {
        Record::Conversation(conversation) => {
            let mut conversation = conversation.clone();
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
            conversation.tools = conversation.tools.as_deref().map(parse);
            for message in &mut conversation.messages {
                if message.role == Role::FunctionCall {
                    message.content = parse(&message.content);
                }
            }
            Record::Conversation(conversation)
        }
        other => other.clone(),
    };
    again.len() == kept.len()
        && again
            .iter()
            .map(normal)
            .eq(kept.iter().map(|record| normal(record)))
}

/// A record and the conversation that is made of it are the same sample in every template.
#[test]
fn alpaca_records_train_the_same_by_way_of_sharegpt() {
    let Some(path) = shared("data/alpaca/alpaca_en_1k.json") else {
        return;
    };
    let alpaca = load_alpaca(&path, &LoadOptions::default()).unwrap().records;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("sharegpt.jsonl");
    let options = WriteOptions {
        format: Format::ShareGpt,
        on_loss: OnLoss::Refuse,
    };
    let mut writer = RecordWriter::create(&out, options).unwrap();
    for one in read(&path, ReadOptions::default()) {
        writer.write(&one.record).unwrap();
    }
    writer.finish().unwrap();
    let again = read(&out, ReadOptions::default());
    let tokenizer = tiny();
    for template in ["alpaca", "alpaca-zh", "chatml", "vicuna"] {
        let encoder = encoder(&tokenizer, template, long());
        for (record, one) in alpaca.iter().zip(&again).take(200) {
            let Record::Conversation(conversation) = &one.record else {
                panic!("{one:?}");
            };
            let sample = encoder.encode(record).unwrap();
            assert_eq!(encoder.encode_conversation(conversation).unwrap(), sample);
        }
    }
}

#[test]
fn built_in_templates_refuse_calls_of_functions() {
    let Some(path) = shared("data/sharegpt/glaive_toolcall_en.json") else {
        return;
    };
    let tokenizer = tiny();
    let encoder = encoder(&tokenizer, "chatml", long());
    let (mut encoded, mut refused) = (0, 0);
    for one in read(&path, ReadOptions::default()) {
        let Record::Conversation(conversation) = one.record else {
            panic!("{}", one.number);
        };
        match encoder.encode_conversation(&conversation) {
            Ok(_) => encoded += 1,
            Err(Error::NoCalls { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((encoded, refused), (147, 153));
}
