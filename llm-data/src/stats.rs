//! What a data set is like.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::encode::Sample;
use crate::truncate::Truncation;

/// A data set in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// Percentiles of the samples' lengths in tokens, by the nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Samples that lost turns of their history.
    pub history: usize,
    /// Samples whose last user text was shortened.
    pub user: usize,
    /// Samples whose answer was shortened and lost its end token.
    pub answer: usize,
}

impl Statistics {
    pub(crate) fn new(
        records: usize,
        samples: &[Sample],
        cuts: &[Truncation],
        dropped: BTreeMap<String, usize>,
    ) -> Self {
        let mut lengths: Vec<usize> = samples
            .iter()
            .map(|sample| sample.input_ids.len())
            .collect();
        lengths.sort_unstable();
        let tokens: usize = lengths.iter().sum();
        let supervised_tokens: usize = samples.iter().map(Sample::supervised_tokens).sum();
        let count = |cut: fn(&Truncation) -> usize| cuts.iter().filter(|&c| cut(c) > 0).count();
        Self {
            records,
            kept: samples.len(),
            tokens,
            supervised_tokens,
            supervised_share: supervised_tokens as f64 / tokens.max(1) as f64,
            lengths: Lengths::new(&lengths),
            cut: Cut {
                history: count(|cut| cut.history_turns),
                user: count(|cut| cut.user_chars),
                answer: count(|cut| cut.answer_tokens),
            },
            dropped,
        }
    }

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
    /// From lengths in ascending order.
    fn new(sorted: &[usize]) -> Self {
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0)
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
