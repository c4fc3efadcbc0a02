//! Bad input: rows 13, 14 and 20 of the project's list of faults.

use std::fs;
use std::ops::ControlFlow;

use llm_data::Sample;
use llm_lora::{Adapter, Error, LoraConfig, Modules, TrainConfig, train};
use serde_json::{Value, json};

use crate::support::{load, own};

fn attach(config: LoraConfig) -> Error {
    Adapter::attach(&mut load(&own("base")), config, 1).unwrap_err()
}

#[test]
fn unusable_settings_are_refused_by_name() {
    let list = |names: &[&str]| {
        Some(Modules::List(
            names.iter().map(|name| (*name).to_owned()).collect(),
        ))
    };
    let error = attach(LoraConfig {
        r: 0,
        ..Default::default()
    });
    assert!(
        matches!(&error, Error::Config { field, .. } if field == "r"),
        "{error}"
    );
    let error = attach(LoraConfig {
        lora_dropout: 1.0,
        ..Default::default()
    });
    assert!(
        matches!(&error, Error::Config { field, .. } if field == "lora_dropout"),
        "{error}"
    );
    let error = attach(LoraConfig {
        target_modules: list(&["q_proj", "qq_proj"]),
        ..Default::default()
    });
    let text = error.to_string();
    assert!(
        text.contains("qq_proj") && text.contains("q_proj, k_proj"),
        "{text}"
    );
    let error = attach(LoraConfig {
        target_modules: Some(Modules::Regex("nothing".to_owned())),
        ..Default::default()
    });
    assert!(error.to_string().contains("nothing"), "{error}");
    let error = attach(LoraConfig {
        modules_to_save: Some(vec!["heads".to_owned()]),
        ..Default::default()
    });
    assert!(
        matches!(&error, Error::Config { field, .. } if field == "modules_to_save"),
        "{error}"
    );
}

