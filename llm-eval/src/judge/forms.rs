//! The forms in which a judge is asked for its verdict, one for each grammar.

use serde_json::Value;

use super::prompts::Prompts;
use super::task::{Criterion, Mode};
use crate::error::{Error, Result};
use crate::verdict::{Compat, Grammar, Range};

/// A form, by the name of its prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Rating(Range),
    Pair,
    ArenaHard,
    Vicuna(Range),
    Belle,
    AlpacaEval,
    Json(Range),
    Rubric(Range),
    JsonRubric(Range),
}

impl Form {
    /// The form of a grammar, where it goes with the mode.
    pub(super) fn of(grammar: &Grammar, mode: &Mode) -> Result<Self> {
        let wrong = |reason: String| Error::JudgeOption {
            option: "grammar",
            reason,
        };
        let form = match grammar {
            Grammar::Rating(range) => Self::Rating(*range),
            Grammar::Pair | Grammar::Compat(Compat::FastchatPair) => Self::Pair,
            Grammar::ArenaHard => Self::ArenaHard,
            Grammar::Vicuna(range) => Self::Vicuna(*range),
            Grammar::Belle => Self::Belle,
            Grammar::AlpacaEval | Grammar::Compat(Compat::AlpacaEvalRegex) => Self::AlpacaEval,
            Grammar::Json(range) => Self::Json(*range),
            Grammar::Rubric { range, .. } => Self::Rubric(*range),
            Grammar::Compat(Compat::FastchatSingle) => Self::Rating(Range::default()),
            Grammar::Compat(Compat::VicunaReview) => Self::Vicuna(Range::default()),
            Grammar::Compat(Compat::ArenaHardV01 | Compat::ArenaHardV20) => Self::ArenaHard,
            Grammar::Compat(Compat::AlpacaEvalRanking) => {
                return Err(wrong(format!("no prompt asks for {grammar}")));
            }
        };
        let fits = match mode {
            Mode::Single => matches!(form, Self::Rating(_) | Self::Belle | Self::Json(_)),
            Mode::Rubric(_) => matches!(form, Self::Rubric(_)),
            Mode::Pair(_) => matches!(
                form,
                Self::Pair | Self::ArenaHard | Self::Vicuna(_) | Self::AlpacaEval | Self::Json(_)
            ),
        };
        match fits {
            true => Ok(form),
            false => Err(wrong(format!(
                "{grammar} has no verdict for the mode {}",
                mode.name()
            ))),
        }
    }

    /// Whether the verdict is one letter, word or number, whose alternatives tell the judge's doubts.
    pub(super) fn is_one_symbol(self) -> bool {
        matches!(
            self,
            Self::Rating(_) | Self::Pair | Self::AlpacaEval | Self::Json(_)
        )
    }

    /// What the judge is told about it.
    pub(super) fn text(self, prompts: &Prompts, mode: &Mode) -> String {
        let name = match self {
            Self::Rating(_) => "form_rating",
            Self::Pair => "form_pair",
            Self::ArenaHard => "form_arena_hard",
            Self::Vicuna(_) => "form_vicuna",
            Self::Belle => "form_belle",
            Self::AlpacaEval => "form_alpaca_eval",
            Self::Json(_) if matches!(mode, Mode::Pair(_)) => "form_json_winner",
            Self::Json(_) => "form_json_score",
            Self::Rubric(_) => "form_rubric",
            Self::JsonRubric(_) => "form_json_rubric",
        };
        let range = match self {
            Self::Rating(range)
            | Self::Vicuna(range)
            | Self::Json(range)
            | Self::Rubric(range)
            | Self::JsonRubric(range) => range,
            Self::Pair | Self::ArenaHard | Self::Belle | Self::AlpacaEval => Range::default(),
        };
        let lines = lines(mode, "[[number]]");
        let (min, max) = (range.min().to_string(), range.max().to_string());
        let fields = [
            ("min", &*min),
            ("max", &*max),
            ("lines", &*lines),
            ("scores", &*scores(mode, "number")),
        ];
        prompts.fill(name, &fields)
    }

    /// The best verdict that an answer can get, as a judge would write it; `first` says whether it
    /// stands in the first place of a pair.
    pub(super) fn best(self, mode: &Mode, first: bool) -> String {
        let pair = matches!(mode, Mode::Pair(_));
        let place = |a: &str, b: &str| if first { a.to_owned() } else { b.to_owned() };
        match self {
            Self::Rating(range) => format!("[[{}]]", range.max()),
            Self::Pair => place("[[A]]", "[[B]]"),
            Self::ArenaHard => place("[[A>>B]]", "[[B>>A]]"),
            Self::Vicuna(range) => {
                let (min, max) = (range.min(), range.max());
                place(&format!("{max} {min}"), &format!("{min} {max}"))
            }
            Self::Belle => "得分: 1".to_owned(),
            Self::AlpacaEval => place("Output (a)", "Output (b)"),
            Self::Json(_) if pair => place(r#"{"winner": "A"}"#, r#"{"winner": "B"}"#),
            Self::Json(range) => format!(r#"{{"score": {}}}"#, range.max()),
            Self::Rubric(range) => lines(mode, &format!("[[{}]]", range.max())),
            Self::JsonRubric(range) => scores(mode, &range.max().to_string()),
        }
    }
}

/// An object with a score for each criterion.
fn scores(mode: &Mode, score: &str) -> String {
    let field = |one: &Criterion| format!("{}: {score}", Value::from(&*one.name));
    let fields = match mode {
        Mode::Rubric(criteria) => criteria.iter().map(field).collect::<Vec<_>>().join(", "),
        Mode::Single | Mode::Pair(_) => String::new(),
    };
    format!(r#"{{"scores": {{{fields}}}}}"#)
}

/// A line for each criterion.
fn lines(mode: &Mode, score: &str) -> String {
    let line = |criterion: &Criterion| format!("{}: {score}", criterion.name);
    match mode {
        Mode::Rubric(criteria) => criteria.iter().map(line).collect::<Vec<_>>().join("\n"),
        Mode::Single | Mode::Pair(_) => String::new(),
    }
}
