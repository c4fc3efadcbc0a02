//! FastChat's `show_result.py`.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::{At, Judgments, read};
use super::tally::{Entry, ModelTally};
use super::{ModelFigures, Options, Position, Replay};
use crate::error::Result;
use crate::judge::files::{Format, Id, Judge, PairJudgment, SingleJudgment};
use crate::stats::Outcome;
use crate::verdict::Preference;

struct Single {
    question: Id,
    model: String,
    turn: Option<u32>,
    score: Option<f64>,
}

/// Single grading: means over all turns and by turn. Rows with the score −1 are left out.
pub(super) fn single(paths: &[&Path], options: &Options) -> Result<Replay> {
    let Judgments {
        rows,
        read,
        duplicates,
    } = read(paths, options.duplicates, |row: SingleJudgment, at| {
        let score = at.score("score", row.score.as_ref())?;
        let mut key = vec![
            row.question_id.to_string(),
            row.model.clone(),
            turn_name(row.turn),
        ];
        key.extend(judge_name(row.judge));
        Ok((
            key,
            Single {
                question: row.question_id,
                model: row.model,
                turn: row.turn,
                score,
            },
        ))
    })?;
    let mut models: BTreeMap<String, ModelTally> = BTreeMap::new();
    for row in &rows {
        let model = models.entry(row.model.clone()).or_default();
        match row.score {
            None => model.unparsable += 1,
            score => model.add(
                &row.question,
                Entry {
                    score,
                    ..Entry::default()
                },
                row.turn,
                options.categories.get(&row.question).map(String::as_str),
            ),
        }
    }
    Ok(Replay {
        format: Format::FastchatSingle,
        rows: read,
        unparsable: rows.iter().filter(|row| row.score.is_none()).count(),
        duplicates,
        models: figures(&models),
        position: None,
    })
}

struct Pair {
    question: Id,
    models: [String; 2],
    turn: Option<u32>,
    /// Who was preferred in each game, as the judge was shown them.
    games: Option<[Preference; 2]>,
}

/// Pairwise grading: both orders agree, or it is a tie. Rows with an error are left out.
pub(super) fn pair(paths: &[&Path], options: &Options) -> Result<Replay> {
    let Judgments {
        mut rows,
        read,
        duplicates,
    } = read(paths, options.duplicates, lean_pair)?;
    if let Some(baseline) = &options.baseline {
        rows.retain(|row| row.models.contains(baseline));
    }
    let mut models: BTreeMap<String, ModelTally> = BTreeMap::new();
    let mut position = Position::default();
    for row in &rows {
        let outcome = row.games.map(|[first, second]| {
            position.add(first, second);
            outcome(first, second)
        });
        let inconsistent = row
            .games
            .is_some_and(|[first, second]| first != second.swapped());
        let swapped = outcome.map(Outcome::swapped);
        for (model, outcome) in row.models.iter().zip([outcome, swapped]) {
            let model = models.entry(model.clone()).or_default();
            match outcome {
                None => model.unparsable += 1,
                outcome => model.add(
                    &row.question,
                    Entry {
                        score: None,
                        outcome,
                        inconsistent,
                    },
                    row.turn,
                    options.categories.get(&row.question).map(String::as_str),
                ),
            }
        }
    }
    let mut models = figures(&models);
    if let Some(baseline) = &options.baseline {
        models.remove(baseline);
    }
    let unparsable = rows.iter().filter(|row| row.games.is_none()).count();
    Ok(Replay {
        format: Format::FastchatPair,
        rows: read,
        unparsable,
        duplicates,
        models,
        position: Some(position.finished()),
    })
}

fn lean_pair(row: PairJudgment, at: At<'_>) -> Result<(Vec<String>, Pair)> {
    let winner = |field: &str, name: &str| match name {
        "model_1" => Ok(Some(Preference::A)),
        "model_2" => Ok(Some(Preference::B)),
        "tie" => Ok(Some(Preference::Tie)),
        "error" => Ok(None),
        other => Err(at.field(
            field,
            format!("`{other}` is none of model_1, model_2, tie, error"),
        )),
    };
    let first = winner("g1_winner", &row.g1_winner)?;
    let second = winner("g2_winner", &row.g2_winner)?.map(Preference::swapped);
    let mut key = vec![
        row.question_id.to_string(),
        row.model_1.clone(),
        row.model_2.clone(),
        turn_name(row.turn),
    ];
    key.extend(judge_name(row.judge));
    let pair = Pair {
        question: row.question_id,
        models: [row.model_1, row.model_2],
        turn: row.turn,
        games: first.zip(second).map(|(first, second)| [first, second]),
    };
    Ok((key, pair))
}

/// How two games ended for the answer shown first in the first one; a tie where they disagree.
fn outcome(first: Preference, second: Preference) -> Outcome {
    match (first, second.swapped()) {
        (first, second) if first != second => Outcome::Tie,
        (Preference::A, _) => Outcome::First,
        (Preference::Tie, _) => Outcome::Tie,
        _ => Outcome::Second,
    }
}

pub(super) fn figures(models: &BTreeMap<String, ModelTally>) -> BTreeMap<String, ModelFigures> {
    models
        .iter()
        .map(|(name, tally)| (name.clone(), tally.figures()))
        .collect()
}

fn turn_name(turn: Option<u32>) -> String {
    turn.map_or_else(String::new, |turn| format!("turn {turn}"))
}

fn judge_name(judge: Option<Judge>) -> [String; 2] {
    judge.map_or_else(Default::default, |Judge(model, prompt)| [model, prompt])
}
