//! The audit of a judge: probes whose right verdict is known, and how often it is fooled.

mod probes;

use std::collections::BTreeMap;

use llm_data::generate::{Estimate, Runner};
use serde::Serialize;

use super::case::{Case, Shown, Side};
use super::games::combined;
use super::judgment::{Judgment, Judgments, Order};
use super::run::Judge;
use super::task::{Answers, Mode, Question, check_models, check_questions};
use crate::error::Result;
use crate::stats::{self, Interval, Outcome};

pub use probes::Probe;
use probes::{Test, tests};

/// Probes of a judge on answers that are known to be sound: they should answer their questions, so
/// that a fixed text (`I do not know.`) is worse than any of them. First turns only.
///
/// In the mode pair both orders are asked, and where they disagree the result is a tie; the probe of
/// the swap counts just that. In the other modes the scores of both texts are compared, and the swap
/// is left out.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a> {
    /// The judge.
    pub judge: &'a Judge,
    /// The questions.
    pub questions: &'a [Question],
    /// Sound answers to them; of two models or more for the swap.
    pub answers: &'a [Answers],
    /// The intervals' level: 0.95.
    pub level: f64,
}

/// How a judge fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditReport {
    /// The judge.
    pub judge: String,
    /// `single`, `rubric` or `pair`.
    pub mode: &'static str,
    /// The probes that the mode has, in the order of [`Probe::ALL`].
    pub probes: Vec<ProbeResult>,
    /// Every judgment made, to be read; models are named after what was done to their answers.
    #[serde(skip)]
    pub judgments: Judgments,
}

/// How a judge fares at a probe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProbeResult {
    /// The probe.
    pub probe: Probe,
    /// How often it was tried with a verdict.
    pub trials: u64,
    /// How often the judge was fooled.
    pub fooled: u64,
    /// How often there was no verdict.
    pub unscored: u64,
    /// fooled / trials; `None` without trials.
    pub rate: Option<f64>,
    /// Wilson's interval of the rate, the trials taken as independent.
    pub interval: Option<Interval>,
}

impl AuditReport {
    /// The result of a probe, where the mode has it.
    pub fn probe(&self, probe: Probe) -> Option<&ProbeResult> {
        self.probes.iter().find(|result| result.probe == probe)
    }

    /// The probes that fooled the judge at least once.
    pub fn found(&self) -> Vec<Probe> {
        let fooled = self.probes.iter().filter(|result| result.fooled > 0);
        fooled.map(|result| result.probe).collect()
    }
}

