//! Elo ratings, updated battle by battle.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::random::{below, stream};
use super::ratings::{Battle, RatingScale, check_battles};
use super::resample::{percentile, percentile_interval, sort};
use super::summary::{Interval, check_count, check_level};
use crate::{Error, Result};

/// The random numbers that draw battles.
const STREAM: &[u8; 8] = b"elobattl";

/// How Elo ratings move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EloOptions {
    /// The most points that a battle moves: FastChat's Arena has 4.
    pub k: f64,
    /// The ratings' scale; its `init` is where each model starts. An anchor shifts the end.
    pub scale: RatingScale,
}

impl Default for EloOptions {
    /// K = 4, base 10, scale 400, start 1000.
    fn default() -> Self {
        Self {
            k: 4.0,
            scale: RatingScale::default(),
        }
    }
}

/// A model's Elo rating over resampled battles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EloRating {
    /// The model.
    pub model: String,
    /// The median of the resamples.
    pub median: f64,
    /// Their percentiles.
    pub interval: Interval,
}

/// Ratings after all battles, in their order (FastChat's `compute_elo`): the winner of a battle with
/// expected score e gains K·(score − e), the other loses as much; a tie scores ½. A battle's weight
/// multiplies K. The ratings depend on the order: [`elo_bootstrap`] does less.
///
/// # Errors
/// Without battles, with bad options or weights, or an anchor without battles.
pub fn elo(battles: &[Battle], options: &EloOptions) -> Result<BTreeMap<String, f64>> {
    let models = models_of(battles, options)?;
    let moves: Vec<Move> = battles
        .iter()
        .map(|battle| Move::new(battle, &models))
        .collect();
    let ratings = run(moves.iter(), models.len(), options);
    let shift = shift(&ratings, &models, options)?;
    let named = models.into_iter().zip(ratings.into_iter().flatten());
    Ok(named
        .map(|(model, rating)| (model.to_owned(), rating + shift))
        .collect())
}

/// Medians and intervals of Elo ratings over resamples of the battles in random order, as FastChat's
/// `get_bootstrap_result` (which rounds the medians to whole points). The same whatever the order of
/// the input. A model that a resample leaves out is missing from it. The models come best first.
///
/// # Errors
/// As [`elo`], or with no rounds or a level outside (0, 1).
pub fn elo_bootstrap(
    battles: &[Battle],
    options: &EloOptions,
    rounds: usize,
    level: f64,
    seed: u64,
) -> Result<Vec<EloRating>> {
    check_level(level)?;
    check_count("rounds", rounds, 1)?;
    let models = models_of(battles, options)?;
    let mut moves: Vec<Move> = battles
        .iter()
        .map(|battle| Move::new(battle, &models))
        .collect();
    // The order of the input must not matter to what a seed draws.
    moves.sort_by(|a, b| a.key().cmp(&b.key()).then(a.weight.total_cmp(&b.weight)));
    let mut rng = stream(seed, STREAM);
    let mut samples = vec![Vec::new(); models.len()];
    for _ in 0..rounds {
        let drawn = (0..moves.len()).map(|_| &moves[below(&mut rng, moves.len())]);
        let ratings = run(drawn, models.len(), options);
        // A resample without the anchor has no scale.
        let Ok(shift) = shift(&ratings, &models, options) else {
            continue;
        };
        for (sample, rating) in samples.iter_mut().zip(ratings) {
            sample.extend(rating.map(|rating| rating + shift));
        }
    }
    let named = models
        .into_iter()
        .zip(samples)
        .filter(|(_, values)| !values.is_empty());
    let mut ratings: Vec<EloRating> = named
        .map(|(model, mut values)| {
            sort(&mut values);
            EloRating {
                model: model.to_owned(),
                median: percentile(&values, 0.5),
                interval: percentile_interval(&values, level),
            }
        })
        .collect();
    ratings.sort_by(|a, b| b.median.total_cmp(&a.median));
    Ok(ratings)
}

/// The models of all battles, sorted.
fn models_of<'a>(battles: &'a [Battle], options: &EloOptions) -> Result<Vec<&'a str>> {
    options.scale.check()?;
    if !(options.k > 0.0 && options.k.is_finite()) {
        return Err(Error::BadOption {
            name: "k",
            value: options.k,
            reason: "must be above 0",
        });
    }
    check_battles(battles)?;
    let both = battles
        .iter()
        .flat_map(|battle| [&*battle.first, &*battle.second]);
    let models: BTreeSet<&str> = both.collect();
    options
        .scale
        .shift(|model| models.contains(model).then_some(0.0))?;
    Ok(models.into_iter().collect())
}

/// A battle with its models by number and in order.
#[derive(Debug)]
struct Move {
    first: usize,
    second: usize,
    outcome: Outcome,
    weight: f64,
}

impl Move {
    fn new(battle: &Battle, models: &[&str]) -> Self {
        let place = |name: &str| models.partition_point(|other| *other < name);
        let (first, second) = (place(&battle.first), place(&battle.second));
        Self {
            first: first.min(second),
            second: first.max(second),
            outcome: if first < second {
                battle.outcome
            } else {
                battle.outcome.swapped()
            },
            weight: battle.weight,
        }
    }

    fn key(&self) -> (usize, usize, Outcome) {
        (self.first, self.second, self.outcome)
    }
}

/// Each model's rating in the end; `None` for one that has no battle.
fn run<'a>(
    moves: impl Iterator<Item = &'a Move>,
    models: usize,
    options: &EloOptions,
) -> Vec<Option<f64>> {
    let mut ratings = vec![None; models];
    for battle in moves {
        let [first, second] =
            [battle.first, battle.second].map(|place| ratings[place].unwrap_or(options.scale.init));
        let expected = options.scale.win_probability(first, second);
        let gain = options.k * battle.weight * (battle.outcome.score() - expected);
        ratings[battle.first] = Some(first + gain);
        ratings[battle.second] = Some(second - gain);
    }
    ratings
}

/// What the anchor asks of all ratings.
fn shift(ratings: &[Option<f64>], models: &[&str], options: &EloOptions) -> Result<f64> {
    options.scale.shift(|model| {
        let place = models.binary_search(&model).ok()?;
        ratings[place]
    })
}
