//! One forward over a batch: the prefill of generation, and evaluation.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_core::TokenBatch;

fn forward(criterion: &mut Criterion) {
    let model = benches::model().expect("a device");
    let mut group = criterion.benchmark_group("forward");
    for [rows, tokens] in [[1, 128], [1, 512], [4, 256]] {
        let batch = TokenBatch::new(&vec![benches::ids(tokens); rows]).expect("a batch");
        group.throughput(Throughput::Elements((rows * tokens) as u64));
        group.bench_function(format!("{rows}x{tokens}"), |bencher| {
            bencher.iter(|| {
                let hidden = model
                    .hidden_states(&batch, None, None)
                    .expect("hidden states");
                hidden.into_data()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