impl Audit<'_> {
    /// What [`run`](Self::run) would ask and cost, with replies of `expected_tokens` on average.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn estimate(&self, runner: &Runner<'_>, expected_tokens: u32) -> Result<Estimate> {
        self.check()?;
        let questions = self.first_turns();
        let tests = tests(self.judge, &questions, self.answers)?;
        let [one, two] = [0, 1].map(|round| {
            let judge = self.judge_of(round);
            let (_, cases) = cases(&judge, &questions, &tests, round);
            judge.estimate_cases(runner, &cases, expected_tokens, round)
        });
        Ok(one?.plus(two?))
    }

    /// Asks all probes.
    ///
    /// # Errors
    /// Those of [`Judge::run`]; [`Error::BadOption`](crate::Error::BadOption) for a level outside
    /// (0, 1).
    pub fn run(&self, runner: &Runner<'_>) -> Result<AuditReport> {
        stats::wilson(0, 1, self.level)?;
        self.check()?;
        let questions = self.first_turns();
        let tests = tests(self.judge, &questions, self.answers)?;
        let mut rows: BTreeMap<usize, Vec<Judgment>> = BTreeMap::new();
        for round in 0..=1 {
            let judge = self.judge_of(round);
            let (of, cases) = cases(&judge, &questions, &tests, round);
            let judged = judge.judge(runner, &cases, round)?;
            for (test, row) in of.into_iter().zip(judged) {
                rows.entry(test).or_default().push(row);
            }
        }
        let mut probes = Vec::new();
        for probe in Probe::ALL
            .into_iter()
            .filter(|probe| probe.is_in(&self.judge.mode))
        {
            let of_probe = rows.iter().filter(|(test, _)| tests[**test].probe == probe);
            let verdicts: Vec<_> = of_probe.map(|(_, rows)| is_fooled(probe, rows)).collect();
            probes.push(self.result(probe, &verdicts)?);
        }
        Ok(AuditReport {
            judge: self.judge.model.clone(),
            mode: self.judge.mode.name(),
            probes,
            judgments: Judgments {
                rows: rows.into_values().flatten().collect(),
            },
        })
    }

    fn result(&self, probe: Probe, verdicts: &[Option<bool>]) -> Result<ProbeResult> {
        let count = |verdict| verdicts.iter().filter(|one| **one == verdict).count() as u64;
        let (fooled, trials) = (count(Some(true)), count(Some(true)) + count(Some(false)));
        let interval = match trials {
            0 => None,
            _ => Some(stats::wilson(fooled, trials, self.level)?),
        };
        Ok(ProbeResult {
            probe,
            trials,
            fooled,
            unscored: count(None),
            rate: (trials > 0).then(|| fooled as f64 / trials as f64),
            interval,
        })
    }

    fn check(&self) -> Result<()> {
        self.judge.check()?;
        check_questions(self.questions)?;
        check_models(self.answers)
    }

    /// The judge of a round: the second one has other marks on its tags.
    fn judge_of(&self, round: u64) -> Judge {
        Judge {
            seed: self.judge.seed.wrapping_add(round),
            ..self.judge.clone()
        }
    }

    fn first_turns(&self) -> Vec<Question> {
        let asked = self.questions.iter().filter(|one| !one.turns.is_empty());
        let first = |question: &Question| Question {
            turns: question.turns[..1].to_vec(),
            ..question.clone()
        };
        asked.map(first).collect()
    }
}

/// The judgments that the tests need in a round, each with its test's number. In the second round
/// only what is asked twice: identical answers that are scored one by one.
fn cases<'a>(
    judge: &Judge,
    questions: &'a [Question],
    tests: &'a [Test],
    round: u64,
) -> (Vec<usize>, Vec<Case<'a>>) {
    let pair = matches!(judge.mode, Mode::Pair(_));
    let mut cases = Vec::new();
    for (number, test) in tests.iter().enumerate() {
        let again = test.probe == Probe::Identical && !pair;
        if round > 0 && !again {
            continue;
        }
        let [first, second] = [0, 1].map(|order| Side {
            model: &test.models[0],
            turns: &test.doctored[order],
        });
        let honest = Side {
            model: &test.models[1],
            turns: &test.honest,
        };
        let shown = match (pair, again) {
            (true, _) => vec![
                Shown::Two([first, honest], Order::Given),
                Shown::Two([honest, second], Order::Swapped),
            ],
            (false, true) => vec![Shown::One(honest)],
            (false, false) => vec![Shown::One(first), Shown::One(honest)],
        };
        for shown in shown {
            let question = &questions[test.question];
            cases.push((
                number,
                Case {
                    question,
                    turn: 1,
                    shown,
                },
            ));
        }
    }
    cases.into_iter().unzip()
}

/// Whether the judge was fooled; `None` without both verdicts.
fn is_fooled(probe: Probe, rows: &[Judgment]) -> Option<bool> {
    let [one, two] = rows else {
        return None;
    };
    if let (Some(given), Some(swapped)) = (one.outcome(), two.outcome()) {
        let outcome = combined(given, swapped);
        return Some(match probe {
            Probe::Swap => given != swapped.swapped(),
            Probe::Identical => [given, swapped] != [Outcome::Tie; 2],
            Probe::Constant => outcome != Outcome::Second,
            _ => outcome == Outcome::First,
        });
    }
    let (doctored, honest) = (one.score?, two.score?);
    Some(match probe {
        Probe::Swap => return None,
        Probe::Identical => doctored != honest,
        Probe::Constant => doctored >= honest,
        _ => doctored > honest,
    })
}
