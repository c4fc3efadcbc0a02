//! Figures from saved judgments, against those of the systems' own scripts
//! (tests/goldens/figures.py).

use std::path::PathBuf;

use llm_eval::judge::files::{Format, detect, read_categories};
use llm_eval::judge::replay::{OnDuplicate, Options, Replay, replay};
use serde_json::Value;

fn goldens(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "goldens", name]
        .iter()
        .collect()
}

fn expected(format: &str) -> Value {
    let figures: Value =
        serde_json::from_str(&std::fs::read_to_string(goldens("figures.json")).unwrap()).unwrap();
    figures[format].clone()
}

fn judgments(names: &[&str], options: &Options) -> Replay {
    let paths: Vec<PathBuf> = names
        .iter()
        .map(|name| goldens("judgments").join(name))
        .collect();
    replay(&paths, detect(&paths[0]).unwrap(), options).unwrap()
}

#[track_caller]
fn assert_close(ours: &Value, theirs: &Value, tolerance: f64) {
    let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
    assert!((ours - theirs).abs() <= tolerance, "{ours} is not {theirs}");
}

fn with_categories() -> Options {
    Options {
        categories: read_categories(goldens("judgments/question.jsonl")).unwrap(),
        ..Options::default()
    }
}

#[test]
fn single_grading_has_fastchats_means() {
    let figures =
        serde_json::to_value(judgments(&["gpt-4_single.jsonl"], &with_categories())).unwrap();
    let theirs = expected("fastchat-single");
    assert_eq!(figures["format"], "fastchat-single");
    assert_eq!(figures["duplicates"]["count"], theirs["duplicates"]);
    assert_eq!(figures["unparsable"], theirs["unparsable"]);
    for model in ["vicuna-13b", "alpaca-13b", "llama-13b"] {
        let (ours, theirs) = (&figures["models"][model], &theirs[model]);
        assert_close(&ours["score"]["mean"], &theirs["mean"], 1e-9);
        assert_close(
            &ours["score"]["standard_error"],
            &theirs["standard_error"],
            1e-9,
        );
        assert_close(&ours["turns"]["1"]["score"]["mean"], &theirs["first"], 1e-9);
        assert_close(
            &ours["turns"]["2"]["score"]["mean"],
            &theirs["second"],
            1e-9,
        );
        for (category, mean) in theirs["categories"].as_object().unwrap() {
            assert_close(&ours["categories"][category]["score"]["mean"], mean, 1e-9);
        }
    }
}

#[test]
fn pairs_have_fastchats_win_rates() {
    let theirs = expected("fastchat-pair");
    for (name, baseline) in [("all", None), ("baseline", Some("alpaca-13b".to_owned()))] {
        let with_baseline = baseline.is_some();
        let options = Options {
            baseline,
            ..with_categories()
        };
        let figures = serde_json::to_value(judgments(&["gpt-4_pair.jsonl"], &options)).unwrap();
        let models = figures["models"].as_object().unwrap();
        assert_eq!(models.len(), theirs[name].as_object().unwrap().len());
        for (model, theirs) in theirs[name].as_object().unwrap() {
            let ours = &models[model]["outcomes"];
            for (our_key, key) in [("wins", "win"), ("losses", "loss"), ("ties", "tie")] {
                assert_close(&ours[our_key], &theirs[key], 0.0);
            }
            for rate in [
                "win_rate",
                "loss_rate",
                "win_rate_adjusted",
                "standard_error",
            ] {
                assert_close(&ours[rate], &theirs[rate], 1e-12);
            }
            let by_turn: u64 = ["1", "2"]
                .map(|turn| {
                    models[model]["turns"][turn]["outcomes"]["n"]
                        .as_u64()
                        .unwrap()
                })
                .iter()
                .sum();
            assert_eq!(ours["n"], by_turn);
        }
        assert_eq!(figures["duplicates"]["count"], theirs["duplicates"]);
        if !with_baseline {
            assert_eq!(figures["unparsable"], theirs["unparsable"]);
        }
    }
}

