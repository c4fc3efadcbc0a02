//! Proof of training, and what an adapter was made from.

use std::fs;

use llm_core::Checkpoint;
use llm_data::{Template, Tokenizer};
use llm_lora::doctor::{FindingKind, diagnose};
use llm_lora::{Adapter, Error, Identity, LoraConfig, Modules, Part, Probe, TrainConfig, Trainer};

use crate::support::{Golden, load, own};
use crate::training::{config, run, samples};

fn lora() -> LoraConfig {
    LoraConfig {
        target_modules: Some(Modules::AllLinear),
        ..LoraConfig::default()
    }
}

#[test]
fn an_adapter_that_was_not_trained_is_no_result() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    let mut model = load(&own("base"));
    let adapter = Adapter::attach(&mut model, lora(), 3).unwrap();
    let untrained = |error: Error| match error {
        Error::Untrained { layers, of } => (layers, of),
        other => panic!("{other}"),
    };
    let (layers, of) = untrained(adapter.prove_trained(&model).unwrap_err());
    assert_eq!((layers.len(), of), (14, 14));

    // A learning rate of 0 changes nothing.
    run(&mut model, &samples, &config(0.0, 0));
    untrained(adapter.prove_trained(&model).unwrap_err());
    run(&mut model, &samples, &config(1e-3, 0));
    adapter.prove_trained(&model).unwrap();

    // One layer that kept its B is named.
    for (name, linear) in model.linears_mut() {
        if name == "model.layers.1.mlp.up_proj" {
            let adapter = linear.adapter.as_mut().unwrap();
            let zeros = adapter.lora_b.val().zeros_like();
            adapter.lora_b = burn::module::Param::from_tensor(zeros);
        }
    }
    let (layers, _) = untrained(adapter.prove_trained(&model).unwrap_err());
    assert_eq!(layers, ["model.layers.1.mlp.up_proj"]);
}

#[test]
fn an_adapter_with_nan_is_no_result() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    let mut model = load(&own("base"));
    let adapter = Adapter::attach(&mut model, lora(), 3).unwrap();
    run(&mut model, &samples, &config(1e-3, 0));
    let (_, linear) = model.linears_mut().remove(0);
    let layer = linear.adapter.as_mut().unwrap();
    let nan = layer.lora_a.val() * f32::NAN;
    layer.lora_a = burn::module::Param::from_tensor(nan);
    let error = adapter.prove_trained(&model).unwrap_err();
    let Error::AdapterNotFinite { tensor } = &error else {
        panic!("{error}");
    };
    assert_eq!(tensor, "model.layers.0.self_attn.q_proj.adapter.lora_a");
}

#[test]
fn what_is_on_disk_must_be_what_was_trained() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    let mut model = load(&own("base"));
    let adapter = Adapter::attach(&mut model, lora(), 3).unwrap();
    run(&mut model, &samples, &config(1e-2, 0));
    let dir = tempfile::tempdir().unwrap();
    adapter.save(&model, dir.path()).unwrap();
    let ids = &samples[0].input_ids;
    adapter.prove_saved(&mut model, dir.path(), ids).unwrap();

    // A file of the same shape from an earlier moment of the run.
    run(&mut model, &samples, &config(1e-2, 0));
    let error = adapter
        .prove_saved(&mut model, dir.path(), ids)
        .unwrap_err();
    assert!(matches!(error, Error::NotSaved { .. }), "{error}");
}

#[test]
fn a_merge_is_told_from_one_that_went_wrong() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    let mut model = load(&own("base"));
    let adapter = Adapter::attach(&mut model, lora(), 3).unwrap();
    run(&mut model, &samples, &config(1e-2, 0));
    let probe = Probe::new(&model, &samples[0].input_ids).unwrap();
    assert!(probe.prove(&load(&own("base")), 1e-3, "the base").is_err());
    adapter.merge(&mut model).unwrap();
    assert!(probe.prove(&model, 1e-3, "the merged model").unwrap() < 1e-4);
    assert!(Probe::new(&model, &[]).is_err());
}

/// A real run with samples that teach nothing.
#[test]
fn the_doctor_sees_batches_without_supervision() {
    let mut samples = samples(&Golden::open(own("batches.safetensors")));
    samples.truncate(12);
    for sample in &mut samples[4..8] {
        sample.labels.fill(-100);
    }
    let mut model = load(&own("base"));
    Adapter::attach(&mut model, lora(), 3).unwrap();
    let config = TrainConfig {
        max_steps: Some(6),
        ..config(1e-3, 0)
    };
    let mut trainer = Trainer::new(model, &samples, &[], &config).unwrap();
    trainer
        .run(|_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    let found = diagnose(trainer.history());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, FindingKind::NoSupervisedTokens);
    assert_eq!(found[0].steps, Some(3..=4));
}

/// Alpha 0 cuts B off from the loss, and a B of zeros cuts off A.
#[test]
fn the_doctor_sees_a_gradient_that_is_zero() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    let mut model = load(&own("base"));
    let cut_off = LoraConfig {
        lora_alpha: 0.0,
        ..lora()
    };
    let adapter = Adapter::attach(&mut model, cut_off, 3).unwrap();
    let config = config(1e-3, 0);
    let mut trainer = Trainer::new(model, &samples, &[], &config).unwrap();
    trainer
        .run(|_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    let found = diagnose(trainer.history());
    assert!(
        found
            .iter()
            .any(|found| found.kind == FindingKind::ZeroGradient),
        "{found:?}"
    );
    let proven = adapter.prove_trained(&trainer.into_model());
    assert!(matches!(proven, Err(Error::Untrained { .. })));
}

fn bundled() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models/tiny")
}

#[test]
fn what_changes_an_identity_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = (dir.path().join("model"), dir.path().join("data.json"));
    fs::create_dir(&model).unwrap();
    for file in fs::read_dir(bundled()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    fs::write(&data, "[]").unwrap();
    let identity = |template: &str, configuration: &str| {
        let base = Checkpoint::open(&model).unwrap();
        let tokenizer = Tokenizer::from_dir(&model).unwrap();
        let template = Template::by_name(template, &tokenizer).unwrap();
        Identity::new(
            &base,
            &tokenizer,
            &template,
            [data.as_path()],
            configuration,
        )
        .unwrap()
    };
    let first = identity("alpaca", "r: 8");
    assert_eq!(first.differences(&identity("alpaca", "r: 8")), []);
    assert_eq!(
        first.differences(&identity("alpaca-lora", "r: 4")),
        [Part::Template, Part::Configuration]
    );

    let change = |path: &std::path::Path, from: &str, to: &str| {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from));
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    fs::write(&data, "[ ]").unwrap();
    change(&model.join("tokenizer.json"), "{", "{ ");
    change(&model.join("config.json"), "10000.0", "20000.0");
    let mut weights = fs::read(model.join("model.safetensors")).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(model.join("model.safetensors"), weights).unwrap();
    let changed = identity("alpaca", "r: 8");
    assert_eq!(
        first.differences(&changed),
        [
            Part::BaseWeights,
            Part::BaseConfig,
            Part::Tokenizer,
            Part::Data
        ]
    );

    first.write(dir.path()).unwrap();
    assert_eq!(Identity::read(dir.path()).unwrap(), Some(first.clone()));
    assert_eq!(Identity::read(&model).unwrap(), None);
    // What an adapter's user does not know is no difference.
    let base = Checkpoint::open(bundled()).unwrap();
    let tokenizer = Tokenizer::from_dir(bundled()).unwrap();
    let of_model = Identity::of_model(&base, &tokenizer, None).unwrap();
    assert_eq!(first.differences(&of_model), []);
}
