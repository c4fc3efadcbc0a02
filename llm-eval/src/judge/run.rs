//! Judging: all questions asked in parallel, and once more where a reply has no verdict.

use llm_data::generate::{
    self, ChatReply, ChatRequest, Estimate, FinishReason, Language, Runner, Sampling,
};

use super::alternatives::expected;
use super::case::{Case, Prompted, Shown, Side};
use super::forms::Form;
use super::judgment::{Judgment, Judgments, Order, Unscored};
use super::prompts::Prompts;
use super::schema;
use super::task::{Answers, Mode, Question, References, Turns, check_models, check_questions};
use crate::error::{Error, Result};
use crate::stats::ExpectedPreference;
use crate::verdict::{Compat, Grammar, Parsed, Range, Reason, Verdict, parse};

/// A model as judge.
///
/// ```
/// use llm_data::generate::{ChatReply, ChatRequest, ReplyCache, RunOptions, Runner};
/// use llm_eval::judge::files::Id;
/// use llm_eval::judge::{Answers, Judge, Mode, Pairing, Question};
/// use llm_eval::stats::Bootstrap;
///
/// # fn main() -> llm_eval::Result<()> {
/// let model = |_: &ChatRequest| Ok(ChatReply::new("Both say the same.\n\n[[C]]"));
/// let cache = ReplyCache::in_memory()?;
/// let runner = Runner::new(&model, &cache, RunOptions::default())?;
/// let question = Question {
///     id: Id::Number(1),
///     category: "knowledge".to_owned(),
///     turns: vec!["What is the capital of France?".to_owned()],
///     reference: Vec::new(),
/// };
/// let answers = ["vicuna-13b", "alpaca-13b"].map(|model| Answers {
///     model: model.to_owned(),
///     turns: [(Id::Number(1), vec!["Paris.".to_owned()])].into(),
/// });
/// let judge = Judge::new("gpt-4", Mode::Pair(Pairing::default()));
/// let judgments = judge.run(&runner, &[question], &answers)?;
/// assert_eq!(judgments.rows.len(), 2);
/// assert_eq!(judgments.figures(&Bootstrap::default())?.pairs[0].overall.outcomes.ties, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    /// The model's name, as the server knows it.
    pub model: String,
    /// How answers are judged.
    pub mode: Mode,
    /// How the verdict is written.
    pub grammar: Grammar,
    /// What the judge is asked with.
    pub prompts: Prompts,
    /// Which questions are judged with their reference answers in view.
    pub references: References,
    /// Which turns are judged.
    pub turns: Turns,
    /// How replies are drawn. With `logprobs` (20) the judgments have the verdict on average,
    /// [`Judgment::expected`], where the server gives log-probabilities and the verdict is one letter,
    /// word or whole number: the grammars `rating`, `pair`, `alpaca-eval` and `json`.
    pub sampling: Sampling,
    /// Whether replies are bound to a JSON schema of the verdict, with the grammar `json`, or in the
    /// mode rubric, which is asked for in JSON then. A server that refuses it (400, 422) is asked
    /// without for the rest of the run: [`Judgment::schema`].
    pub schema: bool,
    /// What the marks of the material's tags are drawn from.
    pub seed: u64,
}

impl Judge {
    /// A judge with the crate's English prompts and the mode's usual grammar (`[[7]]`, `[[A]]`,
    /// `accuracy: [[7]]`), temperature 0 and 2048 tokens as FastChat has it, seed 0.
    pub fn new(model: impl Into<String>, mode: Mode) -> Self {
        let grammar = match &mode {
            Mode::Single => Grammar::Rating(Range::default()),
            Mode::Pair(_) => Grammar::Pair,
            Mode::Rubric(criteria) => Grammar::Rubric {
                criteria: criteria.iter().map(|one| one.name.clone()).collect(),
                range: Range::default(),
            },
        };
        Self {
            model: model.into(),
            mode,
            grammar,
            prompts: Prompts::builtin(Language::En),
            references: References::default(),
            turns: Turns::default(),
            sampling: Sampling {
                temperature: 0.0,
                max_tokens: 2048,
                ..Sampling::default()
            },
            schema: false,
            seed: 0,
        }
    }

