//! What a run leaves of itself while it goes on: rows, TensorBoard's events, a picture, warnings.

use std::ops::ControlFlow;

use anyhow::Result;
use llm_lora::doctor::{self, FindingKind};
use llm_lora::{Event, Saved};

use crate::console::Console;
use crate::interrupt::Interrupt;
use crate::loss_plot;
use crate::run_dir::{Metrics, PLOT, RunDir};
use crate::tensorboard::EventFile;

/// The doctor looks this many times in a run, beside each evaluation.
const LOOKS: usize = 100;

/// Hears of everything that happens in a run.
pub struct Recorder<'a> {
    run: &'a RunDir,
    console: &'a mut Console,
    metrics: Metrics,
    tensorboard: EventFile,
    interrupt: Interrupt,
    /// The run's history.
    events: Vec<Event>,
    /// What the doctor has already said.
    said: Vec<FindingKind>,
    saved: Option<Saved>,
    failed: Option<anyhow::Error>,
}

impl<'a> Recorder<'a> {
    /// For a run of `total_steps` steps that begins behind `history`, whose `metrics` are there already.
    pub fn new(
        run: &'a RunDir,
        console: &'a mut Console,
        metrics: Metrics,
        history: &[Event],
        total_steps: usize,
    ) -> Result<Self> {
        let done = history.last().map_or(0, Event::step);
        console.start(total_steps, done)?;
        let restart = if done > 0 { Some(done + 1) } else { None };
        Ok(Self {
            metrics,
            tensorboard: EventFile::create(run.path(), restart)?,
            interrupt: Interrupt::listen()?,
            run,
            console,
            events: history.to_vec(),
            said: Vec::new(),
            saved: None,
            failed: None,
        })
    }

    /// Records an event. Wants the run to stop after a signal, or when something cannot be recorded.
    pub fn hear(&mut self, event: &Event) -> ControlFlow<()> {
        if let Err(error) = self.record(event) {
            self.failed.get_or_insert(error);
        }
        match self.failed.is_some() || self.interrupt.is_asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn record(&mut self, event: &Event) -> Result<()> {
        self.metrics.record(event)?;
        self.tensorboard.record(event)?;
        self.console.show(event)?;
        match event {
            Event::Saved(saved) => {
                self.saved = Some(saved.clone());
                return Ok(());
            }
            Event::Step(step) => {
                let every = step.total_steps.div_ceil(LOOKS);
                self.events.push(event.clone());
                if step.step.is_multiple_of(every) {
                    self.look()?;
                }
            }
            Event::Evaluation(_) => {
                self.events.push(event.clone());
                self.look()?;
                self.draw()?;
            }
            _ => self.events.push(event.clone()),
        }
        Ok(())
    }

    /// Lets the doctor see the run; each kind of finding is said once.
    fn look(&mut self) -> Result<()> {
        for finding in doctor::diagnose(&self.events) {
            if !self.said.contains(&finding.kind) {
                self.console.finding(&finding)?;
                self.said.push(finding.kind);
            }
        }
        Ok(())
    }

    fn draw(&self) -> Result<()> {
        // The same run in another directory has the same picture.
        let svg = loss_plot::svg(&self.events, "Loss")?;
        self.run.save_text(PLOT, &svg)
    }

    /// Writes what is left to write. Returns the checkpoint that was written last.
    ///
    /// # Errors
    /// When that fails, or something could not be recorded before.
    pub fn finish(mut self) -> Result<Option<Saved>> {
        self.console.finish();
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.look()?;
        self.draw()?;
        self.tensorboard.flush()?;
        Ok(self.saved)
    }
}
