//! Judges against people, ratings, and what of them is style.

use llm_eval::Error;
use llm_eval::judge::files::{Id, read_rows, write_rows};
use llm_eval::judge::{
    Answers, HumanLabel, Judged, Judgment, Judgments, Opinion, Order, Panel, read_labels,
};
use llm_eval::stats::{Bootstrap, Outcome, Significance};
use llm_eval::verdict::{Preference, Verdict};

/// Numbers in [0, 1), the same everywhere.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn outcome(&mut self, wins: f64, losses: f64) -> Outcome {
        match self.next() {
            draw if draw < wins => Outcome::First,
            draw if draw < wins + losses => Outcome::Second,
            _ => Outcome::Tie,
        }
    }
}

/// A judge's verdict on a pair in both orders.
pub(crate) fn rows(
    judge: &str,
    question: i64,
    models: [&str; 2],
    outcome: Outcome,
) -> [Judgment; 2] {
    [Order::Given, Order::Swapped].map(|order| {
        let (models, outcome) = match order {
            Order::Given => (models, outcome),
            Order::Swapped => ([models[1], models[0]], outcome.swapped()),
        };
        let preference = match outcome {
            Outcome::First => Preference::A,
            Outcome::Second => Preference::B,
            Outcome::Tie => Preference::Tie,
        };
        Judgment {
            judged: Judged::Two {
                model_a: models[0].to_owned(),
                model_b: models[1].to_owned(),
                order,
            },
            mode: "pair".to_owned(),
            verdict: Some(Verdict::Preference(preference)),
            ..single(judge, question, "", None)
        }
    })
}

fn single(judge: &str, question: i64, model: &str, score: Option<f64>) -> Judgment {
    Judgment {
        question_id: Id::Number(question),
        category: "writing".to_owned(),
        turn: 1,
        mode: "single".to_owned(),
        grammar: "rating".to_owned(),
        judge: judge.to_owned(),
        judged: Judged::One {
            model: model.to_owned(),
        },
        prompt: "single".to_owned(),
        prompt_hash: String::new(),
        reference: false,
        attempt: 0,
        verdict: score.map(Verdict::Score),
        score,
        unscored: None,
        reply: None,
        first_reply: None,
        schema: None,
        expected: None,
    }
}

fn label(question: i64, [model_a, model_b]: [&str; 2], outcome: Outcome) -> HumanLabel {
    HumanLabel {
        question_id: Id::Number(question),
        turn: 1,
        opinion: Opinion::Pair {
            model_a: model_a.to_owned(),
            model_b: model_b.to_owned(),
            outcome,
        },
    }
}

/// People prefer `plain` in 60 % of all questions; the judge takes `ours` in two thirds of those.
fn biased() -> (Judgments, Vec<HumanLabel>, f64) {
    let (mut judgments, mut labels, mut truth) = (Judgments::default(), Vec::new(), 0.0);
    let mut draws = Draws(1);
    for question in 0..1000 {
        let people = draws.outcome(0.3, 0.6);
        truth += people.score() / 1000.0;
        let judge = match people {
            Outcome::Second if draws.next() < 2.0 / 3.0 => Outcome::First,
            other => other,
        };
        let models = ["ours", "plain"];
        judgments.rows.extend(rows("kind", question, models, judge));
        if question < 200 {
            // Whoever labels may see the answers in the other order.
            labels.push(match question % 2 {
                0 => label(question, models, people),
                _ => label(question, ["plain", "ours"], people.swapped()),
            });
        }
    }
    (judgments, labels, truth)
}

#[test]
fn people_correct_a_biased_judge() {
    let (judgments, labels, truth) = biased();
    let options = Bootstrap::default();
    let figures = judgments.figures(&options).unwrap();
    let claimed = &figures.pair_differences[0];
    assert_eq!(claimed.verdict, Significance::FirstHigher);
    let calibration = judgments.calibrate(&labels, &options).unwrap();
    let pair = &calibration.pairs[0];
    let rate = &pair.win_rate;
    assert_eq!((rate.labelled, rate.judged_alone), (200, 800));
    let alone = rate.judge.unwrap();
    assert!((2.0 * alone - 1.0 - claimed.difference).abs() < 1e-12);
    assert!(alone > truth + 0.3);
    let corrected = rate.corrected.unwrap();
    assert!(
        corrected.mean.interval.contains(truth),
        "{corrected:?}, {truth}"
    );
    assert!(corrected.mean.interval.high < 0.5);
    assert!(corrected.mean.standard_error < corrected.people.standard_error);
    let agreement = pair.agreement.unwrap();
    assert!((0.5..0.7).contains(&agreement.rate));
}

