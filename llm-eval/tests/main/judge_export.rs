//! Questions and answers of other systems, and judgments in their layouts.

use llm_eval::Error;
use llm_eval::judge::files::{Format, Id, write_array, write_rows};
use llm_eval::judge::replay::{Options, replay};
use llm_eval::judge::{Answers, Judgments, Question, read_answers, read_questions};
use llm_eval::stats::{Bootstrap, Outcome};

use crate::data::shared;
use crate::judge_people::{Draws, rows};

fn questions() -> Vec<Question> {
    let question = |id| Question::new(Id::Number(id), "set", vec![format!("Question {id}?")]);
    (0..40).map(question).collect()
}

fn answers(model: &str) -> Answers {
    let answer = |id| (Id::Number(id), vec![format!("{model}'s answer to {id}")]);
    Answers {
        model: model.to_owned(),
        turns: (0..40).map(answer).collect(),
    }
}

/// Of `one` and `two` against `base`; where both orders disagree and where a verdict is missing too.
fn judgments() -> Judgments {
    let (mut judgments, mut draws) = (Judgments::default(), Draws(6));
    for question in 0..40 {
        for models in [["one", "base"], ["base", "two"]] {
            let [given, mut swapped] = rows("j", question, models, draws.outcome(0.5, 0.3));
            if question % 7 == 0 {
                swapped.verdict = given.verdict.clone();
            }
            if question == 11 {
                swapped.verdict = None;
            }
            judgments.rows.extend([given, swapped]);
        }
    }
    judgments
}

#[test]
fn exported_judgments_give_other_systems_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    let judgments = judgments();
    let pairs = judgments.figures(&Bootstrap::default()).unwrap().pairs;
    let answers = ["one", "two", "base"].map(answers);

    let rows = judgments
        .alpaca_eval("base", &questions(), &answers)
        .unwrap();
    let path = dir.path().join("annotations.json");
    write_array(&path, &rows).unwrap();
    let alpaca = replay(&[&path], Format::AlpacaEval, &Options::default()).unwrap();
    let rate = |model: &str| {
        alpaca.models[model]
            .alpaca_eval
            .as_ref()
            .unwrap()
            .win_rate
            .unwrap()
    };
    let near = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-9, "{ours}, {theirs}");
    near(
        100.0 * pairs[0].overall.adjusted_win_rate.unwrap(),
        rate("one"),
    );
    near(
        100.0 - 100.0 * pairs[1].overall.adjusted_win_rate.unwrap(),
        rate("two"),
    );
    assert_eq!(rows[0].output_1.as_deref(), Some("base's answer to 0"));
    assert_eq!(alpaca.unparsable, 2);

    let path = dir.path().join("fastchat.jsonl");
    write_rows(&path, &judgments.fastchat_pair().unwrap()).unwrap();
    let fastchat = replay(&[&path], Format::FastchatPair, &Options::default()).unwrap();
    let one = fastchat.models["one"].all.outcomes.as_ref().unwrap();
    near(
        pairs[0].overall.adjusted_win_rate.unwrap(),
        one.win_rate_adjusted.unwrap(),
    );

    let path = dir.path().join("arena.jsonl");
    write_rows(&path, &judgments.arena_hard("base").unwrap()).unwrap();
    let arena = replay(&[&path], Format::ArenaHard, &Options::default()).unwrap();
    // Arena-Hard counts each game of its own: the verdict in the given order and in the other one.
    let mut games = Vec::new();
    for game in judgments
        .games()
        .iter()
        .filter(|game| game.model_1 == "one")
    {
        if let Some((given, swapped)) = game.places() {
            games.extend([given.score(), swapped.swapped().score()]);
        }
    }
    let share = 100.0 * games.iter().sum::<f64>() / games.len() as f64;
    let category = &arena.models["one"].categories["writing"];
    near(share, category.arena_hard.as_ref().unwrap().score);

    assert!(matches!(
        judgments.arena_hard("none"),
        Err(Error::JudgeOption { .. })
    ));
    let missing = judgments.alpaca_eval("base", &questions(), &answers[..1]);
    assert!(matches!(missing, Err(Error::MissingAnswer { .. })));
}

