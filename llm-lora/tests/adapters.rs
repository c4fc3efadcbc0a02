//! Attaching and detaching.

use llm_core::{LlamaForCausalLM, TokenBatch};
use llm_lora::{Adapter, Bias, InitLoraWeights, LoraConfig, Modules};
use serde_json::{Value, json};

use crate::support::{load, own, values};

fn logits(model: &LlamaForCausalLM) -> Vec<f32> {
    values(
        model
            .forward(&TokenBatch::new(&[vec![1, 2, 3, 4]]).unwrap(), None)
            .unwrap(),
    )
}

#[test]
fn a_fresh_adapter_changes_nothing_and_comes_off_without_trace() {
    for use_dora in [false, true] {
        let mut model = load(&own("base_bias"));
        let before = logits(&model);
        let config = LoraConfig {
            target_modules: Some(Modules::AllLinear),
            use_dora,
            bias: Bias::All,
            modules_to_save: Some(vec!["lm_head".to_owned()]),
            ..Default::default()
        };
        let adapter = Adapter::attach(&mut model, config, 1).unwrap();
        assert_eq!(adapter.modules().count(), 14);
        let off = crate::support::distance(&logits(&model), &before);
        assert!(off < 1e-5, "dora {use_dora}: {off}");
        adapter.detach(&mut model);
        assert_eq!(logits(&model), before);
    }
}

#[test]
fn detaching_gives_trained_biases_and_heads_back() {
    let mut model = load(&own("base_bias"));
    let before = logits(&model);
    let adapter = Adapter::load(&mut model, own("bias_all/adapter_final")).unwrap();
    assert_ne!(logits(&model), before);
    adapter.detach(&mut model);
    assert_eq!(logits(&model), before);
}

#[test]
fn the_seed_decides_the_adapter() {
    let a = |seed, init: Value| {
        let mut model = load(&own("base"));
        let init_lora_weights: InitLoraWeights = serde_json::from_value(init).unwrap();
        let config = LoraConfig {
            init_lora_weights,
            ..Default::default()
        };
        Adapter::attach(&mut model, config, seed).unwrap();
        let (_, linear) = model.linears_mut().swap_remove(0);
        values(linear.adapter.as_ref().unwrap().lora_a.val())
    };
    assert_eq!(a(1, json!(true)), a(1, json!(true)));
    assert_ne!(a(1, json!(true)), a(2, json!(true)));
    // Uniform in ±1/√32; normal with standard deviation 1/8.
    let bound = 1.0 / 32f32.sqrt();
    assert!(a(1, json!(true)).iter().all(|x| x.abs() <= bound));
    let normal = a(1, json!("gaussian"));
    let deviation = (normal.iter().map(|x| x * x).sum::<f32>() / normal.len() as f32).sqrt();
    assert!((deviation - 0.125).abs() < 0.02, "{deviation}");
}

#[test]
fn the_configuration_survives_with_fields_that_are_unknown() {
    let text =
        std::fs::read_to_string(own("pattern_train/adapter_final/adapter_config.json")).unwrap();
    let mut theirs: Value = serde_json::from_str(&text).unwrap();
    theirs["my_field"] = json!({"kept": true});
    let config: LoraConfig = serde_json::from_value(theirs.clone()).unwrap();
    config.validate().unwrap();
    let ours = serde_json::to_value(&config).unwrap();
    for (field, value) in theirs.as_object().unwrap() {
        assert_eq!(&ours[field], value, "{field}");
    }
}
