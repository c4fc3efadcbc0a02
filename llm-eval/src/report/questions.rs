//! The judgments by question, each text once.

use std::collections::{BTreeSet, HashMap};

use super::Report;
use crate::judge::files::Id;
use crate::judge::{Answers, Game, Judged, Judgment, Order, Question};
use crate::stats::Outcome;

/// A question with all that was judged of it.
pub(super) struct Asked<'a> {
    pub(super) id: &'a Id,
    pub(super) category: &'a str,
    /// `None` where the questions do not have it.
    pub(super) question: Option<&'a Question>,
    /// Whether a judge was shown a reference answer.
    pub(super) referenced: bool,
    /// The answers there are of the models that were judged, with the models' numbers.
    pub(super) answers: Vec<(usize, &'a [String])>,
    pub(super) meetings: Vec<Meeting<'a>>,
}

/// What was said of one answer, or of two, by all judges.
pub(super) struct Meeting<'a> {
    pub(super) turn: usize,
    /// The models' numbers, one or two.
    pub(super) models: Vec<usize>,
    pub(super) rows: Vec<&'a Judgment>,
    /// What each judge's orders say together; none of one answer.
    pub(super) games: Vec<Game>,
}

impl Meeting<'_> {
    /// The numbers of the models that a judge finds better.
    pub(super) fn winners(&self) -> BTreeSet<usize> {
        let winner = |game: &Game| match game.outcome? {
            Outcome::First => Some(0),
            Outcome::Second => Some(1),
            Outcome::Tie => None,
        };
        let places = self.games.iter().filter_map(winner);
        places.map(|place| self.models[place]).collect()
    }

    /// Whether judges say different things of two answers.
    pub(super) fn is_split(&self) -> bool {
        let mut said = self.games.iter().filter_map(|game| game.outcome);
        let first = said.next();
        said.any(|outcome| Some(outcome) != first)
    }
}

/// All questions, in the order in which their judgments come first.
pub(super) fn by_question<'a>(report: &Report<'a>) -> Vec<Asked<'a>> {
    let numbers: HashMap<&str, usize> = (0..)
        .zip(&report.judged.models)
        .map(|(number, model)| (&**model, number))
        .collect();
    let questions: HashMap<&Id, &Question> =
        report.questions.iter().map(|one| (&one.id, one)).collect();
    let answers: HashMap<&str, &Answers> = report
        .answers
        .iter()
        .map(|one| (&*one.model, one))
        .collect();
    let mut found: Vec<Asked<'a>> = Vec::new();
    let mut places: HashMap<&Id, usize> = HashMap::new();
    let mut meetings: HashMap<(&Id, usize, Vec<usize>), usize> = HashMap::new();
    for row in &report.judgments.rows {
        let place = *places.entry(&row.question_id).or_insert_with(|| {
            found.push(Asked {
                id: &row.question_id,
                category: &row.category,
                question: questions.get(&row.question_id).copied(),
                referenced: false,
                answers: Vec::new(),
                meetings: Vec::new(),
            });
            found.len() - 1
        });
        let asked = &mut found[place];
        asked.referenced |= row.reference;
        let models: Vec<usize> = shown(row).iter().map(|model| numbers[model]).collect();
        for (model, number) in shown(row).iter().zip(&models) {
            let known = asked.answers.iter().any(|(one, _)| one == number);
            let answer = answers
                .get(model)
                .and_then(|all| all.turns.get(&row.question_id));
            if let (false, Some(turns)) = (known, answer) {
                asked.answers.push((*number, turns));
            }
        }
        let mut key = models.clone();
        key.sort_unstable();
        let meeting = meetings.entry((&row.question_id, row.turn, key));
        let place = *meeting.or_insert_with(|| {
            asked.meetings.push(Meeting {
                turn: row.turn,
                models,
                rows: Vec::new(),
                games: Vec::new(),
            });
            asked.meetings.len() - 1
        });
        asked.meetings[place].rows.push(row);
    }
    for game in report.judgments.games() {
        let models = [&game.model_1, &game.model_2].map(|model| numbers[&**model]);
        let mut key = models.to_vec();
        key.sort_unstable();
        let question = places[&game.question_id];
        let key = (found[question].id, game.turn, key);
        let meeting = &mut found[question].meetings[meetings[&key]];
        let same = meeting.models == models;
        meeting.games.push(if same { game } else { game.turned() });
    }
    for asked in &mut found {
        asked.answers.sort_unstable_by_key(|(number, _)| *number);
        asked.meetings.sort_by_key(|meeting| meeting.turn);
    }
    found
}

/// The models in the order given, whatever stood first.
fn shown(row: &Judgment) -> Vec<&str> {
    match &row.judged {
        Judged::One { model } => vec![model],
        Judged::Two {
            model_a,
            model_b,
            order: Order::Given,
        } => vec![model_a, model_b],
        Judged::Two {
            model_a, model_b, ..
        } => vec![model_b, model_a],
    }
}
