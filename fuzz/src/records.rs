//! Data files.

use std::io::Cursor;
use std::path::Path;

use llm_data::generate::load_seed_tasks;
use llm_data::{
    Conversation, Error, Format, LoadOptions, Message, OnBadRecord, OnLoss, ReadOptions, Record,
    RecordReader, RecordWriter, Role, WriteOptions, load_alpaca, load_sharegpt,
};

use super::{in_file, shown, split, text};

/// Records that are looked at: more of them come from a few bytes of a compressed file.
const RECORDS: usize = 10_000;

/// Format (none: detected), leniency and limit.
fn read_options(options: u8) -> ReadOptions {
    ReadOptions {
        format: Format::ALL.get(usize::from(options % 16)).copied(),
        max_record_bytes: if options & 128 != 0 { 64 } else { 1 << 20 },
        lenient: options & 16 != 0,
    }
}

fn read_json(bytes: &[u8], options: ReadOptions) -> RecordReader {
    RecordReader::of_reader("fuzz.json", Cursor::new(bytes.to_vec()), options)
}

fn open(path: &Path, options: ReadOptions) -> RecordReader {
    RecordReader::of_files([path.to_owned()], options)
}

/// The records; of what is wrong the message is looked at.
fn good(reader: RecordReader) -> Vec<Record> {
    let mut records = Vec::new();
    for record in reader.take(RECORDS) {
        match record {
            Ok(numbered) => records.push(numbered.record),
            Err(error) => shown(&error),
        }
    }
    records
}

/// JSON arrays and lines in all formats; every record is written in all of them and read again.
pub fn records_json(data: &[u8]) {
    let (options, bytes) = split(data);
    for record in good(read_json(bytes, read_options(options))) {
        for format in Format::ALL {
            converted(&record, format);
        }
    }
}

fn converted(record: &Record, format: Format) {
    let (value, losses) = match record.to_json(format) {
        Ok(written) => written,
        Err(Error::CannotConvert { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    let lenient = ReadOptions {
        format: Some(format),
        lenient: true,
        ..ReadOptions::default()
    };
    let again: Vec<_> = read_json(value.to_string().as_bytes(), lenient).collect();
    let [Ok(again)] = &again[..] else {
        panic!("{format}: {value} is read as {again:?}");
    };
    if losses.is_empty() {
        assert!(
            same(record, &again.record),
            "{format}: {record:?} became {again:?}"
        );
        let (value_again, losses) = again.record.to_json(format).expect("as before");
        assert!(
            losses.is_empty(),
            "{format}: {value} loses {losses:?} the second time"
        );
        assert_eq!(value, value_again, "{format}");
    }
}

/// Whether two records say the same, by a rule of our own.
fn same(a: &Record, b: &Record) -> bool {
    match (a, b) {
        (Record::Text(a), Record::Text(b)) => a == b,
        (Record::Conversation(a), Record::Conversation(b)) => same_conversation(a, b),
        (Record::Preference(a), Record::Preference(b)) => {
            same_conversation(&a.conversation, &b.conversation)
                && same_message(&a.chosen, &b.chosen)
                && same_message(&a.rejected, &b.rejected)
        }
        _ => false,
    }
}

fn same_conversation(a: &Conversation, b: &Conversation) -> bool {
    let mut messages = a.messages.iter().zip(&b.messages);
    a.id == b.id
        && a.extra == b.extra
        && a.tools.is_some() == b.tools.is_some()
        && a.messages.len() == b.messages.len()
        && messages.all(|(a, b)| same_message(a, b))
}

/// The JSON of calls may be written differently.
fn same_message(a: &Message, b: &Message) -> bool {
    a.role == b.role
        && a.loss == b.loss
        && (a.role == Role::FunctionCall || a.content == b.content)
        && a.extra == b.extra
}

/// Files that begin as Parquet; all others are JSON whose records are written as Parquet.
pub fn records_parquet(data: &[u8]) {
    let (options, bytes) = split(data);
    let options = read_options(options);
    if bytes.starts_with(b"PAR1") {
        in_file("fuzz.parquet", bytes, |path| good(open(path, options)));
        return;
    }
    let format = options.format.unwrap_or(Format::ShareGpt);
    let records = good(read_json(bytes, options));
    if records.is_empty() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let [parquet, lines] = ["fuzz.parquet", "fuzz.jsonl.gz"].map(|name| {
        let path = folder.path().join(name);
        let options = WriteOptions {
            format,
            on_loss: OnLoss::Count,
        };
        let mut writer = RecordWriter::create(&path, options).expect("begun");
        for record in &records {
            writer.write(record).expect("written");
        }
        let written = writer.finish().expect("finished");
        let lenient = ReadOptions {
            format: Some(format),
            lenient: true,
            ..ReadOptions::default()
        };
        let again: Result<Vec<_>, _> = open(&path, lenient).collect();
        let again: Vec<Record> = again
            .expect("read again")
            .into_iter()
            .map(|one| one.record)
            .collect();
        assert_eq!(again.len(), written.records);
        again
    });
    assert_eq!(parquet, lines);
}

/// Whatever begins as gzip or Zstandard.
pub fn records_compressed(data: &[u8]) {
    let (options, bytes) = split(data);
    in_file("fuzz.json", bytes, |path| {
        good(open(path, read_options(options)))
    });
}

/// Plain text: a record a line.
pub fn text_files(data: &[u8]) {
    let options = ReadOptions::default();
    let records = in_file("fuzz.txt", data, |path| good(open(path, options)));
    let compressed = [b"\x1f\x8b".as_slice(), b"\x28\xb5\x2f\xfd", b"PAR1"];
    if std::str::from_utf8(data).is_err() || compressed.iter().any(|start| data.starts_with(start))
    {
        return;
    }
    let text = text(data);
    let lines = text
        .split('\n')
        .filter(|line| !line.as_bytes().trim_ascii().is_empty());
    let lines: Vec<&str> = lines.take(RECORDS).collect();
    assert!(records.len() <= lines.len());
    for record in &records {
        let Record::Text(document) = record else {
            panic!("{record:?} of a text file");
        };
        assert!(lines.iter().any(|line| line.contains(&document.text)));
    }
}

/// The loaders of whole files.
pub fn loaders(data: &[u8]) {
    let (options, bytes) = split(data);
    let on_bad_record = if options & 1 != 0 {
        OnBadRecord::Skip
    } else {
        OnBadRecord::Fail
    };
    let options = LoadOptions {
        on_bad_record,
        max_line_bytes: 1 << 20,
    };
    in_file("fuzz.json", bytes, |path| {
        match load_alpaca(path, &options) {
            Ok(loaded) => {
                assert_eq!(loaded.records.len(), loaded.numbers.len());
                assert!(loaded.numbers.is_sorted_by(|a, b| a < b));
                let said = |text: &str| !text.trim().is_empty();
                let mut records = loaded.records.iter();
                assert!(records.all(|record| said(&record.instruction) && said(&record.output)));
            }
            Err(error) => shown(&error),
        }
        match load_sharegpt(path, &options) {
            Ok(loaded) => {
                let mut records = loaded.records.iter();
                assert!(records.all(|record| !record.messages.is_empty()));
            }
            Err(error) => shown(&error),
        }
        if let Err(error) = load_seed_tasks(path) {
            shown(&error);
        }
    });
}
