//! Judgments in the layouts of FastChat, AlpacaEval and Arena-Hard, for these systems' own scripts.

use std::collections::HashSet;

use serde_json::{Map, Number, json};

use super::files::{
    AlpacaAnnotation, ArenaGame, ArenaJudgmentV20, Judge, PairJudgment, SingleJudgment,
};
use super::games::{Game, Orders};
use super::judgment::{Judged, Judgment, Judgments};
use super::task::{Answers, Question};
use crate::error::{Error, Result};
use crate::stats::Outcome;
use crate::verdict::{Preference, Verdict};

impl Judgments {
    /// The scores as FastChat's `<judge>_single.jsonl` has them, −1 for those that are missing.
    ///
    /// # Errors
    /// [`Error::JudgeOption`] for scores of several judges or on several scales.
    pub fn fastchat_single(&self) -> Result<Vec<SingleJudgment>> {
        let scored = |row: &&Judgment| matches!(row.judged, Judged::One { .. });
        let scales = self.rows.iter().filter(scored).map(Judgment::scale);
        if scales.collect::<HashSet<_>>().len() > 1 {
            return Err(several("scores on several scales would be taken for one"));
        }
        let row = |row: &Judgment| {
            let Judged::One { model } = &row.judged else {
                return None;
            };
            Some(SingleJudgment {
                question_id: row.question_id.clone(),
                model: model.clone(),
                score: Number::from_f64(row.score.unwrap_or(-1.0)),
                judge: Some(Judge(row.judge.clone(), row.prompt.clone())),
                user_prompt: None,
                judgment: row.reply.clone(),
                turn: u32::try_from(row.turn).ok(),
                tstamp: None,
                extra: Map::new(),
            })
        };
        Ok(self.rows.iter().filter_map(row).collect())
    }

    /// The comparisons as FastChat's `<judge>_pair.jsonl` has them, `error` for missing verdicts.
    ///
    /// # Errors
    /// [`Error::JudgeOption`] for a pair that was judged in one order, which that file cannot hold,
    /// or judgments of several judges.
    pub fn fastchat_pair(&self) -> Result<Vec<PairJudgment>> {
        self.one_judge()?;
        self.orders().iter().map(fastchat_pair).collect()
    }

    /// The comparisons with `baseline` as AlpacaEval's `annotations.json` has them: the first turns,
    /// both orders as one preference from 1 (the baseline's answer is better) to 2, a draw 1.5; where the
    /// judge gave log-probabilities, the expected one.
    ///
    /// # Errors
    /// [`Error::JudgeOption`] without a comparison with the baseline, or for judgments of several
    /// judges; [`Error::MissingAnswer`].
    pub fn alpaca_eval(
        &self,
        baseline: &str,
        questions: &[Question],
        answers: &[Answers],
    ) -> Result<Vec<AlpacaAnnotation>> {
        self.one_judge()?;
        let games = self.games();
        let rows = games.iter().filter(|game| game.turn == 1);
        let rows = rows.filter_map(|game| {
            let model = other(game, baseline)?;
            let instruction = questions.iter().find(|one| one.id == game.question_id);
            let instruction = instruction.and_then(|one| one.turns.first().cloned());
            Some((game, model, instruction))
        });
        let rows = rows.map(|(game, model, instruction)| {
            let output = |model: &str| {
                let of = answers.iter().find(|answers| answers.model == model);
                let turns = of.and_then(|answers| answers.turns.get(&game.question_id));
                let text = turns.and_then(|turns| turns.first());
                text.cloned().ok_or_else(|| missing(model, game))
            };
            let score = game.expected.or(game.outcome.map(Outcome::score));
            let score = match game.model_1 == model {
                true => score,
                false => score.map(|score| 1.0 - score),
            };
            Ok(AlpacaAnnotation {
                instruction: instruction.ok_or_else(|| missing("the questions' file", game))?,
                output_1: Some(output(baseline)?),
                output_2: Some(output(model)?),
                generator_1: Some(baseline.to_owned()),
                generator_2: model.to_owned(),
                preference: score.map(|score| 1.0 + score),
                annotator: Some(game.judge.clone()),
                dataset: Some(game.category.clone()),
                price_per_example: None,
                time_per_example: None,
                extra: Map::new(),
            })
        });
        some(rows.collect::<Result<_>>()?, baseline)
    }