    /// What [`run`](Self::run) would ask and cost, with replies of `expected_tokens` on average and
    /// none asked again. Nothing is asked.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn estimate(
        &self,
        runner: &Runner<'_>,
        questions: &[Question],
        answers: &[Answers],
        expected_tokens: u32,
    ) -> Result<Estimate> {
        self.estimate_cases(runner, &self.cases(questions, answers)?, expected_tokens, 0)
    }

    /// Judges all answers. The rows come by question, model or pair, turn and order, whatever the
    /// number of workers.
    ///
    /// A reply without a verdict is asked for once more, with a reminder of the form; without one
    /// then, the judgment is [`Unscored`]. A run that is stopped and started again on the same cache
    /// asks nothing twice. With [`OnFailure::Skip`](generate::OnFailure::Skip) a question that gets
    /// no reply is unscored as well, and the next run asks it again; otherwise it ends the run.
    ///
    /// # Errors
    /// [`Error::MissingAnswer`], [`Error::Twice`]; [`Error::JudgeOption`] for options that do not go
    /// together; [`Error::Data`] from the runner.
    pub fn run(
        &self,
        runner: &Runner<'_>,
        questions: &[Question],
        answers: &[Answers],
    ) -> Result<Judgments> {
        let rows = self.judge(runner, &self.cases(questions, answers)?, 0)?;
        Ok(Judgments { rows })
    }

    pub(super) fn form(&self) -> Result<Form> {
        match Form::of(&self.grammar, &self.mode)? {
            Form::Rubric(range) if self.schema => Ok(Form::JsonRubric(range)),
            form => Ok(form),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let form = self.form()?;
        let wrong = |option, reason: &str| {
            let reason = reason.to_owned();
            Err(Error::JudgeOption { option, reason })
        };
        if self.prompts.fastchat_prompts().is_some()
            && !matches!(
                (&self.mode, form),
                (Mode::Single, Form::Rating(_)) | (Mode::Pair(_), Form::Pair)
            )
        {
            return wrong("prompts", "FastChat's ask for [[rating]] or [[A]] only");
        }
        if self.schema && form.schema(&self.mode).is_none() {
            return wrong("schema", "only the grammars json and rubric have one");
        }
        if self.schema && self.sampling.extra.contains_key(schema::FIELD) {
            return wrong("schema", "there is a response_format already");
        }
        if self.sampling.logprobs.is_some() && !form.is_one_symbol() {
            let reason = "only the verdicts of rating, pair, alpaca-eval and json are one token";
            return wrong("logprobs", reason);
        }
        let Mode::Rubric(rubric) = &self.mode else {
            return Ok(());
        };
        if rubric.is_empty() {
            return wrong("mode", "a rubric needs a criterion");
        }
        if !rubric
            .iter()
            .all(|one| one.weight.is_finite() && one.weight > 0.0)
        {
            return wrong("mode", "a criterion's weight must be a number above 0");
        }
        let names: Vec<String> = rubric.iter().map(|one| one.name.clone()).collect();
        if !Grammar::can_read(&names) {
            let reason = "a criterion needs a name in one line, apart from the others' by more than \
                          case, without `:,[]|*()`";
            return wrong("mode", reason);
        }
        match &self.grammar {
            Grammar::Rubric { criteria, .. } if *criteria == names => Ok(()),
            _ => wrong("grammar", "its criteria are not those of the rubric"),
        }
    }

    /// All judgments to be made, in their order.
    fn cases<'a>(
        &self,
        questions: &'a [Question],
        answers: &'a [Answers],
    ) -> Result<Vec<Case<'a>>> {
        self.check()?;
        check_questions(questions)?;
        check_models(answers)?;
        let pairs = self.pairs(answers)?;
        let mut cases = Vec::new();
        for question in questions {
            match &self.mode {
                Mode::Single | Mode::Rubric(_) => {
                    for model in answers {
                        for turn in self.turns.of(question) {
                            let shown = Shown::One(side(model, question, turn)?);
                            cases.push(Case {
                                question,
                                turn,
                                shown,
                            });
                        }
                    }
                }
                Mode::Pair(pairing) => {
                    for (first, second) in &pairs {
                        for turn in self.turns.of(question) {
                            let a = side(first, question, turn)?;
                            let b = side(second, question, turn)?;
                            let mut push = |shown| {
                                cases.push(Case {
                                    question,
                                    turn,
                                    shown,
                                })
                            };
                            push(Shown::Two([a, b], Order::Given));
                            if pairing.both_orders {
                                push(Shown::Two([b, a], Order::Swapped));
                            }
                        }
                    }
                }
            }
        }
        Ok(cases)
    }

    /// The models that meet.
    fn pairs<'a>(&self, answers: &'a [Answers]) -> Result<Vec<(&'a Answers, &'a Answers)>> {
        let Mode::Pair(pairing) = &self.mode else {
            return Ok(Vec::new());
        };
        let wrong = |reason| Error::JudgeOption {
            option: "mode",
            reason,
        };
        if answers.len() < 2 {
            return Err(wrong("pairs need the answers of two models".to_owned()));
        }
        let Some(name) = &pairing.baseline else {
            let after = |place: usize| answers[place + 1..].iter();
            let pairs = answers.iter().enumerate();
            return Ok(pairs
                .flat_map(|(place, first)| after(place).map(move |second| (first, second)))
                .collect());
        };
        let baseline = answers.iter().find(|one| one.model == *name);
        let baseline =
            baseline.ok_or_else(|| wrong(format!("the baseline {name} has no answers")))?;
        let others = answers.iter().filter(|one| one.model != *name);
        Ok(others.map(|one| (one, baseline)).collect())
    }

    /// Makes the judgments. Rounds, counted from 0, are asked anew.
    pub(super) fn judge(
        &self,
        runner: &Runner<'_>,
        cases: &[Case<'_>],
        round: u64,
    ) -> Result<Vec<Judgment>> {
        let prompts = self.prompts_of(cases)?;
        let reminder = self.reminder()?;
        let asked = self.questions(&prompts, 2 * round)?;
        let mut read = self.read_all(runner, &asked, 0)?;
        let again: Vec<usize> = (0..read.len())
            .filter(|at| read[*at].asks_again())
            .collect();
        let reminded: Vec<_> = again
            .iter()
            .map(|at| {
                let mut prompt = prompts[*at].clone();
                prompt.user += &reminder;
                prompt
            })
            .collect();
        let asked = self.questions(&reminded, 2 * round + 1)?;
        let second = self.read_all(runner, &asked, 1)?;
        for (at, second) in again.into_iter().zip(second) {
            let first = std::mem::replace(&mut read[at], second);
            read[at].first_reply = first.reply;
        }
        let rows = cases.iter().zip(prompts).zip(read);
        Ok(rows
            .map(|((case, prompt), read)| self.row(case, prompt, read))
            .collect())
    }

    fn read_all(
        &self,
        runner: &Runner<'_>,
        asked: &[generate::Question],
        attempt: u64,
    ) -> Result<Vec<Reading>> {
        let read = |reply: ChatReply| Reading::of(self, Some(&reply), attempt);
        let read = runner.ask_all_with(asked, read)?.into_iter();
        Ok(read
            .map(|read| read.unwrap_or_else(|| Reading::of(self, None, attempt)))
            .collect())
    }

    pub(super) fn estimate_cases(
        &self,
        runner: &Runner<'_>,
        cases: &[Case<'_>],
        expected_tokens: u32,
        round: u64,
    ) -> Result<Estimate> {
        let prompts = self.prompts_of(cases)?;
        let asked = self.questions(&prompts, 2 * round)?;
        Ok(runner.estimate(&asked, expected_tokens)?)
    }

    fn prompts_of(&self, cases: &[Case<'_>]) -> Result<Vec<Prompted>> {
        cases.iter().map(|case| self.prompt(case)).collect()
    }

    fn reminder(&self) -> Result<String> {
        let form = self.form()?.text(&self.prompts, &self.mode);
        let reminder = self.prompts.fill("reminder", &[("form", &form)]);
        Ok(format!("\n\n{reminder}"))
    }

    /// The questions to the model, bound to the schema where one is wanted.
    fn questions(&self, prompts: &[Prompted], attempt: u64) -> Result<Vec<generate::Question>> {
        let mut sampling = self.sampling.clone();
        if let (true, Some(schema)) = (self.schema, self.form()?.schema(&self.mode)) {
            sampling.optional.insert(schema::FIELD.to_owned(), schema);
        }
        let request = |prompt: &Prompted| ChatRequest {
            model: self.model.clone(),
            messages: prompt.messages(),
            sampling: sampling.clone(),
            n: 1,
        };
        let requests = prompts.iter().map(request);
        Ok(requests
            .map(|request| generate::Question { request, attempt })
            .collect())
    }

    fn row(&self, case: &Case<'_>, prompt: Prompted, read: Reading) -> Judgment {
        let (verdict, unscored) = match read.verdict {
            Ok(verdict) => (Some(verdict), None),
            Err(unscored) => (None, Some(unscored)),
        };
        Judgment {
            question_id: case.question.id.clone(),
            category: case.question.category.clone(),
            turn: case.turn,
            mode: self.mode.name().to_owned(),
            grammar: self.grammar.to_string(),
            judge: self.model.clone(),
            judged: case.shown.judged(),
            prompt_hash: prompt.hash(),
            prompt: prompt.name,
            reference: prompt.referenced,
            attempt: read.attempt,
            score: verdict.as_ref().and_then(|verdict| self.score(verdict)),
            verdict,
            unscored,
            reply: read.reply,
            first_reply: read.first_reply,
            schema: read.schema,
            expected: read.expected,
        }
    }

    /// One answer's score; a rubric's is the weighted mean.
    fn score(&self, verdict: &Verdict) -> Option<f64> {
        match (verdict, &self.mode) {
            (Verdict::Score(score), Mode::Single) => Some(*score),
            (Verdict::Scores(scores), Mode::Rubric(rubric)) => {
                let (mut sum, mut weights) = (0.0, 0.0);
                for criterion in rubric {
                    sum += criterion.weight * scores.get(&criterion.name)?;
                    weights += criterion.weight;
                }
                Some(sum / weights)
            }
            _ => None,
        }
    }
}

fn side<'a>(answers: &'a Answers, question: &Question, turn: usize) -> Result<Side<'a>> {
    Ok(Side {
        model: &answers.model,
        turns: answers.to(question, turn)?,
    })
}

