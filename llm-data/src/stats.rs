//! What a data set is like.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::encode::Encoded;
use crate::error::{Error, Result};

/// A data set in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Records that came in.
    pub records: usize,
    /// Samples that came out.
    pub kept: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Their tokens that carry loss.
    pub supervised_tokens: usize,
    /// `supervised_tokens / tokens`; 0 without tokens.
    pub supervised_share: f64,
    /// The samples' lengths in tokens.
    pub lengths: Lengths,
    /// Samples that were cut, by rule.
    pub cut: Cut,
    /// Records that were left out, by reason.
    pub dropped: BTreeMap<String, usize>,
}

/// Percentiles of lengths by the nearest rank: of samples in tokens, or of a [`Histogram`](crate::Histogram).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    /// The shortest.
    pub min: usize,
    /// The median.
    pub p50: usize,
    /// Nine in ten are at most this long.
    pub p90: usize,
    /// 95 % are at most this long.
    pub p95: usize,
    /// 99 % are at most this long.
    pub p99: usize,
    /// The longest.
    pub max: usize,
}

/// Samples that were cut, by rule; one sample can count under several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Samples that lost turns of their history.
    pub history: usize,
    /// Samples whose last user text was shortened.
    pub user: usize,
    /// Samples whose answer was shortened and lost its end token.
    pub answer: usize,
}

/// What becomes of records, one by one.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// How many samples have a length.
    lengths: BTreeMap<usize, usize>,
    supervised_tokens: usize,
    cut: Cut,
    dropped: BTreeMap<String, usize>,
}

impl Collector {
    pub(crate) fn keep(&mut self, encoded: &Encoded) {
        let Encoded { sample, truncation } = encoded;
        *self.lengths.entry(sample.input_ids.len()).or_insert(0) += 1;
        self.supervised_tokens += sample.supervised_tokens();
        self.cut.history += usize::from(truncation.history_turns > 0);
        self.cut.user += usize::from(truncation.user_chars > 0);
        self.cut.answer += usize::from(truncation.answer_tokens > 0);
    }

    pub(crate) fn leave_out(&mut self, reason: &str) {
        *self.dropped.entry(reason.to_owned()).or_insert(0) += 1;
    }

    /// # Errors
    /// [`Error::NothingLeft`] where no sample was kept.
    pub(crate) fn finish(self) -> Result<Statistics> {
        let kept = self.lengths.values().sum();
        let tokens = self.lengths.iter().map(|(length, count)| length * count);
        let tokens: usize = tokens.sum();
        let statistics = Statistics {
            records: kept + self.dropped.values().sum::<usize>(),
            kept,
            tokens,
            supervised_tokens: self.supervised_tokens,
            supervised_share: self.supervised_tokens as f64 / tokens.max(1) as f64,
            lengths: Lengths::new(&self.lengths, kept),
            cut: self.cut,
            dropped: self.dropped,
        };
        if kept == 0 {
            return Err(Error::NothingLeft {
                records: statistics.records,
                dropped: statistics.dropped_text(),
            });
        }
        Ok(statistics)
    }
}

impl Statistics {
    /// Counts in the records that were already left out while loading
    /// ([`Loaded::refused`](crate::Loaded::refused)), also those whose issues are not held.
    pub fn add_refused(&mut self, refused: &BTreeMap<&'static str, usize>) {
        for (&reason, &count) in refused {
            self.records += count;
            *self.dropped.entry(reason.to_owned()).or_insert(0) += count;
        }
    }

    pub(crate) fn dropped_text(&self) -> String {
        if self.dropped.is_empty() {
            return "none".to_owned();
        }
        let each = self
            .dropped
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Lengths {
    /// Of `samples` samples, so many of each length.
    fn new(counts: &BTreeMap<usize, usize>, samples: usize) -> Self {
        let rank = |percent: usize| {
            let mut before = (samples * percent).div_ceil(100).max(1);
            let found = counts.iter().find(|(_, count)| {
                let here = before <= **count;
                before = before.saturating_sub(**count);
                here
            });
            found.map_or(0, |(length, _)| *length)
        };
        Self {
            min: rank(0),
            p50: rank(50),
            p90: rank(90),
            p95: rank(95),
            p99: rank(99),
            max: rank(100),
        }
    }
}

impl fmt::Display for Statistics {
    /// A small table, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lengths {
            min,
            p50,
            p90,
            p95,
            p99,
            max,
        } = self.lengths;
        let Cut {
            history,
            user,
            answer,
        } = self.cut;
        let share = 100.0 * self.supervised_share;
        writeln!(f, "records     {} ({} kept)", self.records, self.kept)?;
        writeln!(f, "tokens      {}", self.tokens)?;
        writeln!(f, "supervised  {} ({share:.1} %)", self.supervised_tokens)?;
        writeln!(
            f,
            "lengths     min {min}, p50 {p50}, p90 {p90}, p95 {p95}, p99 {p99}, max {max}"
        )?;
        writeln!(
            f,
            "cut         history {history}, user {user}, answer {answer}"
        )?;
        write!(f, "dropped     {}", self.dropped_text())
    }
}
