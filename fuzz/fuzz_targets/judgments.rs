#![no_main]

use llm_eval::judge::files::{ArenaJudgment, Format, detect, read_rows, write_rows};
use llm_eval::judge::replay::{Options, replay};

libfuzzer_sys::fuzz_target!(|data: &[u8]| judgments(data));

/// A file of judgments has figures without NaN, and what can be read is read again as written.
fn judgments(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("review_a_b.jsonl");
    std::fs::write(&path, data).expect("written");
    let options = Options {
        resamples: 8,
        ..Options::default()
    };
    let _ = detect(&path);
    for format in Format::ALL {
        if let Ok(figures) = replay(&[&path], format, &options) {
            assert!(figures.unparsable <= figures.rows);
            serde_json::to_string(&figures).expect("JSON");
        }
    }
    let rows: Result<Vec<_>, _> = read_rows::<ArenaJudgment>(&path).and_then(Iterator::collect);
    if let Ok(rows) = rows {
        let again = folder.path().join("again.jsonl");
        write_rows(&again, rows.iter().map(|(_, row)| row)).expect("written");
        let read: Vec<_> = read_rows::<ArenaJudgment>(&again)
            .expect("read")
            .map(|row| row.expect("a row").1)
            .collect();
        assert!(rows.iter().map(|(_, row)| row).eq(&read));
    }
}