/// What became of a question.
#[derive(Clone)]
struct Reading {
    reply: Option<String>,
    first_reply: Option<String>,
    attempt: u64,
    verdict: std::result::Result<Verdict, Unscored>,
    schema: Option<bool>,
    expected: Option<ExpectedPreference>,
}

impl Reading {
    fn of(judge: &Judge, reply: Option<&ChatReply>, attempt: u64) -> Self {
        let choice = reply.and_then(|reply| reply.choices.first());
        let verdict = match choice {
            None => Err(Unscored::NoReply),
            Some(choice) if choice.finish_reason == FinishReason::ContentFilter => {
                Err(Unscored::Withheld)
            }
            Some(choice) => {
                let cut_off = choice.finish_reason == FinishReason::Length;
                verdict(judge, &choice.text, cut_off)
            }
        };
        let read = choice.filter(|_| verdict.is_ok());
        let expected = read.and_then(|choice| {
            let tokens = choice.logprobs.as_ref()?;
            expected(&judge.grammar, &choice.text, tokens)
        });
        let schema = reply.filter(|_| judge.schema);
        Self {
            reply: choice.map(|choice| choice.text.clone()),
            first_reply: None,
            attempt,
            verdict,
            schema: schema.map(|reply| !reply.optional_refused),
            expected,
        }
    }

