//! Runs, their rows, figures and replay.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use llm_data::generate::{ChatReply, ChatRequest, Price, ReplyCache, RunOptions, Runner};
use llm_eval::Error;
use llm_eval::judge::files::{Id, read_rows, write_rows};
use llm_eval::judge::{Criterion, Judge, Judgment, Judgments, Mode, Pairing, Unscored};
use llm_eval::stats::{Bootstrap, Outcome};
use llm_eval::verdict::{Grammar, Reason, Verdict};

use crate::judge_stubs::{
    JUDGE, Seen, answers, facts, hash, model, perfect, questions, with_runner,
};

const FACTS: [(&str, usize); 3] = [("good", 3), ("fair", 2), ("poor", 1)];

pub(crate) fn run(
    judge: &Judge,
    replies: impl Fn(&Seen) -> String + Sync,
    workers: usize,
) -> Judgments {
    let questions = questions(10);
    let answers = answers(&questions, &FACTS);
    let model = model(replies);
    with_runner(&model, workers, |runner| {
        judge.run(runner, &questions, &answers).unwrap()
    })
}

pub(crate) fn pair() -> Judge {
    Judge::new(JUDGE, Mode::Pair(Pairing::default()))
}

/// A judge of moods: its verdict depends on the text alone, and some replies have none.
fn moody(seen: &Seen) -> String {
    match hash(&seen.user) % 5 {
        0 => "Hard to say.".to_owned(),
        1 => "[[A]]".to_owned(),
        _ => perfect(seen),
    }
}

#[test]
fn scores_become_means_by_category_and_turn() {
    let judgments = run(&Judge::new(JUDGE, Mode::Single), perfect, 4);
    assert_eq!(judgments.rows.len(), 10 * 3 * 2);
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    let means: Vec<_> = figures
        .scores
        .iter()
        .map(|one| (&*one.model, one.overall.mean.unwrap()))
        .collect();
    assert_eq!(means, [("good", 4.0), ("fair", 3.0), ("poor", 2.0)]);
    let good = &figures.scores[0];
    assert_eq!((good.overall.scored, good.overall.sum), (20, 80.0));
    assert_eq!(good.categories["math"].scored, 10);
    assert_eq!(good.turns[&2].mean, Some(4.0));
    assert_eq!(good.overall.estimate.unwrap().standard_error, 0.0);
    assert!(figures.pairs.is_empty() && figures.positions.is_empty());
}

#[test]
fn pairs_are_judged_in_both_orders() {
    let judgments = run(&pair(), perfect, 4);
    assert_eq!(judgments.rows.len(), 10 * 3 * 2 * 2);
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    for pair in &figures.pairs {
        assert_eq!(pair.overall.outcomes.wins, 20, "{pair:?}");
        assert_eq!(pair.overall.adjusted_win_rate, Some(1.0));
        assert_eq!(pair.overall.inconsistent, 0);
    }
    assert_eq!(figures.positions[JUDGE].consistency, 1.0);
    // A judge of the first place: all ties, none of them consistent.
    let figures = run(&pair(), |_| "[[A]]".to_owned(), 4)
        .figures(&Bootstrap::default())
        .unwrap();
    let overall = &figures.pairs[0].overall;
    assert_eq!((overall.outcomes.ties, overall.inconsistent), (20, 20));
    let bias = &figures.positions[JUDGE];
    assert_eq!((bias.consistent, bias.first_slot, bias.items), (0, 60, 60));
    assert_eq!(bias.first_slot_preference.value, 1.0);
}

#[test]
fn a_baseline_meets_all_others_and_one_order_may_do() {
    let pairing = Pairing {
        both_orders: false,
        baseline: Some("fair".to_owned()),
    };
    let judgments = run(&Judge::new(JUDGE, Mode::Pair(pairing)), perfect, 2);
    let games = judgments.games();
    assert_eq!(games.len(), 40);
    assert!(
        games
            .iter()
            .all(|game| game.model_2 == "fair" && !game.both_orders)
    );
    let of = |model: &str| {
        games
            .iter()
            .find(|game| game.model_1 == model)
            .unwrap()
            .outcome
    };
    assert_eq!(of("good"), Some(Outcome::First));
    assert_eq!(of("poor"), Some(Outcome::Second));
    assert!(matches!(
        judgments.fastchat_pair(),
        Err(Error::JudgeOption { .. })
    ));
}

