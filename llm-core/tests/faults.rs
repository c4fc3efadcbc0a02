//! Bad input: rows 1 to 5 and 8 of the project's list of faults.

use std::fs;
use std::path::Path;

use llm_core::checkpoint::SafetensorsFile;
use llm_core::{Checkpoint, Error, LlamaConfig, LoadOptions, Result, TensorProblem};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{cpu, own};

/// A copy of a small checkpoint, to be broken.
fn checkpoint() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(own("llama_bias").join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn open_bytes(bytes: &[u8]) -> Result<SafetensorsFile> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    SafetensorsFile::open(file.path())
}

#[test]
fn malformed_safetensors_files_are_refused() {
    let tensor = |shape: &str, start: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}"#)
    };
    let (a, b) = (tensor("[2]", 0, 8), tensor("[2]", 8, 16));
    let good = safetensors(&format!(r#"{{"a":{a},"b":{b}}}"#), 16);
    assert!(open_bytes(&good).is_ok());
    let huge = u64::MAX.to_le_bytes().to_vec();
    let huge_end = (1u64 << 61) - 1;
    let many: Vec<String> = (0..8)
        .map(|i| {
            format!(
                r#""t{i}":{}"#,
                tensor("[1]", huge_end * i, huge_end * (i + 1))
            )
        })
        .collect();
    let broken: [(&str, Vec<u8>); 12] = [
        ("sum", safetensors(&format!("{{{}}}", many.join(",")), 8)),
        ("header length", huge),
        ("empty", vec![]),
        ("short", vec![1, 2, 3]),
        ("truncated", good[..good.len() - 1].to_vec()),
        (
            "overlap",
            safetensors(&format!(r#"{{"a":{a},"b":{}}}"#, tensor("[2]", 4, 12)), 12),
        ),
        (
            "reversed",
            safetensors(&format!(r#"{{"a":{}}}"#, tensor("[2]", 8, 0)), 8),
        ),
        (
            "hole",
            safetensors(&format!(r#"{{"a":{a},"b":{}}}"#, tensor("[2]", 12, 20)), 20),
        ),
        (
            "overflow",
            safetensors(
                &format!(r#"{{"a":{}}}"#, tensor("[4294967296,4294967296]", 0, 8)),
                8,
            ),
        ),
        (
            "size",
            safetensors(&format!(r#"{{"a":{}}}"#, tensor("[3]", 0, 8)), 8),
        ),
        ("twice", safetensors(&format!(r#"{{"a":{a},"a":{a}}}"#), 8)),
        (
            "dtype",
            safetensors(
                r#"{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#,
                8,
            ),
        ),
    ];
    for (what, bytes) in broken {
        match open_bytes(&bytes) {
            Err(Error::Safetensors { .. } | Error::Io { .. }) => {}
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let dir = checkpoint();
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["intermediate_size"] = json!(50);
    config["mlp_bias"] = json!(false);
    config["tie_word_embeddings"] = json!(true);
    fs::write(&path, config.to_string()).unwrap();
    let error = Checkpoint::open(dir.path())
        .unwrap()
        .load(&cpu(), &LoadOptions::default())
        .unwrap_err();
    let text = error.to_string();
    let Error::Tensors { problems, .. } = error else {
        panic!("{error}")
    };
    let misshapen = |p: &&TensorProblem| matches!(p, TensorProblem::Misshapen { .. });
    assert_eq!(problems.iter().filter(misshapen).count(), 6);
    assert!(
        text.contains("`model.layers.0.mlp.gate_proj.weight`: expected [50, 16], got [24, 16]"),
        "{text}"
    );
    assert!(
        text.contains("`model.layers.1.mlp.up_proj.bias`: expected nothing, got [24]"),
        "{text}"
    );
    // The embedding serves as head, so the checkpoint's own head is no fault.
    assert!(!text.contains("lm_head"), "{text}");

    config["num_hidden_layers"] = json!(3);
    fs::write(&path, config.to_string()).unwrap();
    let error = Checkpoint::open(dir.path())
        .unwrap()
        .load(&cpu(), &LoadOptions::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`model.layers.2.mlp.up_proj.weight`: expected [50, 16], got nothing")
    );
}

#[test]
fn weights_that_are_not_finite_warn_or_fail() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let loaded = checkpoint.load(&cpu(), &LoadOptions::default()).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    let strict = LoadOptions {
        strict: true,
        ..Default::default()
    };
    assert!(matches!(
        checkpoint.load(&cpu(), &strict),
        Err(Error::NonFinite { count: 1, .. })
    ));
}

/// Writes an index that sends the only tensor to `file`.
fn index(dir: &Path, weight_map: &str) {
    fs::write(
        dir.join("model.safetensors.index.json"),
        format!(r#"{{"weight_map":{weight_map}}}"#),
    )
    .unwrap();
}

#[test]
fn a_shard_outside_the_directory_is_refused_before_it_is_opened() {
    let dir = checkpoint();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("model.safetensors");
    fs::copy(dir.path().join("model.safetensors"), &target).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&target, dir.path().join("link.safetensors")).unwrap();
    let absolute = target.to_str().unwrap().to_owned();
    for file in [
        "../x",
        absolute.as_str(),
        r"C:\\x",
        "a\\u0000b",
        "",
        ".",
        "..",
        "link.safetensors",
        "absent",
    ] {
        index(dir.path(), &format!(r#"{{"lm_head.weight":"{file}"}}"#));
        let error = Checkpoint::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::ShardIndex { .. }), "{file}: {error}");
    }
}

#[test]
fn an_inconsistent_index_is_refused() {
    let dir = checkpoint();
    fs::copy(
        dir.path().join("model.safetensors"),
        dir.path().join("copy.safetensors"),
    )
    .unwrap();
    for map in [
        r#"{"lm_head.weight":"model.safetensors","lm_head.weight":"model.safetensors"}"#,
        r#"{"no_such.weight":"model.safetensors"}"#,
        r#"{"lm_head.weight":"model.safetensors","model.norm.weight":"copy.safetensors"}"#,
    ] {
        index(dir.path(), map);
        let error = Checkpoint::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::ShardIndex { .. }), "{map}: {error}");
    }
}

fn config_error(key: &str, value: Value) -> String {
    let text = fs::read_to_string(own("llama_bias/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config[key] = value;
    LlamaConfig::from_json(&config.to_string())
        .unwrap_err()
        .to_string()
}

#[test]
fn impossible_configurations_are_refused_by_name() {
    for (key, value, names) in [
        ("num_key_value_heads", json!(3), "num_key_value_heads"),
        ("num_hidden_layers", json!(0), "num_hidden_layers"),
        ("num_attention_heads", json!(0), "num_attention_heads"),
        ("vocab_size", json!(1u64 << 40), "vocab_size"),
        ("num_hidden_layers", json!(1u64 << 40), "num_hidden_layers"),
        ("head_dim", json!(7), "head_dim"),
        ("hidden_size", json!("64"), "expected usize"),
        ("hidden_size", json!(-1), "expected usize"),
        ("model_type", json!("mamba"), "`mamba`"),
        ("model_type", Value::Null, "model_type"),
        (
            "rope_scaling",
            json!({"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}),
            "`longrope`",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "longrope", "factor": 2.0}),
            "`longrope`",
        ),
        ("rope_scaling", json!({"type": "linear"}), "factor"),
        (
            "rope_scaling",
            json!({"type": "linear", "factor": 0.0}),
            "factor",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "default", "mrope_section": [1]}),
            "mrope_section",
        ),
        ("hidden_act", json!("gelu"), "`gelu`"),
        ("attention_dropout", json!(0.1), "attention_dropout"),
        (
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "gptq",
        ),
    ] {
        let error = config_error(key, value.clone());
        assert!(error.contains(names), "{key} = {value}: {error}");
    }
}

#[test]
fn absent_and_foreign_files_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    let error = Checkpoint::open(&missing).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
    fs::copy(
        own("llama_bias/config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("neither model.safetensors"), "{error}");
    fs::write(dir.path().join("pytorch_model.bin"), b"\x80\x02").unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("save_pretrained"), "{error}");
    let file = dir.path().join("model.gguf");
    fs::write(&file, b"GGUF").unwrap();
    assert!(matches!(
        Checkpoint::open(&file),
        Err(Error::UnsupportedCheckpoint { .. })
    ));
}

#[test]
fn a_model_of_another_kind_is_named_though_it_lacks_fields() {
    let error = LlamaConfig::from_json(r#"{"model_type": "gpt2", "n_embd": 768}"#).unwrap_err();
    assert!(error.to_string().contains("`gpt2`"), "{error}");
}

#[test]
fn an_empty_rope_scaling_leaves_the_parameters_alone() {
    let text = fs::read_to_string(own("llama_yarn/config.v5.json")).unwrap();
    let plain = LlamaConfig::from_json(&text).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["rope_scaling"] = json!({});
    assert_eq!(LlamaConfig::from_json(&config.to_string()).unwrap(), plain);
}

#[test]
fn types_that_are_not_computed_in_are_refused() {
    use burn::tensor::DType;
    use llm_core::SaveOptions;

    let checkpoint = Checkpoint::open(own("llama_bias")).unwrap();
    for dtype in [DType::I32, DType::F64] {
        let options = LoadOptions {
            dtype: Some(dtype),
            strict: false,
            ..LoadOptions::default()
        };
        assert!(matches!(
            checkpoint.load(&cpu(), &options),
            Err(Error::Dtype { .. })
        ));
        let model = checkpoint
            .load(&cpu(), &LoadOptions::default())
            .unwrap()
            .model;
        let options = SaveOptions {
            dtype,
            ..Default::default()
        };
        let dir = tempfile::tempdir().unwrap();
        assert!(llm_core::save_model(&model, dir.path(), None, &options).is_err());
    }
}

#[test]
fn recommended_options_of_the_wrong_type_are_an_error() {
    let dir = checkpoint();
    let path = dir.path().join("generation_config.json");
    fs::write(
        &path,
        r#"{"do_sample": true, "temperature": 0.6, "top_k": 20, "eos_token_id": [7, 2]}"#,
    )
    .unwrap();
    let options = Checkpoint::open(dir.path())
        .unwrap()
        .generation_config()
        .unwrap();
    assert_eq!((options.temperature, options.top_k), (0.6, 20));
    assert_eq!(options.stop_ids, [2, 7]);
    fs::write(&path, r#"{"temperature": "0.6"}"#).unwrap();
    let error = Checkpoint::open(dir.path())
        .unwrap()
        .generation_config()
        .unwrap_err();
    assert!(
        error.to_string().contains("generation_config.json"),
        "{error}"
    );
}
