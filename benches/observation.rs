//! What a run costs beside training: being observed, and being saved.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::module::Module;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use examples::console::{Console, ConsoleArgs};
use examples::recorder::Recorder;
use examples::run_dir::RunDir;
use examples::settings::Settings;
use llm_core::{Checkpoint, LlamaForCausalLM, save_model};
use llm_data::Tokenizer;
use llm_lora::{
    Adapter, Checkpoints, Evaluation, Event, Identity, LoraConfig, Modules, Step, TrainConfig,
    Trainer,
};

/// The events of a run whose loss falls, with an evaluation every fiftieth part of it.
fn events(steps: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for step in 1..=steps {
        let epoch = 3.0 * step as f64 / steps as f64;
        let loss = 1.2 + 0.8 * (-epoch).exp() + 0.1 * (step as f64 * 0.7).sin();
        events.push(Event::Step(Step {
            step,
            total_steps: steps,
            epoch,
            loss,
            learning_rate: 2e-4,
            grad_norm: 0.7,
            tokens: 512,
            supervised_tokens: 256,
            seconds: 1.5,
        }));
        if step.is_multiple_of(steps / 50) {
            events.push(Event::Evaluation(Evaluation {
                step,
                epoch,
                eval_loss: 1.3 + 0.7 * (-epoch).exp(),
                seconds: 1.5,
            }));
        }
    }
    events
}

fn identity() -> Identity {
    let base = Checkpoint::open(benches::bundled_model()).expect("a model");
    let tokenizer = Tokenizer::from_dir(base.dir()).expect("a tokenizer");
    Identity::of_model(&base, &tokenizer, None).expect("hashes")
}

/// A step's share of a whole run's metrics, TensorBoard events, pictures and doctor's looks.
fn observation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("observation");
    group.sample_size(10);
    for steps in [1_000, 10_000, 100_000] {
        let events = events(steps);
        group.bench_function(BenchmarkId::new("a step of", steps), |bencher| {
            bencher.iter_custom(|repetitions| {
                let mut all = Duration::ZERO;
                for _ in 0..repetitions {
                    let dir = tempfile::tempdir().expect("a directory");
                    let run = RunDir::open(dir.path(), false, None).expect("a run");
                    let quiet = ConsoleArgs {
                        quiet: true,
                        json: false,
                    };
                    let mut console = Console::new(quiet);
                    let (settings, identity) = (Settings::default(), identity());
                    let metrics = run.begin(&[], &[], &settings, &identity).expect("metrics");
                    let recorder = Recorder::new(&run, &mut console, metrics, &[], steps);
                    let mut recorder = recorder.expect("a recorder");
                    let start = Instant::now();
                    for event in &events {
                        assert!(recorder.hear(event).is_continue());
                    }
                    recorder.finish().expect("files");
                    all += start.elapsed() / steps as u32;
                }
                all
            });
        });
    }
    group.finish();
}

/// A checkpoint: written, synced, hashed, renamed, and the one before removed.
fn checkpoint(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10);
    for full in [false, true] {
        let name = if full { "full" } else { "LoRA, all-linear" };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|saves| seconds(saves, full))
        });
    }
    group.finish();
}

/// The time that so many checkpoints take.
fn seconds(saves: u64, full: bool) -> Duration {
    let mut model = benches::model().expect("a device");
    let config = LoraConfig {
        target_modules: Some(Modules::AllLinear),
        ..LoraConfig::default()
    };
    let adapter = match full {
        true => None,
        false => Some(Adapter::attach(&mut model, config, 1).expect("an adapter")),
    };
    if full {
        model = model.set_require_grad(true);
    }
    let write = |model: &LlamaForCausalLM, dir: &Path| match &adapter {
        Some(adapter) => adapter.save(model, dir),
        None => Ok(save_model(model, dir, None, &Default::default())?),
    };
    let dir = tempfile::tempdir().expect("a directory");
    let samples = [benches::sample(16)];
    let config = TrainConfig {
        max_steps: Some(saves as usize),
        ..TrainConfig::default()
    };
    let trainer = Trainer::new(model, &samples[..], &[], &config).expect("a run");
    let checkpoints = Checkpoints::new(dir.path(), write).every(1).keep(1);
    let mut all = 0.0;
    let mut trainer = trainer.with_checkpoints(checkpoints);
    let outcome = trainer.run(|event| {
        if let Event::Saved(saved) = event {
            all += saved.seconds;
        }
        ControlFlow::Continue(())
    });
    outcome.expect("steps");
    Duration::from_secs_f64(all)
}

criterion_group!(benches, observation, checkpoint);
criterion_main!(benches);
