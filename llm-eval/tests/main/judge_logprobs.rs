//! Expected verdicts from a judge's log-probabilities.

use llm_data::generate::{
    Alternative, ChatReply, ChatRequest, Choice, FinishReason, ReplyCache, Runner, TokenLogprob,
};
use llm_eval::Error;
use llm_eval::judge::{Judge, Judgment, Judgments, Mode, Pairing, Turns};
use llm_eval::stats::{Bootstrap, ExpectedPreference};
use serde_json::{Value, json};

use crate::common::{golden, near};
use crate::judge_faults::{Act, client, options, server};
use crate::judge_stubs::{JUDGE, Seen, answers, perfect, questions, with_runner};

/// A token with its alternatives' probabilities; one without any is certain.
type Token<'a> = (&'a str, &'a [(&'a str, f64)]);

fn tokens(tokens: &[Token<'_>]) -> Vec<TokenLogprob> {
    let token = |(token, alternatives): &Token<'_>| {
        let alternatives: Vec<_> = alternatives
            .iter()
            .map(|(token, probability)| Alternative {
                token: (*token).to_owned(),
                logprob: probability.ln(),
            })
            .collect();
        let own = alternatives.iter().find(|one| one.token == *token);
        TokenLogprob {
            token: (*token).to_owned(),
            bytes: None,
            logprob: own.map_or(0.0, |one| one.logprob),
            alternatives,
        }
    };
    tokens.iter().map(token).collect()
}

fn replied(text: &str, logprobs: Option<Vec<TokenLogprob>>) -> ChatReply {
    let choice = Choice {
        text: text.to_owned(),
        finish_reason: FinishReason::Stop,
        logprobs,
    };
    ChatReply {
        choices: vec![choice],
        ..ChatReply::new("")
    }
}

fn judge(grammar: &str) -> Judge {
    let single = ["rating", "fastchat-single", "json:"];
    let mode = match single.iter().any(|name| grammar.starts_with(name)) {
        true => Mode::Single,
        false => Mode::Pair(Pairing {
            both_orders: false,
            baseline: None,
        }),
    };
    let mut judge = Judge::new(JUDGE, mode);
    judge.grammar = grammar.parse().unwrap();
    judge.turns = Turns::First;
    judge.sampling.logprobs = Some(20);
    judge
}

/// The judgment on a reply of these tokens and this text.
fn judged(grammar: &str, text: &str, logprobs: Vec<TokenLogprob>) -> Judgment {
    let reply = replied(text, Some(logprobs));
    let model = |_: &ChatRequest| Ok(reply.clone());
    let questions = questions(1);
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let judgments = with_runner(&model, 1, |runner| {
        judge(grammar).run(runner, &questions, &answers).unwrap()
    });
    let row = judgments.rows[0].clone();
    assert!(row.verdict.is_some(), "{row:?}");
    row
}

