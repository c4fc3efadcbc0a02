//! Ratings of models from battles: Bradley–Terry, with ties and covariates.

mod battle;
mod connected;
mod design;
mod fit;
mod kernel;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Comparison, Significance};
use super::covariates::Covariates;
use super::normal;
use super::resample::{Bootstrap, BootstrapMethod, draws, percentile_interval, sort};
use super::summary::{Estimate, Interval, check_count, check_lengths, check_level, squares};
use crate::{Error, Result};
pub(crate) use battle::check_battles;
pub use battle::{Battle, RatingScale};
use design::Design;
use fit::Fit;

/// How the ratings treat ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TieModel {
    /// Half a win each, as the Arena's and FastChat's ratings. With π = e^β, P(first wins) =
    /// π₁ / (π₁ + π₂).
    HalfWins,
    /// Davidson (1970): wins π₁ and π₂ against a tie's ν√(π₁π₂).
    Davidson,
    /// Rao & Kupper (1967): P(first wins) = π₁ / (π₁ + θπ₂), θ > 1; what remains is ties.
    RaoKupper,
}

/// Where the intervals of ratings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RatingInterval {
    /// The sandwich covariance, clustered, with normal intervals.
    Sandwich,
    /// Percentiles of so many bootstraps of the clusters: the Arena makes 100. They are a little short:
    /// of 1000 simulations with 100 clusters of three battles 91.5 % for 95 % (100 rounds), 92.2 %
    /// (400); the sandwich has 94.0 % of 4000.
    Bootstrap {
        /// How many.
        rounds: usize,
    },
}

/// How ratings are fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BradleyTerryOptions {
    /// The ratings' unit.
    pub scale: RatingScale,
    /// What becomes of ties.
    pub ties: TieModel,
    /// The penalty ½·ridge·(Σ w² + Σ γ²) on the log-likelihood, w = (rating − init) / scale before
    /// anchoring, γ the covariates' coefficients. 0 is none; 0.5 is what scikit-learn's default adds
    /// in FastChat 0.2.36 (which has each battle twice), and what the Arena's style control has.
    pub ridge: f64,
    /// Which intervals.
    pub interval: RatingInterval,
    /// How often they hold the truth.
    pub level: f64,
    /// What the bootstrap's draws depend on.
    pub seed: u64,
}

impl Default for BradleyTerryOptions {
    /// Base 10, scale 400, mean 1000; ties half; no ridge; sandwich intervals at 0.95.
    fn default() -> Self {
        Self {
            scale: RatingScale::default(),
            ties: TieModel::HalfWins,
            ridge: 0.0,
            interval: RatingInterval::Sandwich,
            level: 0.95,
            seed: 0,
        }
    }
}

impl BradleyTerryOptions {
    /// The Arena's: as the default, with 100 bootstraps.
    pub fn arena() -> Self {
        Self {
            interval: RatingInterval::Bootstrap { rounds: 100 },
            ..Self::default()
        }
    }

    /// The Arena's style control and FastChat 0.2.36: as [`arena`](Self::arena), with ridge 0.5.
    pub fn arena_ridge() -> Self {
        Self {
            ridge: RIDGE,
            ..Self::arena()
        }
    }

    fn check(&self) -> Result<()> {
        self.scale.check()?;
        check_level(self.level)?;
        if let RatingInterval::Bootstrap { rounds } = self.interval {
            check_count("rounds", rounds, 2)?;
        }
        if self.ridge >= 0.0 && self.ridge.is_finite() {
            return Ok(());
        }
        Err(Error::BadOption {
            name: "ridge",
            value: self.ridge,
            reason: "must not be negative",
        })
    }
}

/// The ridge where the battles alone would put ratings at infinity.
const RIDGE: f64 = 0.5;

/// A model's rating.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rating {
    /// The model.
    pub model: String,
    /// Its rating in points, with its standard error and interval: relative to the anchor where there
    /// is one, else to the mean of all models.
    pub rating: Estimate,
    /// The weight of its battles: their number where none has another weight.
    pub battles: f64,
}

/// A covariate's coefficient.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coefficient {
    /// The covariate.
    pub name: String,
    /// Its coefficient in log-odds (natural) of the first's win per unit.
    pub coefficient: Estimate,
}

/// Why the battles alone do not determine the ratings, and what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Separation {
    /// Models of different groups have not both beaten each other, not even by way of others (a
    /// model that wins all is a group): the distances between groups come from the ridge.
    pub groups: Vec<Vec<String>>,
}

