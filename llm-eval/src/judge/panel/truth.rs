//! What is true of the comparisons, by the errors that the judges seem to make.

use serde::Serialize;

use super::PanelComparison;
use crate::error::Result;
use crate::judge::figures::{PairFigures, pair_figures};
use crate::judge::games::Game;
use crate::stats::{Bootstrap, DawidSkeneOptions, Label, Outcome, dawid_skene};

/// The classes of the model, in its order.
const CLASSES: [Outcome; 3] = [Outcome::First, Outcome::Second, Outcome::Tie];

/// Counts added to each cell, so that a judge who never made an error may still make one; one for each
/// side that a comparison is seen from.
const SMOOTHING: f64 = 2.0;

/// Fewer judges' errors cannot be told apart.
const JUDGES: usize = 3;

/// The model of Dawid & Skene (1979), fitted to a panel's votes. Its judges err independently; those
/// of one family do not, and their common errors pass for the truth. Each comparison is seen from
/// both models' sides, so that it makes no difference which of them comes first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PanelTruth {
    /// How frequent each outcome is: a win, a loss (as frequent), a tie.
    pub priors: [f64; 3],
    /// How each judge errs.
    pub judges: Vec<JudgeErrors>,
    /// Whether the fit converged.
    pub converged: bool,
    /// The figures of the likeliest outcomes; `judge` is `dawid-skene`. Where two outcomes are equally
    /// likely there is none.
    pub pairs: Vec<PairFigures>,
}

/// How a judge errs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgeErrors {
    /// The judge.
    pub judge: String,
    /// `confusion[true][given]`: how often it says win, loss or tie where each is true. Wins and losses
    /// are the same from the other side.
    pub confusion: [[f64; 3]; 3],
    /// How often it is right.
    pub accuracy: f64,
}

impl PanelTruth {
    /// Fits the model, and writes into each comparison how likely its outcomes are.
    pub(super) fn of(
        judges: &[String],
        comparisons: &mut [PanelComparison],
        options: &Bootstrap,
    ) -> Result<Option<Self>> {
        let labels = labels(comparisons);
        let voted = |judge: &usize| labels.iter().any(|label| label.judge == *judge);
        if (0..judges.len()).filter(voted).count() < JUDGES {
            return Ok(None);
        }
        let smoothed = DawidSkeneOptions {
            smoothing: SMOOTHING,
            ..DawidSkeneOptions::default()
        };
        let (items, judging) = (2 * comparisons.len(), judges.len());
        let model = dawid_skene(&labels, items, judging, CLASSES.len(), &smoothed)?;
        let classes = model.classes();
        let mut games: Vec<Game> = Vec::new();
        for (place, one) in comparisons.iter_mut().enumerate() {
            let voted = one.votes.iter().any(Option::is_some);
            one.likely = voted.then(|| three(&model.truth[2 * place]));
            let class = classes[2 * place].filter(|_| voted);
            games.push(one.game("dawid-skene", class.map(|class| CLASSES[class])));
        }
        let priors = three(&model.priors);
        let errors = judges.iter().zip(&model.confusion).map(|(judge, rows)| {
            let confusion = [0, 1, 2].map(|class| three(&rows[class]));
            JudgeErrors {
                judge: judge.clone(),
                accuracy: (0..3)
                    .map(|class| priors[class] * confusion[class][class])
                    .sum(),
                confusion,
            }
        });
        Ok(Some(Self {
            priors,
            judges: errors.collect(),
            converged: model.converged,
            pairs: pair_figures(&games, options),
        }))
    }
}

/// The votes on each comparison from the first model's side, and from the second's.
fn labels(comparisons: &[PanelComparison]) -> Vec<Label> {
    let mut labels = Vec::new();
    for (place, one) in comparisons.iter().enumerate() {
        for (judge, vote) in one.votes.iter().enumerate() {
            let Some(vote) = vote else { continue };
            for (item, said) in [(2 * place, *vote), (2 * place + 1, vote.swapped())] {
                let class = CLASSES.iter().position(|class| *class == said);
                labels.extend(class.map(|class| Label { item, judge, class }));
            }
        }
    }
    labels
}

fn three(values: &[f64]) -> [f64; 3] {
    [0, 1, 2].map(|place| values.get(place).copied().unwrap_or_default())
}