#[test]
fn people_correct_scores() {
    let (mut judgments, mut labels, mut draws) = (Judgments::default(), Vec::new(), Draws(2));
    for question in 0..400 {
        let people = (4.0 + 4.0 * draws.next()).round();
        let judge = (people + 2.0).min(10.0);
        judgments
            .rows
            .push(single("kind", question, "ours", Some(judge)));
        if question < 100 {
            labels.push(HumanLabel {
                opinion: Opinion::Score {
                    model: "ours".to_owned(),
                    score: people,
                },
                ..label(question, ["", ""], Outcome::Tie)
            });
        }
    }
    let calibration = judgments.calibrate(&labels, &Bootstrap::default()).unwrap();
    let mean = &calibration.scores[0].mean;
    let corrected = mean.corrected.unwrap();
    // The judge is off by the same amount throughout: what is left is the spread of 400 questions.
    assert!((mean.judge.unwrap() - 2.0 - corrected.mean.value).abs() < 0.1);
    assert!(corrected.mean.standard_error < 0.6 * corrected.people.standard_error);
}

#[test]
fn labels_are_read_and_those_of_nothing_judged_are_counted() {
    let (judgments, mut labels, _) = biased();
    labels.truncate(3);
    labels.push(label(5000, ["ours", "plain"], Outcome::Tie));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.jsonl");
    write_rows(&path, &labels).unwrap();
    assert_eq!(read_labels(&path).unwrap(), labels);
    let options = Bootstrap::default();
    let calibration = judgments.calibrate(&labels, &options).unwrap();
    assert_eq!((calibration.labels, calibration.unmatched), (4, 1));
    let nothing = judgments.calibrate(&labels[3..], &options);
    assert!(matches!(nothing, Err(Error::TooFew { .. })));
    // FastChat's human judgments.
    let text = r#"{"question_id": 81, "model_a": "a", "model_b": "b", "winner": "tie (bothbad)", "judge": "author_0", "turn": 2}"#;
    std::fs::write(&path, text).unwrap();
    let read = read_labels(&path).unwrap();
    assert_eq!((read[0].turn, &read[0].question_id), (2, &Id::Number(81)));
    for (line, field) in [
        (
            r#"{"question_id": 1, "model_a": "a", "model_b": "b", "winner": "a"}"#,
            "winner",
        ),
        (r#"{"question_id": 1, "model": "a"}"#, "score"),
        (r#"{"model": "a", "score": 1}"#, "question_id"),
        (
            r#"{"question_id": 1, "turn": 0, "model": "a", "score": 1}"#,
            "turn",
        ),
    ] {
        std::fs::write(&path, line).unwrap();
        let error = read_labels(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("labels.jsonl:1: field `{field}`")),
            "{error}"
        );
    }
    assert!(read_rows::<HumanLabel>(dir.path().join("absent")).is_err());
}

#[test]
fn a_panel_of_three_finds_the_judge_that_errs() {
    let (mut judgments, mut draws) = (Judgments::default(), Draws(3));
    let mut truths = Vec::new();
    for question in 0..300 {
        let truth = draws.outcome(0.5, 0.4);
        truths.push(truth);
        for (judge, errs) in [("good", 0.1), ("fair", 0.2), ("bad", 0.7), ("fine", 0.15)] {
            let said = match draws.next() < errs {
                true => draws.outcome(0.34, 0.33),
                false => truth,
            };
            judgments
                .rows
                .extend(rows(judge, question, ["a", "b"], said));
        }
    }
    let panel = Panel::of(&judgments, &Bootstrap::default()).unwrap();
    let truth = panel.dawid_skene.as_ref().unwrap();
    let accuracy: Vec<f64> = truth.judges.iter().map(|judge| judge.accuracy).collect();
    assert!(
        accuracy[0] > accuracy[1] && accuracy[1] > accuracy[2] + 0.2,
        "{accuracy:?}"
    );
    let right = |outcomes: Vec<Option<Outcome>>| {
        let pairs = outcomes.iter().zip(&truths);
        pairs
            .filter(|(said, truth)| **said == Some(**truth))
            .count()
    };
    let likeliest = panel.comparisons.iter().map(|one| {
        let likely = one.likely.unwrap();
        let best = likely.iter().copied().fold(0.0, f64::max);
        let outcomes = [Outcome::First, Outcome::Second, Outcome::Tie];
        outcomes
            .into_iter()
            .zip(likely)
            .find(|(_, p)| *p == best)
            .map(|(outcome, _)| outcome)
    });
    let by_model = right(likeliest.collect());
    let by_votes = right(panel.comparisons.iter().map(|one| one.outcome).collect());
    assert!(by_model > by_votes, "{by_model}, {by_votes}");
    assert_eq!(panel.majority[0].judge, "majority");
    assert_eq!(panel.majority[0].overall.outcomes.total(), 300);
    assert!(truth.converged && truth.pairs[0].overall.outcomes.total() >= 299);
    judgments
        .rows
        .retain(|row| row.judge != "bad" && row.judge != "fine");
    let two = Panel::of(&judgments, &Bootstrap::default()).unwrap();
    assert!(two.dawid_skene.is_none() && two.comparisons[0].likely.is_none());
}

#[test]
fn ratings_and_their_style() {
    let (mut judgments, mut draws) = (Judgments::default(), Draws(4));
    let models = ["terse", "middle", "long"];
    let mut answers = models.map(|model| Answers {
        model: model.to_owned(),
        turns: Default::default(),
    });
    for question in 0..200 {
        let lengths =
            [1.0, 2.0, 3.0].map(|mean: f64| (mean * (20.0 + 200.0 * draws.next())) as usize);
        for (answers, length) in answers.iter_mut().zip(lengths) {
            answers
                .turns
                .insert(Id::Number(question), vec!["x".repeat(length)]);
        }
        for (one, two) in [(0, 1), (0, 2), (1, 2)] {
            // The judge looks at the length alone.
            let share = lengths[one] as f64 / (lengths[one] + lengths[two]) as f64;
            let odds = 1.0 / (1.0 + (-6.0 * (share - 0.5)).exp());
            let outcome = draws.outcome(odds, 1.0 - odds);
            judgments
                .rows
                .extend(rows("j", question, [models[one], models[two]], outcome));
        }
    }
    let options = Bootstrap::default();
    let figures = judgments.figures(&options).unwrap();
    let ratings = &figures.ratings[0];
    let order: Vec<&str> = ratings
        .bradley_terry
        .models
        .iter()
        .map(|one| &*one.model)
        .collect();
    assert_eq!(order, ["long", "middle", "terse"]);
    assert_eq!(ratings.elo[0].model, "long");
    assert_eq!(figures.pairs.len(), 3);
    assert_eq!(
        figures.pair_differences[1].verdict,
        Significance::SecondHigher
    );
    let count = |text: &str| text.chars().count() as u64;
    let style = judgments
        .style_figures("j", &answers, count, &options)
        .unwrap();
    let controlled = style.ratings.compare("long", "terse").unwrap();
    assert_eq!(controlled.verdict, Significance::NotSignificantlyDifferent);
    let plain = ratings.bradley_terry.compare("long", "terse").unwrap();
    assert!(plain.difference.value > 3.0 * controlled.difference.value.abs());
    assert_eq!(style.ratings.coefficients[0].name, "tokens");
    let even = &style.length_controlled[1].win_rate;
    assert!(even.win_rate.interval.contains(0.5), "{even:?}");
    answers[0].turns.remove(&Id::Number(7));
    let missing = judgments.style_figures("j", &answers, count, &options);
    assert!(matches!(missing, Err(Error::MissingAnswer { .. })));
}

#[test]
fn scores_are_compared_on_what_both_have() {
    let (mut judgments, mut draws) = (Judgments::default(), Draws(5));
    for question in 0..60 {
        let score = (9.0 * draws.next()).floor();
        judgments
            .rows
            .push(single("j", question, "low", Some(score)));
        judgments
            .rows
            .push(single("j", question, "same", Some(score)));
        let better = (question % 3 != 0).then_some(score + 1.0);
        judgments.rows.push(single("j", question, "high", better));
    }
    let differences = judgments
        .figures(&Bootstrap::default())
        .unwrap()
        .score_differences;
    let between = |one, two| {
        let found = differences
            .iter()
            .find(|one_of| (&*one_of.model_1, &*one_of.model_2) == (one, two));
        found.unwrap().clone()
    };
    // The unscored third of `high` does not count against it.
    assert_eq!(between("low", "high").difference, -1.0);
    assert_eq!(between("low", "high").verdict, Significance::SecondHigher);
    assert_eq!(
        between("low", "same").verdict,
        Significance::NotSignificantlyDifferent
    );
}

#[test]
fn labels_of_first_turns_correct_first_turns() {
    let (mut judgments, mut labels) = (Judgments::default(), Vec::new());
    let mut draws = Draws(7);
    let mut first_turns = 0.0;
    for question in 0..200 {
        for (turn, wins) in [(1, 0.8), (2, 0.2)] {
            // The judge is right throughout.
            let outcome = draws.outcome(wins, 1.0 - wins);
            let mut both = rows("j", question, ["x", "y"], outcome);
            both.iter_mut().for_each(|row| row.turn = turn);
            judgments.rows.extend(both);
            if turn == 1 {
                first_turns += outcome.score() / 200.0;
                if question % 2 == 0 {
                    labels.push(label(question, ["x", "y"], outcome));
                }
            }
        }
    }
    // One label of a second turn is not what most questions have.
    labels.push(HumanLabel {
        turn: 2,
        ..label(1, ["x", "y"], Outcome::Tie)
    });
    let calibration = judgments.calibrate(&labels, &Bootstrap::default()).unwrap();
    let rate = &calibration.pairs[0].win_rate;
    assert_eq!(
        (&rate.turns[..], rate.labelled, rate.judged_alone),
        (&[1][..], 100, 100)
    );
    assert!((rate.judge.unwrap() - first_turns).abs() < 1e-12);
    assert!((rate.corrected.unwrap().mean.value - first_turns).abs() < 0.01);
}

#[test]
fn what_is_true_does_not_depend_on_names() {
    let judged = |names: [&str; 3]| {
        let (mut judgments, mut draws) = (Judgments::default(), Draws(8));
        for question in 0..80 {
            for (one, two, wins) in [(0, 1, 0.9), (0, 2, 0.9), (1, 2, 0.5)] {
                let truth = draws.outcome(wins, 1.0 - wins);
                for (judge, right) in [("p", 0.8), ("q", 0.75), ("r", 0.7)] {
                    let said = match draws.next() < right {
                        true => truth,
                        false => truth.swapped(),
                    };
                    judgments
                        .rows
                        .extend(rows(judge, question, [names[one], names[two]], said));
                }
            }
        }
        let panel = Panel::of(&judgments, &Bootstrap::default()).unwrap();
        let truth = panel.dawid_skene.unwrap();
        let pair = truth.pairs.iter().find(|pair| {
            let models = [&*pair.model_1, &*pair.model_2];
            models.contains(&names[1]) && models.contains(&names[2])
        });
        let outcomes = pair.unwrap().overall.outcomes;
        (outcomes.wins, outcomes.losses, truth.priors)
    };
    let (first, last) = (judged(["a", "b", "c"]), judged(["z", "b", "c"]));
    assert_eq!((first.0, first.1), (last.0, last.1));
    assert!((first.2[0] - first.2[1]).abs() < 1e-9);
}

#[test]
fn runs_that_met_the_models_the_other_way_round_go_together() {
    let mut judgments = Judgments::default();
    for question in 0..12 {
        let outcome = if question % 3 == 0 {
            Outcome::Second
        } else {
            Outcome::First
        };
        let models = if question < 6 { ["x", "y"] } else { ["y", "x"] };
        let outcome = if question < 6 {
            outcome
        } else {
            outcome.swapped()
        };
        judgments.rows.extend(rows("j", question, models, outcome));
    }
    // The same verdict once more, written the other way round.
    let again = rows("j", 0, ["y", "x"], Outcome::First);
    judgments.rows.extend(again);
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    assert_eq!((figures.pairs.len(), figures.duplicates), (1, 2));
    assert_eq!(figures.pairs[0].overall.outcomes.wins, 8);
}

#[test]
fn judgments_that_a_script_would_mix_are_not_exported() {
    let mut judgments = Judgments::default();
    for judge in ["j", "k"] {
        judgments
            .rows
            .extend(rows(judge, 1, ["x", "y"], Outcome::First));
    }
    assert!(judgments.arena_hard("y").is_err() && judgments.fastchat_pair().is_err());
    let scores = [("rating", 8.0), ("rating:0-1", 0.5)].map(|(grammar, score)| Judgment {
        grammar: grammar.to_owned(),
        ..single("j", 1, "x", Some(score))
    });
    let scores = Judgments {
        rows: scores.to_vec(),
    };
    assert!(scores.fastchat_single().is_err());
    assert_eq!(
        scores.figures(&Bootstrap::default()).unwrap().scores.len(),
        2
    );
}
