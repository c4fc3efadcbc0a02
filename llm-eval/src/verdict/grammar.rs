//! The grammars in which judges are asked to give their verdict.

use std::fmt;
use std::str::FromStr;

use super::{Compat, Reason, Verdict, alpaca, json, line, rubric, tags};
use crate::error::{Error, Result};

/// The scores that a judge may give, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    min: f64,
    max: f64,
}

impl Range {
    /// From `min` to `max`; `None` unless both are finite and `min < max`.
    pub fn new(min: f64, max: f64) -> Option<Self> {
        (min.is_finite() && max.is_finite() && min < max).then_some(Self { min, max })
    }

    /// The lowest score.
    pub fn min(self) -> f64 {
        self.min
    }

    /// The highest score.
    pub fn max(self) -> f64 {
        self.max
    }

    pub(super) fn check(self, score: f64) -> std::result::Result<f64, Reason> {
        if !score.is_finite() {
            Err(Reason::NotANumber)
        } else if (self.min..=self.max).contains(&score) {
            Ok(score)
        } else {
            Err(Reason::OutOfRange)
        }
    }
}

impl Default for Range {
    /// 1 to 10.
    fn default() -> Self {
        Self {
            min: 1.0,
            max: 10.0,
        }
    }
}

/// How a judge writes its verdict.
///
/// Parsed from a name: `rating`, `pair`, `arena-hard`, `vicuna`, `belle`, `alpaca-eval`, `json`,
/// `rubric` or one of [`Compat`]'s. `rating:0-5` (also `vicuna:`, `json:`) sets the range of the
/// scores, `rubric:accuracy,clarity` the criteria.
#[derive(Debug, Clone, PartialEq)]
pub enum Grammar {
    /// `[[7]]`. In single brackets (`Rating: [7]`) where nothing stands in double ones.
    Rating(Range),
    /// `[[A]]`, `[[B]]`, or `[[C]]` for a tie.
    Pair,
    /// `[[A>>B]]`, `[[A>B]]`, `[[A=B]]`, `[[B>A]]`, `[[B>>A]]`.
    ArenaHard,
    /// Two scores in the first line (`8 9`), possibly with the assistants' names.
    Vicuna(Range),
    /// A score from 0 to 1 after `得分:`.
    Belle,
    /// `Output (a)` or `Output (b)` as the choice, the identifiers `m` or `M` alone, or a ranking of
    /// `model_1` and `model_2`.
    AlpacaEval,
    /// An object with `winner` (A, B, tie) or `score`.
    Json(Range),
    /// A score by criterion: `accuracy: [[8]]` in a line each, or an object of scores.
    Rubric {
        /// The criteria, all of which need a score. Without any: whatever `name: [[n]]` names.
        criteria: Vec<String>,
        /// The range of each score.
        range: Range,
    },
    /// What another system's parser makes of the reply.
    Compat(Compat),
}

impl Grammar {
    /// The names of the grammars.
    pub const NAMES: [&'static str; 8] = [
        "rating",
        "pair",
        "arena-hard",
        "vicuna",
        "belle",
        "alpaca-eval",
        "json",
        "rubric",
    ];

    /// The grammar's name, without range or criteria.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rating(_) => "rating",
            Self::Pair => "pair",
            Self::ArenaHard => "arena-hard",
            Self::Vicuna(_) => "vicuna",
            Self::Belle => "belle",
            Self::AlpacaEval => "alpaca-eval",
            Self::Json(_) => "json",
            Self::Rubric { .. } => "rubric",
            Self::Compat(compat) => compat.name(),
        }
    }

    fn is_known(name: &str) -> bool {
        Self::NAMES
            .into_iter()
            .chain(Compat::ALL.map(Compat::name))
            .any(|known| known == name)
    }

    /// Whether a reply can have a score for each of the criteria.
    pub(crate) fn can_read(criteria: &[String]) -> bool {
        rubric::are_readable(criteria)
    }

    /// Reads normalised text.
    pub(super) fn read(&self, text: &str) -> std::result::Result<Verdict, Reason> {
        match self {
            Self::Rating(range) => tags::rating(text, *range),
            Self::Pair => tags::pair(text),
            Self::ArenaHard => tags::arena_hard(text),
            Self::Vicuna(range) => line::vicuna(text, *range),
            Self::Belle => line::belle(text),
            Self::AlpacaEval => alpaca::choice(text),
            Self::Json(range) => json::verdict(text, *range),
            Self::Rubric { criteria, range } => rubric::scores(text, criteria, *range),
            Self::Compat(compat) => compat.parse(text),
        }
    }
}

impl fmt::Display for Grammar {
    /// As [`Grammar::from_str`] reads it: the name, and a range or criteria where they are not the
    /// usual ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Rating(range) | Self::Vicuna(range) | Self::Json(range)
                if *range != Range::default() =>
            {
                write!(f, ":{}-{}", range.min(), range.max())
            }
            Self::Rubric { criteria, .. } => write!(f, ":{}", criteria.join(",")),
            _ => Ok(()),
        }
    }
}

impl FromStr for Grammar {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, option) = text
            .split_once(':')
            .map_or((text, None), |(name, option)| (name, Some(option)));
        let unknown = || Error::UnknownName {
            what: "grammar",
            name: text.to_owned(),
            known: Self::NAMES
                .into_iter()
                .chain(Compat::ALL.map(Compat::name))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let wrong = |reason: &str| Error::JudgeOption {
            option: "grammar",
            reason: format!("`{text}`: {reason}"),
        };
        let range = || match option {
            None => Ok(Range::default()),
            Some(option) => range(option).ok_or_else(|| {
                wrong("a range is two numbers, the lower one first, as in `rating:0-5`")
            }),
        };
        let grammar = match name {
            "rating" => Self::Rating(range()?),
            "vicuna" => Self::Vicuna(range()?),
            "json" => Self::Json(range()?),
            "rubric" => {
                let criteria = option.map_or_else(Vec::new, |o| {
                    o.split(',').map(|c| c.trim().to_owned()).collect()
                });
                if !rubric::are_readable(&criteria) {
                    return Err(wrong(
                        "criteria are names apart by more than case, without `:,[]|*()`",
                    ));
                }
                Self::Rubric {
                    criteria,
                    range: Range::default(),
                }
            }
            name if option.is_some() && Self::is_known(name) => {
                return Err(wrong("this grammar has no options"));
            }
            "pair" => Self::Pair,
            "arena-hard" => Self::ArenaHard,
            "belle" => Self::Belle,
            "alpaca-eval" => Self::AlpacaEval,
            _ => Self::Compat(
                Compat::ALL
                    .into_iter()
                    .find(|c| c.name() == name)
                    .ok_or_else(unknown)?,
            ),
        };
        Ok(grammar)
    }
}

/// `0-5` as a range.
fn range(text: &str) -> Option<Range> {
    let (min, max) = text.split_once('-')?;
    Range::new(min.trim().parse().ok()?, max.trim().parse().ok()?)
}
