//! What encoding a data set costs, as JSON: in memory, from a file to a prepared set, and read again.
//!
//! `cargo bench -p benches --bench data_pipeline -- MODEL RECORDS.json [REPEAT]`, without arguments on the
//! bundled model and records. `benches/side_by_side/encoding.py` compares it with `tokenizers` in Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use llm_data::{
    AlpacaRecord, Conversation, EncodeOptions, Encoder, Error, LoadOptions, OnBadRecord, Prepared,
    PreparedKey, ReadOptions, Record, RecordReader, Samples, Template, Tokenizer, load_alpaca,
};

/// Passes of which the median counts, behind one that does not.
const PASSES: usize = 5;

fn main() {
    // Cargo adds a flag of its own.
    let arguments = std::env::args_os().skip(1);
    let arguments: Vec<PathBuf> = arguments
        .filter(|argument| argument != "--bench")
        .map(PathBuf::from)
        .collect();
    let model = arguments.first().cloned();
    let data = arguments.get(1).cloned();
    let repeat = arguments
        .get(2)
        .and_then(|text| text.to_str()?.parse().ok());
    measure(
        &model.unwrap_or_else(benches::bundled_model),
        &data.unwrap_or_else(benches::bundled_records),
        repeat.unwrap_or(1),
    )
    .expect("a measurement");
}

fn measure(model: &Path, data: &Path, repeat: usize) -> llm_data::Result<()> {
    let tokenizer = Tokenizer::from_dir(model)?;
    // It ends as the Python pipeline's prompt does.
    let template = Template::by_name("alpaca-lora", &tokenizer)?;
    let encoder = Encoder::new(tokenizer, template, EncodeOptions::default())?;
    let records = load_alpaca(data, &LoadOptions::default())?.records;
    let records: Vec<AlpacaRecord> = (0..repeat).flat_map(|_| records.clone()).collect();
    let tokens = encoder.encode_all(&records)?.statistics.tokens;
    let encode = median(|| {
        encoder.encode_all(&records)?;
        Ok(())
    })?;

    let dir = std::env::temp_dir().join(format!("data-pipeline-{}", std::process::id()));
    let io = |source| Error::Io {
        path: dir.clone(),
        source,
    };
    fs::create_dir_all(&dir).map_err(io)?;
    let file = dir.join("records.jsonl");
    let line = |record: &AlpacaRecord| serde_json::to_string(record).expect("JSON") + "\n";
    fs::write(&file, records.iter().map(line).collect::<String>()).map_err(io)?;
    let key = PreparedKey::new(&encoder).file(&file)?;
    let prepare = median(|| {
        let set = Prepared::encode(Some(&dir), &key, &encoder, read(&file)?, OnBadRecord::Fail)?;
        set.count().map(drop)
    })?;
    let mut bytes = 0;
    let reopen = median(|| {
        let set = Prepared::open(&dir, &key)?.expect("a prepared set");
        bytes = 0;
        for index in 0..set.count()? {
            bytes += 4 * set.get(index)?.input_ids.len();
        }
        Ok(())
    })?;
    fs::remove_dir_all(&dir).map_err(io)?;
    let count = records.len() as f64;
    println!(
        "{{\"records\": {count}, \"tokens\": {tokens}, \"encode_per_s\": {:.0}, \
         \"prepare_per_s\": {:.0}, \"reopen_per_s\": {:.0}, \"reopen_mb_per_s\": {:.0}}}",
        count / encode,
        count / prepare,
        count / reopen,
        bytes as f64 / reopen / 1e6,
    );
    Ok(())
}

fn read(
    file: &Path,
) -> llm_data::Result<impl Iterator<Item = llm_data::Result<(usize, Conversation)>> + Send + use<>>
{
    let reader = RecordReader::of_files([file.to_owned()], ReadOptions::default());
    Ok(reader.map(|record| {
        let numbered = record?;
        let Record::Conversation(conversation) = numbered.record else {
            return Err(Error::NothingSupervised);
        };
        Ok((numbered.number, conversation))
    }))
}

/// The median of the seconds that `work` takes.
fn median(mut work: impl FnMut() -> llm_data::Result<()>) -> llm_data::Result<f64> {
    work()?;
    let mut seconds = Vec::new();
    for _ in 0..PASSES {
        let start = Instant::now();
        work()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[PASSES / 2])
}
