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
    let mut grouped = Grouped::new(report);
    for row in &report.judgments.rows {
        grouped.add(row);
    }
    for game in report.judgments.games() {
        grouped.add_game(game);
    }
    for asked in &mut grouped.found {
        asked.answers.sort_unstable_by_key(|(number, _)| *number);
        asked.meetings.sort_by_key(|meeting| meeting.turn);
    }
    grouped.found
}

/// Questions on their way, with where everything is.
struct Grouped<'r, 'a> {
    numbers: HashMap<&'r str, usize>,
    questions: HashMap<&'a Id, &'a Question>,
    answers: HashMap<&'a str, &'a Answers>,
    found: Vec<Asked<'a>>,
    places: HashMap<&'a Id, usize>,
    meetings: HashMap<Key<'a>, usize>,
}

/// A question, a turn, and models in the order of their numbers.
type Key<'a> = (&'a Id, usize, Vec<usize>);

fn key<'a>(id: &'a Id, turn: usize, models: &[usize]) -> Key<'a> {
    let mut models = models.to_vec();
    models.sort_unstable();
    (id, turn, models)
}

impl<'r, 'a> Grouped<'r, 'a> {
    fn new(report: &'r Report<'a>) -> Self {
        let models = report.judged.models.iter().map(String::as_str);
        let questions = report.questions.iter().map(|one| (&one.id, one));
        let answers = report.answers.iter().map(|one| (&*one.model, one));
        Self {
            numbers: models.zip(0..).collect(),
            questions: questions.collect(),
            answers: answers.collect(),
            found: Vec::new(),
            places: HashMap::new(),
            meetings: HashMap::new(),
        }
    }

    fn add(&mut self, row: &'a Judgment) {
        let id = &row.question_id;
        let place = *self.places.entry(id).or_insert_with(|| {
            self.found.push(Asked {
                id,
                category: &row.category,
                question: self.questions.get(id).copied(),
                referenced: false,
                answers: Vec::new(),
                meetings: Vec::new(),
            });
            self.found.len() - 1
        });
        let asked = &mut self.found[place];
        asked.referenced |= row.reference;
        let mut models = Vec::new();
        for model in shown(row) {
            let number = self.numbers[model];
            models.push(number);
            let known = asked.answers.iter().any(|(one, _)| *one == number);
            let answers = self.answers.get(model);
            if let (false, Some(turns)) = (known, answers.and_then(|all| all.turns.get(id))) {
                asked.answers.push((number, turns));
            }
        }
        let meeting = self.meetings.entry(key(id, row.turn, &models));
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

    fn add_game(&mut self, game: Game) {
        let models = [&game.model_1, &game.model_2].map(|model| self.numbers[&**model]);
        let asked = &mut self.found[self.places[&game.question_id]];
        let meeting = self.meetings[&key(asked.id, game.turn, &models)];
        let meeting = &mut asked.meetings[meeting];
        let same = meeting.models == models;
        meeting.games.push(if same { game } else { game.turned() });
    }
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
