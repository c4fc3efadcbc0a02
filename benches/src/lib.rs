//! What the benches share: a model of SmolLM2-135M's shape with random weights, so that they run
//! without a download, and inputs for it.

use std::path::PathBuf;

use llm_core::{LlamaConfig, LlamaForCausalLM, Result, open_device};
use llm_data::Sample;

/// SmolLM2-135M with three of its thirty layers: the time of a layer, and of the head, can be told
/// apart from the whole by the number of layers.
pub const LAYERS: usize = 3;

const VOCAB: u32 = 49_152;

/// The model on the best device that is compiled in.
///
/// # Errors
/// When no device can be opened.
pub fn model() -> Result<LlamaForCausalLM> {
    let config = format!(
        r#"{{"model_type": "llama", "vocab_size": {VOCAB}, "hidden_size": 576, "intermediate_size": 1536,
            "num_hidden_layers": {LAYERS}, "num_attention_heads": 9, "num_key_value_heads": 3,
            "max_position_embeddings": 8192, "rope_theta": 100000.0, "tie_word_embeddings": true}}"#
    );
    let config = LlamaConfig::from_json(&config)?;
    Ok(LlamaForCausalLM::random(&config, 1, &open_device("auto")?))
}

/// `count` ids that look random.
pub fn ids(count: usize) -> Vec<u32> {
    (1..=count as u32)
        .map(|i| i.wrapping_mul(2_654_435_761) % VOCAB)
        .collect()
}

/// A sample of `tokens` tokens, the last two thirds of them supervised, as in Alpaca records.
pub fn sample(tokens: usize) -> Sample {
    let input_ids = ids(tokens);
    let label = |(index, id): (usize, &u32)| {
        if index < tokens / 3 {
            -100
        } else {
            i64::from(*id)
        }
    };
    let labels = input_ids.iter().enumerate().map(label).collect();
    Sample { input_ids, labels }
}

/// The tiny model that the repository ships.
pub fn bundled_model() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../examples/models/tiny"]
        .iter()
        .collect()
}

/// The Alpaca records that the repository ships.
pub fn bundled_records() -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "../examples/data/alpaca_tiny.json",
    ]
    .iter()
    .collect()
}
