//! The figures of reports: those of the judgments, with what makes them doubtful.

use std::path::PathBuf;

use llm_eval::judge::files::{Format, Id, read_categories};
use llm_eval::judge::replay::{OnDuplicate, Options, replay};
use llm_eval::judge::{Answers, Judgment, Judgments};
use llm_eval::report::Warning;
use llm_eval::stats::Bootstrap;
use llm_eval::verdict::Preference;
use llm_eval::{Error, Report};
use serde_json::Value;

use crate::report::{games, parsed, report_of, scores};

#[test]
fn figures_are_those_of_the_judgments() {
    let mut rows = scores("gpt-4", "good", |number| 7.0 + (number % 3) as f64, 40);
    rows.extend(scores(
        "gpt-4",
        "alike",
        |number| 7.0 + ((number + 1) % 3) as f64,
        40,
    ));
    rows.extend(scores(
        "gpt-4",
        "poor",
        |number| 3.0 + (number % 2) as f64,
        40,
    ));
    let judgments = Judgments { rows };
    let at = |level| Bootstrap {
        level,
        ..Bootstrap::default()
    };
    let (tenth, certain) = (at(0.9), at(1.0));
    let report = Report::of(&judgments, &[], &[], &tenth).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let figures = serde_json::to_value(judgments.figures(&tenth).unwrap()).unwrap();
    assert_eq!(json["figures"], figures);
    assert_eq!(
        json["judged"]["models"],
        serde_json::json!(["good", "alike", "poor"])
    );
    assert!(json.get("panel").is_none());
    let verdicts: Vec<_> = json["figures"]["score_differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["verdict"].as_str().unwrap())
        .collect();
    let expected = [
        "not_significantly_different",
        "first_higher",
        "first_higher",
    ];
    assert_eq!(verdicts, expected);
    let markdown = report.to_markdown();
    for line in [
        "good is better",
        "not significantly different",
        "| good | 40 | 0 | 7.97 |",
    ] {
        assert!(markdown.contains(line), "{line} is not in {markdown}");
    }
    let found = parsed(&report.to_html());
    let plots = found.iter().filter(|one| one.tag == "svg");
    let plots: Vec<_> = plots
        .map(|one| (one.attributes["role"].clone(), one.text.clone()))
        .collect();
    assert_eq!(plots.len(), 2, "intervals and categories");
    for (role, text) in &plots {
        assert_eq!(role, "img");
        assert!(
            text.contains("Mean score") && text.contains("poor"),
            "{text}"
        );
    }
    assert!(plots[0].1.contains("7.97 ("), "{}", plots[0].1);
    assert!(matches!(
        Report::of(&judgments, &[], &[], &certain),
        Err(Error::BadOption { .. })
    ));
}

#[test]
fn categories_are_plotted_for_the_best_six() {
    let score = |model: usize| move |number: usize| model as f64 + (number % 2) as f64 / 2.0;
    let models = |count: usize| -> Vec<Judgment> {
        let of = |model| scores("gpt-4", &format!("model-{model}"), score(model), 30);
        (0..count).flat_map(of).collect()
    };
    for (count, plotted) in [(4, 4), (8, 6)] {
        report_of(models(count), |report| {
            let html = report.to_html();
            // A line around the plot and one in the legend.
            let lines = parsed(&html).iter().filter(|one| one.is_of("line")).count();
            assert_eq!(lines, 2 * plotted);
            assert_eq!(html.contains("the best 6 of 8"), count == 8);
        });
    }
    let mut two_categories = models(4);
    two_categories.retain(|row| row.category != "math");
    report_of(two_categories, |report| {
        assert!(
            !parsed(&report.to_html())
                .iter()
                .any(|one| one.is_of("line"))
        );
    });
}

#[test]
fn a_few_wins_are_not_significant() {
    let won = [Some(Preference::A), Some(Preference::B)];
    for (count, words) in [(3, "not significantly different"), (8, "ours is better")] {
        let rows = (0..count).flat_map(|number| games("gpt-4", number, won));
        report_of(rows.collect(), |report| {
            let difference = &report.figures.pair_differences[0];
            assert_eq!((difference.difference, difference.estimate), (1.0, None));
            assert_eq!(difference.words(), words);
            assert!(report.to_markdown().contains(words));
        });
    }
}

#[test]
fn standings_count_each_game_for_both() {
    let mut rows = Vec::new();
    for (number, said) in [Preference::A, Preference::B, Preference::Tie, Preference::A]
        .into_iter()
        .enumerate()
    {
        rows.extend(games("gpt-4", number, [Some(said), Some(said.swapped())]));
    }
    let standings = Judgments { rows }.standings(&Bootstrap::default()).unwrap();
    let [ours, theirs] = &standings[..] else {
        panic!("{standings:?}");
    };
    let outcomes = ours.overall.outcomes;
    assert_eq!((outcomes.wins, outcomes.losses, outcomes.ties), (2, 1, 1));
    let other = theirs.overall.outcomes;
    assert_eq!((other.wins, other.losses, other.ties), (1, 2, 1));
    assert_eq!(ours.overall.adjusted_win_rate, Some(0.625));
    assert_eq!(theirs.categories["math"].outcomes.losses, 2);
}

fn answers_of(model: &str) -> [Answers; 1] {
    let answer = |number| (Id::Number(number), vec![format!("Answer {number}.")]);
    [Answers {
        model: model.to_owned(),
        turns: (0..30).map(answer).collect(),
    }]
}

#[test]
fn doubts_come_first() {
    let kinds = |rows: Vec<Judgment>| {
        let mut kinds = Vec::new();
        report_of(rows, |report| {
            for warning in &report.warnings {
                let kind = serde_json::to_value(warning).unwrap()["kind"].clone();
                assert!(report.to_markdown().contains("**Warning:**"));
                kinds.push(kind.as_str().unwrap().to_owned());
            }
        });
        kinds
    };
    let fair = |number: usize| match number % 2 {
        0 => [Some(Preference::A), Some(Preference::B)],
        _ => [Some(Preference::B), Some(Preference::A)],
    };
    let pairs = |count, said: &dyn Fn(usize) -> [Option<Preference>; 2]| -> Vec<Judgment> {
        let both = |number| games("judge", number, said(number));
        (0..count).flat_map(both).collect()
    };
    assert!(kinds(pairs(30, &fair)).is_empty());
    assert_eq!(kinds(pairs(29, &fair)), ["few_questions"]);
    let first = |_| [Some(Preference::A); 2];
    assert_eq!(kinds(pairs(30, &first)), ["position_bias"]);
    let lost = |number| if number < 4 { [None; 2] } else { fair(number) };
    assert_eq!(kinds(pairs(30, &lost)), ["unscored"]);
    let mut one_order = pairs(30, &fair);
    one_order.remove(1);
    assert_eq!(kinds(one_order), ["one_order"]);
    let mut twice = pairs(30, &fair);
    twice.push(twice[0].clone());
    assert_eq!(kinds(twice), ["duplicates"]);
    // Answers of one model only.
    let judgments = Judgments {
        rows: pairs(30, &fair),
    };
    let answers = answers_of("ours");
    let report = Report::of(&judgments, &[], &answers, &Bootstrap::default()).unwrap();
    let [Warning::NoStyle { judge, reason }] = &report.warnings[..] else {
        panic!("{:?}", report.warnings);
    };
    assert!(
        judge == "judge" && reason.contains("theirs has no answer"),
        "{reason}"
    );
    assert!(report.style.is_empty());
    let mut own = scores("gpt-4", "gpt-3.5-turbo", |_| 7.0, 30);
    own.extend(scores("gpt-4", "vicuna", |_| 7.0, 31));
    assert_eq!(
        kinds(own.clone()),
        ["self_preference", "different_questions"]
    );
    own[0].grammar = "rating:0-5".to_owned();
    assert!(kinds(own).contains(&"mixed_scales".to_owned()));
    report_of(pairs(30, &first), |report| {
        let Warning::PositionBias { judge, .. } = &report.warnings[0] else {
            panic!("{:?}", report.warnings);
        };
        assert_eq!(judge, "judge");
        let text = report.warnings[0].to_string();
        assert!(
            text.contains("prefers the answer that stands first"),
            "{text}"
        );
    });
}

#[test]
fn a_panel_has_its_agreement() {
    let mut rows = Vec::new();
    for number in 0..30 {
        let said = if number % 3 == 0 {
            Preference::A
        } else {
            Preference::B
        };
        for judge in ["gpt-4", "claude-3"] {
            rows.extend(games(judge, number, [Some(said), Some(said.swapped())]));
        }
    }
    report_of(rows, |report| {
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(json["panel"]["agreement"]["fleiss"], 1.0);
        let markdown = report.to_markdown();
        let agreed = "| gpt-4 and claude-3 | ties included | 30 | 100.0 |";
        assert!(markdown.contains(agreed), "{markdown}");
        assert!(
            markdown.contains("| ours against theirs | 10 | 20 | 0 | 0 | 0 |"),
            "{markdown}"
        );
    });
}

fn goldens(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/judgments");
    dir.join(name)
}

#[test]
fn fastchats_judgments_have_the_figures_of_their_replay() {
    let categories = read_categories(goldens("question.jsonl")).unwrap();
    let options = Options {
        categories: categories.clone(),
        duplicates: OnDuplicate::First,
        ..Options::default()
    };
    for (file, format) in [
        ("gpt-4_single.jsonl", Format::FastchatSingle),
        ("gpt-4_pair.jsonl", Format::FastchatPair),
    ] {
        let path = goldens(file);
        let judgments = Judgments::read_fastchat(&path, format, &categories).unwrap();
        let theirs = serde_json::to_value(replay(&[&path], format, &options).unwrap()).unwrap();
        let figures = judgments.figures(&Bootstrap::default()).unwrap();
        for one in &figures.scores {
            let model = &theirs["models"][&one.model];
            assert_eq!(model["score"]["n"], one.overall.scored);
            assert_eq!(model["score"]["mean"], one.overall.mean.unwrap());
            let math = &model["categories"]["math"]["score"]["mean"];
            assert_eq!(*math, one.categories["math"].mean.unwrap());
        }
        for one in &judgments.standings(&Bootstrap::default()).unwrap() {
            let model = &theirs["models"][&one.model]["outcomes"];
            let outcomes = one.overall.outcomes;
            let counts = [outcomes.wins, outcomes.losses, outcomes.ties];
            let keys = ["wins", "losses", "ties"].map(|key| model[key].as_u64().unwrap());
            assert_eq!(counts, keys, "{}", one.model);
            assert_eq!(model["inconsistent"], one.overall.inconsistent);
            assert_eq!(
                model["win_rate_adjusted"],
                one.overall.adjusted_win_rate.unwrap()
            );
        }
        assert!(!judgments.rows.is_empty());
        let report = Report::of(&judgments, &[], &[], &Bootstrap::default()).unwrap();
        parsed(&report.to_html());
        // They are kept as our own are.
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("ours.jsonl");
        judgments.write(&copy).unwrap();
        assert_eq!(Judgments::read(&copy).unwrap(), judgments);
    }
    let other =
        Judgments::read_fastchat(goldens("annotations.json"), Format::AlpacaEval, &categories);
    assert!(matches!(other, Err(Error::JudgeOption { .. })));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.jsonl");
    let row: Value = serde_json::json!({"question_id": 1, "model_1": "a", "model_2": "b",
        "g1_winner": "a", "g2_winner": "tie", "judge": ["gpt-4", "pair-v2"], "turn": 1});
    std::fs::write(&path, row.to_string()).unwrap();
    let error = Judgments::read_fastchat(&path, Format::FastchatPair, &categories).unwrap_err();
    assert!(
        error.to_string().contains("bad.jsonl:1: field `g1_winner`"),
        "{error}"
    );
}

#[test]
fn tables_have_intervals_that_are_not_symmetric() {
    let verdict = |number: usize| {
        let ours = if number.is_multiple_of(3) && number > 3 {
            Preference::Tie
        } else {
            Preference::A
        };
        let swapped = match ours {
            Preference::A => Preference::B,
            other => other,
        };
        games("judge", number, [Some(ours), Some(swapped)])
    };
    report_of((0..30).flat_map(verdict).collect(), |report| {
        let markdown = report.to_markdown();
        let caption = "Adjusted win rate of the first by category, %, with its interval";
        let table = markdown.split(caption).nth(1).unwrap();
        let line = table
            .lines()
            .find(|line| line.starts_with("| ours"))
            .unwrap();
        // All won: 100 % and what is below it, not 100 ± something.
        assert!(line.contains(" to 100.0) |"), "{line}");
        assert!(line.contains("| 100.0 (") && !line.contains('±'), "{line}");
    });
}

#[test]
fn scores_without_a_distance_have_a_plot() {
    let tiny = |model: &str, score: f64| scores("gpt-4", model, move |_| score, 30);
    for (low, high) in [(0.0, 5e-324), (-1e150, 1e150), (7.0, 7.0)] {
        let rows = [tiny("a", low), tiny("b", high)].concat();
        report_of(rows, |report| {
            let plots = parsed(&report.to_html());
            let ticks: Vec<_> = plots.iter().filter(|one| one.is_of("tick")).collect();
            assert!(ticks.len() > 1);
            for tick in ticks {
                assert!(tick.attributes["x"].parse::<f64>().unwrap().is_finite());
            }
        });
    }
}
