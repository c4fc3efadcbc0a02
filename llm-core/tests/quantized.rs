//! Models with quantised weights.

use std::fs;
use std::path::Path;

use llm_core::quant::{QuantFormat, Quantization};
use llm_core::{
    Checkpoint, Error, LlamaForCausalLM, LoadOptions, SaveOptions, TokenBatch, save_model,
};

use crate::support::{Golden, cpu, distance, load, own, values};

const FORMATS: [Quantization; 4] = [
    Quantization::QLORA,
    Quantization {
        format: QuantFormat::Nf4,
        double: false,
    },
    Quantization {
        format: QuantFormat::Fp4,
        double: true,
    },
    Quantization {
        format: QuantFormat::Int8,
        double: false,
    },
];

fn quantized(dir: &Path, quantization: Quantization) -> LlamaForCausalLM {
    let options = LoadOptions {
        quantize: Some(quantization),
        ..LoadOptions::default()
    };
    let checkpoint = Checkpoint::open(dir).unwrap();
    checkpoint.load(&cpu(), &options).unwrap().model
}

fn logits(model: &LlamaForCausalLM) -> Vec<f32> {
    let batch = TokenBatch::new(&[vec![1, 5, 9, 2, 7, 3], vec![4, 4, 8, 1, 0, 6]]).unwrap();
    values(model.forward(&batch, None).unwrap())
}

#[test]
fn a_model_that_transformers_quantised_gives_its_logits() {
    let dir = own("llama_nf4");
    let model = load(&dir);
    let golden = Golden::open(dir.join("golden.safetensors"));
    let batch = TokenBatch::new(&golden.rows("input_ids")).unwrap();
    let logits = values(model.forward(&batch, None).unwrap());
    let off = distance(&logits, &golden.floats("logits"));
    assert!(off < 2e-4, "logits differ by {off}");
}

#[test]
fn a_quantised_model_computes_what_its_codes_stand_for() {
    for quantization in FORMATS {
        let mut model = quantized(&own("llama_bias"), quantization);
        let coded = logits(&model);
        model.dequantize().unwrap();
        let off = distance(&coded, &logits(&model));
        assert!(off < 1e-5, "{quantization:?}: {off}");
        let exact = logits(&load(&own("llama_bias")));
        assert!(distance(&coded, &exact) > 1e-3, "{quantization:?} is exact");
    }
}

#[test]
fn the_head_stays_as_it_is_and_all_other_linear_layers_are_coded() {
    let mut model = quantized(&own("llama_bias"), Quantization::QLORA);
    for (name, linear) in model.linears_mut() {
        assert_eq!(linear.quantized().is_some(), name != "lm_head", "{name}");
        assert_eq!(linear.weight.is_some(), name == "lm_head", "{name}");
    }
}

#[test]
fn a_quantised_model_is_saved_and_loaded_to_the_bit() {
    for quantization in FORMATS {
        let model = quantized(&own("llama_bias"), quantization);
        let dir = tempfile::tempdir().unwrap();
        save_model(&model, dir.path(), None, &SaveOptions::default()).unwrap();
        assert_eq!(
            logits(&load(dir.path())),
            logits(&model),
            "{quantization:?}"
        );
        let again = tempfile::tempdir().unwrap();
        save_model(
            &load(dir.path()),
            again.path(),
            None,
            &SaveOptions::default(),
        )
        .unwrap();
        let bytes = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
        assert_eq!(bytes(again.path()), bytes(dir.path()), "{quantization:?}");
    }
}

#[test]
fn a_dense_copy_of_a_quantised_model_says_nothing_of_quantisation() {
    let dir = own("llama_nf4");
    let mut model = load(&dir);
    model.dequantize().unwrap();
    let source = Checkpoint::open(&dir).unwrap().config_json().unwrap();
    let out = tempfile::tempdir().unwrap();
    save_model(&model, out.path(), Some(&source), &SaveOptions::default()).unwrap();
    let config = fs::read_to_string(out.path().join("config.json")).unwrap();
    assert!(!config.contains("quantization_config"));
    assert!(distance(&logits(&load(out.path())), &logits(&model)) < 1e-6);
}

#[test]
fn weights_without_codes_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(own("llama_bias").join("model.safetensors")).unwrap();
    let config = fs::read(own("llama_bias").join("config.json")).unwrap();
    // The last value of the file, of whatever weight it is, becomes NaN: loading dense warns, quantising refuses.
    let end = bytes.len();
    let name = last_linear(&bytes);
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    let Some(name) = name else { return };
    let options = LoadOptions {
        quantize: Some(Quantization::QLORA),
        ..LoadOptions::default()
    };
    let error = Checkpoint::open(dir.path())
        .unwrap()
        .load(&cpu(), &options)
        .unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
    assert!(matches!(error, Error::Quantization { .. }));
}

/// The tensor that ends a file, if it is a linear layer's weight.
fn last_linear(file: &[u8]) -> Option<String> {
    let tensors = safetensors::SafeTensors::deserialize(file).unwrap();
    let end = |name: &String| tensors.tensor(name).unwrap().data().as_ptr_range().end;
    let names: Vec<String> = tensors.names().into_iter().map(ToOwned::to_owned).collect();
    let last = names.into_iter().max_by_key(end)?;
    last.contains("_proj.weight").then_some(last)
}

#[test]
fn a_damaged_quantised_checkpoint_is_refused_with_the_tensor() {
    let source = own("llama_nf4");
    let file = fs::read(source.join("model.safetensors")).unwrap();
    let find = |needle: &[u8]| {
        file.windows(needle.len())
            .position(|w| w == needle)
            .unwrap()
    };
    let damages: [(&[u8], &[u8], &str); 3] = [
        (b"\"blocksize\": 64", b"\"blocksize\": 32", "blocksize"),
        (
            b"\"quant_type\": \"nf4\"",
            b"\"quant_type\": \"nf5\"",
            "quant_type",
        ),
        (
            b"\"nested_offset\": ",
            b"\"nested_0ffset\": ",
            "nested_0ffset",
        ),
    ];
    for (needle, replacement, expected) in damages {
        let mut damaged = file.clone();
        let at = find(needle);
        damaged[at..at + replacement.len()].copy_from_slice(replacement);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("model.safetensors"), damaged).unwrap();
        fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
        let error = Checkpoint::open(dir.path())
            .unwrap()
            .load(&cpu(), &LoadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("_proj"),
            "{error}"
        );
    }
}
