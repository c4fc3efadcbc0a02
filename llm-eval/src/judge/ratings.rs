//! Ratings of the models from the judges' comparisons, and what of them is style.

use std::collections::HashMap;

use serde::Serialize;

use super::figures::grouped;
use super::files::Id;
use super::games::Game;
use super::judgment::Judgments;
use super::task::Answers;
use crate::error::{Error, Result};
use crate::stats::{
    Battle, Bootstrap, BradleyTerryOptions, Covariates, EloOptions, EloRating, LengthControlled,
    Ratings, Style, StyleFormula, bradley_terry, bradley_terry_controlled, elo_bootstrap,
    length_controlled_win_rate,
};

/// Resamples of the battles behind Elo ratings, as FastChat's Arena has them.
const ELO_ROUNDS: usize = 1000;

/// The models' ratings from a judge's comparisons: both orders are one battle, a tie is half a win.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RatingFigures {
    /// The judge.
    pub judge: String,
    /// Bradley–Terry on the Arena's scale (mean 1000, 400 points for odds of 10), with intervals
    /// clustered by question.
    pub bradley_terry: Ratings,
    /// Elo as FastChat's Arena had it: medians of 1000 resamples of the battles.
    pub elo: Vec<EloRating>,
}

/// What a judge's comparisons say with the answers' length and style held equal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StyleFigures {
    /// The judge.
    pub judge: String,
    /// Bradley–Terry with the Arena's covariates of style (length, headers, lists, bold), the ratings
    /// as if they were equal.
    pub ratings: Ratings,
    /// AlpacaEval 2's length-controlled win rates, by pair.
    pub length_controlled: Vec<LengthControlledPair>,
}

/// A pair's win rate at equal lengths.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LengthControlledPair {
    /// The model whose wins are counted.
    pub model_1: String,
    /// The other one.
    pub model_2: String,
    /// Its win rate; lengths are in characters.
    pub win_rate: LengthControlled,
}

/// The ratings by judge, without judges whose comparisons cannot give any: with an outcome on fewer
/// than two questions.
pub(super) fn ratings(games: &[Game], options: &Bootstrap) -> Vec<RatingFigures> {
    let rating = |(judge, games): (&String, Vec<&Game>)| {
        let battles: Vec<Battle> = games.iter().filter_map(|game| battle(game)).collect();
        Some(RatingFigures {
            judge: judge.clone(),
            bradley_terry: bradley_terry(&battles, &scale(options)).ok()?,
            elo: elo(&battles, options).ok()?,
        })
    };
    let groups = grouped(games.iter().map(|game| (&game.judge, game)));
    groups.into_iter().filter_map(rating).collect()
}

fn elo(battles: &[Battle], options: &Bootstrap) -> Result<Vec<EloRating>> {
    let (level, seed) = (options.level, options.seed);
    elo_bootstrap(battles, &EloOptions::default(), ELO_ROUNDS, level, seed)
}

fn scale(options: &Bootstrap) -> BradleyTerryOptions {
    BradleyTerryOptions {
        level: options.level,
        seed: options.seed,
        ..BradleyTerryOptions::default()
    }
}

fn battle(game: &Game) -> Option<Battle> {
    let battle = Battle::new(&*game.model_1, &*game.model_2, game.outcome?);
    Some(battle.about(game.question_id.to_string()))
}

fn turned(battle: Battle) -> Battle {
    Battle {
        first: battle.second,
        second: battle.first,
        outcome: battle.outcome.swapped(),
        ..battle
    }
}

impl Judgments {
    /// What a judge's comparisons say with length and style held equal; `tokens` counts an answer's
    /// tokens (the Arena's code has OpenAI's tokenizer; characters do as well, since only the lengths'
    /// ratios count). The style is that of the turn judged.
    ///
    /// # Errors
    /// [`Error::MissingAnswer`] for a comparison of answers that are not there; those of
    /// [`bradley_terry_controlled`].
    pub fn style_figures(
        &self,
        judge: &str,
        answers: &[Answers],
        tokens: impl Fn(&str) -> u64,
        options: &Bootstrap,
    ) -> Result<StyleFigures> {
        let games = self.games();
        let games: Vec<&Game> = games.iter().filter(|game| game.judge == judge).collect();
        let mut known: HashMap<(&str, &Id, usize), Style> = HashMap::new();
        let (mut battles, mut styles) = (Vec::new(), Vec::new());
        for game in &games {
            let Some(battle) = battle(game) else { continue };
            let mut style = |model| {
                let key = (model, &game.question_id, game.turn);
                if let Some(style) = known.get(&key) {
                    return Ok(*style);
                }
                let text = answer(answers, model, game)?;
                let style = Style::of(text, tokens(text));
                known.insert(key, style);
                Ok::<_, Error>(style)
            };
            let pair = (style(&game.model_1)?, style(&game.model_2)?);
            // The Arena's formula takes the covariates' mean away, which says something about the
            // models unless the sides are drawn by lot. Each battle counts half from either side.
            styles.extend([pair, (pair.1, pair.0)]);
            battles.extend([battle.clone(), turned(battle)].map(|battle| battle.weighing(0.5)));
        }
        let covariates = Covariates::style(&styles, StyleFormula::Arena)?;
        let scale = BradleyTerryOptions {
            ridge: BradleyTerryOptions::arena_ridge().ridge,
            ..scale(options)
        };
        Ok(StyleFigures {
            judge: judge.to_owned(),
            ratings: bradley_terry_controlled(&battles, &covariates, &scale)?,
            length_controlled: length_controlled(&games, answers, options.level)?,
        })
    }
}

/// The text that a game is about.
fn answer<'a>(answers: &'a [Answers], model: &str, game: &Game) -> Result<&'a str> {
    let of = answers.iter().find(|answers| answers.model == model);
    let turns = of.and_then(|answers| answers.turns.get(&game.question_id));
    let text = turns.and_then(|turns| turns.get(game.turn.checked_sub(1)?));
    text.map(String::as_str)
        .ok_or_else(|| Error::MissingAnswer {
            model: model.to_owned(),
            question_id: game.question_id.to_string(),
            turn: game.turn,
        })
}

/// By pair, without those whose lengths decide everything or nothing.
fn length_controlled(
    games: &[&Game],
    answers: &[Answers],
    level: f64,
) -> Result<Vec<LengthControlledPair>> {
    let keyed = games
        .iter()
        .map(|game| ((&game.model_1, &game.model_2), *game));
    let mut found = Vec::new();
    for ((model_1, model_2), games) in grouped(keyed) {
        let (mut preferences, mut lengths) = (Vec::new(), Vec::new());
        for game in games {
            let Some(outcome) = game.outcome else {
                continue;
            };
            let length = |model| {
                let text = answer(answers, model, game)?;
                Ok::<_, Error>(text.chars().count() as u64)
            };
            // AlpacaEval's second output is the model whose rate is asked for.
            preferences.push(1.0 + outcome.score());
            lengths.push((length(model_2)?, length(model_1)?));
        }
        let win_rate = length_controlled_win_rate(&preferences, &lengths, None, level);
        found.extend(win_rate.ok().map(|win_rate| LengthControlledPair {
            model_1: model_1.clone(),
            model_2: model_2.clone(),
            win_rate,
        }));
    }
    Ok(found)
}
