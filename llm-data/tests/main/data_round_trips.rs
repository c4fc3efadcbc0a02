//! The shared data in every file type, with losses counted, and the evaluation sets.

use std::collections::BTreeMap;
use std::path::Path;

use llm_data::{
    Error, Format, Loss, Numbered, OnLoss, ReadOptions, Record, RecordReader, RecordWriter,
    WriteOptions, Written, find_leakage, load_evaluation,
};

use crate::common::{record, shared};
use crate::format_data::{SHARED, read, same_but_for_json};

const ENDS: &[&str] = &[
    "json",
    "jsonl",
    "json.gz",
    "jsonl.gz",
    #[cfg(feature = "parquet")]
    "parquet",
];

fn write(path: &Path, records: &[Numbered<Record>], options: WriteOptions) -> Written {
    let mut writer = RecordWriter::create(path, options).unwrap();
    for record in records {
        writer.write_numbered(record).unwrap();
    }
    writer.finish().unwrap()
}

/// A file in its own format, in each type of file: the same records, of the format that is told by the
/// first of them.
#[test]
fn every_file_comes_back_from_every_type_of_file() {
    let Some(data) = shared("data") else { return };
    let dir = tempfile::tempdir().unwrap();
    for (file, format, count) in SHARED {
        let records = read(&data.join(file), ReadOptions::default());
        for end in ENDS {
            let path = dir.path().join(format!("out.{end}"));
            let options = WriteOptions {
                format,
                on_loss: OnLoss::Refuse,
            };
            assert_eq!(write(&path, &records, options).records, count);
            let again = read(&path, ReadOptions::default());
            assert_eq!(again.len(), count, "{file} as {end}");
            for (one, again) in records.iter().zip(&again) {
                assert_eq!(again.format, format, "{file} as {end}");
                assert_eq!(again.number, one.number, "{file} as {end}");
                assert_eq!(again.record, one.record, "{file} as {end}");
            }
        }
    }
}

/// What is written with losses counted: the counts are those of the records, and a record that is said
/// to lose nothing is the same when it is read again, and another one where it is said to lose something.
#[test]
fn counted_losses_are_true() {
    let Some(data) = shared("data") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let mut lossy = 0;
    for (file, _, count) in SHARED {
        let records = read(&data.join(file), ReadOptions::default());
        for format in Format::ALL {
            let options = WriteOptions {
                format,
                on_loss: OnLoss::Count,
            };
            let written = write(&path, &records, options);
            let left_out: usize = written.left_out.values().sum();
            assert_eq!(written.records + left_out, count, "{file} to {format}");
            let mut losses: BTreeMap<Loss, usize> = BTreeMap::new();
            let options = ReadOptions {
                format: Some(format),
                lenient: true,
                ..ReadOptions::default()
            };
            let mut again = read(&path, options).into_iter();
            for one in &records {
                let Ok((_, lost)) = one.record.to_json(format) else {
                    continue;
                };
                let again = again.next().unwrap().record;
                let same = same_but_for_json(std::slice::from_ref(&again), &[&one.record]);
                assert_eq!(
                    same,
                    lost.is_empty(),
                    "{file} to {format}, {}: {lost:?}",
                    one.number
                );
                lossy += usize::from(!same);
                for loss in lost {
                    *losses.entry(loss).or_default() += 1;
                }
            }
            assert!(again.next().is_none());
            assert_eq!(written.losses, losses, "{file} to {format}");
        }
    }
    assert!(lossy > 1_000, "{lossy}");
}

#[test]
fn a_refused_loss_names_file_line_and_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    let good = r#"{"instruction": "q", "output": "a"}"#;
    let bad = r#"{"instruction": "q", "input": "i", "output": "a"}"#;
    std::fs::write(&path, format!("{good}\n\n{bad}\n")).unwrap();
    let options = WriteOptions {
        format: Format::Gpt4All,
        on_loss: OnLoss::Refuse,
    };
    let mut writer = RecordWriter::create(dir.path().join("out.jsonl"), options).unwrap();
    let records = read(&path, ReadOptions::default());
    writer.write_numbered(&records[0]).unwrap();
    let error = writer.write_numbered(&records[1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: line 3, record 2: written as gpt4all the record would lose: input",
            path.display()
        )
    );
    assert!(
        matches!(error, Error::FileRecord { line: 3, record: 2, source, .. }
        if matches!(*source, Error::Lossy { .. }))
    );
    assert_eq!(writer.finish().unwrap().records, 1);
    let options = WriteOptions {
        format: Format::Text,
        on_loss: OnLoss::Refuse,
    };
    let mut writer = RecordWriter::create(dir.path().join("out.jsonl"), options).unwrap();
    let error = writer.write_numbered(&records[0]).unwrap_err();
    assert!(
        matches!(error, Error::FileRecord { line: 1, record: 1, source, .. }
        if matches!(*source, Error::CannotConvert { .. }))
    );
}

/// The evaluation sets are no training records, and no format is guessed for them; all their records
/// count when leakage is looked for.
#[test]
fn evaluation_sets_are_read_as_such() {
    let Some(dir) = shared("data/eval") else {
        return;
    };
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        let sets = [load_evaluation(&path).unwrap()];
        let leakage = find_leakage([(1, &record("q", "", "a"))], &sets);
        assert_eq!(leakage.sets[0].records, lines, "{}", path.display());
        let pattern = path.to_str().unwrap();
        let first = RecordReader::open(pattern, ReadOptions::default())
            .unwrap()
            .next()
            .unwrap();
        assert!(
            matches!(&first, Err(Error::BadRecords { issues, .. })
                if issues[0].reason.key() == "no_format"),
            "{}: {first:?}",
            path.display()
        );
        files += 1;
    }
    assert_eq!(files, 9);
}