#[test]
fn annotations_have_alpaca_evals_win_rates() {
    let figures =
        serde_json::to_value(judgments(&["annotations.json"], &Options::default())).unwrap();
    for (model, theirs) in expected("alpaca-eval").as_object().unwrap() {
        let ours = &figures["models"][model]["alpaca_eval"];
        assert_eq!(
            ours.as_object().unwrap().len(),
            theirs.as_object().unwrap().len()
        );
        for (key, value) in theirs.as_object().unwrap() {
            assert_close(&ours[key], value, 1e-9);
        }
    }
}

#[test]
fn judgments_have_arena_hards_scores() {
    for (version, layout) in [("v0.1", "arena-hard-v0.1"), ("v2.0", "arena-hard-v2.0")] {
        let names = ["vicuna-13b", "alpaca-13b", "llama-13b"]
            .map(|model| format!("{layout}/{model}.jsonl"));
        let options = Options {
            resamples: 20_000,
            ..Options::default()
        };
        let figures = judgments(&names.each_ref().map(String::as_str), &options);
        let again = judgments(&names.each_ref().map(String::as_str), &options);
        assert_eq!(figures, again);
        let figures = serde_json::to_value(figures).unwrap();
        for (model, theirs) in expected(layout).as_object().unwrap() {
            let ours = &figures["models"][model];
            if version == "v0.1" {
                // A logistic regression's optimum, found numerically.
                let ours = &ours["arena_hard"];
                assert_close(&ours["score"], &theirs["score"], 1e-5);
                assert_eq!(ours["battles"], theirs["battles"]);
                continue;
            }
            // A board for each category, and none over all.
            assert_eq!(ours["arena_hard"], Value::Null);
            assert_eq!(theirs.as_object().unwrap().len(), 2);
            for (category, theirs) in theirs.as_object().unwrap() {
                let ours = &ours["categories"][category]["arena_hard"];
                assert_close(&ours["score"], &theirs["score"], 1e-9);
                assert_eq!(ours["battles"], theirs["battles"]);
                assert_close(&ours["lower"], &theirs["lower"], 0.5);
                assert_close(&ours["upper"], &theirs["upper"], 0.5);
            }
        }
    }
}

/// A game without a verdict is counted, and the row's other game counts, as in Arena-Hard v0.1's
/// script; a row without games has no verdict either.
#[test]
fn arena_hards_missing_games_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judgments.jsonl");
    let row = |question: &str, games: &str| {
        format!(
            "{{\"question_id\": \"{question}\", \"model\": \"m\", \"judge\": \"j\", \"games\": [{games}]}}\n"
        )
    };
    let rows = row("one", r#"null, {"score": "A>B"}"#)
        + &row("two", r#"{"score": "B>A"}"#)
        + &row("three", "");
    std::fs::write(&path, rows).unwrap();
    let figures = replay(&[&path], Format::ArenaHard, &Options::default()).unwrap();
    assert_eq!((figures.rows, figures.unparsable), (3, 2));
    let all = &figures.models["m"].all;
    assert_eq!(all.outcomes.as_ref().unwrap().wins, 2);
    assert_eq!(all.arena_hard.as_ref().unwrap().battles, 2);
}

/// Twenty questions won are no proof that all are won, and both turns of a question are one piece of
/// evidence.
#[test]
fn a_sample_that_is_all_won_has_an_interval() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judge_pair.jsonl");
    let row = |question: usize, turn: usize| {
        format!(
            "{{\"question_id\": {question}, \"model_1\": \"a\", \"model_2\": \"b\", \"g1_winner\": \"model_1\", \
             \"g2_winner\": \"model_1\", \"turn\": {turn}}}\n"
        )
    };
    let rows: String = (1..=20)
        .flat_map(|question| [row(question, 1), row(question, 2)])
        .collect();
    std::fs::write(&path, rows).unwrap();
    let figures = replay(&[&path], Format::FastchatPair, &Options::default()).unwrap();
    let interval = |model: &str| {
        let outcomes = figures.models[model].all.outcomes.as_ref().unwrap();
        assert_eq!((outcomes.n, outcomes.standard_error), (40, Some(0.0)));
        outcomes.interval.unwrap()
    };
    let wilson = llm_eval::stats::wilson(20, 20, 0.95).unwrap();
    assert_eq!(interval("a"), [wilson.low, 1.0]);
    assert!((interval("b")[1] - (1.0 - wilson.low)).abs() < 1e-12);
    assert!((0.83..0.85).contains(&wilson.low));
}

