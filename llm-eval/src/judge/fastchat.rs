//! FastChat's files of judgments as judgments of this crate.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, Format, Id, PairJudgment, SingleJudgment, read_rows};
use super::judgment::{Judged, Judgment, Judgments, MAX_SCORE, Order, Unscored};
use crate::error::{Error, Result};
use crate::verdict::{Preference, Reason, Verdict};

/// What FastChat writes where the server gave no reply.
const ERROR: &str = "$ERROR$";

impl Judgments {
    /// Reads FastChat's `<judge>_single.jsonl` or `<judge>_pair.jsonl`, with the questions' categories,
    /// which these files do not have. What they do not tell is left open: the prompt's hash is empty,
    /// a judge without a name is `unknown`, a reply without a verdict has [`Reason::NoVerdict`].
    /// A reference answer was shown where the prompt is one of FastChat's for math.
    ///
    /// Of rows that occur twice the first counts in [`figures`](Self::figures); in FastChat's own
    /// figures each does.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Line`], [`Error::Field`]; [`Error::JudgeOption`] for another format.
    pub fn read_fastchat(
        path: impl AsRef<Path>,
        format: Format,
        categories: &BTreeMap<Id, String>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let mut rows = Vec::new();
        match format {
            Format::FastchatSingle => {
                for row in read_rows::<SingleJudgment>(path)? {
                    let (line, row) = row?;
                    rows.push(single(row, categories, (path, line))?);
                }
            }
            Format::FastchatPair => {
                for row in read_rows::<PairJudgment>(path)? {
                    let (line, row) = row?;
                    rows.extend(pair(row, categories, (path, line))?);
                }
            }
            other => {
                return Err(Error::JudgeOption {
                    option: "format",
                    reason: format!("{other} is not FastChat's"),
                });
            }
        }
        Ok(Self { rows })
    }
}

fn field((path, line): (&Path, usize), field: &str, reason: impl Into<String>) -> Error {
    Error::Field {
        path: path.to_owned(),
        line,
        field: field.to_owned(),
        reason: reason.into(),
    }
}

/// A judgment of FastChat's without what was judged.
fn judgment(
    (question_id, turn): (&Id, Option<u32>),
    judge: Option<&files::Judge>,
    categories: &BTreeMap<Id, String>,
    judged: Judged,
) -> Judgment {
    let (name, prompt) = match judge {
        Some(files::Judge(name, prompt)) => (&**name, &**prompt),
        None => ("unknown", ""),
    };
    let (mode, grammar) = match &judged {
        Judged::One { .. } => ("single", "fastchat-single"),
        Judged::Two { .. } => ("pair", "fastchat-pair"),
    };
    Judgment {
        question_id: question_id.clone(),
        category: categories.get(question_id).cloned().unwrap_or_default(),
        turn: turn.unwrap_or(1) as usize,
        mode: mode.to_owned(),
        grammar: grammar.to_owned(),
        judge: name.to_owned(),
        judged,
        prompt: prompt.to_owned(),
        prompt_hash: String::new(),
        reference: prompt.contains("-math-"),
        attempt: 0,
        verdict: None,
        score: None,
        unscored: None,
        reply: None,
        first_reply: None,
        schema: None,
        expected: None,
    }
}

impl Judgment {
    fn with_reply(self, reply: Option<String>, verdict: Option<Verdict>) -> Self {
        let reply = reply.filter(|reply| reply != ERROR);
        let unscored = match (&verdict, &reply) {
            (Some(_), _) => None,
            (None, None) => Some(Unscored::NoReply),
            (None, Some(_)) => Some(Unscored::Unparsed(Reason::NoVerdict)),
        };
        Self {
            score: match &verdict {
                Some(Verdict::Score(score)) => Some(*score),
                _ => None,
            },
            verdict,
            unscored,
            reply,
            ..self
        }
    }
}

fn single(
    row: SingleJudgment,
    categories: &BTreeMap<Id, String>,
    at: (&Path, usize),
) -> Result<Judgment> {
    let score = match row.score.as_ref().map(serde_json::Number::as_f64) {
        None => None,
        Some(Some(score)) if score.abs() <= MAX_SCORE => Some(score).filter(|score| *score != -1.0),
        Some(_) => return Err(field(at, "score", "not a number up to a billion")),
    };
    let of = (&row.question_id, row.turn);
    let judged = Judged::One { model: row.model };
    let judgment = judgment(of, row.judge.as_ref(), categories, judged);
    Ok(judgment.with_reply(row.judgment, score.map(Verdict::Score)))
}

fn pair(
    row: PairJudgment,
    categories: &BTreeMap<Id, String>,
    at: (&Path, usize),
) -> Result<[Judgment; 2]> {
    let winner = |name: &str, winner: &str| match winner {
        "model_1" => Ok(Some(Preference::A)),
        "model_2" => Ok(Some(Preference::B)),
        "tie" => Ok(Some(Preference::Tie)),
        "error" => Ok(None),
        other => {
            let reason = format!("`{other}` is none of model_1, model_2, tie, error");
            Err(field(at, name, reason))
        }
    };
    let given = winner("g1_winner", &row.g1_winner)?;
    let swapped = winner("g2_winner", &row.g2_winner)?.map(Preference::swapped);
    let of = (&row.question_id, row.turn);
    let game = |[model_a, model_b]: [&String; 2], order| {
        let judged = Judged::Two {
            model_a: model_a.clone(),
            model_b: model_b.clone(),
            order,
        };
        judgment(of, row.judge.as_ref(), categories, judged)
    };
    let first = game([&row.model_1, &row.model_2], Order::Given);
    let second = game([&row.model_2, &row.model_1], Order::Swapped);
    Ok([
        first.with_reply(row.g1_judgment.clone(), given.map(Verdict::Preference)),
        second.with_reply(row.g2_judgment.clone(), swapped.map(Verdict::Preference)),
    ])
}
