//! Verdicts: the table of replies, other systems' parsers, and properties.

use std::path::Path;

use llm_eval::verdict::{Compat, Grammar, Parsed, Preference, Reason, Verdict, parse};
use proptest::prelude::*;
use serde_json::Value;

fn lines(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn grammar(name: &str) -> Grammar {
    name.parse().unwrap()
}

/// Every reply of the table has the verdict that a person read in it.
#[test]
fn replies_have_the_verdict_that_a_person_reads_in_them() {
    let table = lines("verdicts/replies.jsonl");
    assert!(table.len() >= 200);
    assert!(
        table
            .iter()
            .filter(|row| row["id"].as_str().unwrap().starts_with("smollm2"))
            .count()
            >= 50
    );
    let mut wrong = Vec::new();
    for row in &table {
        let reply = row["reply"].as_str().unwrap();
        let parsed = parse(&grammar(row["grammar"].as_str().unwrap()), reply);
        let verdict = parsed
            .verdict()
            .map(|verdict| serde_json::to_value(verdict).unwrap());
        if verdict.unwrap_or_default() != row["verdict"] {
            wrong.push(format!(
                "{}: {reply:?}: {parsed:?}, should be {}",
                row["id"], row["verdict"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What the systems' own code made of the table's replies (tests/goldens/parsers.py).
#[test]
fn other_systems_parsers_are_reproduced() {
    let mut wrong = Vec::new();
    for row in lines("goldens/parsers.jsonl") {
        let reply = row["reply"].as_str().unwrap();
        for compat in Compat::ALL {
            let parsed = parse(&Grammar::Compat(compat), reply);
            let ours = match parsed.verdict() {
                None => Value::Null,
                Some(Verdict::Score(score)) => (*score).into(),
                Some(Verdict::Pair(first, second)) => vec![*first, *second].into(),
                Some(Verdict::Preference(preference)) => serde_json::to_value(preference).unwrap(),
                Some(Verdict::Scores(_)) => panic!("no such grammar"),
            };
            if ours != row[compat.name()] {
                wrong.push(format!(
                    "{} {reply:?}: {ours}, {}",
                    compat.name(),
                    row[compat.name()]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn reasons_say_what_is_wrong() {
    let reason = |name: &str, reply: &str| match parse(&grammar(name), reply) {
        Parsed::Unparsed { reason } => reason,
        Parsed::Verdict(verdict) => panic!("{verdict:?}"),
    };
    assert_eq!(reason("rating", "  "), Reason::Empty);
    assert_eq!(reason("rating", "Rating: [[11]]"), Reason::OutOfRange);
    assert_eq!(reason("rating", "Rating: [[NaN]]"), Reason::NotANumber);
    assert_eq!(reason("rating", "Rating: [[7"), Reason::Truncated);
    assert_eq!(reason("pair", "[[A]] or [[B]]"), Reason::Contradictory);
    assert_eq!(reason("pair", "I cannot say."), Reason::NoVerdict);
    assert_eq!(
        reason("json", r#"{"winner": "A", "why": "it"#),
        Reason::Truncated
    );
    assert_eq!(
        reason("rubric:style,depth", "style: [[7]]"),
        Reason::MissingCriterion("depth".to_owned())
    );
}

/// A long reply that is all verdicts, or all beginnings of one, takes no time that grows with its square.
#[test]
fn long_replies_take_no_time_to_speak_of() {
    let started = std::time::Instant::now();
    let pieces = [
        "[[A]] ",
        "[[7]]\n",
        "\"[[7]]",
        "[[",
        "{",
        "{\"",
        "{\"a\":",
        "[{",
        "[{'",
        "]",
        "得分:1",
        "得分:",
        "Output (a)\n",
        "a: 1\n",
        "{\"winner\": \"A\"}",
        "for example ",
        "ask give ",
        "[A>B]",
        " 8",
        "1. [[A]]\n2. [[B]]\n",
    ];
    for piece in pieces {
        let reply = piece.repeat(200_000 / piece.len());
        for name in Grammar::NAMES
            .into_iter()
            .chain(Compat::ALL.map(Compat::name))
        {
            let before = started.elapsed();
            parse(&grammar(name), &reply);
            let took = started.elapsed() - before;
            assert!(took.as_secs() < 5, "{name} took {took:?} for {piece:?}");
        }
    }
}

#[test]
fn grammars_are_named() {
    for name in Grammar::NAMES
        .into_iter()
        .chain(Compat::ALL.map(Compat::name))
    {
        assert_eq!(grammar(name).name(), name);
    }
    assert_eq!(
        parse(&grammar("rating:0-100"), "[[87]]"),
        Parsed::Verdict(Verdict::Score(87.0))
    );
    for (wrong, reason) in [
        ("ratings", "known are rating, pair"),
        ("", "known are rating, pair"),
        ("ratings:1-5", "known are rating, pair"),
        ("rating:5-1", "the lower one first"),
        ("rating:a-b", "a range is two numbers"),
        ("pair:1-2", "has no options"),
        ("rubric:a,,b", "criteria are names"),
        ("rubric:style (tone)", "criteria are names"),
        ("rubric:style,Style", "criteria are names"),
    ] {
        let error = wrong.parse::<Grammar>().unwrap_err().to_string();
        assert!(error.contains(reason), "{wrong}: {error}");
    }
}

/// A verdict as a judge that follows the instructions writes it.
fn verdicts() -> impl Strategy<Value = (Grammar, Verdict, String)> {
    let score = || (10_u32..=100).prop_map(|tenths| f64::from(tenths) / 10.0);
    let preferences = [
        (Preference::A, "A", "A>B"),
        (Preference::B, "B", "B>A"),
        (Preference::Tie, "C", "A=B"),
        (Preference::MuchA, "", "A>>B"),
        (Preference::MuchB, "", "B>>A"),
    ];
    let preference = proptest::sample::select(preferences.to_vec());
    prop_oneof![
        score().prop_map(|s| (
            grammar("rating"),
            Verdict::Score(s),
            format!("Rating: [[{s}]]")
        )),
        score().prop_map(|s| (
            grammar("json"),
            Verdict::Score(s),
            format!("{{\"score\": {s}}}")
        )),
        (0_u32..=100).prop_map(|s| {
            let s = f64::from(s) / 100.0;
            (grammar("belle"), Verdict::Score(s), format!("得分: {s}"))
        }),
        (score(), score()).prop_map(|(a, b)| {
            let scores = [("style".to_owned(), a), ("depth".to_owned(), b)];
            (
                grammar("rubric:style,depth"),
                Verdict::Scores(scores.into()),
                format!("style: [[{a}]]\ndepth: [[{b}]]"),
            )
        }),
        preference.prop_map(|(p, letter, label)| {
            if letter.is_empty() {
                (
                    grammar("arena-hard"),
                    Verdict::Preference(p),
                    format!("[[{label}]]"),
                )
            } else {
                (
                    grammar("pair"),
                    Verdict::Preference(p),
                    format!("[[{letter}]]"),
                )
            }
        }),
    ]
}

proptest! {
    /// What a judge says before its verdict, even in the grammar, does not change it.
    #[test]
    fn padding_does_not_change_a_verdict(
        (grammar, verdict, reply) in verdicts(),
        (_, _, earlier) in verdicts(),
        before in "[A-Za-z0-9 .,\n(){}助手更好。]{0,80}",
        after in "[ \n]{0,5}",
    ) {
        prop_assert_eq!(parse(&grammar, &reply), Parsed::Verdict(verdict.clone()));
        let padded = format!("{earlier}\n{before}\nSo I decide:\n\n{reply}{after}");
        prop_assert_eq!(parse(&grammar, &padded), Parsed::Verdict(verdict), "{:?}", padded);
    }

    /// No reply makes the parsers panic, and no score leaves its range.
    #[test]
    fn replies_never_panic(reply in "(\\PC|[\\[\\]{}\"':,/|AB><=\n 0-9.]|得分:|Output \\(a\\)|\\[\\[A\\]\\]|winner|score){0,60}") {
        for name in Grammar::NAMES.into_iter().chain(Compat::ALL.map(Compat::name)) {
            let parsed = parse(&grammar(name), &reply);
            prop_assert_eq!(&parsed, &parse(&grammar(name), &reply));
            match parsed.verdict() {
                Some(Verdict::Score(score)) if name == "rating" || name == "json" => prop_assert!((1.0..=10.0).contains(score)),
                Some(Verdict::Score(score)) if name == "belle" => prop_assert!((0.0..=1.0).contains(score)),
                Some(Verdict::Pair(a, b)) => prop_assert!(a.is_finite() && b.is_finite()),
                _ => {}
            }
        }
    }
}