#[test]
fn reviews_have_vicunas_published_ratio() {
    for (file, theirs) in expected("vicuna").as_object().unwrap() {
        let figures = serde_json::to_value(judgments(&[file], &Options::default())).unwrap();
        for at in [0, 1] {
            let model = &figures["models"][theirs["models"][at].as_str().unwrap()];
            assert_close(&model["score"]["sum"], &theirs["sums"][at], 0.0);
        }
        let vicuna = &figures["models"]["vicuna-13b"];
        assert_close(&vicuna["ratio_of_sums"], &theirs["ratio"], 1e-12);
        for key in ["wins", "losses", "ties"] {
            assert_close(&vicuna["outcomes"][key], &theirs[key], 0.0);
        }
    }
    // "92 %" of ChatGPT's quality.
    let figures = judgments(&["review_gpt35_vicuna-13b.jsonl"], &Options::default());
    assert_eq!(
        (figures.models["vicuna-13b"].ratio_of_sums.unwrap() * 100.0).round(),
        92.0
    );
}

#[test]
fn duplicates_are_named_and_can_be_left_out() {
    let kept = judgments(&["gpt-4_single.jsonl"], &Options::default());
    assert_eq!(kept.duplicates.count, 4);
    assert_eq!(kept.duplicates.first.len(), 4);
    assert!(
        kept.duplicates.first[0]
            .later
            .ends_with("gpt-4_single.jsonl:181"),
        "{:?}",
        kept.duplicates.first[0]
    );
    let rows = |replay: &Replay| -> usize {
        replay.unparsable
            + replay
                .models
                .values()
                .filter_map(|m| m.all.score.as_ref())
                .map(|score| score.n)
                .sum::<usize>()
    };
    assert_eq!((kept.rows, rows(&kept)), (184, 184));
    for duplicates in [OnDuplicate::First, OnDuplicate::Last] {
        let options = Options {
            duplicates,
            ..Options::default()
        };
        let figures = judgments(&["gpt-4_single.jsonl"], &options);
        assert_eq!((figures.rows, rows(&figures)), (184, 180));
        assert_eq!(figures.duplicates, kept.duplicates);
    }
}

/// The first duplicate counts, or the last one, as asked for.
#[test]
fn the_judgment_asked_for_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judge_single.jsonl");
    let row = |score: i64| {
        format!(
            "{{\"question_id\": 1, \"model\": \"m\", \"judge\": [\"j\", \"p\"], \"score\": {score}, \"turn\": 1}}\n"
        )
    };
    std::fs::write(&path, row(4) + &row(-1) + &row(9)).unwrap();
    let mean = |duplicates| {
        let options = Options {
            duplicates,
            ..Options::default()
        };
        let figures = replay(&[&path], Format::FastchatSingle, &options).unwrap();
        figures.models["m"]
            .all
            .score
            .as_ref()
            .and_then(|score| score.mean)
    };
    assert_eq!(mean(OnDuplicate::Keep), Some(6.5));
    assert_eq!(mean(OnDuplicate::First), Some(4.0));
    assert_eq!(mean(OnDuplicate::Last), Some(9.0));
}

