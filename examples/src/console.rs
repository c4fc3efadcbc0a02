//! How a run shows itself: a bar on a terminal, lines elsewhere, nothing, or JSON for a pipeline.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use llm_lora::doctor::Finding;
use llm_lora::{Event, Step};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli;

/// Lines of a run that is not watched on a terminal, beside those of evaluations.
const LINES: usize = 20;

/// The step after which the time left is first said.
const FIRST_LINE: usize = 5;

/// How much to say.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ConsoleArgs {
    /// Say nothing but warnings and errors
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub quiet: bool,
    /// Print one JSON object a line, of the kind that its `event` names, and nothing else
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Where a run shows itself.
#[derive(Debug)]
pub struct Console {
    args: ConsoleArgs,
    bar: ProgressBar,
    terminal: bool,
    /// Mean seconds of the last steps.
    pace: Option<f64>,
    /// Whether the standard output still has a reader. A run does not end with who watches it.
    is_read: Cell<bool>,
}

impl Console {
    /// A console without a bar.
    pub fn new(args: ConsoleArgs) -> Self {
        Self {
            args,
            bar: ProgressBar::hidden(),
            terminal: stderr().is_terminal() && !args.quiet && !args.json,
            pace: None,
            is_read: Cell::new(true),
        }
    }

    /// A line for people.
    pub fn say(&self, line: impl Display) -> Result<()> {
        match self.args.quiet || self.args.json {
            true => Ok(()),
            false => self.print(format_args!("{line}\n")),
        }
    }

    fn print(&self, text: impl Display) -> Result<()> {
        if !self.is_read.get() {
            return Ok(());
        }
        match self.bar.suspend(|| cli::print(text)) {
            Err(error) if cli::is_closed_pipe(&error) => {
                self.is_read.set(false);
                Ok(())
            }
            printed => printed,
        }
    }

    /// A warning, on the standard error.
    pub fn warn(&self, line: impl Display) {
        self.bar.suspend(|| eprintln!("warning: {line}"));
    }

    /// What the doctor says, on the standard error and for pipelines.
    pub fn finding(&self, finding: &Finding) -> Result<()> {
        self.bar.suspend(|| eprintln!("{finding}"));
        self.emit("finding", finding)
    }

    /// An object for pipelines.
    pub fn emit(&self, event: &str, value: &impl Serialize) -> Result<()> {
        if !self.args.json {
            return Ok(());
        }
        let mut object = Map::from_iter([("event".to_owned(), json!(event))]);
        match serde_json::to_value(value)? {
            Value::Object(fields) => object.extend(fields),
            other => {
                object.insert("value".to_owned(), other);
            }
        }
        self.print(format_args!("{}\n", Value::Object(object)))
    }

    /// Shows a bar of so many steps, of which some are done.
    pub fn start(&mut self, total_steps: usize, done: usize) -> Result<()> {
        let target = match self.terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        self.bar = ProgressBar::with_draw_target(Some(total_steps as u64), target);
        self.bar
            .set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}")?);
        self.bar.set_position(done as u64);
        Ok(())
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Step(step) => self.show_step(step)?,
            Event::Evaluation(evaluation) => {
                self.emit("evaluation", evaluation)?;
                let (step, loss) = (evaluation.step, evaluation.eval_loss);
                self.say(format_args!("step {step}: evaluation loss {loss:.4}"))?;
            }
            Event::Skipped(skipped) => {
                self.emit("skipped", skipped)?;
                self.bar.inc(1);
                let (step, what) = (skipped.step, &skipped.skipped);
                self.warn(format_args!(
                    "step {step} was left out: its {what} is not finite"
                ));
            }
            Event::Saved(saved) => {
                self.emit("checkpoint", saved)?;
                let (step, path) = (saved.step, saved.checkpoint.display());
                self.say(format_args!("step {step}: saved {path}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn show_step(&mut self, step: &Step) -> Result<()> {
        let pace = self
            .pace
            .map_or(step.seconds, |pace| 0.95 * pace + 0.05 * step.seconds);
        self.pace = Some(pace);
        let seconds = pace * step.total_steps.saturating_sub(step.step) as f64;
        let left = HumanDuration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let (loss, speed) = (step.loss, step.tokens_per_second());
        let message = format!("loss {loss:.4}  {speed:.0} tokens/s  {left:#} left");
        if self.args.json {
            let mut row = serde_json::to_value(step)?;
            row["total_steps"] = json!(step.total_steps);
            row["tokens_per_second"] = json!(speed);
            row["seconds_left"] = json!(seconds);
            self.emit("step", &row)?;
        }
        let every = step.total_steps.div_ceil(LINES);
        if !self.terminal && (step.step.is_multiple_of(every) || step.step == FIRST_LINE) {
            let (number, total) = (step.step, step.total_steps);
            self.say(format_args!("step {number}/{total}: {message}"))?;
        }
        self.bar.set_message(message);
        self.bar.inc(1);
        Ok(())
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
