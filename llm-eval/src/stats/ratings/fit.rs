//! The maximum of the (penalised) likelihood of battles.

use super::super::linalg::{Cholesky, Matrix, Value, minimise};
use super::connected::groups;
use super::design::{Design, Row};
use super::kernel::{Terms, terms};
use super::{BradleyTerryOptions, RIDGE, TieModel};
use crate::stats::Outcome;
use crate::{Error, Result};

/// Ratings in natural log-odds with mean 0, then the covariates' coefficients, then the tie
/// parameter where there is one.
#[derive(Debug)]
pub(crate) struct Fit {
    pub(crate) parameters: Vec<f64>,
    pub(crate) ridge: f64,
    pub(crate) groups: Option<Vec<Vec<usize>>>,
    pub(crate) log_likelihood: f64,
    solver: Cholesky,
    model: TieModel,
}

impl Fit {
    /// The fit to the design's rows, with these weights.
    pub(crate) fn new(
        design: &Design,
        weights: &[f64],
        options: &BradleyTerryOptions,
    ) -> Result<Self> {
        let groups = groups(design, weights);
        let ridge = if groups.is_some() {
            options.ridge.max(RIDGE)
        } else {
            options.ridge
        };
        let model = tie_model(design, weights, options.ties)?;
        let known = design.models.len() + design.features;
        let mut start = vec![0.0; known];
        if model != TieModel::HalfWins {
            start.push(0.5);
        }
        let penalties = penalties(design, options, ridge);
        let (parameters, solver) = minimise("ratings", start, |parameters| {
            evaluate(design, weights, &penalties, (model, parameters))
        })?;
        let likelihood = design.rows.iter().zip(weights).map(|(row, weight)| {
            let Terms { loss, .. } = of_row(row, (model, &parameters), design.models.len());
            -weight * loss
        });
        Ok(Self {
            log_likelihood: likelihood.sum(),
            parameters,
            ridge,
            groups,
            solver,
            model,
        })
    }

    /// How far each cluster moves the parameters: the square of these, summed, is the clustered
    /// sandwich variance (Liang & Zeger 1986), with the factor G / (G − 1).
    pub(crate) fn influence(
        &self,
        design: &Design,
        options: &BradleyTerryOptions,
    ) -> Vec<Vec<f64>> {
        let clusters = design.clusters as f64;
        let factor = (clusters / (clusters - 1.0)).sqrt();
        let models = design.models.len();
        let penalties = penalties(design, options, self.ridge);
        let rows: Vec<Terms> = design
            .rows
            .iter()
            .map(|row| of_row(row, (self.model, &self.parameters), models))
            .collect();
        let influence = |cluster: &Vec<(usize, f64)>| {
            // The penalty is a part of the score; each cluster has its share, so that they add to 0.
            let mut score: Vec<f64> = (0..self.parameters.len())
                .map(|place| {
                    let ridge = penalties.get(place).copied().unwrap_or(0.0);
                    ridge * self.parameters[place] / clusters
                })
                .collect();
            for (index, weight) in cluster {
                let (row, terms) = (&design.rows[*index], &rows[*index]);
                add_gradient(&mut score, row, (terms, *weight), models);
            }
            let moved = self.solver.solve(&score);
            moved.into_iter().map(|part| factor * part).collect()
        };
        design.parts.iter().map(influence).collect()
    }

    /// ν or θ: `None` with half wins; 0 or 1 where there are no ties.
    pub(crate) fn tie_parameter(&self, place: usize, asked: TieModel) -> Option<f64> {
        match (self.parameters.get(place), asked) {
            (Some(tie), _) => Some(tie.exp()),
            (None, TieModel::HalfWins) => None,
            (None, TieModel::Davidson) => Some(0.0),
            (None, TieModel::RaoKupper) => Some(1.0),
        }
    }
}

