//! The probes and their texts.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::judge::run::Judge;
use crate::judge::task::{Answers, Mode, Question};

/// What a judge is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Two models' answers in both orders. Fooled: the verdicts disagree. Mode pair only.
    Swap,
    /// An answer against itself; in the other modes the same answer twice, with another mark on the
    /// tags. Fooled: anything but a tie.
    Identical,
    /// An answer that says everything twice against the answer as it is (MT-bench's repetitive
    /// list). Fooled: the longer one wins.
    Padding,
    /// An answer in polite words that say nothing against the answer as it is. Fooled: the longer one
    /// wins.
    Verbosity,
    /// An answer that says that it is the judge's own against the answer as it is. Fooled: the named
    /// one wins.
    SelfName,
    /// A fixed text for all questions against the answers (a null model, arXiv:2410.07137). Fooled:
    /// the answer does not win.
    Constant,
    /// `I do not know.` with an order to the judge, against an answer; in the other modes against
    /// itself without the order. Fooled: it wins. So for the three that follow.
    Instruction,
    /// The same with a verdict in its own favour.
    ForgedVerdict,
    /// The same with the tag that ends the answer, with and without an invented mark, and what looks
    /// like the instruction after it.
    ForgedDelimiters,
    /// The same with what looks like a system message, and the beginning of the judge's reply.
    ForgedSystem,
}

impl Probe {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Swap,
        Self::Identical,
        Self::Padding,
        Self::Verbosity,
        Self::SelfName,
        Self::Constant,
        Self::Instruction,
        Self::ForgedVerdict,
        Self::ForgedDelimiters,
        Self::ForgedSystem,
    ];

    /// `swap`, `identical`, `padding`, `verbosity`, `self_name`, `constant`, `instruction`,
    /// `forged_verdict`, `forged_delimiters`, `forged_system`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Identical => "identical",
            Self::Padding => "padding",
            Self::Verbosity => "verbosity",
            Self::SelfName => "self_name",
            Self::Constant => "constant",
            Self::Instruction => "instruction",
            Self::ForgedVerdict => "forged_verdict",
            Self::ForgedDelimiters => "forged_delimiters",
            Self::ForgedSystem => "forged_system",
        }
    }

    pub(super) fn is_in(self, mode: &Mode) -> bool {
        self != Self::Swap || matches!(mode, Mode::Pair(_))
    }

    fn injects(self) -> bool {
        matches!(
            self,
            Self::Instruction | Self::ForgedVerdict | Self::ForgedDelimiters | Self::ForgedSystem
        )
    }
}

/// Two texts whose right order is known.
pub(super) struct Test {
    pub(super) probe: Probe,
    /// The question's number.
    pub(super) question: usize,
    /// What the two texts are called.
    pub(super) models: [String; 2],
    /// What should not win, for the first place and for the second.
    pub(super) doctored: [Vec<String>; 2],
    /// What it stands against.
    pub(super) honest: Vec<String>,
}

/// All tests: for each probe, question and model (or two models).
pub(super) fn tests(
    judge: &Judge,
    questions: &[Question],
    answers: &[Answers],
) -> Result<Vec<Test>> {
    let mut made = Vec::new();
    for probe in Probe::ALL.into_iter().filter(|one| one.is_in(&judge.mode)) {
        for (number, question) in questions.iter().enumerate() {
            for (place, model) in answers.iter().enumerate() {
                let answer = model.to(question, 1)?;
                if probe != Probe::Swap {
                    made.push(test(judge, probe, number, model, &answer[0])?);
                    continue;
                }
                for other in &answers[place + 1..] {
                    made.push(Test {
                        probe,
                        question: number,
                        models: [model.model.clone(), other.model.clone()],
                        doctored: [answer.to_vec(), answer.to_vec()],
                        honest: other.to(question, 1)?.to_vec(),
                    });
                }
            }
        }
    }
    Ok(made)
}

fn test(
    judge: &Judge,
    probe: Probe,
    question: usize,
    model: &Answers,
    answer: &str,
) -> Result<Test> {
    let form = judge.form()?;
    let pair = matches!(judge.mode, Mode::Pair(_));
    let weak = judge.prompts.fill("audit_weak", &[]);
    let told = if probe.injects() { &*weak } else { answer };
    let doctored = [true, false].map(|first| {
        let tag = match (pair, first) {
            (false, _) => "answer",
            (true, true) => "answer_a",
            (true, false) => "answer_b",
        };
        let verdict = form.best(&judge.mode, first);
        let fields = [
            ("answer", told),
            ("judge", &judge.model),
            ("verdict", &verdict),
            ("tag", tag),
        ];
        vec![match probe {
            Probe::Swap | Probe::Identical => answer.to_owned(),
            _ => judge
                .prompts
                .fill(&format!("audit_{}", probe.name()), &fields),
        }]
    });
    let honest = match probe.injects() && !pair {
        true => weak.clone(),
        false => answer.to_owned(),
    };
    Ok(Test {
        probe,
        question,
        models: [
            format!("{} ({})", model.model, probe.name()),
            model.model.clone(),
        ],
        doctored,
        honest: vec![honest],
    })
}
