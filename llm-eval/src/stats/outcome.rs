//! Wins, losses and ties.

use serde::{Deserialize, Serialize};

use super::summary::{average, check_count, standard_error};
use crate::Result;

/// How a comparison of two answers, systems or slots ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The first is better.
    First,
    /// The second is better.
    Second,
    /// Neither is.
    Tie,
}

impl Outcome {
    /// The first's score: 1, 0, and ½ for a tie.
    pub fn score(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Second => 0.0,
            Self::Tie => 0.5,
        }
    }

    /// The same outcome with first and second exchanged.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }
}

/// How many of each outcome the first of two systems has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The first was better.
    pub wins: u64,
    /// The second was better.
    pub losses: u64,
    /// Neither was.
    pub ties: u64,
}

impl FromIterator<Outcome> for Outcomes {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::First => counts.wins += 1,
                Outcome::Second => counts.losses += 1,
                Outcome::Tie => counts.ties += 1,
            }
        }
        counts
    }
}

impl Outcomes {
    /// How many there are: n.
    pub fn total(&self) -> u64 {
        self.wins + self.losses + self.ties
    }

    fn known(&self) -> Result<f64> {
        check_count("outcomes", usize::from(self.total() > 0), 1)?;
        Ok(self.total() as f64)
    }

    /// w / n: FastChat's `win_rate`.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn win_rate(&self) -> Result<f64> {
        Ok(self.wins as f64 / self.known()?)
    }

    /// l / n: FastChat's `loss_rate`.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn loss_rate(&self) -> Result<f64> {
        Ok(self.losses as f64 / self.known()?)
    }

    /// (w + t/2) / n: FastChat's `win_rate_adjusted`.
    ///
    /// # Errors
    /// Without outcomes.
    pub fn adjusted_win_rate(&self) -> Result<f64> {
        Ok((self.wins as f64 + self.ties as f64 / 2.0) / self.known()?)
    }

    /// The standard error of [`win_rate`](Self::win_rate): sample sd of the 0s and 1s / √n.
    ///
    /// # Errors
    /// With fewer than two outcomes.
    pub fn win_rate_error(&self) -> Result<f64> {
        let rate = self.win_rate()?;
        self.error(rate * (1.0 - rate))
    }

    /// The standard error of [`adjusted_win_rate`](Self::adjusted_win_rate): sample sd of the scores
    /// 0, ½ and 1 / √n.
    ///
    /// # Errors
    /// With fewer than two outcomes.
    pub fn adjusted_win_rate_error(&self) -> Result<f64> {
        let (rate, n) = (self.adjusted_win_rate()?, self.total() as f64);
        let squares = (self.wins as f64 + self.ties as f64 / 4.0) / n;
        self.error((squares - rate * rate).max(0.0))
    }

    /// From the population variance of the scores.
    fn error(&self, variance: f64) -> Result<f64> {
        let n = self.total();
        check_count("outcomes", usize::from(n > 0) + usize::from(n > 1), 2)?;
        Ok((variance / (n - 1) as f64).sqrt())
    }
}

/// AlpacaEval's figures of the second output's model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AlpacaWinRate {
    /// The mean of preference − 1, from 0 to 1 (AlpacaEval prints per cent).
    pub win_rate: f64,
    /// The standard error of that mean; `None` for a single preference.
    pub standard_error: Option<f64>,
    /// Its share of wins when preferences are rounded to 1 or 2, a draw counting half
    /// (`discrete_win_rate`).
    pub discrete_win_rate: f64,
    /// Preferences for the second output.
    pub wins: u64,
    /// Preferences for the first.
    pub base_wins: u64,
    /// Draws: 1.5, and 0 in old files.
    pub draws: u64,
    /// Annotations without a preference: `null`, or a number that is none. They count for nothing
    /// else, but for a number that rounds to a preference in `discrete_win_rate`, as with AlpacaEval.
    pub missing: u64,
}

/// What the second output's model gets for an annotation's `preference`: 1 → 0, 2 → 1, between them
/// linear, 1.5 and (in old files) 0 → ½; `None` for what is no preference.
pub(crate) fn alpaca_score(preference: f64) -> Option<f64> {
    match preference {
        0.0 => Some(0.5),
        _ if (1.0..=2.0).contains(&preference) => Some(preference - 1.0),
        _ => None,
    }
}

/// AlpacaEval's win rate from its `preference` fields (`alpaca_eval/metrics/winrate.py`, 0.6.6); for
/// the discrete one they are rounded first, halves to the even neighbour.
///
/// # Errors
/// Without preferences.
pub fn alpaca_win_rate(preferences: &[Option<f64>]) -> Result<AlpacaWinRate> {
    let given = || preferences.iter().copied().flatten();
    let scores: Vec<f64> = given().filter_map(alpaca_score).collect();
    check_count("preferences", scores.len(), 1)?;
    let round = |preference: f64| match preference {
        1.5 => 0.0,
        _ => preference.round_ties_even(),
    };
    let rounded: Vec<f64> = given().map(round).filter_map(alpaca_score).collect();
    let count = |test: fn(f64) -> bool| scores.iter().filter(|score| test(**score)).count() as u64;
    Ok(AlpacaWinRate {
        win_rate: average(&scores),
        standard_error: standard_error(&scores).ok(),
        discrete_win_rate: average(&rounded),
        wins: count(|score| score > 0.5),
        base_wins: count(|score| score < 0.5),
        draws: count(|score| score == 0.5),
        missing: (preferences.len() - scores.len()) as u64,
    })
}
