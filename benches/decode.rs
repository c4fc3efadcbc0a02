//! Decoding, a token at a time behind a prompt.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_core::{KvCache, TokenBatch};

fn decode(criterion: &mut Criterion) {
    let model = benches::model().expect("a device");
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for behind in [32, 512] {
        let mut cache = KvCache::default();
        let prompt = TokenBatch::new(&[benches::ids(behind)]).expect("a batch");
        model.forward(&prompt, Some(&mut cache)).expect("a prefill");
        let next = TokenBatch::new(&[vec![7]]).expect("a batch");
        group.bench_function(format!("behind {behind}"), |bencher| {
            bencher.iter_batched_ref(
                || cache.clone(),
                |cache| {
                    model
                        .forward(&next, Some(cache))
                        .expect("logits")
                        .into_data()
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
