//! What became of the records, by step and reason.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::verdict::Found;

/// What a [`Pipeline`](super::Pipeline) did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Records that came in.
    pub records: usize,
    /// Those that are left.
    pub kept: usize,
    /// Those of them that a step changed.
    pub changed: usize,
    /// Records that a step dropped: `records − kept`.
    pub dropped: usize,
    /// The steps in their order.
    pub steps: Vec<StepAccount>,
}

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAccount {
    /// The step's [name](super::Step::name).
    pub step: String,
    /// Records that came to this step.
    pub records: usize,
    /// Those that it kept.
    pub kept: usize,
    /// Those of them that it changed.
    pub changed: usize,
    /// What it changed, by reason; a record counts under each of its reasons once.
    pub changes: BTreeMap<String, Tally>,
    /// What it dropped, by reason; a record counts under the first one.
    pub dropped: BTreeMap<String, Tally>,
}

/// Records with the same reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub records: usize,
    /// The first ones.
    pub examples: Vec<Example>,
}

/// A record that a step changed or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The record's number.
    pub record: usize,
    /// The place in it, with some characters around, as it was before the step; of personal data as
    /// it is after it.
    pub text: String,
}

impl Account {
    /// Adds the account of further records under the same steps, such as the next part of a file
    /// that is cleaned in parts.
    ///
    /// # Panics
    /// Where the steps are not the same.
    pub fn merge(&mut self, other: Self, examples: usize) {
        if self.steps.is_empty() {
            *self = other;
            return;
        }
        self.records += other.records;
        self.kept += other.kept;
        self.changed += other.changed;
        self.dropped += other.dropped;
        assert_eq!(self.steps.len(), other.steps.len(), "the same steps");
        for (ours, theirs) in self.steps.iter_mut().zip(other.steps) {
            assert_eq!(ours.step, theirs.step, "the same steps");
            ours.records += theirs.records;
            ours.kept += theirs.kept;
            ours.changed += theirs.changed;
            merge(&mut ours.changes, theirs.changes, examples);
            merge(&mut ours.dropped, theirs.dropped, examples);
        }
    }
}

fn merge(ours: &mut BTreeMap<String, Tally>, theirs: BTreeMap<String, Tally>, examples: usize) {
    for (reason, tally) in theirs {
        let sum = ours.entry(reason).or_default();
        sum.records += tally.records;
        let room = examples.saturating_sub(sum.examples.len());
        sum.examples.extend(tally.examples.into_iter().take(room));
    }
}

impl StepAccount {
    pub(super) fn new(step: &str) -> Self {
        Self {
            step: step.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn drop(&mut self, record: usize, found: Found, examples: usize) {
        self.records += 1;
        count(&mut self.dropped, record, found, examples);
    }

    /// Whether the next record that is dropped for the reason is an example of it.
    pub(super) fn is_example(&self, reason: &str, examples: usize) -> bool {
        let tally = self.dropped.get(reason);
        tally.map_or(0, |tally| tally.examples.len()) < examples
    }

    pub(super) fn keep(&mut self, record: usize, changes: Vec<Found>, examples: usize) {
        self.records += 1;
        self.kept += 1;
        self.changed += usize::from(!changes.is_empty());
        let mut reasons = Vec::new();
        for found in changes {
            if !reasons.contains(&found.reason) {
                reasons.push(found.reason);
                count(&mut self.changes, record, found, examples);
            }
        }
    }
}

fn count(tallies: &mut BTreeMap<String, Tally>, record: usize, found: Found, examples: usize) {
    let tally = tallies.entry(found.reason.to_owned()).or_default();
    tally.records += 1;
    if tally.examples.len() < examples {
        tally.examples.push(Example {
            record,
            text: found.excerpt,
        });
    }
}

impl fmt::Display for Account {
    /// A line in all, then one for each step and one for each of its reasons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            kept,
            changed,
            dropped,
            steps,
        } = self;
        write!(
            f,
            "cleaning    {kept} of {records} records kept, {changed} changed, {dropped} dropped"
        )?;
        for step in steps {
            let dropped = step.records - step.kept;
            let (name, changed) = (&step.step, step.changed);
            write!(f, "\n  {name}: {changed} changed, {dropped} dropped")?;
            for (reason, tally) in &step.changes {
                write!(f, "\n    changed, {reason}: {}", tally.records)?;
            }
            for (reason, tally) in &step.dropped {
                write!(f, "\n    dropped, {reason}: {}", tally.records)?;
            }
        }
        Ok(())
    }
}
