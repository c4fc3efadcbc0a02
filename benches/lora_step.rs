//! One optimizer step of LoRA: forward, backward, clipping, AdamW.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::ops::ControlFlow;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use llm_lora::{Adapter, LoraConfig, Modules, TrainConfig, train};

fn lora_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lora_step");
    group.sample_size(10);
    let targets = [
        (
            "qv",
            Modules::List(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
        ),
        ("all-linear", Modules::AllLinear),
    ];
    for (name, target_modules) in targets {
        let mut model = benches::model().expect("a device");
        let config = LoraConfig {
            target_modules: Some(target_modules),
            ..LoraConfig::default()
        };
        Adapter::attach(&mut model, config, 1).expect("an adapter");
        let samples = vec![benches::sample(256); 4];
        let config = TrainConfig {
            max_steps: Some(1),
            ..TrainConfig::default()
        };
        group.throughput(Throughput::Elements(4 * 256));
        group.bench_function(format!("{name}, 4x256"), |bencher| {
            let step = |mut model| {
                train(&mut model, &samples, &[], &config, |_| {
                    ControlFlow::Continue(())
                })
                .expect("a step");
                model
            };
            bencher.iter_batched(|| model.clone(), step, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, lora_step);
criterion_main!(benches);
