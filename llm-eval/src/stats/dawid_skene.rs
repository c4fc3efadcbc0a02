//! The Dawid–Skene model: what the truth is, and how each judge errs.

use serde::{Deserialize, Serialize};

use super::summary::check_count;
use crate::{Error, Result};

/// No probability is below this, as in crowd-kit.
const LEAST: f64 = 1e-10;

/// One judge's label of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// The item, from 0.
    pub item: usize,
    /// The judge, from 0.
    pub judge: usize,
    /// The class that it gives, from 0.
    pub class: usize,
}

/// How the model is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DawidSkeneOptions {
    /// Counts that are added to each cell of each judge's confusion matrix and to each class: 0 is
    /// maximum likelihood, above 0 the mode under Dirichlet(1 + smoothing) priors. Few labels per
    /// judge need some.
    pub smoothing: f64,
    /// The most rounds of expectation and maximisation.
    pub iterations: usize,
    /// It ends where a round adds less than this to the objective per label.
    pub tolerance: f64,
}

impl Default for DawidSkeneOptions {
    /// No smoothing, 1000 rounds, tolerance 10⁻¹².
    fn default() -> Self {
        Self {
            smoothing: 0.0,
            iterations: 1000,
            tolerance: 1e-12,
        }
    }
}

/// The fitted model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DawidSkene {
    /// `truth[item][class]`: how likely the class is. An item without labels has the priors.
    pub truth: Vec<Vec<f64>>,
    /// How frequent each class is.
    pub priors: Vec<f64>,
    /// `confusion[judge][true class][given class]`; rows add to 1.
    pub confusion: Vec<Vec<Vec<f64>>>,
    /// The objective after each round: the log-likelihood (natural) of the labels, with the log-prior
    /// where there is smoothing. It never falls.
    pub objective: Vec<f64>,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

impl DawidSkene {
    /// The most likely class of each item; `None` where two are equally likely, to 10⁻⁹.
    pub fn classes(&self) -> Vec<Option<usize>> {
        let class = |truth: &Vec<f64>| {
            let most = truth.iter().copied().fold(0.0, f64::max);
            let mut best = (0..truth.len()).filter(|class| truth[*class] >= most - 1e-9);
            best.next().filter(|_| best.next().is_none())
        };
        self.truth.iter().map(class).collect()
    }
}

/// Fits the model of Dawid & Skene (1979) by expectation–maximisation, started from the shares of
/// votes. The judges are taken to err independently, given the truth: judges of one family do not.
/// Labels are of so many items, by so many judges, with so many classes; one who has no label has even
/// confusions.
///
/// # Errors
/// Without labels, with fewer than two classes, a label out of range, or bad options.
pub fn dawid_skene(
    labels: &[Label],
    items: usize,
    judges: usize,
    classes: usize,
    options: &DawidSkeneOptions,
) -> Result<DawidSkene> {
    check(labels, [items, judges, classes], options)?;
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    let sizes = (judges, classes);
    let mut model = DawidSkene {
        truth: votes(&labels, items, classes),
        priors: Vec::new(),
        confusion: Vec::new(),
        objective: Vec::new(),
        converged: false,
    };
    maximise(&mut model, &labels, sizes, options.smoothing);
    for _ in 0..options.iterations {
        let objective = expect(&mut model, &labels, options.smoothing);
        let gain = model
            .objective
            .last()
            .map_or(f64::INFINITY, |last| objective - last);
        model.objective.push(objective);
        maximise(&mut model, &labels, sizes, options.smoothing);
        if gain < options.tolerance * labels.len() as f64 {
            model.converged = true;
            break;
        }
    }
    Ok(model)
}

fn check(
    labels: &[Label],
    [items, judges, classes]: [usize; 3],
    options: &DawidSkeneOptions,
) -> Result<()> {
    check_count("labels", labels.len(), 1)?;
    check_count("classes", classes, 2)?;
    check_count("iterations", options.iterations, 1)?;
    for (index, label) in labels.iter().enumerate() {
        for (number, count, reason) in [
            (label.item, items, "must be below the number of items"),
            (label.judge, judges, "must be below the number of judges"),
            (label.class, classes, "must be below the number of classes"),
        ] {
            if number >= count {
                return Err(Error::BadValue {
                    what: "labels",
                    index,
                    value: number as f64,
                    reason,
                });
            }
        }
    }
    let known = [
        ("smoothing", options.smoothing),
        ("tolerance", options.tolerance),
    ];
    match known
        .into_iter()
        .find(|(_, value)| !(*value >= 0.0 && value.is_finite()))
    {
        None => Ok(()),
        Some((name, value)) => Err(Error::BadOption {
            name,
            value,
            reason: "must not be negative",
        }),
    }
}

fn votes(labels: &[Label], items: usize, classes: usize) -> Vec<Vec<f64>> {
    let mut truth = vec![vec![0.0; classes]; items];
    labels
        .iter()
        .for_each(|label| truth[label.item][label.class] += 1.0);
    for item in &mut truth {
        let total: f64 = item.iter().sum();
        if total > 0.0 {
            item.iter_mut().for_each(|share| *share /= total);
        }
    }
    truth
}

/// Priors and confusion matrices from the truth.
fn maximise(
    model: &mut DawidSkene,
    labels: &[Label],
    (judges, classes): (usize, usize),
    smoothing: f64,
) {
    let mut labelled = vec![false; model.truth.len()];
    let mut confusion = vec![vec![vec![smoothing; classes]; classes]; judges];
    for label in labels {
        labelled[label.item] = true;
        for (class, share) in model.truth[label.item].iter().enumerate() {
            confusion[label.judge][class][label.class] += share;
        }
    }
    let mut priors = vec![smoothing; classes];
    for (item, _) in model
        .truth
        .iter()
        .zip(&labelled)
        .filter(|(_, labelled)| **labelled)
    {
        priors
            .iter_mut()
            .zip(item)
            .for_each(|(prior, share)| *prior += share);
    }
    normalise(&mut priors);
    confusion
        .iter_mut()
        .flatten()
        .for_each(|row| normalise(row));
    model.priors = priors;
    model.confusion = confusion;
}

/// Shares that add to 1, none of them 0: what has been ruled out stays possible.
fn normalise(row: &mut [f64]) {
    row.iter_mut().for_each(|cell| *cell = cell.max(LEAST));
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|cell| *cell /= total);
}

/// The truth from priors and confusion matrices; returns the objective.
fn expect(model: &mut DawidSkene, labels: &[Label], smoothing: f64) -> f64 {
    let priors: Vec<f64> = model.priors.iter().map(|prior| prior.ln()).collect();
    let mut logs = vec![priors; model.truth.len()];
    for label in labels {
        for (class, log) in logs[label.item].iter_mut().enumerate() {
            *log += model.confusion[label.judge][class][label.class].ln();
        }
    }
    let mut objective = 0.0;
    for (item, logs) in model.truth.iter_mut().zip(&logs) {
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logs.iter().map(|log| (log - most).exp()).sum();
        objective += most + total.ln();
        for (share, log) in item.iter_mut().zip(logs) {
            *share = (log - most).exp() / total;
        }
    }
    if smoothing > 0.0 {
        let cells = model
            .confusion
            .iter()
            .flatten()
            .flatten()
            .chain(&model.priors);
        objective += smoothing * cells.map(|cell| cell.ln()).sum::<f64>();
    }
    objective
}
