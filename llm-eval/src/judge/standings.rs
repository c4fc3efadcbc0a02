//! How a model fares against all others.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::{Comparisons, comparisons, each, grouped};
use super::games::Game;
use super::judgment::Judgments;
use crate::error::Result;
use crate::stats::Bootstrap;

/// A judge's comparisons of a model with all others that it met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The judge.
    pub judge: String,
    /// The model whose wins are counted.
    pub model: String,
    /// All of them.
    pub overall: Comparisons,
    /// By category.
    pub categories: BTreeMap<String, Comparisons>,
    /// By turn, from 1.
    pub turns: BTreeMap<usize, Comparisons>,
}

impl Judgments {
    /// How each model fares against all others, by judge. A question's games against several others
    /// are taken together.
    ///
    /// # Errors
    /// [`Error::BadOption`](crate::Error::BadOption) for a level outside (0, 1).
    pub fn standings(&self, options: &Bootstrap) -> Result<Vec<Standing>> {
        options.check()?;
        let games = self.games();
        let games: Vec<Game> = games
            .into_iter()
            .flat_map(|game| {
                let turned = game.turned();
                [game, turned]
            })
            .collect();
        let groups = grouped(
            games
                .iter()
                .map(|game| ((&game.judge, &game.model_1), game)),
        );
        let standing = |((judge, model), games): ((&String, &String), Vec<&Game>)| {
            let figure = |games: &[_]| comparisons(games, options);
            Standing {
                judge: judge.clone(),
                model: model.clone(),
                overall: figure(&games),
                categories: each(&games, |game| game.category.clone(), figure),
                turns: each(&games, |game| game.turn, figure),
            }
        };
        Ok(groups.into_iter().map(standing).collect())
    }
}
