//! Adapters beside a quantised base.

use burn::module::Module;
use llm_core::quant::{QuantFormat, Quantization, QuantizedWeight};
use llm_core::{Checkpoint, LlamaForCausalLM, LoadOptions};
use llm_lora::{Adapter, LoraConfig, Modules, Step};

use crate::support::{Golden, cpu, distance, own, relative};
use crate::training::{config, run, samples};

pub(crate) fn quantized(
    device: &burn::tensor::Device,
    quantization: Quantization,
) -> LlamaForCausalLM {
    let options = LoadOptions {
        quantize: Some(quantization),
        ..LoadOptions::default()
    };
    let checkpoint = Checkpoint::open(own("base")).unwrap();
    checkpoint.load(device, &options).unwrap().model
}

fn codes(model: &mut LlamaForCausalLM) -> Vec<QuantizedWeight> {
    let linears = model.linears_mut();
    let coded = linears.iter().filter_map(|(_, linear)| linear.quantized());
    coded
        .map(|weight| (*weight.to_host().unwrap()).clone())
        .collect()
}

/// Trains PEFT's initial adapter on the golden batches.
pub(crate) fn train(mut model: LlamaForCausalLM) -> (LlamaForCausalLM, Adapter, Vec<Step>) {
    let adapter = Adapter::load(&mut model, own("all_linear/adapter_init")).unwrap();
    adapter.unfreeze(&mut model);
    let batches = Golden::open(own("batches.safetensors"));
    let steps = run(&mut model, &samples(&batches)[..8], &config(5e-3, 2));
    (model, adapter, steps)
}

fn numbers(steps: &[Step]) -> Vec<f32> {
    let numbers = steps
        .iter()
        .map(|step| [step.loss as f32, step.grad_norm as f32]);
    numbers.flatten().collect()
}

fn saved(model: &LlamaForCausalLM, adapter: &Adapter) -> Golden {
    let dir = tempfile::tempdir().unwrap();
    adapter.save(model, dir.path()).unwrap();
    Golden::open(dir.path().join("adapter_model.safetensors"))
}

#[test]
fn training_beside_codes_is_training_beside_what_they_stand_for() {
    for format in [QuantFormat::Nf4, QuantFormat::Fp4, QuantFormat::Int8] {
        let quantization = Quantization {
            format,
            double: format != QuantFormat::Int8,
        };
        let coded = quantized(&cpu(), quantization);
        let mut dense = coded.clone();
        dense.dequantize().unwrap();
        let ((coded, adapter, ours), (dense, same, theirs)) = (train(coded), train(dense));
        assert!(
            relative(&numbers(&ours), &numbers(&theirs)) < 1e-4,
            "{format:?}"
        );
        let (ours, theirs) = (saved(&coded, &adapter), saved(&dense, &same));
        for name in ours.names() {
            let off = distance(&ours.floats(&name), &theirs.floats(&name));
            assert!(off < 1e-4, "{format:?} {name}: {off}");
        }
    }
}

#[test]
fn training_leaves_the_codes_as_they_were() {
    let mut model = quantized(&cpu(), Quantization::QLORA);
    let before = codes(&mut model);
    let (mut after, _, steps) = train(model);
    assert!(!before.is_empty() && before == codes(&mut after));
    assert!(steps.iter().all(|step| step.grad_norm > 0.0));
}

#[test]
fn an_adapter_merges_into_what_the_codes_stand_for() {
    let (model, adapter, _) = train(quantized(&cpu(), Quantization::QLORA));
    let batch = llm_core::TokenBatch::new(&[vec![1, 5, 9, 2]]).unwrap();
    let logits =
        |model: &LlamaForCausalLM| crate::support::values(model.forward(&batch, None).unwrap());
    let (before, mut merged) = (logits(&model), model);
    adapter.merge(&mut merged).unwrap();
    assert!(
        merged
            .linears_mut()
            .iter()
            .all(|(_, linear)| linear.quantized().is_none())
    );
    assert!(distance(&logits(&merged), &before) < 1e-4);
}

#[test]
fn dora_rslora_and_dropout_go_with_a_quantised_base() {
    for dora in [false, true] {
        let mut model = quantized(&cpu(), Quantization::QLORA);
        let options = LoraConfig {
            use_dora: dora,
            use_rslora: true,
            lora_dropout: 0.1,
            target_modules: Some(Modules::AllLinear),
            ..LoraConfig::default()
        };
        let mut dense = model.clone();
        dense.dequantize().unwrap();
        let batches = Golden::open(own("batches.safetensors"));
        let losses = |model: &mut LlamaForCausalLM| {
            Adapter::attach(model, options.clone(), 3).unwrap();
            numbers(&run(model, &samples(&batches)[..8], &config(5e-3, 2)))
        };
        let (ours, theirs) = (losses(&mut model), losses(&mut dense));
        assert!(
            relative(&ours, &theirs) < 1e-4,
            "dora {dora}: {ours:?} {theirs:?}"
        );
        assert_eq!(model.clone().valid().num_params(), model.num_params());
    }
}
