//! How a training run shows itself: a bar on a terminal, lines elsewhere.

use std::io::{IsTerminal, stderr};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use llm_lora::{Event, Step};

use crate::cli::say;

/// Lines of a run that is not watched on a terminal, beside those of evaluations.
const LINES: usize = 20;

/// The progress of a run.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// For a run of so many steps.
    pub fn new(total_steps: usize) -> Result<Self> {
        let bar = ProgressBar::new(total_steps as u64);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {pos}/{len}  {msg}  {eta} left",
        )?);
        Ok(Self {
            bar,
            terminal: stderr().is_terminal(),
        })
    }

    /// Shows an event.
    pub fn show(&self, event: &Event) -> Result<()> {
        match event {
            Event::Step(step) => {
                self.bar.set_message(message(step));
                self.bar.inc(1);
                let every = step.total_steps.div_ceil(LINES);
                if !self.terminal && step.step.is_multiple_of(every) {
                    let (step_number, total) = (step.step, step.total_steps);
                    say(format_args!(
                        "step {step_number}/{total}: {}",
                        message(step)
                    ))?;
                }
            }
            Event::Evaluation(evaluation) => {
                let (step, loss) = (evaluation.step, evaluation.eval_loss);
                self.bar
                    .suspend(|| say(format_args!("step {step}: evaluation loss {loss:.4}")))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn message(step: &Step) -> String {
    format!(
        "loss {:.4}  {:.0} tokens/s",
        step.loss,
        step.tokens_per_second()
    )
}
