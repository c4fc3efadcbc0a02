//! Reports of judgments: what was judged, what makes it doubtful, every figure with its interval, and
//! each judgment to be read. As JSON, as Markdown, and as one page of HTML that needs nothing else.

mod content;
mod escape;
mod forest;
mod html;
mod lines;
mod markdown;
mod questions;
mod radar;
mod sections;
mod svg;
mod warning;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::error::Result;
use crate::judge::files::Id;
use crate::judge::{
    Answers, Calibration, Figures, Game, HumanLabel, Judgments, Panel, Question, Standing,
    StyleFigures, check_models, check_questions,
};
use crate::stats::Bootstrap;

pub use warning::Warning;

/// A report of judgments. As JSON it is an object with the keys
///
/// - `level`: that of all intervals;
/// - `judged`: what was judged, a [`Material`];
/// - `warnings`: a list of [`Warning`]s, told by their `kind`;
/// - `figures`: [`Figures`], those of `judge replay`;
/// - `standings`: each model against all others, of pairs ([`Standing`]);
/// - `panel`: what several judges say together ([`Panel`]), absent with one;
/// - `style`: what comparisons say with length and style held equal ([`StyleFigures`]), absent without
///   the answers;
/// - `people`: judges against people ([`Calibration`]), absent without labels of people.
///
/// ```
/// use llm_eval::Report;
/// use llm_eval::judge::Judgments;
/// use llm_eval::stats::Bootstrap;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let judgments = Judgments::default();
/// let report = Report::of(&judgments, &[], &[], &Bootstrap::default())?;
/// let json = serde_json::to_string(&report)?;
/// assert!(report.to_markdown().starts_with("# "));
/// assert!(report.to_html().starts_with("<!DOCTYPE html>"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Report<'a> {
    /// The intervals' level.
    pub level: f64,
    /// What was judged.
    pub judged: Material,
    /// What makes the figures doubtful, the gravest first.
    pub warnings: Vec<Warning>,
    /// The figures.
    pub figures: Figures,
    /// Each model against all others.
    pub standings: Vec<Standing>,
    /// What several judges say together; `None` with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub panel: Option<Panel>,
    /// What each judge's comparisons say with length and style held equal, where their answers are
    /// there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub style: Vec<StyleFigures>,
    /// Judges against people; `None` without [`with_people`](Self::with_people).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<Calibration>,
    #[serde(skip)]
    options: Bootstrap,
    #[serde(skip)]
    judgments: &'a Judgments,
    #[serde(skip)]
    questions: &'a [Question],
    #[serde(skip)]
    answers: &'a [Answers],
}

/// What was judged, and how; names in the order in which they come first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Material {
    /// Who judged.
    pub judges: Vec<String>,
    /// Whose answers were judged.
    pub models: Vec<String>,
    /// `single`, `rubric`, `pair`.
    pub modes: Vec<String>,
    /// How verdicts are written.
    pub grammars: Vec<String>,
    /// The prompts' names.
    pub prompts: Vec<String>,
    /// The questions' categories.
    pub categories: Vec<String>,
    /// How many questions were judged.
    pub questions: usize,
    /// The most turns of a question that were judged.
    pub turns: usize,
}

impl Material {
    fn of(judgments: &Judgments) -> Self {
        let mut found = Self::default();
        let note = |known: &mut Vec<String>, name: &str| {
            if !known.iter().any(|one| one == name) {
                known.push(name.to_owned());
            }
        };
        let mut questions: BTreeSet<&Id> = BTreeSet::new();
        for row in &judgments.rows {
            note(&mut found.judges, &row.judge);
            for model in row.judged.models() {
                note(&mut found.models, model);
            }
            note(&mut found.modes, &row.mode);
            note(&mut found.grammars, &row.grammar);
            note(&mut found.prompts, &row.prompt);
            note(&mut found.categories, &row.category);
            questions.insert(&row.question_id);
            found.turns = found.turns.max(row.turn);
        }
        found.questions = questions.len();
        found
    }
}

impl<'a> Report<'a> {
    /// A report of judgments. Questions and answers are what the
    /// page shows beside the judgments; either may be empty, and figures do not depend on them, but for
    /// those of style.
    ///
    /// # Errors
    /// [`Error::Twice`](crate::Error::Twice) for two questions, or two models' answers, of one name;
    /// [`Error::BadOption`](crate::Error::BadOption) for a level outside (0, 1).
    pub fn of(
        judgments: &'a Judgments,
        questions: &'a [Question],
        answers: &'a [Answers],
        options: &Bootstrap,
    ) -> Result<Self> {
        check_questions(questions)?;
        check_models(answers)?;
        let judged = Material::of(judgments);
        let figures = judgments.figures(options)?;
        let games = judgments.games();
        let panel = match judged.judges.len() {
            0 | 1 => None,
            _ => Some(Panel::of(judgments, options)?),
        };
        let mut warnings = warning::warnings(judgments, &figures, &games, judged.questions);
        let mut style = Vec::new();
        for judge in judged.judges.iter().filter(|_| !answers.is_empty()) {
            let decided = |game: &&Game| game.judge == *judge && game.outcome.is_some();
            if games.iter().filter(decided).count() > 1 {
                let characters = |text: &str| text.chars().count() as u64;
                match judgments.style_figures(judge, answers, characters, options) {
                    Ok(figures) => style.push(figures),
                    Err(error) => warnings.push(Warning::NoStyle {
                        judge: judge.clone(),
                        reason: error.to_string(),
                    }),
                }
            }
        }
        Ok(Self {
            level: options.level,
            warnings,
            standings: judgments.standings(options)?,
            judged,
            figures,
            panel,
            style,
            people: None,
            options: options.clone(),
            judgments,
            questions,
            answers,
        })
    }

    /// The report with what people say of the same answers.
    ///
    /// # Errors
    /// Those of [`Judgments::calibrate`].
    pub fn with_people(self, labels: &[HumanLabel]) -> Result<Self> {
        let people = Some(self.judgments.calibrate(labels, &self.options)?);
        Ok(Self { people, ..self })
    }

    /// The report as Markdown: all tables, without the plots, whose figures the tables have, and
    /// without the judgments' texts.
    pub fn to_markdown(&self) -> String {
        markdown::Document(self).to_string()
    }

    /// The report as one page of HTML that loads nothing: tables, plots, and each judgment with the
    /// question, the answers and the judge's replies. Texts are shown as they are, never as markup.
    pub fn to_html(&self) -> String {
        html::Page(self).to_string()
    }
}
