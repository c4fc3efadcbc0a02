//! Samples shuffled window by window, and samples that arrive while they are trained on.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use llm_data::{Ready, Sample, Samples};
use llm_lora::{
    Adapter, Checkpoints, Error, Event, LoraConfig, TrainConfig, Trainer, newest_checkpoint,
};

use crate::resume::{config, data, timeless};
use crate::support::{load, own};

/// Says no more of its samples than it must: those that were waited for.
struct Arriving {
    samples: Vec<Sample>,
    arrived: AtomicUsize,
    /// Where something goes wrong with the next one.
    fails_at: usize,
}

impl Arriving {
    fn new(samples: &[Sample]) -> Self {
        Self {
            samples: samples.to_vec(),
            arrived: AtomicUsize::new(0),
            fails_at: usize::MAX,
        }
    }
}

impl Samples for Arriving {
    fn wait_for(&self, count: usize) -> llm_data::Result<Ready> {
        if count > self.fails_at {
            return Err(llm_data::Error::NothingSupervised);
        }
        let before = self.arrived.fetch_max(count, Ordering::SeqCst);
        let arrived = before.max(count);
        Ok(Ready {
            count: arrived.min(self.samples.len()),
            all: arrived > self.samples.len(),
        })
    }

    fn get(&self, index: usize) -> llm_data::Result<Cow<'_, Sample>> {
        assert!(index < self.arrived.load(Ordering::SeqCst), "not arrived");
        Ok(Cow::Borrowed(&self.samples[index]))
    }

    fn longest(&self) -> usize {
        self.samples.longest()
    }
}

/// Three epochs of four steps, in windows of two.
fn windowed() -> TrainConfig {
    TrainConfig {
        max_steps: Some(12),
        eval_steps: None,
        shuffle_window: Some(5),
        ..config()
    }
}

/// Runs on from the newest checkpoint in `dir`; stopped behind step `stop`.
fn run(dir: &Path, samples: impl Samples, config: &TrainConfig, stop: usize) -> Vec<Event> {
    let mut model = load(&own("base"));
    let adapter = Adapter::attach(&mut model, LoraConfig::default(), 3).unwrap();
    let newest = newest_checkpoint(dir).unwrap();
    if let Some(checkpoint) = &newest {
        adapter.restore(&mut model, checkpoint).unwrap();
    }
    let validation = data().split_off(10);
    let checkpoints = Checkpoints::new(dir, |model, dir| adapter.save(model, dir));
    let trainer = Trainer::new(model, samples, &validation, config).unwrap();
    let mut trainer = trainer.with_checkpoints(checkpoints);
    if let Some(checkpoint) = &newest {
        trainer.resume(checkpoint).unwrap();
    }
    let outcome = trainer.run(|event| match event {
        Event::Step(step) if step.step == stop => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    outcome.unwrap();
    trainer.history().to_vec()
}

fn evaluated(history: &[Event]) -> Vec<(usize, f64)> {
    let evaluation = |event: &Event| match event {
        Event::Evaluation(evaluation) => Some((evaluation.step, evaluation.epoch)),
        _ => None,
    };
    history.iter().filter_map(evaluation).collect()
}

fn losses(history: &[Event]) -> Vec<f64> {
    let loss = |event: &Event| match event {
        Event::Step(step) => Some(step.loss),
        _ => None,
    };
    history.iter().filter_map(loss).collect()
}

#[test]
fn what_is_not_known_yet_changes_nothing() {
    let (all, config) = (data(), windowed());
    let train = &all[..10];
    let dir = tempfile::tempdir().unwrap();
    let known = run(dir.path(), train, &config, usize::MAX);
    let other = tempfile::tempdir().unwrap();
    let arriving = run(other.path(), Arriving::new(train), &config, usize::MAX);
    assert_eq!(timeless(&arriving), timeless(&known));
    assert_eq!(evaluated(&known), [(0, 0.0), (4, 1.0), (8, 2.0), (12, 3.0)]);
    // Another order than that of the whole set.
    let whole = TrainConfig {
        shuffle_window: None,
        ..windowed()
    };
    let dir = tempfile::tempdir().unwrap();
    assert_ne!(
        losses(&run(dir.path(), train, &whole, usize::MAX)),
        losses(&known)
    );
    // A window of all is no window.
    let wide = TrainConfig {
        shuffle_window: Some(10),
        ..windowed()
    };
    let (dir, wide_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(dir.path(), train, &whole, usize::MAX);
    assert_eq!(
        losses(&run(wide_dir.path(), train, &wide, usize::MAX)),
        losses(&expected)
    );
}

#[test]
fn a_windowed_run_resumes_where_it_was() {
    let (all, config) = (data(), windowed());
    let train = &all[..10];
    let dir = tempfile::tempdir().unwrap();
    let expected = run(dir.path(), Arriving::new(train), &config, usize::MAX);
    for stop in [1, 4, 7] {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), Arriving::new(train), &config, stop);
        let resumed = run(dir.path(), Arriving::new(train), &config, usize::MAX);
        assert_eq!(timeless(&resumed), timeless(&expected), "stopped at {stop}");
    }
}

#[test]
fn an_error_among_samples_to_come_ends_the_run_there() {
    let all = data();
    let samples = Arriving {
        fails_at: 7,
        ..Arriving::new(&all[..10])
    };
    let mut model = load(&own("base"));
    Adapter::attach(&mut model, LoraConfig::default(), 3).unwrap();
    let config = windowed();
    let mut trainer = Trainer::new(model, samples, &[], &config).unwrap();
    let result = trainer.run(|_| ControlFlow::Continue(()));
    let nothing = llm_data::Error::NothingSupervised;
    assert!(matches!(result, Err(Error::Data(error)) if error.to_string() == nothing.to_string()));
    assert_eq!(trainer.steps(), 2);
}
