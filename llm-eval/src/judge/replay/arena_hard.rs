//! Arena-Hard's `show_result.py`, of v0.1 and of v2.0.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::{At, Judgments, read};
use super::tally::{Entry, ModelTally};
use super::{ArenaHard, ModelFigures, Options, Position, Replay};
use crate::error::Result;
use crate::judge::files::{ArenaJudgment, Format, Id};
use crate::stats::{self, Outcome};
use crate::verdict::{Preference, Verdict, arena_label};

/// The random numbers that draw battles.
const STREAM: &[u8; 8] = b"arenahrd";

struct Row {
    question: Id,
    model: String,
    category: Option<String>,
    /// Whether it is v2.0's, where a row counts only if both games do.
    both: bool,
    /// The verdicts as the judge was shown the answers: the baseline is A in the first game.
    games: [Option<Preference>; 2],
    /// Whether a game that was to be played has no verdict.
    failed: bool,
}

/// A model's rows and battles.
#[derive(Default)]
struct Model {
    tally: ModelTally,
    /// v0.1's.
    battles: Vec<f64>,
    /// v2.0's, by category.
    by_category: BTreeMap<String, Vec<f64>>,
}

/// Win rates against the baseline. In v0.1 each game counts on its own; in v2.0 both do, or none, and
/// each category is a board of its own.
pub(super) fn replay(paths: &[&Path], options: &Options) -> Result<Replay> {
    let Judgments {
        rows,
        read,
        duplicates,
    } = read(paths, options.duplicates, |row, at| lean(row, at, options))?;
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let mut position = Position::default();
    for row in &rows {
        let model = models.entry(row.model.clone()).or_default();
        model.tally.unparsable += usize::from(row.failed);
        if let [Some(first), Some(second)] = row.games {
            position.add(first, second);
        } else if row.both {
            continue;
        }
        model.add(row, options.weight);
    }
    let models = models
        .into_iter()
        .map(|(name, model)| (name, model.figures(options)));
    Ok(Replay {
        format: Format::ArenaHard,
        rows: read,
        unparsable: rows.iter().filter(|row| row.failed).count(),
        duplicates,
        models: models.collect(),
        position: Some(position.finished()),
    })
}

/// What the figures need of a row.
fn lean(row: ArenaJudgment, at: At<'_>, options: &Options) -> Result<(Vec<String>, Row)> {
    let both = matches!(row, ArenaJudgment::V20(_));
    let played = row.games().len();
    if played > 2 {
        return Err(at.field("games", "more than two"));
    }
    let label = |game: usize| row.games().get(game)?.as_ref()?.score.as_deref();
    let games = [0, 1].map(|game| label(game).and_then(|label| preference(label, both)));
    // v0.1's second game may be left out.
    let expected = if both { 2 } else { played.max(1) };
    // Like the script, v2.0's models go by the last part of their path.
    let model = if both {
        row.model().rsplit('/').next().unwrap_or_default()
    } else {
        row.model()
    };
    let category = row
        .category()
        .or_else(|| options.categories.get(row.question()).map(String::as_str));
    let key = vec![
        row.question().to_string(),
        row.model().to_owned(),
        row.judge().to_owned(),
    ];
    let row = Row {
        question: row.question().clone(),
        model: model.to_owned(),
        category: category.map(str::to_owned),
        both,
        games,
        failed: games[..expected].iter().any(Option::is_none),
    };
    Ok((key, row))
}

/// The verdict of a label; v0.1 knows only the five that its prompt names.
fn preference(label: &str, all_spellings: bool) -> Option<Preference> {
    match arena_label(label) {
        Ok(Verdict::Preference(preference))
            if all_spellings || ["A>>B", "A>B", "A=B", "B>A", "B>>A"].contains(&label) =>
        {
            Some(preference)
        }
        _ => None,
    }
}

impl Model {
    fn add(&mut self, row: &Row, weight: usize) {
        let [first, second] = row.games;
        let category = row.category.as_deref();
        for for_model in [first.map(Preference::swapped), second]
            .into_iter()
            .flatten()
        {
            let outcome = match for_model {
                Preference::MuchA | Preference::A => Outcome::First,
                Preference::Tie => Outcome::Tie,
                Preference::B | Preference::MuchB => Outcome::Second,
            };
            let entry = Entry {
                outcome: Some(outcome),
                ..Entry::default()
            };
            self.tally.add(&row.question, entry, None, category);
            let times = if for_model.is_strong() { weight } else { 1 };
            let battles = match category {
                Some(category) if row.both => {
                    self.by_category.entry(category.to_owned()).or_default()
                }
                _ => &mut self.battles,
            };
            battles.extend(std::iter::repeat_n(for_model.credit(), times));
        }
    }

    fn figures(&self, options: &Options) -> ModelFigures {
        let mut figures = self.tally.figures();
        if self.by_category.is_empty() && !self.battles.is_empty() {
            figures.all.arena_hard = Some(score(&self.battles, 0.95, options));
        }
        for (category, battles) in &self.by_category {
            if let Some(group) = figures.categories.get_mut(category) {
                group.arena_hard = Some(score(battles, 0.9, options));
            }
        }
        figures
    }
}

/// The mean of battles, of which there are some, with percentiles of the means of as many drawn with
/// replacement.
fn score(battles: &[f64], level: f64, options: &Options) -> ArenaHard {
    let n = battles.len();
    let mean = |sum: f64| 100.0 * sum / n as f64;
    let mut random = stats::stream(options.seed, STREAM);
    let mut means: Vec<f64> = (0..options.resamples)
        .map(|_| mean((0..n).map(|_| battles[stats::below(&mut random, n)]).sum()))
        .collect();
    means.sort_by(f64::total_cmp);
    let end = |share| (!means.is_empty()).then(|| stats::percentile(&means, share));
    ArenaHard {
        score: mean(battles.iter().sum()),
        lower: end((1.0 - level) / 2.0),
        upper: end((1.0 + level) / 2.0),
        level,
        battles: n,
    }
}
