//! Cleaning and the inputs of Alpaca records.

use llm_data::clean::{Pipeline, Step};
use llm_data::{Format, ReadOptions, Record, RecordReader};
use serde_json::{Value, json};

use crate::common::shared;

fn read(text: String) -> Vec<(usize, llm_data::Conversation)> {
    let reader = RecordReader::of_reader("a.jsonl", std::io::Cursor::new(text), options());
    conversations(reader)
}

fn options() -> ReadOptions {
    ReadOptions {
        lenient: true,
        ..ReadOptions::default()
    }
}

fn conversations(reader: RecordReader) -> Vec<(usize, llm_data::Conversation)> {
    let record = |record: llm_data::Result<llm_data::Numbered<Record>>| {
        let numbered = record.unwrap();
        match numbered.record {
            Record::Conversation(one) => (numbered.number, one),
            other => panic!("{other:?}"),
        }
    };
    reader.map(record).collect()
}

/// What becomes of a record with this input, as Alpaca and as ShareGPT.
fn cleaned(steps: Value, instruction: &str, input: &str) -> (Value, Value) {
    let record = json!({"instruction": instruction, "input": input, "output": "Done."});
    let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
    let records = read(record.to_string());
    let mut kept = Pipeline::new(&steps).unwrap().run(records).unwrap().records;
    let record = Record::Conversation(kept.remove(0).1);
    let written = |format| {
        let (json, losses) = record.to_json(format).unwrap();
        assert!(losses.is_empty(), "{json} {losses:?}");
        json
    };
    (written(Format::Alpaca), written(Format::ShareGpt))
}

#[test]
fn what_is_masked_is_masked_in_the_input_too() {
    let steps = json!([{"step": "personal_data"}]);
    let (alpaca, sharegpt) = cleaned(steps, "Write to this person.", "a@b.cc 13812345678");
    assert_eq!(alpaca["instruction"], "Write to this person.");
    assert_eq!(alpaca["input"], "[EMAIL] [PHONE]");
    let text = sharegpt.to_string();
    assert!(!text.contains("a@b.cc") && !text.contains("138"), "{text}");
}

#[test]
fn changed_inputs_stay_inputs() {
    let controls = "control_characters";
    for (step, (instruction, input), expected) in [
        (
            controls,
            ("Sum it.", "one\r\ntwo\0"),
            ("Sum it.", "one\ntwo"),
        ),
        (controls, ("Sum\r\nit.", "one"), ("Sum\nit.", "one")),
        (controls, ("Sum it.\r", "one\r\n"), ("Sum it.", "one\n")),
        (
            "special_texts",
            ("Read </s>.", "a</s>b"),
            ("Read <|/s|>.", "a<|/s|>b"),
        ),
        ("alpaca_faults", ("Name it.", "<noinput>"), ("Name it.", "")),
        (
            "html",
            ("Read it.", "<p>It <b>is</b> so.</p>"),
            ("Read it.", "It **is** so."),
        ),
    ] {
        let (alpaca, _) = cleaned(json!([{"step": step}]), instruction, input);
        // The lines around HTML are the converter's affair.
        let asked = alpaca["instruction"].as_str().unwrap().trim_end();
        let given = alpaca["input"].as_str().unwrap();
        assert_eq!((asked, given), expected, "{step}");
    }
}

#[test]
fn a_field_of_that_name_that_is_no_input_stays() {
    let chat = json!({"conversations": [
        {"from": "human", "value": "a@b.cc", "input": "mine"},
        {"from": "gpt", "value": "Done."}]});
    let steps: Vec<Step> = serde_json::from_value(json!([{"step": "personal_data"}])).unwrap();
    let kept = Pipeline::new(&steps).unwrap().run(read(chat.to_string()));
    let kept = kept.unwrap().records;
    assert_eq!(kept[0].1.messages[0].content, "[EMAIL]");
    assert_eq!(kept[0].1.messages[0].extra["input"], "mine");
}

#[test]
fn alpacas_own_data_is_cleaned_and_written_again() {
    let Some(path) = shared("data/alpaca/alpaca_en_1k.json") else {
        return;
    };
    let records = conversations(RecordReader::of_files([path], options()));
    let steps = Step::preset("alpaca-cleaned").unwrap();
    let cleaned = Pipeline::new(&steps).unwrap().run(records).unwrap();
    assert!(cleaned.account.changed > 0);
    for (number, record) in cleaned.records {
        let (_, losses) = Record::Conversation(record)
            .to_json(Format::Alpaca)
            .unwrap();
        assert!(losses.is_empty(), "record {number}: {losses:?}");
    }
}
