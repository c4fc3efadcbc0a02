//! The doctor: reads what a run reports and names what it sees, at which steps, and what to do.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use llm_lora::doctor::diagnose;
//! use llm_lora::read_metrics;
//!
//! for finding in diagnose(&read_metrics("runs/my-run/metrics.jsonl")?) {
//!     println!("{finding}");
//! }
//! # Ok(())
//! # }
//! ```

mod broken;
mod finding;
mod progress;
mod rises;
mod run;
mod staircase;
mod start;
mod thresholds;
mod validation;

pub use finding::{Finding, FindingKind, Severity};
pub use start::{Method, Start, before_start};

use crate::train::Event;
use run::Run;

/// What is wrong with a run, from all its events until now; the gravest first.
///
/// Takes time in proportion to the events. Made to be asked again and again while the run goes on: what
/// rests on the order of the steps is decided at each step by those before it, so that a finding stays
/// when more steps come, unless they disprove it. Only [`FindingKind::Jump`] and
/// [`FindingKind::Oscillation`] can turn into each other.
pub fn diagnose(events: &[Event]) -> Vec<Finding> {
    let run = Run::new(events);
    let rise = rises::find(&run);
    let zero_gradient = broken::zero_gradient(events);
    // One cause, one finding: without a gradient nothing is learnt, and what goes up comes down.
    let flat = progress::flat(&run).filter(|_| zero_gradient.is_none());
    let staircase = staircase::find(&run).filter(|_| rise.is_none());
    let findings = [
        broken::no_supervised_tokens(events),
        zero_gradient,
        broken::skipped(events),
        flat,
        rise,
        progress::low(&run),
        staircase,
        validation::gap(&run),
    ];
    let mut findings: Vec<Finding> = findings.into_iter().flatten().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