    /// The runner has asked again itself where there is no reply at all.
    fn asks_again(&self) -> bool {
        !matches!(self.verdict, Ok(_) | Err(Unscored::NoReply))
    }
}

fn verdict(judge: &Judge, text: &str, cut_off: bool) -> std::result::Result<Verdict, Unscored> {
    if cut_off && misses_end(&judge.grammar, text) {
        return Err(Unscored::Unparsed(Reason::Truncated));
    }
    let verdict = match parse(&judge.grammar, text) {
        Parsed::Verdict(verdict) => verdict,
        Parsed::Unparsed { reason } => return Err(Unscored::Unparsed(reason)),
    };
    let fits = matches!(
        (&judge.mode, &verdict),
        (Mode::Single, Verdict::Score(_))
            | (Mode::Rubric(_), Verdict::Scores(_))
            | (Mode::Pair(_), Verdict::Pair(..) | Verdict::Preference(_))
    );
    if fits {
        Ok(verdict)
    } else {
        Err(Unscored::WrongKind)
    }
}

/// Whether a verdict may have been lost with the end of a reply. Vicuna's stands in the first line;
/// other systems' parsers do not ask.
fn misses_end(grammar: &Grammar, text: &str) -> bool {
    match grammar {
        Grammar::Vicuna(_) | Grammar::Compat(Compat::VicunaReview) => {
            !text.trim_start().contains('\n')
        }
        Grammar::Compat(_) => false,
        _ => true,
    }
}