#[test]
fn a_rubric_gives_the_weighted_mean() {
    let criterion = |name: &str, weight| Criterion {
        name: name.to_owned(),
        description: format!("what {name} means"),
        weight,
    };
    let rubric = vec![criterion("truth", 3.0), criterion("clarity", 1.0)];
    let judge = Judge::new(JUDGE, Mode::Rubric(rubric));
    let judgments = run(
        &judge,
        |seen| {
            assert!(seen.instruction().contains("- truth: what truth means"));
            format!("truth: [[{}]]\nclarity: [[9]]", facts(seen.answers()[0]))
        },
        2,
    );
    assert_eq!(judgments.rows[0].score, Some((3.0 * 3.0 + 9.0) / 4.0));
    let scores = [("truth".to_owned(), 3.0), ("clarity".to_owned(), 9.0)];
    assert_eq!(
        judgments.rows[0].verdict,
        Some(Verdict::Scores(scores.into()))
    );
}

#[test]
fn every_grammar_can_be_asked_for() {
    let single: [(&str, &str); 3] = [
        ("rating:0-5", "[[4]]"),
        ("belle", "得分: 0.5"),
        ("json", "{\"score\": 4}"),
    ];
    let pairs = [
        ("arena-hard", "[[A>>B]]"),
        ("vicuna", "8 7\nbecause"),
        ("alpaca-eval", "Output (a)"),
        ("json", "{\"winner\": \"A\"}"),
        ("fastchat-pair", "[[A]]"),
    ];
    for (mode, cases) in [
        (Mode::Single, &single[..]),
        (Mode::Pair(Pairing::default()), &pairs[..]),
    ] {
        for (grammar, reply) in cases {
            let mut judge = Judge::new(JUDGE, mode.clone());
            judge.grammar = grammar.parse().unwrap();
            let judgments = run(&judge, |_| (*reply).to_owned(), 2);
            assert_eq!(
                judgments.figures(&Bootstrap::default()).unwrap().unscored,
                0,
                "{grammar}"
            );
            assert!(judgments.rows.iter().all(|row| row.attempt == 0));
            // The kind of the other mode is none of this one's.
            let other = if mode == Mode::Single {
                "{\"winner\": \"A\"}"
            } else {
                "{\"score\": 4}"
            };
            if *grammar == "json" {
                let rows = run(&judge, |_| other.to_owned(), 2).rows;
                assert_eq!(rows[0].unscored, Some(Unscored::WrongKind));
            }
        }
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let questions = questions(1);
    let two = answers(&questions, &FACTS[..2]);
    let refused = |judge: &Judge, answers: &[_]| {
        let model = model(perfect);
        let error = with_runner(&model, 1, |runner| judge.run(runner, &questions, answers));
        error.unwrap_err()
    };
    let mut judge = pair();
    assert!(matches!(
        refused(&judge, &two[..1]),
        Error::JudgeOption { .. }
    ));
    judge.grammar = "rating".parse().unwrap();
    assert!(
        refused(&judge, &two)
            .to_string()
            .contains("no verdict for the mode pair")
    );
    let baseline = Pairing {
        baseline: Some("none".to_owned()),
        ..Pairing::default()
    };
    assert!(
        refused(&Judge::new(JUDGE, Mode::Pair(baseline)), &two)
            .to_string()
            .contains("none")
    );
    let twice = [two[0].clone(), two[0].clone()];
    assert!(matches!(refused(&pair(), &twice), Error::Twice { .. }));
    let mut short = two.clone();
    short[1].turns.get_mut(&Id::Number(0)).unwrap().pop();
    let error = refused(&pair(), &short).to_string();
    assert_eq!(error, "fair has no answer to question 0, turn 2");
    let rubric = |weight| Criterion {
        name: "x".to_owned(),
        description: String::new(),
        weight,
    };
    for weight in [0.0, f64::NAN] {
        let judge = Judge::new(JUDGE, Mode::Rubric(vec![rubric(weight)]));
        assert!(matches!(refused(&judge, &two), Error::JudgeOption { .. }));
    }
    // No reply could have a score for these.
    for names in [
        &["style (tone)"][..],
        &["use of *"],
        &[" style"],
        &["a, b"],
        &["a:b"],
        &[""],
        &["style", "Style"],
    ] {
        let criteria = names.iter().map(|name| Criterion {
            name: (*name).to_owned(),
            ..rubric(1.0)
        });
        let judge = Judge::new(JUDGE, Mode::Rubric(criteria.collect()));
        assert!(matches!(refused(&judge, &two), Error::JudgeOption { .. }));
    }
    let mut judge = Judge::new(JUDGE, Mode::Rubric(vec![rubric(1.0)]));
    judge.grammar = Grammar::Rubric {
        criteria: vec!["y".to_owned()],
        range: Default::default(),
    };
    assert!(matches!(refused(&judge, &two), Error::JudgeOption { .. }));
}

#[test]
fn a_reply_without_a_verdict_is_asked_for_once_more() {
    let asked = AtomicUsize::new(0);
    let judge = Judge::new(JUDGE, Mode::Single);
    let judgments = run(
        &judge,
        |seen| {
            asked.fetch_add(1, Ordering::Relaxed);
            let again = seen.user.contains("a reply without it cannot be counted");
            let question = seen.text("question").or_else(|| seen.text("question_2"));
            match question.unwrap() {
                "Question 0?" => "never a verdict".to_owned(),
                "Question 1?" if !again => "first none".to_owned(),
                "Question 2?" => "[[11]]".to_owned(),
                _ => "[[6]]".to_owned(),
            }
        },
        4,
    );
    assert_eq!(asked.load(Ordering::Relaxed), 60 + 9);
    let row = |question: i64| {
        let mut rows = judgments.rows.iter();
        rows.find(|row| row.question_id == Id::Number(question))
            .unwrap()
    };
    let never = row(0);
    assert_eq!(never.unscored, Some(Unscored::Unparsed(Reason::NoVerdict)));
    assert_eq!((never.score, never.attempt), (None, 1));
    assert_eq!(never.reply.as_deref(), Some("never a verdict"));
    let second = row(1);
    assert_eq!((second.score, second.attempt), (Some(6.0), 1));
    assert_eq!(second.first_reply.as_deref(), Some("first none"));
    assert_eq!(
        row(2).unscored,
        Some(Unscored::Unparsed(Reason::OutOfRange))
    );
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    assert_eq!((figures.unscored, figures.asked_again), (6, 9));
    assert_eq!(figures.unscored_by_reason["the score is out of range"], 3);
    // They are in no mean.
    assert_eq!(figures.scores[0].overall.mean, Some(6.0));
    assert_eq!(figures.scores[0].overall.unscored, 2);
}

#[test]
fn results_do_not_depend_on_the_workers() {
    for judge in [pair(), Judge::new(JUDGE, Mode::Single)] {
        let one = run(&judge, moody, 1);
        assert_eq!(one, run(&judge, moody, 7));
        assert!(one.figures(&Bootstrap::default()).unwrap().asked_again > 0);
    }
}

#[test]
fn saved_judgments_give_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judgments.jsonl");
    for judge in [pair(), Judge::new(JUDGE, Mode::Single)] {
        let judgments = run(&judge, moody, 3);
        judgments.write(&path).unwrap();
        let read = Judgments::read(&path).unwrap();
        assert_eq!(read, judgments);
        assert_eq!(
            read.figures(&Bootstrap::default()).unwrap(),
            judgments.figures(&Bootstrap::default()).unwrap()
        );
    }
}

