//! What one battle adds to the negative log-likelihood.

use super::super::linalg::{logistic, softplus};
use super::TieModel;
use crate::stats::Outcome;

/// −ln P(outcome), and its derivatives by the difference d of log-strengths and the tie parameter η.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    pub(crate) loss: f64,
    pub(crate) by_d: f64,
    pub(crate) by_tie: f64,
    pub(crate) by_dd: f64,
    pub(crate) by_d_tie: f64,
    pub(crate) by_tie_tie: f64,
}

/// The tie parameter is unused with half wins, ln ν in Davidson's model, ln θ in Rao & Kupper's.
pub(crate) fn terms(model: TieModel, d: f64, tie: f64, outcome: Outcome) -> Terms {
    match model {
        TieModel::HalfWins => {
            let p = logistic(d);
            Terms {
                loss: softplus(d) - outcome.score() * d,
                by_d: p - outcome.score(),
                by_dd: p * (1.0 - p),
                ..Terms::default()
            }
        }
        TieModel::Davidson => davidson(d, tie, outcome),
        TieModel::RaoKupper => rao_kupper(d, tie, outcome),
    }
}

/// A multinomial logit of three: utilities d/2, −d/2 and η.
fn davidson(d: f64, tie: f64, outcome: Outcome) -> Terms {
    let utilities = [d / 2.0, -d / 2.0, tie];
    let most = utilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts = utilities.map(|utility| (utility - most).exp());
    let total: f64 = parts.iter().sum();
    let [first, second, tied] = parts.map(|part| part / total);
    let (place, feature) = match outcome {
        Outcome::First => (0, 0.5),
        Outcome::Second => (1, -0.5),
        Outcome::Tie => (2, 0.0),
    };
    let lead = first - second;
    Terms {
        loss: most + total.ln() - utilities[place],
        by_d: lead / 2.0 - feature,
        by_tie: tied - if place == 2 { 1.0 } else { 0.0 },
        by_dd: (first + second - lead * lead) / 4.0,
        by_d_tie: -lead / 2.0 * tied,
        by_tie_tie: tied * (1.0 - tied),
    }
}

/// An ordered logit with thresholds ±η; η must be above 0.
fn rao_kupper(d: f64, tie: f64, outcome: Outcome) -> Terms {
    // −ln P(the one that leads by `lead` wins), with the sign of d in it.
    let win = |lead: f64, sign: f64| {
        let p = logistic(tie - lead);
        let curve = p * (1.0 - p);
        Terms {
            loss: softplus(tie - lead),
            by_d: -sign * p,
            by_tie: p,
            by_dd: curve,
            by_d_tie: -sign * curve,
            by_tie_tie: curve,
        }
    };
    if tie <= 0.0 {
        return Terms {
            loss: f64::INFINITY,
            ..Terms::default()
        };
    }
    match outcome {
        Outcome::First => win(d, 1.0),
        Outcome::Second => win(-d, -1.0),
        Outcome::Tie => {
            let (a, b) = (win(d, 1.0), win(-d, -1.0));
            let rest = -(-2.0 * tie).exp_m1();
            Terms {
                // ln(e^2η − 1) = 2η + ln(1 − e^−2η).
                loss: a.loss + b.loss - 2.0 * tie - rest.ln(),
                by_d: a.by_d + b.by_d,
                by_tie: a.by_tie + b.by_tie - 2.0 / rest,
                by_dd: a.by_dd + b.by_dd,
                by_d_tie: a.by_d_tie + b.by_d_tie,
                by_tie_tie: a.by_tie_tie + b.by_tie_tie + 4.0 * (1.0 - rest) / (rest * rest),
            }
        }
    }
}