/// Without ties all models are one, and the tie parameter would be −∞.
fn tie_model(design: &Design, weights: &[f64], asked: TieModel) -> Result<TieModel> {
    let fought = design
        .rows
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0);
    let ties = fought
        .clone()
        .filter(|(row, _)| row.outcome == Outcome::Tie)
        .count();
    let rows = fought.count();
    if asked == TieModel::HalfWins || ties == 0 {
        return Ok(TieModel::HalfWins);
    }
    if ties == rows {
        return Err(Error::Undefined {
            what: "tie parameter",
            reason: "all battles are ties",
        });
    }
    Ok(asked)
}

/// The ridge on each parameter; none on the tie parameter, which has no place here.
fn penalties(design: &Design, options: &BradleyTerryOptions, ridge: f64) -> Vec<f64> {
    let log = options.scale.base.ln();
    let mut penalties = vec![ridge / (log * log); design.models.len()];
    penalties.resize(design.models.len() + design.features, ridge);
    penalties
}

fn of_row(row: &Row, (model, parameters): (TieModel, &[f64]), models: usize) -> Terms {
    let style = row.features.iter().zip(&parameters[models..]);
    let style: f64 = style
        .map(|(feature, coefficient)| feature * coefficient)
        .sum();
    let d = parameters[row.first] - parameters[row.second] + style;
    let tie = parameters
        .get(models + row.features.len())
        .copied()
        .unwrap_or(0.0);
    terms(model, d, tie, row.outcome)
}

/// The parameters that a row's d depends on, and how much.
fn slopes(row: &Row, models: usize) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
    let features = row.features.iter().enumerate();
    let features = features.map(move |(place, value)| (models + place, *value));
    [(row.first, 1.0), (row.second, -1.0)]
        .into_iter()
        .chain(features)
}

fn add_gradient(gradient: &mut [f64], row: &Row, (terms, weight): (&Terms, f64), models: usize) {
    for (place, slope) in slopes(row, models) {
        gradient[place] += weight * terms.by_d * slope;
    }
    if let Some(tie) = gradient.get_mut(models + row.features.len()) {
        *tie += weight * terms.by_tie;
    }
}

fn evaluate(
    design: &Design,
    weights: &[f64],
    penalties: &[f64],
    (model, parameters): (TieModel, &[f64]),
) -> Value {
    let models = design.models.len();
    let mut value = Value {
        loss: 0.0,
        gradient: vec![0.0; parameters.len()],
        hessian: Matrix::zero(parameters.len()),
    };
    for (row, &weight) in design
        .rows
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0)
    {
        let terms = of_row(row, (model, parameters), models);
        value.loss += weight * terms.loss;
        add_gradient(&mut value.gradient, row, (&terms, weight), models);
        for (a, slope) in slopes(row, models) {
            for (b, other) in slopes(row, models) {
                value
                    .hessian
                    .add(a, b, weight * terms.by_dd * slope * other);
            }
        }
        let tie = models + row.features.len();
        if tie < parameters.len() {
            for (a, slope) in slopes(row, models) {
                value.hessian.add(a, tie, weight * terms.by_d_tie * slope);
                value.hessian.add(tie, a, weight * terms.by_d_tie * slope);
            }
            value.hessian.add(tie, tie, weight * terms.by_tie_tie);
        }
    }
    for (place, penalty) in penalties.iter().enumerate() {
        value.loss += penalty / 2.0 * parameters[place].powi(2);
        value.gradient[place] += penalty * parameters[place];
        value.hessian.add(place, place, *penalty);
    }
    // Ratings are known up to a constant only: their mean is held at 0.
    let mean: f64 = parameters[..models].iter().sum::<f64>() / models as f64;
    value.loss += models as f64 * mean * mean / 2.0;
    for a in 0..models {
        value.gradient[a] += mean;
        for b in 0..models {
            value.hessian.add(a, b, 1.0 / models as f64);
        }
    }
    value
}