#[test]
fn the_keys_of_a_row_are_stable() {
    let judgments = run(&pair(), perfect, 1);
    let row = serde_json::to_value(&judgments.rows[1]).unwrap();
    let keys: Vec<_> = row
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "question_id",
            "category",
            "turn",
            "mode",
            "grammar",
            "judge",
            "model_a",
            "model_b",
            "order",
            "prompt",
            "prompt_hash",
            "reference",
            "attempt",
            "verdict",
            "reply"
        ]
    );
    assert_eq!(row["order"], "swapped");
    assert_eq!(row["verdict"], serde_json::json!({"preference": "B>A"}));
    let single = run(&Judge::new(JUDGE, Mode::Single), |_| "?".to_owned(), 1);
    let row = serde_json::to_value(&single.rows[0]).unwrap();
    assert_eq!(
        row["unscored"],
        serde_json::json!({"unparsed": "no_verdict"})
    );
    assert_eq!(
        (&row["model"], &row["verdict"]),
        (&"good".into(), &().into())
    );
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judgments.jsonl");
    let good = serde_json::to_value(&run(&pair(), perfect, 1).rows[0]).unwrap();
    let cases = [
        ("mode", "single".into(), "mode"),
        ("mode", "other".into(), "mode"),
        ("verdict", ().into(), "unscored"),
        ("verdict", serde_json::json!({"score": 7}), "verdict"),
        ("unscored", "no_reply".into(), "unscored"),
        ("score", 7.into(), "score"),
        ("turn", "x".into(), "turn"),
    ];
    for (key, value, field) in cases {
        let mut row = good.clone();
        row[key] = value;
        std::fs::write(&path, format!("{good}\n{row}\n")).unwrap();
        match Judgments::read(&path).unwrap_err() {
            Error::Field {
                line: 2,
                field: found,
                ..
            } => assert_eq!(found, field),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn rows_that_occur_twice_count_once() {
    let mut judgments = run(&pair(), moody, 2);
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    judgments.rows.extend(judgments.rows.clone());
    let twice = judgments.figures(&Bootstrap::default()).unwrap();
    assert_eq!(twice.duplicates, judgments.rows.len() / 2);
    assert_eq!(twice.pairs, figures.pairs);
    let mut judgments = run(&Judge::new(JUDGE, Mode::Single), moody, 2);
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    judgments.rows.extend(judgments.rows.clone());
    assert_eq!(
        judgments.figures(&Bootstrap::default()).unwrap().scores,
        figures.scores
    );
}

#[test]
fn fastchats_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.jsonl");
    let judgments = run(&pair(), moody, 2);
    let rows = judgments.fastchat_pair().unwrap();
    write_rows(&path, &rows).unwrap();
    let read = read_rows::<llm_eval::judge::files::PairJudgment>(&path)
        .unwrap()
        .map(|row| row.unwrap().1);
    assert_eq!(read.collect::<Vec<_>>(), rows);
    for (row, game) in rows.iter().zip(judgments.games()) {
        // FastChat's rule (show_result.py): a tie unless both games have the same winner.
        let winner = match (&*row.g1_winner, &*row.g2_winner) {
            (one, two) if one == "error" || two == "error" => None,
            ("model_1", "model_1") => Some(Outcome::First),
            ("model_2", "model_2") => Some(Outcome::Second),
            _ => Some(Outcome::Tie),
        };
        assert_eq!(winner, game.outcome);
    }
    let judgments = run(&Judge::new(JUDGE, Mode::Single), moody, 2);
    let rows = judgments.fastchat_single().unwrap();
    let missing = rows
        .iter()
        .filter(|row| row.score.as_ref().unwrap().as_f64() == Some(-1.0));
    assert_eq!(
        missing.count(),
        judgments.figures(&Bootstrap::default()).unwrap().unscored
    );
}

#[test]
fn a_dry_run_asks_nothing_and_knows_the_cache() {
    let questions = questions(4);
    let answers = answers(&questions, &FACTS[..2]);
    let asked = AtomicUsize::new(0);
    let model = |request: &ChatRequest| {
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(ChatReply::new(perfect(&Seen::of(request))))
    };
    let cache = ReplyCache::in_memory().unwrap();
    let price = Price {
        prompt: 30.0,
        completion: 60.0,
    };
    let options = RunOptions {
        prices: BTreeMap::from([(JUDGE.to_owned(), price)]),
        ..RunOptions::default()
    };
    let runner = Runner::new(&model, &cache, options).unwrap();
    let judge = pair();
    let estimate = judge.estimate(&runner, &questions, &answers, 100).unwrap();
    assert_eq!((estimate.requests, asked.load(Ordering::Relaxed)), (16, 0));
    assert_eq!(estimate.max_completion_tokens, 16 * 2048);
    assert!(estimate.cost.unwrap() > 16.0 * 100.0 * 60.0 / 1e6);
    let first = judge.run(&runner, &questions[..1], &answers).unwrap();
    let estimate = judge.estimate(&runner, &questions, &answers, 100).unwrap();
    assert_eq!((estimate.requests, estimate.cached), (12, 4));
    let all = judge.run(&runner, &questions, &answers).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 16);
    assert_eq!(all.rows[..4], first.rows[..]);
    let hashes = |rows: &[Judgment]| -> std::collections::BTreeSet<String> {
        rows.iter().map(|row| row.prompt_hash.clone()).collect()
    };
    assert_eq!(hashes(&all.rows).len(), 16);
}
