//! Encoding of Alpaca records: template, tokens, labels.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_data::{EncodeOptions, Encoder, LoadOptions, Template, Tokenizer, load_alpaca};

fn encoding(criterion: &mut Criterion) {
    let tokenizer = Tokenizer::from_dir(benches::bundled_model()).expect("a tokenizer");
    let records =
        load_alpaca(benches::bundled_records(), &LoadOptions::default()).expect("records");
    let mut group = criterion.benchmark_group("encoding");
    group.throughput(Throughput::Elements(records.records.len() as u64));
    for name in ["alpaca", "chatml", "vicuna"] {
        let template = Template::by_name(name, &tokenizer).expect("a template");
        let encoder = Encoder::new(tokenizer.clone(), template, EncodeOptions::default())
            .expect("an encoder");
        group.bench_function(name, |bencher| {
            bencher.iter(|| encoder.encode_all(&records.records).expect("samples"));
        });
    }
    group.finish();
}

criterion_group!(benches, encoding);
criterion_main!(benches);