/// What loading a copy of an adapter says after `change` has been made to its configuration.
fn load_changed(change: impl FnOnce(&mut Value)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let from = own("all_linear/adapter_final");
    fs::copy(
        from.join("adapter_model.safetensors"),
        dir.path().join("adapter_model.safetensors"),
    )
    .unwrap();
    let text = fs::read_to_string(from.join("adapter_config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    change(&mut config);
    fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
    Adapter::load(&mut load(&own("base")), dir.path())
        .unwrap_err()
        .to_string()
}

#[test]
fn unsupported_fields_of_peft_are_refused_by_name() {
    for (field, value) in [
        ("peft_type", json!("IA3")),
        ("lora_bias", json!(true)),
        ("layer_replication", json!([[0, 1]])),
        ("init_lora_weights", json!("pissa")),
        ("fan_in_fan_out", json!(true)),
        ("trainable_token_indices", json!([1])),
        ("rank_pattern", json!({"q_proj": 0})),
    ] {
        let error = load_changed(|config| config[field] = value);
        assert!(error.contains(field), "{field}: {error}");
    }
    let error = load_changed(|config| config["r"] = json!("eight"));
    assert!(
        error.contains("adapter_config.json") && error.contains("eight"),
        "{error}"
    );
}

#[test]
fn an_adapter_for_another_base_names_what_does_not_fit() {
    let error = load_changed(|config| config["r"] = json!(16));
    assert!(
        error.contains("q_proj.lora_A.weight`: expected [16, 32], got [4, 32]"),
        "{error}"
    );
    let error = load_changed(|config| config["target_modules"] = json!(["q_proj"]));
    assert!(
        error.contains("v_proj.lora_A.weight`: expected nothing"),
        "{error}"
    );
    // A base with another width.
    let mut other = load(&own("../../../llm-core/tests/goldens/mistral_swa"));
    let error = Adapter::load(&mut other, own("all_linear/adapter_final")).unwrap_err();
    assert!(matches!(error, Error::AdapterTensors { .. }), "{error}");
    // A failed load leaves the model without an adapter.
    assert!(
        other
            .linears_mut()
            .iter()
            .all(|(_, linear)| linear.adapter.is_none())
    );
}

fn sample(labels: Vec<i64>) -> Sample {
    Sample {
        input_ids: vec![1; labels.len()],
        labels,
    }
}

fn train_on(samples: &[Sample], config: &TrainConfig) -> Error {
    let mut model = load(&own("base"));
    Adapter::attach(&mut model, Default::default(), 1).unwrap();
    let mut events = 0;
    let result = train(&mut model, samples, &[], config, |_| {
        events += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(events, 0, "refused before the first step");
    result.unwrap_err()
}

#[test]
fn data_without_supervision_is_refused_before_the_first_step() {
    let config = TrainConfig::default();
    assert!(matches!(
        train_on(&[], &config),
        Error::NothingSupervised(_)
    ));
    assert!(matches!(
        train_on(&[sample(vec![-100; 4])], &config),
        Error::NothingSupervised(_)
    ));
    // The first token is predicted by nothing.
    assert!(matches!(
        train_on(&[sample(vec![1, -100])], &config),
        Error::NothingSupervised(_)
    ));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let good = [sample(vec![1, 1])];
    let bad = [
        (
            "micro_batch_size",
            TrainConfig {
                micro_batch_size: 0,
                ..Default::default()
            },
        ),
        (
            "max_tokens_per_forward",
            TrainConfig {
                max_tokens_per_forward: Some(0),
                ..Default::default()
            },
        ),
        (
            "learning_rate",
            TrainConfig {
                learning_rate: f64::NAN,
                ..Default::default()
            },
        ),
        (
            "max_grad_norm",
            TrainConfig {
                max_grad_norm: Some(0.0),
                ..Default::default()
            },
        ),
        (
            "max_steps",
            TrainConfig {
                max_steps: Some(0),
                ..Default::default()
            },
        ),
        (
            "warmup_ratio",
            TrainConfig {
                warmup: llm_lora::Warmup::Ratio(2.0),
                ..Default::default()
            },
        ),
    ];
    for (name, config) in bad {
        let error = train_on(&good, &config);
        assert!(
            matches!(&error, Error::Config { field, .. } if field == name),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_frozen_model_is_not_trained() {
    let result = train(
        &mut load(&own("base")),
        &[sample(vec![1, 1])][..],
        &[],
        &TrainConfig::default(),
        |_| ControlFlow::Continue(()),
    );
    assert!(matches!(result, Err(Error::NothingTrainable)));
}

#[test]
fn a_loss_that_is_not_finite_names_its_step() {
    let mut model = load(&own("base"));
    Adapter::attach(&mut model, Default::default(), 1).unwrap();
    let config = TrainConfig {
        learning_rate: 1e38,
        max_grad_norm: None,
        warmup: llm_lora::Warmup::Steps(0),
        max_steps: Some(9),
        ..Default::default()
    };
    let result = train(
        &mut model,
        &[sample(vec![1, 2, 3])][..],
        &[],
        &config,
        |_| ControlFlow::Continue(()),
    );
    assert!(
        matches!(result, Err(Error::NonFinite { step: 2.., .. })),
        "{:?}",
        result.err()
    );
}

#[test]
fn samples_that_do_not_fit_the_model_are_refused() {
    let config = TrainConfig::default();
    let good = sample(vec![1, 1]);
    let bad = [
        Sample {
            input_ids: vec![1, 500],
            labels: vec![1, 1],
        },
        Sample {
            input_ids: vec![1, 1],
            labels: vec![1, (1 << 32) + 3],
        },
        Sample {
            input_ids: vec![1, 1],
            labels: vec![1, 1, 1],
        },
        Sample {
            input_ids: vec![],
            labels: vec![],
        },
    ];
    for bad in bad {
        let error = train_on(&[good.clone(), bad], &config);
        assert!(matches!(error, Error::Sample { index: 1, .. }), "{error}");
    }
}

#[test]
fn a_failed_or_second_attachment_leaves_the_model_as_it_was() {
    let mut model = load(&own("base_tied"));
    let heads = LoraConfig {
        modules_to_save: Some(vec!["lm_head".to_owned(), "heads".to_owned()]),
        ..Default::default()
    };
    Adapter::attach(&mut model, heads, 1).unwrap_err();
    assert!(
        model.lm_head.is_none() && model.linears_mut().iter().all(|(_, l)| l.adapter.is_none())
    );
    let head = LoraConfig {
        modules_to_save: Some(vec!["lm_head".to_owned()]),
        ..Default::default()
    };
    let adapter = Adapter::attach(&mut model, head, 1).unwrap();
    assert!(model.lm_head.is_some());
    let second = Adapter::attach(&mut model, LoraConfig::default(), 1);
    assert!(matches!(second, Err(Error::AlreadyAttached)));
    let dir = tempfile::tempdir().unwrap();
    let other = adapter.save(&load(&own("base_tied")), dir.path());
    assert!(matches!(other, Err(Error::OtherModel { .. })));
    let saved = llm_core::save_model(&model, dir.path(), None, &Default::default());
    assert!(matches!(
        saved,
        Err(llm_core::Error::AdapterAttached { .. })
    ));
    adapter.detach(&mut model);
    assert!(model.lm_head.is_none() && model.config().tie_word_embeddings);
}

#[test]
fn a_tied_head_is_reached_by_name_and_by_regex() {
    for targets in [json!(["lm_head"]), json!(".*(q_proj|lm_head)")] {
        let mut model = load(&own("base_tied"));
        let config = LoraConfig {
            target_modules: serde_json::from_value(targets).unwrap(),
            ..Default::default()
        };
        let adapter = Adapter::attach(&mut model, config, 1).unwrap();
        assert!(adapter.modules().any(|name| name == "lm_head"));
    }
}

#[test]
fn a_damaged_adapter_is_refused_before_it_costs_memory() {
    let error = load_changed(|config| config["r"] = json!(usize::MAX / 2));
    assert!(error.contains("`r`"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let from = own("all_linear/adapter_final");
    fs::copy(
        from.join("adapter_config.json"),
        dir.path().join("adapter_config.json"),
    )
    .unwrap();
    let mut bytes = fs::read(from.join("adapter_model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(dir.path().join("adapter_model.safetensors"), bytes).unwrap();
    let error = Adapter::load(&mut load(&own("base")), dir.path()).unwrap_err();
    assert!(error.to_string().contains("NaN or infinite"), "{error}");
}
