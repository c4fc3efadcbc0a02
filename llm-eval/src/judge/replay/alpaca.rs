//! AlpacaEval's `get_winrate`.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::{Judgments, read};
use super::tally::{Entry, Mean, ModelTally, Outcome};
use super::{AlpacaEval, Options, Replay};
use crate::error::Result;
use crate::judge::files::{AlpacaAnnotation, Format};

struct Annotation {
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
    } = read(paths, options.duplicates, |row: AlpacaAnnotation, _| {
        let key = [
            Some(row.instruction),
            row.generator_1,
            Some(row.generator_2.clone()),
            row.annotator,
        ];
        let length = row.output_2.map(|output| output.chars().count());
        let annotation = Annotation {
            model: row.generator_2,
            preference: row.preference,
            length,
            dataset: row.dataset,
        };
        Ok((
            key.into_iter().map(Option::unwrap_or_default).collect(),
            annotation,
        ))
    })?;
    let mut by_model: BTreeMap<&str, Vec<&Annotation>> = BTreeMap::new();
    for row in &rows {
        by_model.entry(&row.model).or_default().push(row);
    }
    let mut models = BTreeMap::new();
    for (name, rows) in by_model {
        let mut tally = ModelTally::default();
        for row in &rows {
            match row.preference.and_then(absolute) {
                None => tally.unparsable += 1,
                Some(won) => {
                    tally.add(
                        Entry {
                            score: None,
                            outcome: Some(outcome(won)),
                        },
                        None,
                        row.dataset.as_deref(),
                    );
                }
            }
        }
        let mut figures = tally.figures();
        figures.alpaca_eval = Some(of(&rows));
        models.insert(name.to_owned(), figures);
    }
    let unparsable = rows
        .iter()
        .filter(|row| row.preference.and_then(absolute).is_none())
        .count();
    Ok(Replay {
        format: Format::AlpacaEval,
        rows: read,
        unparsable,
        duplicates,
        models,
        position: None,
    })
}

fn outcome(won: f64) -> Outcome {
    if won > 0.5 {
        Outcome::Win
    } else if won < 0.5 {
        Outcome::Loss
    } else {
        Outcome::Tie
    }
}

/// How far the model is preferred, from 0 to 1: what is no preference is left out.
fn absolute(preference: f64) -> Option<f64> {
    let preference = if preference == 0.0 { 1.5 } else { preference };
    (1.0..=2.0)
        .contains(&preference)
        .then_some(preference - 1.0)
}

/// The same with the preference rounded first, halves to the even neighbour.
fn discrete(preference: f64) -> Option<f64> {
    absolute(if preference == 1.5 {
        0.0
    } else {
        preference.round_ties_even()
    })
}

fn of(rows: &[&Annotation]) -> AlpacaEval {
    let won: Vec<f64> = rows
        .iter()
        .filter_map(|row| absolute(row.preference?))
        .collect();
    let rounded: Vec<f64> = rows
        .iter()
        .filter_map(|row| discrete(row.preference?))
        .collect();
    let count = |outcome_: Outcome| won.iter().filter(|&&won| outcome(won) == outcome_).count();
    let mean = Mean::of(&won);
    let lengths: Option<Vec<usize>> = rows.iter().map(|row| row.length).collect();
    AlpacaEval {
        win_rate: mean.mean.map(|mean| mean * 100.0),
        standard_error: mean.standard_error.map(|error| error * 100.0),
        n_wins: count(Outcome::Win),
        n_wins_base: count(Outcome::Loss),
        n_draws: count(Outcome::Tie),
        n_total: won.len(),
        discrete_win_rate: Mean::of(&rounded).mean.map(|mean| mean * 100.0),
        avg_length: lengths.map(|lengths| (lengths.iter().sum::<usize>() / lengths.len()) as u64),
    }
}