#[test]
fn an_export_keeps_strong_verdicts_and_sides() {
    let mut judgments = Judgments::default();
    judgments
        .rows
        .extend(rows("j", 1, ["one", "base"], Outcome::First));
    let rows = judgments.arena_hard("base").unwrap();
    let labels: Vec<_> = rows[0]
        .games
        .iter()
        .map(|game| game.as_ref().unwrap().score.as_deref())
        .collect();
    // The baseline is A in the first game.
    assert_eq!(labels, [Some("B>A"), Some("A>B")]);
}

#[test]
fn questions_and_answers_of_all_layouts() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let text = |id: &str| Id::Text(id.to_owned());
    for (layout, id, category, reference) in [
        (
            r#"{"question_id": 1, "category": "c", "turns": ["Hi?"], "reference": ["Ho."]}"#,
            Id::Number(1),
            "c",
            true,
        ),
        (
            r#"{"question_id": 1, "category": "c", "text": "Hi?"}"#,
            Id::Number(1),
            "c",
            false,
        ),
        (
            r#"[{"instruction": "Hi?", "output": "Ho.", "generator": "g", "dataset": "d"}]"#,
            text("Hi?"),
            "d",
            false,
        ),
        (
            r#"{"question_id": "a", "category": "c", "cluster": "x", "turns": [{"content": "Hi?"}]}"#,
            text("a"),
            "c",
            false,
        ),
        (
            r#"{"uid": "a", "category": "c", "subcategory": "s", "prompt": "Hi?"}"#,
            text("a"),
            "c",
            false,
        ),
        (
            r#"{"question": "Hi?", "std_answer": "Ho.", "class": "Closed QA"}"#,
            text("Hi?"),
            "closed qa",
            true,
        ),
    ] {
        let read = read_questions(write("questions", layout), None).unwrap();
        let expected = Question::new(id, category, vec!["Hi?".to_owned()]);
        assert_eq!(
            (&read[0].id, &read[0].category, &read[0].turns),
            (&expected.id, &expected.category, &expected.turns)
        );
        assert_eq!(!read[0].reference.is_empty(), reference, "{layout}");
        let path = dir.path().join("again");
        write_rows(&path, &read).unwrap();
        assert_eq!(read_questions(&path, None).unwrap(), read);
    }
    for (layout, id) in [
        (
            r#"{"question_id": 1, "answer_id": "x", "model_id": "m", "choices": [{"index": 0, "turns": ["Ho."]}]}"#,
            Id::Number(1),
        ),
        (
            r#"{"question_id": 1, "answer_id": "x", "model_id": "m", "choices": [{"index": 0, "turns": [{"content": "Ho.", "token_len": 2}]}]}"#,
            Id::Number(1),
        ),
        (
            r#"{"answer_id": "x", "question_id": 1, "model_id": "m", "text": "Ho."}"#,
            Id::Number(1),
        ),
        (
            r#"[{"instruction": "Hi?", "output": "Ho.", "generator": "m"}]"#,
            text("Hi?"),
        ),
        (
            r#"{"uid": "a", "ans_id": "x", "model": "m", "messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": {"answer": "Ho."}}]}"#,
            text("a"),
        ),
    ] {
        let read = read_answers(write("answers", layout)).unwrap();
        assert_eq!(read[0].model, "m", "{layout}");
        assert_eq!(read[0].turns[&id], ["Ho."], "{layout}");
    }
    let refused = |layout| {
        read_answers(write("answers", layout))
            .unwrap_err()
            .to_string()
    };
    let error =
        refused(r#"{"question_id": 1, "answer_id": "x", "model_id": "m", "choices": ["no"]}"#);
    assert!(error.contains("field `choices`"), "{error}");
    let error = refused(
        r#"{"uid": 1, "ans_id": "x", "model": "m", "messages": [{"role": "assistant", "content": 7}]}"#,
    );
    assert!(error.contains("field `messages`"), "{error}");
    assert!(refused("{}").contains("question_id"));
}

#[test]
fn shared_sets_are_read() {
    let Some(eval) = shared("data/eval") else {
        return;
    };
    let count = |name: &str| read_questions(eval.join(name), None).unwrap().len();
    assert_eq!(count("mt_bench_question.jsonl"), 80);
    assert_eq!(count("vicuna_bench_question.jsonl"), 80);
    assert!(count("belle_eval_set.jsonl") >= 900);
}
