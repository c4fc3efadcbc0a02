//! Arena-Hard's `show_result.py`, of v0.1 and of v2.0.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::{Judgments, read};
use super::tally::{Entry, ModelTally, Outcome};
use super::{ArenaHard, Options, Position, Replay};
use crate::error::Result;
use crate::judge::files::{ArenaJudgment, Format};
use crate::verdict::{Preference, Verdict, arena_label};

struct Row {
    model: String,
    category: Option<String>,
    /// Whether it is v2.0's, where a row counts only if both games do.
    both: bool,
    /// The verdicts as the judge was shown the answers: the baseline is A in the first game.
    games: [Option<Preference>; 2],
    /// Whether each game was played.
    played: [bool; 2],
}

/// A model's rows and battles.
#[derive(Default)]
struct Model {
    tally: ModelTally,
    battles: Vec<f64>,
    both: bool,
}

/// Win rates against the baseline. In v0.1 each game counts on its own; in v2.0 both do, or none.
pub(super) fn replay(paths: &[&Path], options: &Options) -> Result<Replay> {
    let Judgments {
        rows,
        read,
        duplicates,
    } = read(paths, options.duplicates, |row: ArenaJudgment, at| {
        let both = matches!(row, ArenaJudgment::V20(_));
        if row.games().len() > 2 {
            return Err(at.field("games", "more than two"));
        }
        let label = |game: usize| row.games().get(game)?.as_ref()?.score.as_deref();
        let games = [0, 1].map(|game| label(game).and_then(|label| preference(label, both)));
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
        let played = [0, 1].map(|game| both || game < row.games().len());
        Ok((
            key,
            Row {
                model: model.to_owned(),
                category: category.map(str::to_owned),
                both,
                games,
                played,
            },
        ))
    })?;
    let mut models: BTreeMap<String, Model> = BTreeMap::new();
    let mut position = Position::default();
    let mut unparsable = 0;
    for row in &rows {
        let model = models.entry(row.model.clone()).or_default();
        model.both |= row.both;
        let failed = row
            .games
            .iter()
            .zip(row.played)
            .any(|(game, played)| played && game.is_none());
        unparsable += usize::from(failed);
        model.tally.unparsable += usize::from(failed);
        if let [Some(first), Some(second)] = row.games {
            position.add(first, second);
        } else if row.both {
            continue;
        }
        model.add(row, options.weight);
    }
    let models = models.into_iter().map(|(name, model)| {
        let mut figures = model.tally.figures();
        figures.arena_hard = Some(model.figures(options));
        (name, figures)
    });
    let (models, position) = (models.collect(), Some(position.finished()));
    Ok(Replay {
        format: Format::ArenaHard,
        rows: read,
        unparsable,
        duplicates,
        models,
        position,
    })
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
        for for_model in [first.map(Preference::swapped), second]
            .into_iter()
            .flatten()
        {
            let outcome = match for_model {
                Preference::MuchA | Preference::A => Outcome::Win,
                Preference::Tie => Outcome::Tie,
                Preference::B | Preference::MuchB => Outcome::Loss,
            };
            self.tally.add(
                Entry {
                    score: None,
                    outcome: Some(outcome),
                },
                None,
                row.category.as_deref(),
            );
            let times = if for_model.is_strong() { weight } else { 1 };
            self.battles
                .extend(std::iter::repeat_n(for_model.credit(), times));
        }
    }

    fn figures(&self, options: &Options) -> ArenaHard {
        let level = if self.both { 0.9 } else { 0.95 };
        let n = self.battles.len();
        let mean = |values: &mut dyn Iterator<Item = f64>| 100.0 * values.sum::<f64>() / n as f64;
        let mut random = SplitMix(options.seed);
        let mut means: Vec<f64> = Vec::new();
        if n > 0 {
            means.extend(
                (0..options.resamples)
                    .map(|_| mean(&mut (0..n).map(|_| self.battles[random.below(n)]))),
            );
            means.sort_by(f64::total_cmp);
        }
        ArenaHard {
            score: (n > 0).then(|| mean(&mut self.battles.iter().copied())),
            lower: quantile(&means, (1.0 - level) / 2.0),
            upper: quantile(&means, (1.0 + level) / 2.0),
            level,
            battles: n,
        }
    }
}

/// A quantile of sorted values, linear between neighbours as in pandas.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = q * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * n as u128) >> 64) as usize
    }
}
