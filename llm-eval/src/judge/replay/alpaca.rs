//! AlpacaEval's `get_winrate`.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::{At, Judgments, read};
use super::tally::{Entry, ModelTally};
use super::{AlpacaEval, Options, Replay};
use crate::error::Result;
use crate::judge::files::{AlpacaAnnotation, Format, Id};
use crate::stats::{self, Outcome};

struct Annotation {
    instruction: Id,
    model: String,
    preference: Option<f64>,
    length: Option<usize>,
    dataset: Option<String>,
}

/// Win rates against the baseline, by model and by the instructions' sets.
pub(super) fn replay(paths: &[&Path], options: &Options) -> Result<Replay> {
    let Judgments {
        rows,
        read,
        duplicates,
    } = read(paths, options.duplicates, lean)?;
    let mut by_model: BTreeMap<&str, Vec<&Annotation>> = BTreeMap::new();
    for row in &rows {
        by_model.entry(&row.model).or_default().push(row);
    }
    let mut models = BTreeMap::new();
    for (name, rows) in by_model {
        let mut tally = ModelTally::default();
        for row in &rows {
            match row.preference.and_then(stats::alpaca_score) {
                None => tally.unparsable += 1,
                Some(score) => {
                    let entry = Entry {
                        outcome: Some(outcome(score)),
                        ..Entry::default()
                    };
                    tally.add(&row.instruction, entry, None, row.dataset.as_deref());
                }
            }
        }
        let mut figures = tally.figures();
        figures.alpaca_eval = Some(of(&rows));
        models.insert(name.to_owned(), figures);
    }
    Ok(Replay {
        format: Format::AlpacaEval,
        rows: read,
        unparsable: models.values().map(|model| model.unparsable).sum(),
        duplicates,
        models,
        position: None,
    })
}

/// What the figures need of a row.
fn lean(row: AlpacaAnnotation, _: At<'_>) -> Result<(Vec<String>, Annotation)> {
    let key = [
        Some(row.instruction.clone()),
        row.generator_1,
        Some(row.generator_2.clone()),
        row.annotator,
    ];
    let annotation = Annotation {
        instruction: Id::Text(row.instruction),
        model: row.generator_2,
        preference: row.preference,
        length: row.output_2.map(|output| output.chars().count()),
        dataset: row.dataset,
    };
    let key = key.into_iter().map(Option::unwrap_or_default);
    Ok((key.collect(), annotation))
}

fn outcome(score: f64) -> Outcome {
    if score > 0.5 {
        Outcome::First
    } else if score < 0.5 {
        Outcome::Second
    } else {
        Outcome::Tie
    }
}

/// AlpacaEval's own figures, in per cent; its standard error takes the rows as independent.
fn of(rows: &[&Annotation]) -> AlpacaEval {
    let preferences: Vec<Option<f64>> = rows.iter().map(|row| row.preference).collect();
    let found = stats::alpaca_win_rate(&preferences).ok();
    let percent = |rate: f64| rate * 100.0;
    let count = |count: fn(&stats::AlpacaWinRate) -> u64| found.as_ref().map_or(0, count);
    let lengths: Option<Vec<usize>> = rows.iter().map(|row| row.length).collect();
    AlpacaEval {
        win_rate: found.map(|found| percent(found.win_rate)),
        standard_error: found.and_then(|found| found.standard_error).map(percent),
        n_wins: count(|found| found.wins),
        n_wins_base: count(|found| found.base_wins),
        n_draws: count(|found| found.draws),
        n_total: count(|found| found.wins + found.base_wins + found.draws),
        discrete_win_rate: found.map(|found| percent(found.discrete_win_rate)),
        avg_length: lengths.map(|lengths| (lengths.iter().sum::<usize>() / lengths.len()) as u64),
    }
}
