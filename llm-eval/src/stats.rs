//! Statistics of evaluation: every figure with its uncertainty, and seeded.
//!
//! What is drawn at random comes from ChaCha8 streams and integers, so a seed draws the same on
//! every machine; figures agree up to the rounding of the platform's `exp` and `ln`.
//!
//! | Question | Function |
//! |---|---|
//! | How good on average? | [`bootstrap_mean`], [`clustered_mean`], [`Outcomes`], [`alpaca_win_rate`] |
//! | Is one better? | [`compare`], [`sign_flip_test`] |
//! | Which order? | [`bradley_terry`], [`elo`], [`elo_bootstrap`] |
//! | Is it only style? | [`bradley_terry_controlled`], [`length_controlled_win_rate`] |
//! | Do the judges agree? | [`cohen_kappa`], [`fleiss_kappa`], [`krippendorff_alpha`], [`PositionBias`] |
//! | What do they say together? | [`majority`], [`dawid_skene`] |
//! | What would people say? | [`prediction_powered`], [`rogan_gladen`] |
//!
//! Two systems' scores on three questions of two turns each:
//!
//! ```
//! use llm_eval::stats::{Bootstrap, compare};
//!
//! let (first, second) = ([8.0, 7.0, 9.0, 9.0, 4.0, 5.0], [7.0, 7.0, 8.0, 9.0, 5.0, 5.0]);
//! let found = compare(&first, &second, &[1, 1, 2, 2, 3, 3], &Bootstrap::default())?;
//! assert_eq!(found.verdict.to_string(), "not significantly different");
//! # Ok::<(), llm_eval::Error>(())
//! ```

mod bootstrap;
mod covariates;
mod dawid_skene;
mod elo;
mod expected;
mod fleiss;
mod kappa;
mod krippendorff;
mod length;
mod linalg;
mod misclassification;
mod normal;
mod outcome;
mod panel;
mod permutation;
mod position;
mod prediction_powered;
mod random;
mod ratings;
mod resample;
mod summary;

pub use bootstrap::{Comparison, Significance, bootstrap_mean, compare};
pub use covariates::{Covariates, Style, StyleFormula};
pub use dawid_skene::{DawidSkene, DawidSkeneOptions, Label, dawid_skene};
pub use elo::{EloOptions, EloRating, elo, elo_bootstrap};
pub use expected::{ExpectedPreference, expected_preference};
pub use fleiss::fleiss_kappa;
pub use kappa::{Disagreement, cohen_kappa};
pub use krippendorff::{Measurement, krippendorff_alpha};
pub use length::{LengthControlled, length_controlled_win_rate};
pub use misclassification::{Misclassification, rogan_gladen};
pub(crate) use outcome::alpaca_score;
pub use outcome::{AlpacaWinRate, Outcome, Outcomes, alpaca_win_rate};
pub use panel::{Agreement, Majority, PanelAgreement, Ties, agreement, majority, panel_agreement};
pub use permutation::{SignFlip, SignFlipOptions, sign_flip_test};
pub use position::PositionBias;
pub use prediction_powered::{PowerTuning, PredictionPowered, prediction_powered};
pub(crate) use random::{below, stream};
pub use ratings::{
    Battle, BradleyTerryOptions, Coefficient, Rating, RatingInterval, RatingScale, Ratings,
    Separation, TieModel, bradley_terry, bradley_terry_controlled,
};
pub use resample::{Bootstrap, BootstrapMethod, bca_interval, bootstrap_statistic, percentile};
pub use summary::{Estimate, Interval, clustered_mean, mean, sample_sd, standard_error, wilson};
pub(crate) use summary::{average, squares};
