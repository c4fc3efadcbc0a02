//! Rates corrected for a judge's known error rates.

use serde::{Deserialize, Serialize};

use super::normal;
use super::summary::{Estimate, Interval, check_count, check_level};
use crate::{Error, Result};

/// A rate corrected for misclassification.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Misclassification {
    /// The corrected rate, cut to 0 … 1, its standard error by the delta method, and the interval of
    /// Lang & Reiczigel (2014).
    pub rate: Estimate,
    /// The delta method's normal interval, cut to 0 … 1; too short where the calibration is small.
    pub delta_interval: Interval,
    /// The judge's rate, uncorrected.
    pub apparent: f64,
    /// The judge's share of yes among what people call yes.
    pub sensitivity: f64,
    /// Its share of no among what people call no.
    pub specificity: f64,
}

/// The correction of Rogan & Gladen (1978): (q + sp − 1) / (se + sp − 1), with q the judge's rate of
/// yes (wins). `judged` is (yes, all) of the large set; `people_yes` is (judged yes, all) of the
/// calibration items that people call yes, `people_no` is (judged no, all) of those that they call
/// no. All items are independent, and the judge errs alike in both sets.
///
/// # Errors
/// Where one of the three sets is empty or has more hits than items, the judge is no better than
/// chance (se + sp ≤ 1), or the level is outside (0, 1).
pub fn rogan_gladen(
    judged: (u64, u64),
    people_yes: (u64, u64),
    people_no: (u64, u64),
    level: f64,
) -> Result<Misclassification> {
    check_level(level)?;
    for (name, (hits, all)) in [
        ("judged", judged),
        ("people_yes", people_yes),
        ("people_no", people_no),
    ] {
        check_count(name, usize::from(all > 0), 1)?;
        if hits > all {
            return Err(Error::BadOption {
                name,
                value: hits as f64,
                reason: "must not exceed the number of items",
            });
        }
    }
    let share = |(hits, all): (u64, u64)| (hits as f64 / all as f64, all as f64);
    let plain = Rates {
        apparent: share(judged),
        sensitivity: share(people_yes),
        specificity: share(people_no),
    };
    if plain.skill() <= 0.0 {
        return Err(Error::Undefined {
            what: "corrected rate",
            reason: "the judge is no better than chance on the calibration set",
        });
    }
    let error = plain.variance(plain.rate()).sqrt();
    let value = plain.rate().clamp(0.0, 1.0);
    Ok(Misclassification {
        rate: Estimate {
            value,
            standard_error: error,
            interval: plain.adjusted(level),
        },
        delta_interval: cut(Interval::normal(plain.rate(), error, level)),
        apparent: plain.apparent.0,
        sensitivity: plain.sensitivity.0,
        specificity: plain.specificity.0,
    })
}

fn cut(interval: Interval) -> Interval {
    Interval {
        low: interval.low.clamp(0.0, 1.0),
        high: interval.high.clamp(0.0, 1.0),
        ..interval
    }
}

/// Each rate with its number of items.
struct Rates {
    apparent: (f64, f64),
    sensitivity: (f64, f64),
    specificity: (f64, f64),
}

impl Rates {
    /// Youden's index.
    fn skill(&self) -> f64 {
        self.sensitivity.0 + self.specificity.0 - 1.0
    }

    fn rate(&self) -> f64 {
        (self.apparent.0 + self.specificity.0 - 1.0) / self.skill()
    }

    fn variance(&self, rate: f64) -> f64 {
        let spread = |(share, n): (f64, f64)| share * (1.0 - share) / n;
        let calibration = rate * rate * spread(self.sensitivity)
            + (1.0 - rate).powi(2) * spread(self.specificity);
        (spread(self.apparent) + calibration) / self.skill().powi(2)
    }

    /// Lang & Reiczigel (2014, doi:10.1016/j.prevetmed.2013.09.015): z² trials added to the judged,
    /// two to each calibration set, and the centre moved.
    fn adjusted(&self, level: f64) -> Interval {
        let z = normal::two_sided(level);
        let add =
            |(share, n): (f64, f64), more: f64| ((share * n + more / 2.0) / (n + more), n + more);
        let rates = Self {
            apparent: add(self.apparent, z * z),
            sensitivity: add(self.sensitivity, 2.0),
            specificity: add(self.specificity, 2.0),
        };
        let rate = rates.rate();
        let spread = |(share, n): (f64, f64)| share * (1.0 - share) / n;
        let shift = 2.0
            * z
            * z
            * (rate * spread(rates.sensitivity) - (1.0 - rate) * spread(rates.specificity));
        cut(Interval::normal(
            rate + shift,
            rates.variance(rate).sqrt(),
            level,
        ))
    }
}