/// A judge that always prefers the answer shown first is seen to.
#[test]
fn a_preference_for_a_place_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judge_pair.jsonl");
    let row = |question: usize, winners: [&str; 2]| {
        let [first, second] = winners;
        format!(
            "{{\"question_id\": {question}, \"model_1\": \"a\", \"model_2\": \"b\", \"g1_winner\": \"{first}\", \
             \"g2_winner\": \"{second}\"}}\n"
        )
    };
    let biased = row(1, ["model_1", "model_2"])
        + &row(2, ["model_1", "model_2"])
        + &row(3, ["model_2", "model_2"]);
    std::fs::write(&path, biased).unwrap();
    let figures = replay(&[&path], Format::FastchatPair, &Options::default()).unwrap();
    let position = figures.position.unwrap();
    assert_eq!((position.consistent, position.inconsistent), (1, 2));
    assert_eq!((position.first, position.second), (5, 1));
    assert_eq!(
        figures.models["a"]
            .all
            .outcomes
            .as_ref()
            .unwrap()
            .inconsistent,
        2
    );
}

#[test]
fn a_wrong_field_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = |name: &str, format, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        replay(&[&path], format, &Options::default())
            .unwrap_err()
            .to_string()
    };
    let pair = r#"{"question_id": 1, "model_1": "a", "model_2": "b", "g1_winner": "A", "g2_winner": "tie"}"#;
    let message = error("pair.jsonl", Format::FastchatPair, pair);
    assert!(
        message.ends_with(
            "pair.jsonl:1: field `g1_winner`: `A` is none of model_1, model_2, tie, error"
        ),
        "{message}"
    );
    let single = "{\"question_id\": 1, \"model\": \"m\", \"score\": 7}\n\n{\"question_id\": 1, \"model\": \"m\", \"score\": \"7\"}\n";
    let message = error("single.jsonl", Format::FastchatSingle, single);
    assert!(
        message.contains("single.jsonl:3: field `score`: invalid type: string"),
        "{message}"
    );
    let review = r#"{"question_id": 1, "answer1_id": "x", "answer2_id": "y", "score": [1, 2, 3]}"#;
    let message = error("review.jsonl", Format::Vicuna, review);
    assert!(
        message.contains("review.jsonl:1: field `score`"),
        "{message}"
    );
}

/// Files in which nothing could be parsed have figures of nothing, and no panic.
#[test]
fn nothing_parsable_is_reported_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (
            Format::FastchatSingle,
            r#"{"question_id": 1, "model": "m", "score": -1}"#,
        ),
        (
            Format::FastchatPair,
            r#"{"question_id": 1, "model_1": "m", "model_2": "b", "g1_winner": "error", "g2_winner": "tie"}"#,
        ),
        (
            Format::Vicuna,
            r#"{"question_id": 1, "answer1_id": "x", "answer2_id": "y", "score": [-1, -1]}"#,
        ),
        (
            Format::AlpacaEval,
            r#"[{"instruction": "i", "generator_2": "m", "preference": null}]"#,
        ),
        (
            Format::ArenaHard,
            r#"{"question_id": "q", "model": "m", "judge": "j", "games": [{"score": null}, {"score": "A"}]}"#,
        ),
        (
            Format::ArenaHard,
            r#"{"uid": "q", "category": "c", "model": "m", "judge": "j", "baseline": "b", "games": [null, {"score": "A>B"}]}"#,
        ),
    ];
    for (format, text) in cases {
        let path = dir.path().join("judgments");
        std::fs::write(&path, text).unwrap();
        let figures = replay(&[&path], format, &Options::default()).unwrap();
        assert_eq!((figures.rows, figures.unparsable), (1, 1), "{format}");
        assert!(
            figures
                .models
                .values()
                .all(|m| m.all.score.is_none() && m.all.outcomes.is_none()),
            "{format}"
        );
        assert!(!serde_json::to_string(&figures).unwrap().contains("NaN"));
    }
}
