//! How samples are laid out, and what is kept for the backward, does not change what is learnt.

use llm_core::LlamaForCausalLM;
use llm_data::Sample;
use llm_lora::{Adapter, LoraConfig, Packing, Step, TrainConfig};

use crate::support::{Golden, load, own, relative, values};
use crate::training::{config, run, samples};

/// Relative to the largest of losses, of gradient norms, and of each tensor.
const TOLERANCE: f32 = 1e-4;

/// Losses, gradient norms, and the tensors of the adapter.
type Outcome = [Vec<Vec<f32>>; 3];

/// Samples of 4 to 16 tokens.
fn uneven() -> Vec<Sample> {
    let mut samples = samples(&Golden::open(own("batches.safetensors")));
    for (index, sample) in samples.iter_mut().enumerate() {
        let length = 16 - 5 * index % 13;
        sample.input_ids.truncate(length);
        sample.labels.truncate(length);
    }
    samples
}

fn adapter(model: &mut LlamaForCausalLM) -> Vec<Vec<f32>> {
    let linears = model.linears_mut().into_iter();
    let adapters = linears.filter_map(|(_, linear)| linear.adapter.as_ref());
    adapters
        .flat_map(|adapter| [values(adapter.lora_a.val()), values(adapter.lora_b.val())])
        .collect()
}

/// Trains on steps of 8 samples.
fn outcome(lora: LoraConfig, change: impl FnOnce(&mut TrainConfig)) -> Outcome {
    let mut model = load(&own("base"));
    Adapter::attach(&mut model, lora, 7).unwrap();
    let mut config = TrainConfig {
        micro_batch_size: 4,
        gradient_accumulation_steps: 2,
        packing: Packing::None,
        num_epochs: 2,
        ..config(5e-3, 1)
    };
    change(&mut config);
    let steps = run(&mut model, &uneven(), &config);
    let series = |field: fn(&Step) -> f64| {
        let values = steps.iter().map(|step| field(step) as f32);
        vec![values.collect::<Vec<f32>>()]
    };
    [
        series(|step| step.loss),
        series(|step| step.grad_norm),
        adapter(&mut model),
    ]
}

fn assert_same(ours: &Outcome, expected: &Outcome, how: &str) {
    let names = ["losses", "gradient norms", "the adapter"];
    for ((ours, expected), name) in ours.iter().zip(expected).zip(names) {
        assert_eq!(ours.len(), expected.len(), "{how}: {name}");
        for (ours, expected) in ours.iter().zip(expected) {
            let off = relative(ours, expected);
            assert!(off < TOLERANCE, "{how}: {name} differ by {off}");
        }
    }
}

#[test]
fn every_layout_learns_the_same() {
    let plain = outcome(LoraConfig::default(), |_| ());
    assert!(plain[0][0].len() > 2, "more than one step");
    for packing in [Packing::None, Packing::Bucket, Packing::Pack] {
        // 1 is less than any sample, 20 holds one and a bit, 40 a few, None all of a step.
        for tokens in [Some(1), Some(20), Some(40), None] {
            for by_block in [false, true] {
                let ours = outcome(LoraConfig::default(), |config| {
                    config.packing = packing;
                    config.max_tokens_per_forward = tokens;
                    config.gradient_checkpointing = by_block;
                });
                let how = format!("{packing:?} in {tokens:?} tokens, by block: {by_block}");
                assert_same(&ours, &plain, &how);
            }
        }
    }
}

#[test]
fn every_kind_of_adapter_learns_the_same_by_block() {
    let options = [
        r#"{"target_modules": "all-linear", "lora_dropout": 0.2}"#,
        r#"{"target_modules": ["q_proj", "down_proj"], "use_dora": true, "lora_dropout": 0.2}"#,
        r#"{"target_modules": ["v_proj", "gate_proj"], "layers_to_transform": [1]}"#,
        r#"{"target_modules": ["k_proj"], "layers_to_transform": [0], "bias": "none"}"#,
    ];
    for json in options {
        let lora = || serde_json::from_str::<LoraConfig>(json).unwrap();
        let [at_once, by_block] = [false, true]
            .map(|by_block| outcome(lora(), |config| config.gradient_checkpointing = by_block));
        assert_same(&by_block, &at_once, json);
    }
}
