//! What makes a report's figures doubtful.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::judge::files::Id;
use crate::judge::{Figures, Game, Judged, Judgment, Judgments, SelfPreference};
use crate::stats::{Estimate, Interval};

/// With fewer questions the intervals are too narrow.
const FEW_QUESTIONS: usize = 30;

/// The share of judgments that may lack a verdict.
const MANY_UNSCORED: f64 = 0.05;

/// A reason to doubt the figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// A judge judges its own family.
    SelfPreference(SelfPreference),
    /// A judge prefers a place, whatever stands there.
    PositionBias {
        /// The judge.
        judge: String,
        /// The first place's mean score, ties ½; its interval leaves out ½.
        first_slot_preference: Estimate,
    },
    /// Pairs judged in one order, which hides a preference for a place.
    OneOrder {
        /// The judge.
        judge: String,
        /// How many pairs.
        pairs: usize,
        /// Of how many.
        of: usize,
    },
    /// More than 5 % of a judge's judgments have no verdict.
    Unscored {
        /// The judge.
        judge: String,
        /// How many judgments.
        judgments: usize,
        /// Of how many.
        of: usize,
    },
    /// Fewer than 30 questions.
    FewQuestions {
        /// How many.
        questions: usize,
    },
    /// A judge's scores are of several modes or grammars, each with its own figures.
    MixedScales {
        /// The judge.
        judge: String,
        /// `mode (grammar)`, each.
        scales: Vec<String>,
    },
    /// A judge scored the models on different questions, so that their means are over different ones.
    DifferentQuestions {
        /// The judge.
        judge: String,
        /// The questions and turns that all models have a score on.
        common: usize,
        /// Those that at least one has.
        any: usize,
    },
    /// Style cannot be held equal in a judge's comparisons.
    NoStyle {
        /// The judge.
        judge: String,
        /// Why.
        reason: String,
    },
    /// Judgments that occur twice, of which the first counts.
    Duplicates {
        /// How many.
        judgments: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfPreference(found) => write!(
                f,
                "{} judges {}, of its own family ({}): judges are known to prefer answers like their own.",
                found.judge, found.model, found.family
            ),
            Self::PositionBias {
                judge,
                first_slot_preference:
                    Estimate {
                        value, interval, ..
                    },
            } => {
                let place = if *value > 0.5 { "first" } else { "second" };
                let Interval { low, high, .. } = interval;
                write!(
                    f,
                    "{judge} prefers the answer that stands {place}: the first place gets {:.1} % ({:.1} to {:.1} %), where 50 % would be fair.",
                    100.0 * value,
                    100.0 * low,
                    100.0 * high
                )
            }
            Self::OneOrder { judge, pairs, of } => write!(
                f,
                "{judge} judged {pairs} of {of} comparisons in one order only: a preference for a place shows in them as a win."
            ),
            Self::Unscored {
                judge,
                judgments,
                of,
            } => write!(
                f,
                "{judge} gave no verdict in {judgments} of {of} judgments ({:.1} %); no figure has them.",
                100.0 * *judgments as f64 / *of as f64
            ),
            Self::FewQuestions { questions } => write!(
                f,
                "There are {questions} questions: intervals of fewer than {FEW_QUESTIONS} are too narrow."
            ),
            Self::MixedScales { judge, scales } => write!(
                f,
                "{judge}'s scores are on several scales, which are not to be compared: {}.",
                scales.join(", ")
            ),
            Self::DifferentQuestions { judge, common, any } => write!(
                f,
                "{judge} has scores for all models on {common} of {any} questions and turns: means are over different questions, differences over the common ones only."
            ),
            Self::NoStyle { judge, reason } => write!(
                f,
                "{judge}'s comparisons are not given with length and style held equal: {reason}."
            ),
            Self::Duplicates { judgments } => write!(
                f,
                "{judgments} judgments occur twice; the first of them counts."
            ),
        }
    }
}

/// All there are, the gravest first.
pub(super) fn warnings(
    judgments: &Judgments,
    figures: &Figures,
    games: &[Game],
    questions: usize,
) -> Vec<Warning> {
    let mut judges: Vec<(&str, Vec<&Judgment>)> = Vec::new();
    for row in &judgments.rows {
        match judges.iter_mut().find(|(judge, _)| *judge == row.judge) {
            Some((_, rows)) => rows.push(row),
            None => judges.push((&row.judge, vec![row])),
        }
    }
    let mut found = Vec::new();
    for (judge, _) in &judges {
        let kin = judgments.self_preference(judge);
        found.extend(kin.into_iter().map(Warning::SelfPreference));
    }
    for (judge, bias) in &figures.positions {
        if !bias.first_slot_preference.interval.contains(0.5) {
            found.push(Warning::PositionBias {
                judge: judge.clone(),
                first_slot_preference: bias.first_slot_preference,
            });
        }
    }
    for (judge, rows) in &judges {
        found.extend(one_order(judge, games));
        found.extend(unscored(judge, rows));
        found.extend(mixed_scales(judge, rows));
        found.extend(different_questions(judge, rows));
    }
    if questions < FEW_QUESTIONS {
        found.push(Warning::FewQuestions { questions });
    }
    if figures.duplicates > 0 {
        found.push(Warning::Duplicates {
            judgments: figures.duplicates,
        });
    }
    found
}

fn one_order(judge: &str, games: &[Game]) -> Option<Warning> {
    let games = games.iter().filter(|game| game.judge == judge);
    let of = games.clone().count();
    let pairs = games.filter(|game| !game.both_orders).count();
    (pairs > 0).then(|| Warning::OneOrder {
        judge: judge.to_owned(),
        pairs,
        of,
    })
}

fn unscored(judge: &str, rows: &[&Judgment]) -> Option<Warning> {
    let judgments = rows.iter().filter(|row| row.verdict.is_none()).count();
    (judgments as f64 > MANY_UNSCORED * rows.len() as f64).then(|| Warning::Unscored {
        judge: judge.to_owned(),
        judgments,
        of: rows.len(),
    })
}

fn mixed_scales(judge: &str, rows: &[&Judgment]) -> Option<Warning> {
    let single = rows
        .iter()
        .filter(|row| matches!(row.judged, Judged::One { .. }));
    let scales: BTreeSet<String> = single
        .map(|row| format!("{} ({})", row.mode, row.grammar))
        .collect();
    (scales.len() > 1).then(|| Warning::MixedScales {
        judge: judge.to_owned(),
        scales: scales.into_iter().collect(),
    })
}

fn different_questions(judge: &str, rows: &[&Judgment]) -> Option<Warning> {
    let mut scored: BTreeMap<(&Id, usize), BTreeSet<&str>> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for row in rows {
        if let (Judged::One { model }, Some(_)) = (&row.judged, row.score) {
            let models = scored.entry((&row.question_id, row.turn)).or_default();
            models.insert(&**model);
            all.insert(&**model);
        }
    }
    let common = scored.values().filter(|models| models.len() == all.len());
    let (common, any) = (common.count(), scored.len());
    (common < any).then(|| Warning::DifferentQuestions {
        judge: judge.to_owned(),
        common,
        any,
    })
}
