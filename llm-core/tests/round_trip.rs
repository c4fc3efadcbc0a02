//! Saving and loading.

use burn::tensor::DType;
use llm_core::{Checkpoint, LlamaForCausalLM, SaveOptions, TokenBatch, save_model};

use crate::support::{distance, load, own, shared, values};

fn logits(model: &LlamaForCausalLM) -> Vec<f32> {
    values(
        model
            .forward(&TokenBatch::new(&[vec![1, 2, 3, 4, 5]]).unwrap(), None)
            .unwrap(),
    )
}

#[test]
fn a_saved_model_is_the_same_model() {
    for name in [
        "mistral_swa",
        "qwen3_qknorm",
        "qwen2_swa",
        "llama_yarn_mscale",
        "llama_bias",
        "llama_dynamic",
    ] {
        let model = load(&own(name));
        let dir = tempfile::tempdir().unwrap();
        save_model(&model, dir.path(), None, &SaveOptions::default()).unwrap();
        let again = load(dir.path());
        assert_eq!(again.config(), model.config(), "{name}");
        assert_eq!(logits(&again), logits(&model), "{name}");
    }
}

#[test]
fn shards_hold_the_same_model_and_replace_a_single_file() {
    let model = load(&own("mistral_swa"));
    let dir = tempfile::tempdir().unwrap();
    save_model(&model, dir.path(), None, &SaveOptions::default()).unwrap();
    let options = SaveOptions {
        max_shard_bytes: 20_000,
        ..Default::default()
    };
    save_model(&model, dir.path(), None, &options).unwrap();
    assert!(dir.path().join("model.safetensors.index.json").exists());
    assert!(!dir.path().join("model.safetensors").exists());
    assert_eq!(logits(&load(dir.path())), logits(&model));
}

#[test]
fn half_precision_on_disk_costs_its_rounding_only() {
    let model = load(&own("mistral_swa"));
    for (dtype, tolerance) in [(DType::F16, 2e-2), (DType::BF16, 2e-1)] {
        let dir = tempfile::tempdir().unwrap();
        save_model(
            &model,
            dir.path(),
            None,
            &SaveOptions {
                dtype,
                ..Default::default()
            },
        )
        .unwrap();
        let off = distance(&logits(&load(dir.path())), &logits(&model));
        assert!(off > 0.0 && off < tolerance, "{dtype:?}: {off}");
    }
}

#[test]
fn unknown_keys_of_the_configuration_survive() {
    let model = load(&own("mistral_swa"));
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(own("mistral_swa/config.v5.json")).unwrap();
    let mut source: serde_json::Map<_, _> = serde_json::from_str(&text).unwrap();
    source.insert("my_key".to_owned(), 7.into());
    save_model(&model, dir.path(), Some(&source), &SaveOptions::default()).unwrap();
    let saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("config.json")).unwrap())
            .unwrap();
    assert_eq!(saved["my_key"], 7);
    assert_eq!(saved["dtype"], "float32");
    assert_eq!(load(dir.path()).config(), model.config());
}

#[test]
fn untying_keeps_the_logits() {
    let Some(dir) = shared("fixtures/tiny_models/llama_tied") else {
        return;
    };
    let mut model = load(&dir);
    let before = logits(&model);
    model.untie();
    assert!(model.lm_head.is_some());
    assert_eq!(logits(&model), before);
    let out = tempfile::tempdir().unwrap();
    save_model(&model, out.path(), None, &SaveOptions::default()).unwrap();
    assert!(
        !Checkpoint::open(out.path())
            .unwrap()
            .config()
            .tie_word_embeddings
    );
    assert_eq!(logits(&load(out.path())), before);
}