/// Models by rating, the best first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratings {
    /// The ratings.
    pub models: Vec<Rating>,
    /// Davidson's ν or Rao & Kupper's θ; `None` with half wins.
    pub tie_parameter: Option<f64>,
    /// The covariates' coefficients.
    pub coefficients: Vec<Coefficient>,
    /// Where the battles do not determine all ratings: then the ridge is 0.5 at least.
    pub separation: Option<Separation>,
    /// The ridge that was used.
    pub ridge: f64,
    /// The log-likelihood (natural) of the battles, without the penalty.
    pub log_likelihood: f64,
    /// The ratings' sandwich covariance in points², in the order of `models`.
    #[serde(skip)]
    covariance: Vec<Vec<f64>>,
    #[serde(skip)]
    level: f64,
}

impl Ratings {
    /// The difference of two models' ratings in points, with a p-value, by the sandwich covariance.
    ///
    /// # Errors
    /// Where a model has no battles.
    pub fn compare(&self, first: &str, second: &str) -> Result<Comparison> {
        let place = |name: &str| {
            let found = self.models.iter().position(|rating| rating.model == name);
            found.ok_or_else(|| Error::UnknownModel(name.to_owned()))
        };
        let (a, b) = (place(first)?, place(second)?);
        let cov = &self.covariance;
        let variance = cov[a][a] + cov[b][b] - 2.0 * cov[a][b];
        let [first, second] = [a, b].map(|place| self.models[place].rating.value);
        let difference = Estimate::normal(first - second, variance.max(0.0).sqrt(), self.level);
        let z = difference.value / difference.standard_error;
        Ok(Comparison {
            first,
            second,
            difference,
            p_value: if difference.value == 0.0 {
                1.0
            } else {
                normal::two_sided_p(z)
            },
            verdict: Significance::of(&difference.interval),
        })
    }
}

/// Ratings by maximum likelihood (Bradley & Terry 1952): logistic regression without intercept on
/// who fought whom, converged to 10⁻¹⁰ in log-odds. The same whatever the order of the battles.
/// Models that the battles cannot place (see [`Separation`]) are placed by a ridge, and it is said.
///
/// # Errors
/// Without battles, with fewer than two clusters, with bad options or weights, an anchor without
/// battles; a tie model where every battle is a tie.
pub fn bradley_terry(battles: &[Battle], options: &BradleyTerryOptions) -> Result<Ratings> {
    fitted(battles, None, options)
}

/// As [`bradley_terry`], with covariates of each battle (their differences of length and style)
/// beside the models: what the ratings would be, were they 0. One row of covariates per battle.
///
/// # Errors
/// As [`bradley_terry`], where rows and battles differ in number, or where a covariate decides all
/// battles without a ridge.
pub fn bradley_terry_controlled(
    battles: &[Battle],
    covariates: &Covariates,
    options: &BradleyTerryOptions,
) -> Result<Ratings> {
    check_lengths(
        "battles and covariates",
        battles.len(),
        covariates.rows.len(),
    )?;
    fitted(battles, Some(covariates), options)
}

fn fitted(
    battles: &[Battle],
    covariates: Option<&Covariates>,
    options: &BradleyTerryOptions,
) -> Result<Ratings> {
    options.check()?;
    check_battles(battles)?;
    let design = Design::new(battles, covariates);
    check_count("clusters of battles", design.clusters, 2)?;
    let anchor = options
        .scale
        .anchor
        .as_ref()
        .map(|(model, _)| design.place(model));
    let anchor = anchor.transpose()?;
    let weights = design.weights(None);
    let fit = Fit::new(&design, &weights, options)?;
    let influence = fit.influence(&design, options);
    let estimates = match options.interval {
        RatingInterval::Sandwich => sandwich(&design, &fit, &influence, (anchor, options)),
        RatingInterval::Bootstrap { rounds } => {
            bootstrapped(&design, &fit, rounds, (anchor, options))?
        }
    };
    Ok(assembled(
        &design,
        fit,
        estimates,
        covariance(&influence, (anchor, options)),
        options,
    ))
}

/// The parameters in their units: points for models, log-odds for covariates; all from one fit.
fn in_units(
    parameters: &[f64],
    models: usize,
    (anchor, options): (Option<usize>, &BradleyTerryOptions),
) -> Vec<f64> {
    let scale = &options.scale;
    let anchored = anchor.map_or(0.0, |place| parameters[place]);
    let origin = match (&scale.anchor, anchor) {
        (Some((_, rating)), Some(_)) => *rating,
        _ => scale.init,
    };
    let units = parameters.iter().enumerate().map(|(place, value)| {
        if place < models {
            origin + scale.points() * (value - anchored)
        } else {
            *value
        }
    });
    units.collect()
}

