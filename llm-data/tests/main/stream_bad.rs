//! Records that are bad for what they are, not for how they are written.

use llm_data::{Error, ReadOptions, Record, RecordReader};
#[cfg(feature = "parquet")]
use llm_data::{Format, OnLoss, RecordWriter, WriteOptions};

#[test]
fn a_record_of_no_format_spoils_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let good = r#"{"instruction": "q", "output": "a"}"#;
    std::fs::write(
        &path,
        format!("{{\"x\": 1}}\n{good}\n{{\"x\": 1}}\n{good}\n"),
    )
    .unwrap();
    let reader = RecordReader::open(path.to_str().unwrap(), ReadOptions::default()).unwrap();
    let said = |record: Result<llm_data::Numbered<Record>, Error>| match record {
        Ok(numbered) => numbered.format.to_string(),
        Err(Error::BadRecords { issues, .. }) => issues[0].to_string(),
        Err(other) => panic!("{other}"),
    };
    let said: Vec<String> = reader.map(said).collect();
    assert!(
        said[0].starts_with("line 1, record 1: of no known format (its fields: x)"),
        "{said:?}"
    );
    assert!(said[2].starts_with("line 3, record 3"), "{said:?}");
    assert_eq!([&said[1], &said[3]], ["alpaca", "alpaca"]);
}

#[cfg(feature = "parquet")]
#[test]
fn a_long_record_in_parquet_is_a_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let options = WriteOptions {
        format: Format::Text,
        on_loss: OnLoss::Refuse,
    };
    let mut writer = RecordWriter::create(&path, options).unwrap();
    for length in [10, 200, 30] {
        let text = "a".repeat(length);
        let document = llm_data::Document {
            text,
            ..llm_data::Document::default()
        };
        writer.write(&Record::Text(document)).unwrap();
    }
    writer.finish().unwrap();
    let options = ReadOptions {
        max_record_bytes: 100,
        ..ReadOptions::default()
    };
    let records: Vec<_> = RecordReader::open(path.to_str().unwrap(), options)
        .unwrap()
        .collect();
    let error = records[1].as_ref().unwrap_err();
    assert!(
        error.to_string().contains("longer than 100 bytes"),
        "{error}"
    );
    assert!(records.len() == 3 && records[0].is_ok() && records[2].is_ok());
}
