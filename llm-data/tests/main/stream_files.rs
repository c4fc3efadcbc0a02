//! Data files: limits, compression, Parquet, many at once, whole ones or none.

use std::io::Write;
use std::path::Path;

use llm_data::{
    Conversation, Error, Format, LoadOptions, Message, OnLoss, ReadOptions, Record, RecordReader,
    RecordWriter, Role, WriteOptions, load_alpaca,
};
use serde_json::json;

const GOOD: &str = r#"{"instruction": "q", "output": "a"}"#;

/// Row 11 of the faults, in JSONL and in arrays.
#[test]
fn bad_rows_spoil_only_themselves_and_nothing_long_is_held() {
    let deep = format!(
        r#"{{"instruction": {}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let long = format!(r#"{{"instruction": "{}"}}"#, "x".repeat(300_000));
    let rows = [
        GOOD,
        &deep,
        &long,
        r#"{"instruction": 5, "output": ""}"#,
        GOOD,
    ];
    let small = ReadOptions {
        max_record_bytes: 100_000,
        ..ReadOptions::default()
    };
    let lines = format!("\u{feff}{}", rows.join("\r\n\r\n"));
    let array = format!("\u{feff} [\n{}\n]\r\n", rows.join(",\n\n"));
    for (text, line) in [
        (lines + "\n{\"instruction\": \"cut", [1, 3, 5, 7, 7, 9, 10]),
        (array, [2, 4, 6, 8, 8, 10, 0]),
    ] {
        let reader =
            RecordReader::of_reader("d", std::io::Cursor::new(text.clone()), small.clone());
        let mut found = Vec::new();
        for row in reader {
            match row {
                Ok(one) => found.push((one.line, one.number, "good".to_owned())),
                Err(Error::BadRecords { issues, .. }) => {
                    found.extend(issues.iter().map(|one| {
                        (
                            one.line,
                            one.record,
                            format!("{} {}", one.field, one.reason.key()),
                        )
                    }));
                }
                Err(other) => panic!("{other}"),
            }
        }
        let mut expected = vec![
            (line[0], 1, "good".to_owned()),
            (line[1], 2, " syntax".to_owned()),
            (line[2], 3, " line_too_long".to_owned()),
            (line[3], 4, "instruction wrong_type".to_owned()),
            (line[4], 4, "output empty_field".to_owned()),
            (line[5], 5, "good".to_owned()),
        ];
        if line[6] > 0 {
            expected.push((line[6], 6, " syntax".to_owned()));
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn compressed_files_are_read_as_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.bin");
    let mut bytes = Vec::new();
    for part in [&b"[{\"instruction\": \"q\", "[..], b"\"output\": \"a\"}]"] {
        // Two members, as `cat a.gz b.gz` makes them.
        let mut encoder = flate2::write::GzEncoder::new(&mut bytes, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(
        load_alpaca(&path, &LoadOptions::default())
            .unwrap()
            .records
            .len(),
        1
    );
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    assert!(matches!(
        load_alpaca(&path, &LoadOptions::default()),
        Err(Error::Io { .. })
    ));
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn all(path: &Path) -> Result<Vec<Record>, Error> {
    let reader = RecordReader::open(path.to_str().unwrap(), ReadOptions::default())?;
    reader.map(|row| row.map(|one| one.record)).collect()
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_frames_made_by_the_zstd_command_are_read() {
    let records = all(&golden("frames.jsonl.zst")).unwrap();
    assert_eq!(records.len(), 500);
    for (number, record) in records.iter().enumerate() {
        assert!(
            matches!(record, Record::Text(text) if text.text == format!("text {number} ").repeat(20))
        );
    }
    let mut bytes = std::fs::read(golden("frames.jsonl.zst")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.zst");
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    assert!(matches!(all(&path), Err(Error::Io { .. })));
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = all(&path).unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
}

/// What is left of a file whose writer was killed, or the disk full.
#[test]
fn a_file_without_bytes_is_no_compressed_or_parquet_file() {
    let dir = tempfile::tempdir().unwrap();
    for (name, empty) in [
        ("a.parquet", false),
        ("a.jsonl.gz", false),
        ("a.json.zst", false),
        ("a.jsonl", true),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, "").unwrap();
        match all(&path) {
            Ok(records) => assert!(empty && records.is_empty(), "{name}"),
            Err(error) => assert!(!empty && error.to_string().contains(name), "{error}"),
        }
    }
}

#[cfg(not(feature = "zstd"))]
#[test]
fn zstd_needs_its_feature() {
    assert!(matches!(
        all(&golden("frames.jsonl.zst")),
        Err(Error::Feature {
            feature: "zstd",
            ..
        })
    ));
}

#[cfg(feature = "parquet")]
mod parquet {
    use super::*;

    /// `tests/data/make.py` has the rows.
    #[test]
    fn parquet_made_by_pyarrow_is_read() {
        let records = all(&golden("pyarrow.parquet")).unwrap();
        let rows = [
            json!({"id": "a", "messages": [{"role": "user", "content": "Grüße, 世界"}, {"role": "assistant", "content": "Hi"}], "lang": "de", "score": 0.5, "turns": 1}),
            json!({"id": "b", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q\n\"x\""}, {"role": "assistant", "content": "a"}], "lang": "en", "turns": -3}),
            json!({"messages": [{"role": "user", "content": "only"}, {"role": "assistant", "content": "answer"}], "lang": "de", "score": 2.25, "turns": 1_u64 << 53}),
        ];
        assert_eq!(records.len(), rows.len());
        for (record, row) in records.iter().zip(rows) {
            assert_eq!(
                record.to_json(Format::OpenAi).unwrap(),
                (row, Default::default())
            );
        }
    }

    #[test]
    fn columns_are_read_as_what_json_has_for_them() {
        let rows: Vec<_> = all(&golden("types.parquet"))
            .unwrap()
            .iter()
            .map(|record| record.to_json(Format::Text).unwrap().0)
            .collect();
        let full = json!({
            "text": "a ü", "large": "a", "view": "a", "string_view": "a",
            "local": "2024-02-29T12:30:15.250", "second": "1969-12-31T23:59:58Z",
            "nano": "1970-01-01T00:00:00.000000001Z", "milli": "1970-01-01T00:00:00",
            "day": "2024-02-29", "day64": "2024-02-29", "time": "12:30:15.250", "time64": "12:30:15.250",
            "price": "-1234567890.50", "wide": format!("1{}.000", "0".repeat(50)), "half": 1.5,
            "pair": [1, 2], "items": [1, 2], "tags": ["x"], "map": {"k": 1}, "inner": {"day": "2024-02-29"},
        });
        assert_eq!(rows, [full, json!({"text": "b"}), json!({"text": "c"})]);
    }

    #[test]
    fn a_compression_that_is_not_built_in_is_named_with_what_to_do() {
        for (name, codec) in [("lz4", "LZ4"), ("brotli", "Brotli"), ("zstd", "Zstandard")] {
            let read = all(&golden(&format!("{name}.parquet")));
            if name == "zstd" && cfg!(feature = "parquet-zstd") {
                assert!(matches!(&read.unwrap()[..], [Record::Text(text)] if text.text == "a"));
                continue;
            }
            let error = read.unwrap_err();
            assert!(matches!(&error, Error::Codec { codec: named, .. } if *named == codec));
            let text = error.to_string();
            assert!(text.contains(&format!("{name}.parquet: compressed with {codec}; ")));
            assert!(text.contains("write it with Snappy"), "{text}");
            assert_eq!(text.contains("`parquet-zstd`"), name == "zstd");
        }
    }

    #[test]
    fn broken_json_in_extra_spoils_only_its_row() {
        let path = golden("extra.parquet");
        let rows = RecordReader::open(path.to_str().unwrap(), ReadOptions::default()).unwrap();
        let rows: Vec<_> = rows
            .map(|row| match row {
                Ok(row) => format!(
                    "{} {}",
                    row.line,
                    row.record.to_json(Format::Text).unwrap().0
                ),
                Err(Error::BadRecords { issues, .. }) => issues[0].to_string(),
                Err(other) => panic!("{other}"),
            })
            .collect();
        assert_eq!(rows[0], r#"1 {"text":"a"}"#);
        for (row, text) in [
            (1, "line 2, record 2: `__extra`: EOF"),
            (2, "line 3, record 3: `__extra`: "),
        ] {
            assert!(rows[row].starts_with(text), "{}", rows[row]);
        }
        assert_eq!(rows[3..], [r#"4 {"text":"d","n":1}"#]);
    }

    #[test]
    fn broken_parquet_is_an_error() {
        let bytes = std::fs::read(golden("pyarrow.parquet")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            all(&path)
        };
        for length in (4..bytes.len()).step_by(97) {
            assert!(
                matches!(read(&bytes[..length]), Err(Error::Parquet { .. })),
                "{length}"
            );
        }
        // Any byte changed: records or an error.
        for at in (4..bytes.len()).step_by(7) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            let _ = read(&bytes);
        }
    }
}

fn conversation() -> Record {
    let messages = vec![
        Message::new(Role::User, "q"),
        Message::new(Role::Assistant, "a"),
    ];
    Record::Conversation(Conversation::from(messages))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.json");
    std::fs::write(&path, "old").unwrap();
    let create = |on_loss| {
        RecordWriter::create(
            &path,
            WriteOptions {
                format: Format::Alpaca,
                on_loss,
            },
        )
        .unwrap()
    };
    let mut writer = create(OnLoss::Refuse);
    writer.write(&conversation()).unwrap();
    drop(writer);
    assert_eq!(
        (names(dir.path()), std::fs::read_to_string(&path).unwrap()),
        (vec!["out.json".to_owned()], "old".to_owned())
    );
    // Two at once do not meet; the one that ends last is there.
    let (mut one, two) = (create(OnLoss::Refuse), create(OnLoss::Count));
    one.write(&conversation()).unwrap();
    two.finish().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[]\n");
    one.finish().unwrap();
    assert_eq!(names(dir.path()), ["out.json"]);
    assert_eq!(all(&path).unwrap(), [conversation()]);
    let unknown = RecordWriter::create(
        dir.path().join("out.csv"),
        WriteOptions {
            format: Format::Alpaca,
            on_loss: OnLoss::Count,
        },
    );
    assert!(matches!(unknown, Err(Error::Option { .. })));
}

#[test]
fn losses_are_refused_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let mut with_system = conversation();
    if let Record::Conversation(one) = &mut with_system {
        one.messages.insert(0, Message::new(Role::System, "s"));
    }
    let text = Record::Text(llm_data::Document {
        text: "t".to_owned(),
        ..Default::default()
    });
    let write = |on_loss| {
        let mut writer = RecordWriter::create(
            &path,
            WriteOptions {
                format: Format::Gpt4All,
                on_loss,
            },
        )
        .unwrap();
        let results: Vec<_> = [&conversation(), &with_system, &text]
            .map(|record| writer.write(record))
            .into();
        (results, writer.finish().unwrap())
    };
    let (results, written) = write(OnLoss::Refuse);
    assert!(
        matches!(
            &results[..],
            [
                Ok(()),
                Err(Error::Lossy { .. }),
                Err(Error::CannotConvert { .. })
            ]
        ),
        "{results:?}"
    );
    assert_eq!(
        results[1].as_ref().unwrap_err().to_string(),
        "written as gpt4all the record would lose: system"
    );
    assert_eq!((written.records, all(&path).unwrap().len()), (1, 1));
    let (_, written) = write(OnLoss::Count);
    assert_eq!(
        serde_json::to_value(&written).unwrap(),
        json!({"records": 2, "losses": {"system": 1}, "left_out": {"a plain text": 1}})
    );
}

#[test]
fn many_files_are_read_in_order_each_in_its_format() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("2.json", "[]");
    write("1.jsonl", GOOD);
    write("3.txt", "one\n\n  two \r\n");
    write("4.json", r#"[{"prompt": "q", "response": "a"}, 5]"#);
    write("5.json", "[1 2]");
    write("6.jsonl", GOOD);
    let rows = RecordReader::open(dir.path().to_str().unwrap(), ReadOptions::default()).unwrap();
    let shown: Vec<String> = rows
        .map(|row| match row {
            Ok(one) => format!(
                "{} {} {}",
                one.path.file_name().unwrap().display(),
                one.number,
                one.format
            ),
            Err(error) => error.to_string().replace(dir.path().to_str().unwrap(), ""),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1.jsonl 1 alpaca",
            "3.txt 1 text",
            "3.txt 2 text",
            "4.json 1 gpt4all",
            "/4.json: 1 problem(s) in the records\n  line 1, record 2: expected an object, got a number",
            "/5.json:1:4: trailing characters",
        ]
    );
}

/// Peak memory while an array of 200 MB streams by: `cargo test --release -- --ignored memory`.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes 200 MB; alone in its process"]
fn memory_is_bounded_on_a_200_mb_array() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.json");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let answer = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    file.write_all(b"[").unwrap();
    let (mut count, mut bytes) = (0_usize, 0);
    while bytes < 200_000_000 {
        let comma = if count == 0 { "" } else { ",\n" };
        let row =
            json!({"instruction": format!("question {count}"), "input": "", "output": answer});
        bytes += row.to_string().len() + comma.len();
        write!(file, "{comma}{row}").unwrap();
        count += 1;
    }
    file.write_all(b"]").unwrap();
    file.into_inner().unwrap().sync_all().unwrap();
    let start = std::time::Instant::now();
    let reader = RecordReader::open(path.to_str().unwrap(), ReadOptions::default()).unwrap();
    let read = reader.map(Result::unwrap).count();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(read, count);
    let out = dir.path().join(if cfg!(feature = "parquet") {
        "out.parquet"
    } else {
        "out.jsonl"
    });
    let mut writer = RecordWriter::create(
        &out,
        WriteOptions {
            format: Format::ShareGpt,
            on_loss: OnLoss::Refuse,
        },
    )
    .unwrap();
    let peak_reading = peak();
    for one in RecordReader::open(path.to_str().unwrap(), ReadOptions::default()).unwrap() {
        writer.write(&one.unwrap().record).unwrap();
    }
    writer.finish().unwrap();
    eprintln!(
        "{count} records, {:.0} MB/s, peak {peak_reading} KiB reading, {} KiB converting",
        bytes as f64 / 1e6 / seconds,
        peak()
    );
    assert!(peak_reading < 60 << 10 && peak() < 60 << 10);
}

/// The largest resident set so far in KiB.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_text_file_is_text_whatever_its_first_line_looks_like() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    std::fs::write(&path, "<START>\nYou: hi\n").unwrap();
    let reader = RecordReader::of_files([path], ReadOptions::default());
    let texts: Vec<String> = reader
        .map(|record| match record.unwrap().record {
            Record::Text(document) => document.text,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, ["<START>", "You: hi"]);
}