fn sandwich(
    design: &Design,
    fit: &Fit,
    influence: &[Vec<f64>],
    units: (Option<usize>, &BradleyTerryOptions),
) -> Vec<Estimate> {
    let values = in_units(&fit.parameters, design.models.len(), units);
    let (anchor, options) = units;
    let known = values
        .into_iter()
        .take(design.models.len() + design.features);
    let estimates = known.enumerate().map(|(place, value)| {
        let model = place < design.models.len();
        let variance: f64 = influence
            .iter()
            .map(|cluster| {
                let anchored = anchor
                    .filter(|_| model)
                    .map_or(0.0, |anchor| cluster[anchor]);
                (cluster[place] - anchored).powi(2)
            })
            .sum();
        let unit = if model { options.scale.points() } else { 1.0 };
        Estimate::normal(value, unit * variance.sqrt(), options.level)
    });
    estimates.collect()
}

/// Estimates with percentiles of resamples; a model that a resample leaves out is missing from it.
fn bootstrapped(
    design: &Design,
    fit: &Fit,
    rounds: usize,
    units: (Option<usize>, &BradleyTerryOptions),
) -> Result<Vec<Estimate>> {
    let (anchor, options) = units;
    let models = design.models.len();
    let bootstrap = Bootstrap {
        resamples: rounds,
        level: options.level,
        method: BootstrapMethod::Percentile,
        seed: options.seed,
    };
    let resamples = draws(design.clusters, &bootstrap, |drawn| {
        let weights = design.weights(Some(drawn));
        let present = design.present(&weights);
        if anchor.is_some_and(|anchor| !present[anchor]) {
            return None;
        }
        let fit = Fit::new(design, &weights, options).ok()?;
        Some((present, in_units(&fit.parameters, models, units)))
    });
    let values = in_units(&fit.parameters, models, units);
    let estimate = |place: usize| {
        let mut sample: Vec<f64> = resamples
            .iter()
            .flatten()
            .filter(|(present, _)| place >= models || present[place])
            .map(|(_, values)| values[place])
            .collect();
        if sample.len() < 2 || sample.len() * 2 < rounds {
            return Err(Error::Undefined {
                what: "bootstrap of ratings",
                reason: "most resamples do not determine them",
            });
        }
        sort(&mut sample);
        Ok(Estimate {
            value: values[place],
            standard_error: (squares(&sample) / (sample.len() - 1) as f64).sqrt(),
            interval: percentile_interval(&sample, options.level),
        })
    };
    (0..models + design.features).map(estimate).collect()
}

fn covariance(
    influence: &[Vec<f64>],
    (anchor, options): (Option<usize>, &BradleyTerryOptions),
) -> impl Fn(usize, usize) -> f64 {
    let points = options.scale.points();
    move |a, b| {
        let products = influence.iter().map(|cluster| {
            let anchored = anchor.map_or(0.0, |anchor| cluster[anchor]);
            (cluster[a] - anchored) * (cluster[b] - anchored)
        });
        points * points * products.sum::<f64>()
    }
}

fn assembled(
    design: &Design,
    fit: Fit,
    estimates: Vec<Estimate>,
    covariance: impl Fn(usize, usize) -> f64,
    options: &BradleyTerryOptions,
) -> Ratings {
    let models = design.models.len();
    let mut order: Vec<usize> = (0..models).collect();
    order.sort_by(|a, b| estimates[*b].value.total_cmp(&estimates[*a].value));
    let battles = design.battles_of_models();
    let rating = |place: &usize| Rating {
        model: design.models[*place].clone(),
        rating: estimates[*place],
        battles: battles[*place],
    };
    let coefficients = design.names.iter().zip(&estimates[models..]);
    Ratings {
        models: order.iter().map(rating).collect(),
        tie_parameter: fit.tie_parameter(models + design.features, options.ties),
        coefficients: coefficients
            .map(|(name, coefficient)| Coefficient {
                name: name.clone(),
                coefficient: *coefficient,
            })
            .collect(),
        separation: fit.groups.map(|groups| Separation {
            groups: groups
                .iter()
                .map(|group| {
                    group
                        .iter()
                        .map(|place| design.models[*place].clone())
                        .collect()
                })
                .collect(),
        }),
        ridge: fit.ridge,
        log_likelihood: fit.log_likelihood,
        covariance: order
            .iter()
            .map(|a| order.iter().map(|b| covariance(*a, *b)).collect())
            .collect(),
        level: options.level,
    }
}

impl Rating {
    /// Whether the rating was set, not estimated.
    pub fn is_anchor(&self) -> bool {
        let Interval { low, high, .. } = self.rating.interval;
        self.rating.standard_error == 0.0 && low == high
    }
}
