//! Vicuna's first evaluation: two scores a question.

use std::collections::BTreeMap;
use std::path::Path;

use super::fastchat::figures;
use super::read::{At, Judgments, read};
use super::tally::{Entry, ModelTally};
use super::{Options, Replay};
use crate::error::Result;
use crate::judge::files::{Format, Id, VicunaReview};
use crate::stats::Outcome;

struct Review {
    question: Id,
    models: [String; 2],
    scores: Option<[f64; 2]>,
}

/// Sums, their ratio, and who won how often. The models are named by the file,
/// `review_<model>_<model>.jsonl`, as the reviews themselves name only answers.
pub(super) fn replay(paths: &[&Path], options: &Options) -> Result<Replay> {
    let Judgments {
        rows,
        read,
        duplicates,
    } = read(paths, options.duplicates, review)?;
    let mut models: BTreeMap<String, ModelTally> = BTreeMap::new();
    let mut opponents: BTreeMap<String, f64> = BTreeMap::new();
    for row in &rows {
        for (at, name) in row.models.iter().enumerate() {
            let model = models.entry(name.clone()).or_default();
            let Some(scores) = row.scores else {
                model.unparsable += 1;
                continue;
            };
            let (own, other) = (scores[at], scores[1 - at]);
            let outcome = match own.total_cmp(&other) {
                _ if own == other => Outcome::Tie,
                std::cmp::Ordering::Greater => Outcome::First,
                _ => Outcome::Second,
            };
            let entry = Entry {
                score: Some(own),
                outcome: Some(outcome),
                inconsistent: false,
            };
            model.add(
                &row.question,
                entry,
                None,
                options.categories.get(&row.question).map(String::as_str),
            );
            *opponents.entry(name.clone()).or_default() += other;
        }
    }
    let mut figures = figures(&models);
    for (name, model) in &mut figures {
        let other = opponents.get(name).copied().unwrap_or_default();
        model.ratio_of_sums = model
            .all
            .score
            .as_ref()
            .filter(|_| other != 0.0)
            .map(|own| own.sum / other);
    }
    let unparsable = rows.iter().filter(|row| row.scores.is_none()).count();
    Ok(Replay {
        format: Format::Vicuna,
        rows: read,
        unparsable,
        duplicates,
        models: figures,
        position: None,
    })
}

fn review(row: VicunaReview, at: At<'_>) -> Result<(Vec<String>, Review)> {
    let [first, second] = &row.score;
    let scores = at
        .score("score", Some(first))?
        .zip(at.score("score", Some(second))?);
    let reviewer = row
        .reviewer_id
        .map_or_else(String::new, |reviewer| reviewer.to_string());
    let key = vec![
        row.question_id.to_string(),
        row.answer1_id,
        row.answer2_id,
        reviewer,
    ];
    let review = Review {
        question: row.question_id,
        models: models_of(at.path),
        scores: scores.map(|(first, second)| [first, second]),
    };
    Ok((key, review))
}

/// The models that a file's name states, or else `answer1` and `answer2`.
fn models_of(path: &Path) -> [String; 2] {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    match stem
        .strip_prefix("review_")
        .map(|names| names.split('_').collect::<Vec<_>>())
        .as_deref()
    {
        Some([first, second]) if first != second => [(*first).to_owned(), (*second).to_owned()],
        _ => ["answer1".to_owned(), "answer2".to_owned()],
    }
}
