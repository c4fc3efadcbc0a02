//! The loop against PEFT's and torch's.

use std::ops::ControlFlow;
use std::path::Path;

use llm_core::{LlamaForCausalLM, TokenBatch};
use llm_data::Sample;
use llm_lora::{
    Adapter, Evaluation, Event, Packing, Schedule, Step, TrainConfig, Warmup, evaluate, train,
};

use crate::support::{Golden, distance, load, own, relative, shared, values};

/// For losses, and for weights relative to the largest of each tensor.
const TOLERANCE: f32 = 1e-4;

pub(crate) fn samples(golden: &Golden) -> Vec<Sample> {
    let rows = golden.rows("input_ids");
    let width = rows[0].len();
    let labels = golden.ints("labels");
    rows.into_iter()
        .zip(labels.chunks(width))
        .map(|(input_ids, labels)| Sample {
            input_ids,
            labels: labels.to_vec(),
        })
        .collect()
}

/// Trains in the order of the samples, two to a step, and returns the model with its steps.
pub(crate) fn run(
    model: &mut LlamaForCausalLM,
    samples: &[Sample],
    config: &TrainConfig,
) -> Vec<Step> {
    let mut steps = Vec::new();
    train(model, samples, &[], config, |event| {
        if let Event::Step(step) = event {
            steps.push(step.clone());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    steps
}

pub(crate) fn config(learning_rate: f64, warmup: usize) -> TrainConfig {
    TrainConfig {
        learning_rate,
        warmup: Warmup::Steps(warmup),
        micro_batch_size: 2,
        num_epochs: 1,
        shuffle: false,
        ..TrainConfig::default()
    }
}

/// Losses, gradient norms, learning rates; `prefix` distinguishes the two sets' names.
fn compare_steps(steps: &[Step], golden: &Golden, names: [&str; 3], what: &str) {
    let [losses, norms, rates] = names;
    let ours = |field: fn(&Step) -> f64| {
        steps
            .iter()
            .map(|step| field(step) as f32)
            .collect::<Vec<_>>()
    };
    let off = distance(&ours(|step| step.loss), &golden.floats(losses));
    assert!(off < TOLERANCE, "{what}: losses differ by {off}");
    let off = relative(&ours(|step| step.grad_norm), &golden.floats(norms));
    assert!(off < TOLERANCE, "{what}: gradient norms differ by {off}");
    let rates: Vec<f32> = golden
        .doubles(rates)
        .iter()
        .map(|rate| *rate as f32)
        .collect();
    assert!(
        relative(&ours(|step| step.learning_rate), &rates) < 1e-6,
        "{what}: learning rates"
    );
}

fn compare_adapters(ours: &Path, theirs: &Path, what: &str) {
    let open = |dir: &Path| Golden::open(dir.join("adapter_model.safetensors"));
    let (ours, theirs) = (open(ours), open(theirs));
    let sorted = |golden: &Golden| {
        let mut names = golden.names();
        names.sort();
        names
    };
    assert_eq!(sorted(&ours), sorted(&theirs), "{what}");
    for name in theirs.names() {
        let off = relative(&ours.floats(&name), &theirs.floats(&name));
        assert!(off < TOLERANCE, "{what}: {name} differs by {off}");
    }
}

pub(crate) fn probe(model: &LlamaForCausalLM, ids: Vec<Vec<u32>>) -> Vec<f32> {
    values(
        model
            .forward(&TokenBatch::new(&ids).unwrap(), None)
            .unwrap(),
    )
}

/// Loads the start, trains, compares every step, the adapter and the logits, saves, reloads, merges.
fn check(
    base: &Path,
    dir: &Path,
    batches: &Golden,
    probe_ids: Vec<Vec<u32>>,
    config: &TrainConfig,
    names: [&str; 3],
) {
    let what = dir.display().to_string();
    let golden = Golden::open(dir.join("golden.safetensors"));
    let mut model = load(base);
    let adapter = Adapter::load(&mut model, dir.join("adapter_init")).unwrap();
    let off = distance(
        &probe(&model, probe_ids.clone()),
        &golden.floats("probe_logits_init"),
    );
    assert!(off < TOLERANCE, "{what}: initial logits differ by {off}");
    if !golden.has("probe_logits_final") {
        adapter.merge(&mut model).unwrap();
        let off = distance(
            &probe(&model, probe_ids),
            &golden.floats("probe_logits_merged"),
        );
        return assert!(off < TOLERANCE, "{what}: merged logits differ by {off}");
    }
    adapter.unfreeze(&mut model);
    let steps = run(&mut model, &samples(batches), config);
    compare_steps(&steps, &golden, names, &what);

    let out = tempfile::tempdir().unwrap();
    adapter.save(&model, out.path()).unwrap();
    compare_adapters(out.path(), &dir.join("adapter_final"), &what);
    let mut fresh = load(base);
    Adapter::load(&mut fresh, out.path()).unwrap();
    let logits = probe(&model, probe_ids.clone());
    assert_eq!(probe(&fresh, probe_ids.clone()), logits, "{what}: reloaded");
    let off = distance(&logits, &golden.floats("probe_logits_final"));
    assert!(off < TOLERANCE, "{what}: final logits differ by {off}");
    adapter.merge(&mut model).unwrap();
    let off = distance(
        &probe(&model, probe_ids),
        &golden.floats("probe_logits_merged"),
    );
    assert!(off < TOLERANCE, "{what}: merged logits differ by {off}");
}

#[test]
fn fixtures_of_peft() {
    let Some(lora) = shared("fixtures/lora") else {
        return;
    };
    let Some(base) = shared("fixtures/tiny_models/llama2_gqa") else {
        return;
    };
    let batches = Golden::open(lora.join("tiny_batches.safetensors"));
    for name in [
        "tiny_qv",
        "tiny_all",
        "tiny_lora_fwd",
        "tiny_rslora_fwd",
        "tiny_dora_fwd",
    ] {
        let dir = lora.join(name);
        let probe_ids = Golden::open(dir.join("golden.safetensors")).rows("probe_ids");
        check(
            &base,
            &dir,
            &batches,
            probe_ids,
            &config(2e-4, 3),
            ["loss", "grad_norm", "lr"],
        );
    }
}

/// Made by `goldens/gen_goldens.py`.
#[test]
fn every_option_of_an_adapter() {
    let batches = Golden::open(own("batches.safetensors"));
    for (name, base) in [
        ("rslora_train", "base"),
        ("dora_train", "base"),
        ("pattern_train", "base"),
        ("bias_all", "base_bias"),
        ("bias_lora_only", "base_bias"),
        ("modules_to_save", "base"),
        ("modules_to_save_tied", "base_tied"),
        ("layers_exclude", "base"),
        ("regex_targets", "base"),
        ("all_linear", "base"),
    ] {
        let names = ["losses", "grad_norms", "lrs"];
        check(
            &own(base),
            &own(name),
            &batches,
            batches.rows("probe_ids"),
            &config(5e-3, 2),
            names,
        );
    }
}

#[test]
fn all_weights_train_by_the_same_loop() {
    use burn::module::Module;

    let (batches, golden) = (
        Golden::open(own("batches.safetensors")),
        Golden::open(own("full/golden.safetensors")),
    );
    let config = TrainConfig {
        weight_decay: 0.1,
        ..config(2e-3, 2)
    };
    let mut model = load(&own("base")).set_require_grad(true);
    let steps = run(&mut model, &samples(&batches), &config);
    compare_steps(&steps, &golden, ["losses", "grad_norms", "lrs"], "full");
    let out = tempfile::tempdir().unwrap();
    llm_core::save_model(&model, out.path(), None, &Default::default()).unwrap();
    let ours = Golden::open(out.path().join("model.safetensors"));
    let theirs = Golden::open(own("full/model.safetensors"));
    for name in theirs.names() {
        let off = relative(&ours.floats(&name), &theirs.floats(&name));
        assert!(off < TOLERANCE, "{name} differs by {off}");
    }
}

#[test]
fn micro_batches_do_not_matter() {
    let (base, data) = (own("base"), own("batches.safetensors"));
    // Rows of unequal length: what the padding of one micro-batch hides, another does not have.
    let mut samples = samples(&Golden::open(data));
    for (index, sample) in samples.iter_mut().enumerate() {
        let length = 16 - index % 5;
        sample.input_ids.truncate(length);
        sample.labels.truncate(length);
    }
    let losses = |micro_batch_size, gradient_accumulation_steps| {
        let mut model = load(&base);
        Adapter::attach(&mut model, Default::default(), 7).unwrap();
        let config = TrainConfig {
            micro_batch_size,
            gradient_accumulation_steps,
            learning_rate: 1e-2,
            ..config(0.0, 0)
        };
        let steps = run(&mut model, &samples, &config);
        steps
            .iter()
            .flat_map(|step| [step.loss as f32, step.grad_norm as f32])
            .collect::<Vec<_>>()
    };
    let at_once = losses(16, 1);
    assert_eq!(at_once.len(), 2);
    for (micro, accumulation) in [(2, 8), (8, 2), (1, 16)] {
        assert!(distance(&losses(micro, accumulation), &at_once) < 1e-5);
    }
}

#[test]
fn accumulated_loss_is_the_mean_over_tokens_not_rows() {
    let golden = Golden::open(own("accumulation.safetensors"));
    let model = load(&own("base"));
    for micro_batch_size in [1, 2, 3, 4] {
        for packing in [Packing::None, Packing::Bucket, Packing::Pack] {
            let config = TrainConfig {
                micro_batch_size,
                packing,
                ..TrainConfig::default()
            };
            let loss = evaluate(&model, &samples(&golden), &config).unwrap() as f32;
            assert!(distance(&[loss], &golden.floats("loss")) < 1e-5);
        }
    }
}

#[test]
fn schedules_are_those_of_transformers() {
    let text = std::fs::read_to_string(own("schedules.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for run in json["runs"].as_array().unwrap() {
        let schedule = match run["schedule"].as_str().unwrap() {
            "constant_with_warmup" => Schedule::Constant,
            "linear" => Schedule::Linear,
            "cosine" => Schedule::Cosine,
            _ => continue,
        };
        let total = run["total_steps"].as_u64().unwrap() as usize;
        let warmup = run["resolved_warmup_steps"].as_u64().unwrap() as usize;
        for (step, factor) in run["factors"].as_array().unwrap().iter().enumerate() {
            let off = schedule.factor(step, warmup, total) - factor.as_f64().unwrap();
            assert!(off.abs() < 1e-12, "{run}: step {step}");
        }
    }
    for ratio in json["warmup_steps"].as_array().unwrap() {
        let total = ratio["total_steps"].as_u64().unwrap() as usize;
        let steps = Warmup::Ratio(ratio["warmup_ratio"].as_f64().unwrap()).steps(total);
        assert_eq!(steps as u64, ratio["steps"].as_u64().unwrap(), "{ratio}");
    }
}

#[test]
fn a_run_reports_what_it_does_and_repeats_itself() {
    let batches = Golden::open(own("batches.safetensors"));
    let samples = samples(&batches);
    let once = || {
        let mut model = load(&own("base"));
        let lora = llm_lora::LoraConfig {
            lora_dropout: 0.3,
            ..Default::default()
        };
        Adapter::attach(&mut model, lora, 3).unwrap();
        let config = TrainConfig {
            num_epochs: 2,
            eval_steps: Some(2),
            micro_batch_size: 4,
            ..TrainConfig::default()
        };
        let mut events = Vec::new();
        let started = std::time::Instant::now();
        train(
            &mut model,
            &samples[..12],
            &samples[12..],
            &config,
            |event| {
                events.push(event.clone());
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        (events, started.elapsed().as_secs_f64())
    };
    let (events, seconds) = once();
    let evaluated: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            Event::Evaluation(Evaluation { step, .. }) => Some(*step),
            _ => None,
        })
        .collect();
    // At the start, every second, at each epoch's end, at the last, none of them twice.
    assert_eq!(evaluated, [0, 2, 3, 4, 6]);
    let spent: f64 = events
        .iter()
        .map(|event| match event {
            Event::Step(step) => step.seconds,
            Event::Evaluation(evaluation) => evaluation.seconds,
            _ => 0.0,
        })
        .sum();
    assert!(
        spent <= seconds && spent > 0.5 * seconds,
        "{spent} of {seconds}"
    );
    let losses = |events: &[Event]| {
        let loss = |event: &Event| match event {
            Event::Step(step) => step.loss,
            Event::Evaluation(evaluation) => evaluation.eval_loss,
            _ => 0.0,
        };
        events.iter().map(loss).collect::<Vec<_>>()
    };
    assert_eq!(losses(&events), losses(&once().0));
}

#[test]
fn the_listener_can_end_a_run() {
    let samples = samples(&Golden::open(own("batches.safetensors")));
    let mut model = load(&own("base"));
    Adapter::attach(&mut model, Default::default(), 3).unwrap();
    let mut steps = 0;
    train(&mut model, &samples, &[], &config(1e-3, 0), |_| {
        steps += 1;
        if steps == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(steps, 2);
}

#[test]
fn dropout_is_active_in_training_only_and_keeps_the_mean() {
    let batches = Golden::open(own("batches.safetensors"));
    let samples = samples(&batches);
    let with = |lora_dropout: f64| {
        let mut model = load(&own("base"));
        let adapter = Adapter::load(&mut model, own("dora_train/adapter_final")).unwrap();
        for (_, linear) in model.linears_mut() {
            linear
                .adapter
                .iter_mut()
                .for_each(|adapter| adapter.dropout = lora_dropout);
        }
        adapter.unfreeze(&mut model);
        let before = evaluate(&model, &samples, &TrainConfig::default()).unwrap();
        let config = TrainConfig {
            learning_rate: 0.0,
            num_epochs: 30,
            ..config(0.0, 0)
        };
        let steps = run(&mut model, &samples, &config);
        let mean = steps.iter().map(|step| step.loss).sum::<f64>() / steps.len() as f64;
        (before, mean)
    };
    let ((clean, exact), (same, dropped)) = (with(0.0), with(0.1));
    assert_eq!(clean, same, "no dropout in evaluation");
    assert!(
        dropped != exact && (dropped - exact).abs() < 0.05,
        "{dropped} {exact}"
    );
}
