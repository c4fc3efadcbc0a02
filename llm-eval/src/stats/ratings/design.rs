//! Battles as the fit takes them: alike ones together, models by number.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::covariates::Covariates;
use super::super::outcome::Outcome;
use super::Battle;
use crate::{Error, Result};

/// Battles that are alike for the fit.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) outcome: Outcome,
    pub(crate) features: Vec<f64>,
}

impl Row {
    /// The battle with its models in order; `models` are sorted.
    fn new(battle: &Battle, models: &[String], features: &[f64]) -> Self {
        let place = |name: &String| models.partition_point(|other| other < name);
        let (first, second) = (place(&battle.first), place(&battle.second));
        let swap = first > second;
        let sign = if swap { -1.0 } else { 1.0 };
        Self {
            first: first.min(second),
            second: first.max(second),
            outcome: if swap {
                battle.outcome.swapped()
            } else {
                battle.outcome
            },
            features: features.iter().map(|feature| sign * feature).collect(),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.first, row.second, row.outcome);
        let features = self.features.iter().zip(&other.features);
        key(self).cmp(&key(other)).then_with(|| {
            let unequal = features
                .map(|(a, b)| a.total_cmp(b))
                .find(|order| order.is_ne());
            unequal.unwrap_or(Ordering::Equal)
        })
    }
}

/// All battles.
#[derive(Debug)]
pub(crate) struct Design {
    /// The models' names, sorted.
    pub(crate) models: Vec<String>,
    /// The covariates' names.
    pub(crate) names: Vec<String>,
    /// How many covariates there are.
    pub(crate) features: usize,
    /// What differs.
    pub(crate) rows: Vec<Row>,
    /// By cluster: (row, weight) of its battles.
    pub(crate) parts: Vec<Vec<(usize, f64)>>,
    /// How many clusters there are.
    pub(crate) clusters: usize,
}

impl Design {
    pub(crate) fn new(battles: &[Battle], covariates: Option<&Covariates>) -> Self {
        let mut models: Vec<String> = battles
            .iter()
            .flat_map(|b| [b.first.clone(), b.second.clone()])
            .collect();
        models.sort_unstable();
        models.dedup();
        let mut rows: Vec<Row> = Vec::new();
        let mut cells: BTreeMap<(usize, usize, Outcome), usize> = BTreeMap::new();
        let mut alone = Vec::new();
        let mut named: BTreeMap<&str, Vec<(usize, f64)>> = BTreeMap::new();
        for (number, battle) in battles.iter().enumerate() {
            let features = covariates.map(|covariates| &covariates.rows[number][..]);
            let row = Row::new(battle, &models, features.unwrap_or(&[]));
            let next = rows.len();
            // Covariates tell battles apart.
            let index = if covariates.is_some() {
                next
            } else {
                *cells
                    .entry((row.first, row.second, row.outcome))
                    .or_insert(next)
            };
            if index == next {
                rows.push(row);
            }
            match &battle.cluster {
                Some(cluster) => named
                    .entry(cluster)
                    .or_default()
                    .push((index, battle.weight)),
                None => alone.push((index, battle.weight)),
            }
        }
        // The order of the input must not matter to what a seed draws.
        alone
            .sort_by(|a: &(usize, f64), b| rows[a.0].compare(&rows[b.0]).then(a.1.total_cmp(&b.1)));
        let parts: Vec<_> = named
            .into_values()
            .chain(alone.into_iter().map(|battle| vec![battle]))
            .collect();
        let names = covariates.map_or_else(Vec::new, |covariates| covariates.names.clone());
        Self {
            models,
            features: names.len(),
            names,
            rows,
            clusters: parts.len(),
            parts,
        }
    }

    /// A model's number.
    pub(crate) fn place(&self, model: &str) -> Result<usize> {
        let found = self.models.iter().position(|name| name == model);
        found.ok_or_else(|| Error::UnknownModel(model.to_owned()))
    }

    /// The rows' weights with each cluster once, or as often as it is drawn.
    pub(crate) fn weights(&self, drawn: Option<&[usize]>) -> Vec<f64> {
        let mut weights = vec![0.0; self.rows.len()];
        let mut add = |cluster: &Vec<(usize, f64)>| {
            for (row, weight) in cluster {
                weights[*row] += weight;
            }
        };
        match drawn {
            None => self.parts.iter().for_each(&mut add),
            Some(drawn) => drawn.iter().for_each(|place| add(&self.parts[*place])),
        }
        weights
    }

    /// Which models fight in rows of some weight.
    pub(crate) fn present(&self, weights: &[f64]) -> Vec<bool> {
        let mut present = vec![false; self.models.len()];
        for (row, _) in self
            .rows
            .iter()
            .zip(weights)
            .filter(|(_, weight)| **weight > 0.0)
        {
            present[row.first] = true;
            present[row.second] = true;
        }
        present
    }

    /// The weight of each model's battles.
    pub(crate) fn battles_of_models(&self) -> Vec<f64> {
        let mut battles = vec![0.0; self.models.len()];
        for (row, weight) in self.rows.iter().zip(self.weights(None)) {
            battles[row.first] += weight;
            battles[row.second] += weight;
        }
        battles
    }
}