    /// The comparisons with `baseline` as Arena-Hard v2.0's `model_judgment/<judge>/<model>.jsonl` has
    /// them, all models' rows together: the first turns, the baseline being A in the first game and B
    /// in the second. Its script counts a verdict by far three times, and each game by itself.
    ///
    /// # Errors
    /// [`Error::JudgeOption`] without a comparison with the baseline, or for judgments of several
    /// judges.
    pub fn arena_hard(&self, baseline: &str) -> Result<Vec<ArenaJudgmentV20>> {
        self.one_judge()?;
        let row = |orders: &Orders<'_>| {
            let game = orders.game().filter(|game| game.turn == 1)?;
            let model = other(&game, baseline)?.to_owned();
            let baseline_first = |row: &&Judgment| match &row.judged {
                Judged::Two { model_a, .. } => model_a == baseline,
                Judged::One { .. } => false,
            };
            let rows = [orders.given, orders.swapped];
            let first = rows.iter().copied().flatten().find(baseline_first);
            let second = rows.iter().copied().flatten();
            let second = second.into_iter().find(|row| !baseline_first(row));
            Some(ArenaJudgmentV20 {
                uid: game.question_id,
                category: game.category,
                judge: game.judge,
                model,
                baseline: baseline.to_owned(),
                games: [first, second].map(|row| row.map(arena_game)).to_vec(),
                extra: Map::new(),
            })
        };
        some(self.orders().iter().filter_map(row).collect(), baseline)
    }
}

impl Judgments {
    /// The systems' scripts would take the verdicts of several judges for one's.
    fn one_judge(&self) -> Result<()> {
        match self.judges().len() > 1 {
            true => Err(several("their verdicts would be taken for one judge's")),
            false => Ok(()),
        }
    }
}

fn several(reason: &str) -> Error {
    Error::JudgeOption {
        option: "several judges",
        reason: reason.to_owned(),
    }
}

/// The model that meets the baseline.
fn other<'a>(game: &'a Game, baseline: &str) -> Option<&'a str> {
    match (&*game.model_1 == baseline, &*game.model_2 == baseline) {
        (true, false) => Some(&game.model_2),
        (false, true) => Some(&game.model_1),
        _ => None,
    }
}

fn some<T>(rows: Vec<T>, baseline: &str) -> Result<Vec<T>> {
    match rows.is_empty() {
        false => Ok(rows),
        true => Err(Error::JudgeOption {
            option: "baseline",
            reason: format!("no comparison with {baseline}"),
        }),
    }
}

fn missing(model: &str, game: &Game) -> Error {
    Error::MissingAnswer {
        model: model.to_owned(),
        question_id: game.question_id.to_string(),
        turn: game.turn,
    }
}

fn arena_game(row: &Judgment) -> ArenaGame {
    let preference = match &row.verdict {
        Some(Verdict::Preference(preference)) => Some(*preference),
        _ => row.outcome().map(|outcome| match outcome {
            Outcome::First => Preference::A,
            Outcome::Second => Preference::B,
            Outcome::Tie => Preference::Tie,
        }),
    };
    ArenaGame {
        judgment: json!({"answer": row.reply}),
        score: preference.map(|preference| preference.label().to_owned()),
        extra: Map::new(),
    }
}

fn fastchat_pair(orders: &Orders<'_>) -> Result<PairJudgment> {
    let one_order = || Error::JudgeOption {
        option: "orders",
        reason: "FastChat's file has pairs judged in both orders only".to_owned(),
    };
    let (given, swapped) = orders.given.zip(orders.swapped).ok_or_else(one_order)?;
    let game = orders.game().ok_or_else(one_order)?;
    let winner = |outcome: Option<Outcome>| {
        let name = match outcome {
            Some(Outcome::First) => "model_1",
            Some(Outcome::Second) => "model_2",
            Some(Outcome::Tie) => "tie",
            None => "error",
        };
        name.to_owned()
    };
    Ok(PairJudgment {
        question_id: game.question_id,
        model_1: game.model_1,
        model_2: game.model_2,
        g1_winner: winner(game.given),
        g2_winner: winner(game.swapped.map(Outcome::swapped)),
        judge: Some(Judge(game.judge, given.prompt.clone())),
        g1_user_prompt: None,
        g1_judgment: given.reply.clone(),
        g2_user_prompt: None,
        g2_judgment: swapped.reply.clone(),
        turn: u32::try_from(game.turn).ok(),
        tstamp: None,
        extra: Map::new(),
    })
}
