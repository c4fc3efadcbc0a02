//! Training on bf16 weights against training in f32.

use burn::module::Module;
use burn::tensor::DType;
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions};
use llm_lora::{Adapter, Schedule, TrainConfig};

use crate::support::{Golden, cpu, own, relative, values};
use crate::training::{config, probe, run, samples};

#[test]
fn half_precision_trains_what_f32_trains() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    // Steps far below bf16's spacing at the weights' size: lost, unless they are summed in f32.
    let config = TrainConfig {
        learning_rate: 2e-5,
        num_epochs: 4,
        schedule: Schedule::Constant,
        ..config(0.0, 0)
    };
    let changed = |dtype| {
        let options = LoadOptions {
            dtype: Some(dtype),
            strict: true,
            ..LoadOptions::default()
        };
        let checkpoint = Checkpoint::open(own("base")).unwrap();
        let device = cpu();
        let mut model = checkpoint
            .load(&device, &options)
            .unwrap()
            .model
            .set_require_grad(true);
        let gate = |model: &LlamaForCausalLM| {
            values(
                model.model.layers[0]
                    .mlp
                    .gate_proj
                    .weight
                    .as_ref()
                    .unwrap()
                    .val()
                    .cast(DType::F32),
            )
        };
        let before = gate(&model);
        let losses: Vec<f32> = run(&mut model, &samples, &config)
            .iter()
            .map(|s| s.loss as f32)
            .collect();
        let changed = before
            .iter()
            .zip(gate(&model))
            .filter(|(a, b)| *a != b)
            .count();
        (losses, changed as f32 / before.len() as f32)
    };
    let ((exact, _), (half, share)) = (changed(DType::F32), changed(DType::BF16));
    assert!(relative(&half, &exact) < 0.02, "{half:?} {exact:?}");
    assert!(share > 0.2, "only {share} of the weights have changed");
}

#[test]
fn adapters_on_a_half_precision_base_are_as_fine_as_f32() {
    for (name, tolerance) in [("dora_train", 0.02), ("all_linear", 0.02)] {
        let logits = |dtype| {
            let options = LoadOptions {
                dtype: Some(dtype),
                strict: true,
                ..LoadOptions::default()
            };
            let checkpoint = Checkpoint::open(own("base")).unwrap();
            let mut model = checkpoint.load(&cpu(), &options).unwrap().model;
            let base = probe(&model, vec![vec![1, 5, 9, 13]]);
            Adapter::load(&mut model, own(name).join("adapter_final")).unwrap();
            (base, probe(&model, vec![vec![1, 5, 9, 13]]))
        };
        let ((_, exact), (base, half)) = (logits(DType::F32), logits(DType::BF16));
        assert!(
            relative(&half, &exact) < tolerance,
            "{name}: {}",
            relative(&half, &exact)
        );
        assert!(relative(&half, &base) > 0.02, "{name} does nothing");
    }
}