/// The expected verdict where the tokens are the text.
fn expected(grammar: &str, spelt: &[Token<'_>]) -> Option<ExpectedPreference> {
    let text: String = spelt.iter().map(|(token, _)| *token).collect();
    judged(grammar, &text, tokens(spelt)).expected
}

#[track_caller]
fn is(found: Option<ExpectedPreference>, value: f64, mass: f64) {
    let found = found.unwrap();
    near(found.value, value);
    near(found.mass, mass);
}

/// Through the client, from the server's JSON.
#[test]
fn preferences_are_those_of_alpaca_eval() {
    let golden = golden("logprobs");
    let golden = golden.as_array().unwrap();
    let act = |row: &Value| {
        let choice = json!({
            "message": {"role": "assistant", "content": row["text"]},
            "finish_reason": "stop",
            "logprobs": row["logprobs"],
        });
        Act::Status(200, json!({"choices": [choice]}).to_string())
    };
    let (address, bodies) = server(golden.iter().map(act).collect());
    let (client, cache) = (client(&address), ReplyCache::in_memory().unwrap());
    let runner = Runner::new(&client, &cache, options()).unwrap();
    let questions = questions(golden.len());
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let rows = judge("alpaca-eval")
        .run(&runner, &questions, &answers)
        .unwrap()
        .rows;
    assert_eq!(rows.len(), golden.len());
    for (row, golden) in rows.iter().zip(golden) {
        let preference = golden["preference"].as_f64().unwrap();
        near(2.0 - row.expected.unwrap().value, preference);
    }
    let body: Value = serde_json::from_str(&bodies.lock().unwrap()[0]).unwrap();
    assert_eq!(body["logprobs"], json!(true));
    assert_eq!(body["top_logprobs"], json!(20));
}

const ABC: &[(&str, f64)] = &[("A", 0.6), ("B", 0.2), ("C", 0.1), ("The", 0.1)];

#[test]
fn a_letter_is_weighed_against_the_others() {
    let with = |last: &[Token<'static>]| -> Vec<Token<'static>> {
        let mut all = vec![("So: ", &[][..]), ("[[", &[("[[", 0.9), ("B", 0.1)])];
        all.extend_from_slice(last);
        all
    };
    is(
        expected("pair", &with(&[("A", ABC), ("]]", &[])])),
        0.65 / 0.9,
        0.9,
    );
    // Brackets in the same token, white space, two spellings of one letter, the same one twice.
    let spelt: &[_] = &[
        ("A]]", 0.5),
        ("B]]", 0.25),
        (" A", 0.125),
        ("A]]", 0.5),
        ("[[A", 0.1),
    ];
    is(
        expected("pair", &with(&[("A]]", spelt)])),
        0.625 / 0.875,
        0.875,
    );
    let joined: &[_] = &[(" [[A", 0.5), ("[[C", 0.25), ("A", 0.2)];
    is(
        expected(
            "pair",
            &[("My verdict:", &[]), (" [[A", joined), ("]]", &[])],
        ),
        0.625 / 0.75,
        0.75,
    );
    // A token that the server left out of its alternatives.
    let mut row = tokens(&[("[[", &[]), ("B", &[("A", 0.5)]), ("]]", &[])]);
    row[1].logprob = 0.25_f64.ln();
    is(judged("pair", "[[B]]", row).expected, 0.5 / 0.75, 0.75);
    is(
        expected("fastchat-pair", &with(&[("A", ABC), ("]]", &[])])),
        0.65 / 0.9,
        0.9,
    );
    is(
        expected(
            "alpaca-eval",
            &[
                ("Output", &[]),
                (" (", &[]),
                ("b", &[("b", 0.6), ("a", 0.3)]),
                (")", &[]),
            ],
        ),
        1.0 / 3.0,
        0.9,
    );
    // The verdict that was read, not another one.
    let rows = [
        ("[[", &[][..]),
        ("A", &[("A", 0.5), ("B", 0.5)]),
        ("]]", &[]),
        (" no: ", &[]),
    ];
    let rows = [
        &rows[..],
        &[("[[", &[]), ("B", &[("B", 0.8), ("A", 0.2)]), ("]]", &[])],
    ]
    .concat();
    is(expected("pair", &rows), 0.2, 1.0);
}

#[test]
fn the_winner_in_json_is_weighed() {
    let start: [Token<'_>; 3] = [
        (r#"{"explanation": "#, &[]),
        (r#""B says a lot, A is right.", "#, &[("A", 0.5)]),
        (r#""winner": ""#, &[]),
    ];
    let end: [Token<'_>; 1] = [(r#""}"#, &[])];
    let with = |token: Token<'static>| [&start[..], &[token], &end].concat();
    let found = expected(
        "json",
        &with(("A", &[("A", 0.5), ("tie", 0.25), ("B", 0.25)])),
    );
    is(found, 0.625, 1.0);
    // A tie of which only the beginning is a token.
    let begun = with(("A", &[("A", 0.5), ("t", 0.25), ("B", 0.25)]));
    is(expected("json", &begun), 0.625, 1.0);
    let tie: [Token<'_>; 2] = [("t", &[("t", 0.5), ("A", 0.5)]), ("ie", &[])];
    is(
        expected("json", &[&start[..], &tie, &end].concat()),
        0.75,
        1.0,
    );
    let quoted: [Token<'_>; 3] = [
        (r#"{"winner":"#, &[]),
        (
            r#" "A"#,
            &[(r#" "A"#, 0.5), (r#" "B"#, 0.25), (" null", 0.25)],
        ),
        (r#"", "why": "A is a model, B is not a tie"}"#, &[]),
    ];
    is(expected("json", &quoted), 2.0 / 3.0, 0.75);
}

#[test]
fn scores_are_weighed() {
    let with = |tokens: &[Token<'static>]| {
        let mut all: Vec<Token<'_>> = vec![("Rating: [[", &[])];
        all.extend_from_slice(tokens);
        all
    };
    let seven: &[_] = &[
        ("7", 0.5),
        ("8", 0.25),
        (" 6", 0.125),
        ("10", 0.1),
        ("11", 0.01),
        ("-", 0.01),
    ];
    let (sum, mass) = (3.5 + 2.0 + 0.75 + 1.0, 0.975);
    for grammar in ["rating", "fastchat-single"] {
        is(
            expected(grammar, &with(&[("7", seven), ("]]", &[])])),
            sum / mass,
            mass,
        );
    }
    // 10 as one token; then a 1 is a 1.
    let ten: &[_] = &[("10", 0.5), ("1", 0.25), ("9", 0.25)];
    is(
        expected("rating", &with(&[("10", ten), ("]]", &[])])),
        7.5,
        1.0,
    );
    // 10 as two: the second one tells how much of the 1 is 10.
    let one: &[_] = &[("1", 0.6), ("9", 0.4)];
    let zero: &[_] = &[("0", 0.75), ("]]", 0.125), (".", 0.125)];
    let (sum, mass) = (4.5 + 0.075 + 3.6, 0.925);
    is(
        expected("rating", &with(&[("1", one), ("0", zero), ("]]", &[])])),
        sum / mass,
        mass,
    );
    is(
        expected("rating", &with(&[("1", one), ("]]", zero)])),
        sum / mass,
        mass,
    );
    let braces: [Token<'_>; 3] = [
        (r#"{"score": "#, &[]),
        ("9", &[("9", 0.5), ("8", 0.5)]),
        ("}", &[]),
    ];
    is(expected("json:1-10", &braces), 8.5, 1.0);
}

#[test]
fn what_is_in_doubt_has_no_expected_score() {
    let rating = |tokens: &[Token<'_>]| expected("rating", &[&[("[[", &[][..])], tokens].concat());
    // Another reply's 1 may have been a 10; where it hardly ever comes, it is left out.
    let end: Token<'_> = ("]]", &[]);
    assert_eq!(rating(&[("9", &[("9", 0.7), ("1", 0.3)]), end]), None);
    is(
        rating(&[("9", &[("9", 0.9), ("1", 0.0005)]), end]),
        9.0,
        0.9,
    );
    // A score with a fraction, and one that goes on in the next token.
    assert_eq!(
        rating(&[("7", &[("7", 0.9), ("8", 0.1)]), (".5", &[]), end]),
        None
    );
    let share = [("[[", &[][..]), ("1", &[("1", 0.6), ("0", 0.4)]), end];
    assert_eq!(expected("rating:0-1", &share), None);
    let hundred = [
        ("[[", &[][..]),
        ("8", &[("8", 1.0)]),
        ("5", &[("5", 0.5), ("]]", 0.5)]),
        end,
    ];
    is(expected("rating:0-100", &hundred), 46.5, 1.0);
    let others = [
        ("[[", &[][..]),
        ("8", &[("8", 0.9), ("7", 0.1)]),
        ("5", &[("5", 1.0)]),
        end,
    ];
    assert_eq!(expected("rating:0-100", &others), None);
}

#[test]
fn tokens_that_are_not_those_of_the_text_say_nothing() {
    let said = tokens(&[("[[", &[]), ("A", &[("A", 0.75), ("B", 0.25)]), ("]]", &[])]);
    let with = |before: &[Token<'_>], after: &[Token<'_>]| {
        [tokens(before), said.clone(), tokens(after)].concat()
    };
    is(judged("pair", "[[A]]", with(&[], &[])).expected, 0.75, 1.0);
    // Hidden reasoning, end marks, white space.
    let thought: &[Token<'_>] = &[("<think>", &[]), ("[[B]]?", &[]), ("</think>\n\n", &[])];
    let marks: &[Token<'_>] = &[("\n", &[]), ("<|im_end|>", &[]), ("", &[])];
    for text in ["[[A]]", "[[A]]\n", "<think>[[B]]?</think>\n\n[[A]]"] {
        is(
            judged("pair", text, with(thought, marks)).expected,
            0.75,
            1.0,
        );
    }
    // A character in two tokens.
    let mut split = with(&[("好", &[]), ("\u{fffd}", &[]), ("\u{fffd}", &[])], &[]);
    is(
        judged("pair", "好的[[A]]", split.clone()).expected,
        0.75,
        1.0,
    );
    (split[1].bytes, split[2].bytes) = (Some(vec![0xe7, 0x9a]), Some(vec![0x84]));
    is(judged("pair", "好的[[A]]", split).expected, 0.75, 1.0);
    for text in ["[[B]]", "A: [[A]]", "[[A]] is it", "[[A]] [[A]]"] {
        assert_eq!(judged("pair", text, said.clone()).expected, None, "{text}");
    }
    assert_eq!(judged("pair", "[[A]]", Vec::new()).expected, None);
    let mut odd = said.clone();
    odd[1].alternatives[0].logprob = f64::NAN;
    assert_eq!(judged("pair", "[[A]]", odd).expected, None);
    // Full-width letters have alternatives of their own.
    assert_eq!(judged("pair", "【【Ａ】】", said).expected, None);
}

/// A judge that prefers the answer with more facts, with a probability of 0.9 in the first place and
/// 0.7 in the second.
fn doubting(request: &ChatRequest) -> ChatReply {
    let text = perfect(&Seen::of(request));
    let sure: Token<'_> = match &*text {
        "A it is.\n[[A]]" => ("A", &[("A", 0.9), ("B", 0.1)]),
        _ => ("B", &[("B", 0.7), ("A", 0.3)]),
    };
    let start = text.split_inclusive("[[").next().unwrap();
    replied(&text, Some(tokens(&[(start, &[]), sure, ("]]", &[])])))
}

#[test]
fn both_orders_make_one_expected_preference() {
    let questions = questions(5);
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let mut judge = Judge::new(JUDGE, Mode::Pair(Pairing::default()));
    judge.sampling.logprobs = Some(20);
    let model = |request: &ChatRequest| Ok(doubting(request));
    let judgments = with_runner(&model, 2, |runner| {
        judge.run(runner, &questions, &answers).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judgments.jsonl");
    judgments.write(&path).unwrap();
    let read = Judgments::read(&path).unwrap();
    assert_eq!(read, judgments);
    let figures = read.figures(&Bootstrap::default()).unwrap();
    let overall = &figures.pairs[0].overall;
    assert_eq!(overall.adjusted_win_rate, Some(1.0));
    let expected = overall.expected.unwrap();
    assert_eq!(expected.n, 10);
    near(expected.mean, 0.8);
    near(expected.estimate.unwrap().value, 0.8);
    // One order without log-probabilities leaves its pair out.
    let mut fewer = read.clone();
    fewer.rows[0].expected = None;
    let figures = fewer.figures(&Bootstrap::default()).unwrap();
    assert_eq!(figures.pairs[0].overall.expected.unwrap().n, 9);
    fewer.rows.iter_mut().for_each(|row| row.expected = None);
    let figures = serde_json::to_value(fewer.figures(&Bootstrap::default()).unwrap()).unwrap();
    assert_eq!(figures["pairs"][0]["overall"].get("expected"), None);
    // A forged one is refused.
    let text = std::fs::read_to_string(&path).unwrap();
    let (forged, path) = (
        text.replace(r#""value":0."#, r#""value":7."#),
        folder.path().join("x"),
    );
    std::fs::write(&path, forged).unwrap();
    let error = Judgments::read(&path).unwrap_err();
    assert!(matches!(error, Error::Field { field, .. } if field == "expected"));
}

#[test]
fn expected_scores_have_a_mean() {
    let reply = tokens(&[("[[", &[]), ("7", &[("7", 0.5), ("8", 0.5)]), ("]]", &[])]);
    let model = |request: &ChatRequest| {
        let logprobs =
            Some(reply.clone()).filter(|_| !Seen::of(request).user.contains("Question 3?"));
        Ok(replied("[[7]]", logprobs))
    };
    let questions = questions(5);
    let answers = answers(&questions, &[("good", 2)]);
    let judgments = with_runner(&model, 2, |runner| {
        judge("rating").run(runner, &questions, &answers).unwrap()
    });
    let figures = judgments.figures(&Bootstrap::default()).unwrap();
    let overall = &figures.scores[0].overall;
    assert_eq!(overall.mean, Some(7.0));
    let expected = overall.expected.unwrap();
    assert_eq!((expected.n, expected.mean), (4, 7.5));
}

#[test]
fn verdicts_of_several_tokens_are_refused_beforehand() {
    let questions = questions(1);
    let answers = answers(&questions, &[("good", 2), ("poor", 1)]);
    let model = |_: &ChatRequest| Ok(ChatReply::new("[[A>B]]"));
    for grammar in ["arena-hard", "vicuna"] {
        let result = with_runner(&model, 1, |runner| {
            judge(grammar).run(runner, &questions, &answers)
        });
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                Error::JudgeOption {
                    option: "logprobs",
                    ..
                }
            ),
            "{error}"
        );
    }
}
