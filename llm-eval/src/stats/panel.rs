//! Several judges of the same comparisons: what they agree on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fleiss::fleiss_kappa;
use super::kappa::{Disagreement, cohen_kappa};
use super::krippendorff::{Measurement, krippendorff_alpha};
use super::outcome::Outcome;
use super::summary::{Interval, check_count, check_lengths, wilson};
use crate::Result;

/// Whether votes for a tie count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// As a third answer (MT-bench's setup S1).
    Included,
    /// As no vote: pairs with a tie are left out (its setup S2).
    Excluded,
}

impl Ties {
    fn counts(self, vote: Outcome) -> bool {
        self == Self::Included || vote != Outcome::Tie
    }
}

/// How often two judges agree.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Comparisons that both voted on.
    pub items: u64,
    /// Those on which they agree.
    pub agreed: u64,
    /// agreed / items: FastChat's `compute_agreement.py`.
    pub rate: f64,
    /// Wilson's interval of the rate, the comparisons taken as independent.
    pub interval: Interval,
    /// Cohen's κ; `None` where both vote the same throughout.
    pub kappa: Option<f64>,
}

/// The agreement of two judges' votes on the same comparisons, with or without ties.
///
/// # Errors
/// Where the lists differ in length, no comparison counts, or the level is outside (0, 1).
pub fn agreement(
    first: &[Option<Outcome>],
    second: &[Option<Outcome>],
    ties: Ties,
    level: f64,
) -> Result<Agreement> {
    check_lengths("votes of the two judges", first.len(), second.len())?;
    let both = first
        .iter()
        .zip(second)
        .filter_map(|(a, b)| Some(((*a)?, (*b)?)));
    let (a, b): (Vec<usize>, Vec<usize>) = both
        .filter(|(a, b)| ties.counts(*a) && ties.counts(*b))
        .map(|(a, b)| (category(a), category(b)))
        .unzip();
    check_count("comparisons that both judges voted on", a.len(), 1)?;
    let agreed = a.iter().zip(&b).filter(|(a, b)| a == b).count() as u64;
    let items = a.len() as u64;
    Ok(Agreement {
        items,
        agreed,
        rate: agreed as f64 / items as f64,
        interval: wilson(agreed, items, level)?,
        kappa: cohen_kappa(&a, &b, 3, Disagreement::Nominal).ok(),
    })
}

/// Ties lie between the two.
fn category(vote: Outcome) -> usize {
    match vote {
        Outcome::First => 0,
        Outcome::Tie => 1,
        Outcome::Second => 2,
    }
}

/// How far a panel agrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PanelAgreement {
    /// Every two judges, by their numbers; those without a common comparison are left out.
    pub pairs: Vec<(usize, usize, Agreement)>,
    /// Fleiss' κ of the comparisons that all judges voted on; `None` without any, or where all vote
    /// the same throughout.
    pub fleiss: Option<f64>,
    /// How many comparisons those are.
    pub complete: usize,
    /// Krippendorff's α, nominal, of all comparisons with two votes or more.
    pub alpha: Option<f64>,
    /// The same, ordinal: a tie lies between the two.
    pub ordinal_alpha: Option<f64>,
}

/// The agreement of a panel: `votes[judge][comparison]`, `None` where the judge gave no verdict; with
/// or without ties.
///
/// # Errors
/// With fewer than two judges, lists of different lengths, or a level outside (0, 1).
pub fn panel_agreement(
    votes: &[Vec<Option<Outcome>>],
    ties: Ties,
    level: f64,
) -> Result<PanelAgreement> {
    check_count("judges", votes.len(), 2)?;
    super::summary::check_level(level)?;
    for judge in votes {
        check_lengths("votes of two judges", votes[0].len(), judge.len())?;
    }
    let counted: Vec<Vec<Option<Outcome>>> = votes
        .iter()
        .map(|judge| {
            judge
                .iter()
                .map(|vote| vote.filter(|vote| ties.counts(*vote)))
                .collect()
        })
        .collect();
    let mut pairs = Vec::new();
    for first in 0..votes.len() {
        for second in first + 1..votes.len() {
            if let Ok(found) = agreement(&counted[first], &counted[second], ties, level) {
                pairs.push((first, second, found));
            }
        }
    }
    let mut counts = Vec::new();
    for item in 0..votes[0].len() {
        let all: Option<Vec<Outcome>> = counted.iter().map(|judge| judge[item]).collect();
        if let Some(all) = all {
            let mut count = vec![0_u64; 3];
            all.iter().for_each(|vote| count[category(*vote)] += 1);
            counts.push(count);
        }
    }
    let numbers: Vec<Vec<Option<f64>>> = counted
        .iter()
        .map(|judge| {
            judge
                .iter()
                .map(|vote| vote.map(|vote| category(vote) as f64))
                .collect()
        })
        .collect();
    Ok(PanelAgreement {
        pairs,
        fleiss: fleiss_kappa(&counts).ok(),
        complete: counts.len(),
        alpha: krippendorff_alpha(&numbers, Measurement::Nominal).ok(),
        ordinal_alpha: krippendorff_alpha(&numbers, Measurement::Ordinal).ok(),
    })
}

/// What most of a panel say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Majority<L> {
    /// This has the most votes.
    Label(L),
    /// These have the most, as many each.
    Tie(Vec<L>),
    /// Nobody voted.
    None,
}

/// The label with the most votes (a plurality is enough), `None` where a judge gave none.
pub fn majority<L: Ord + Clone>(votes: &[Option<L>]) -> Majority<L> {
    let mut counts: BTreeMap<&L, usize> = BTreeMap::new();
    for vote in votes.iter().flatten() {
        *counts.entry(vote).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    let mut labels: Vec<L> = counts
        .into_iter()
        .filter(|(_, count)| *count == most)
        .map(|(label, _)| label.clone())
        .collect();
    match labels.len() {
        0 => Majority::None,
        1 => Majority::Label(labels.remove(0)),
        _ => Majority::Tie(labels),
    }
}
