//! How much of a reply is read, and replies that never come.
#![allow(clippy::unwrap_used, reason = "tests")]

use llm_data::generate::{
    ChatReply, ChatRequest, ModelError, ModelErrorKind, OnFailure, ReplyCache, RunOptions, Runner,
};
use llm_eval::bench::classify::{Classifier, Style};
use llm_eval::bench::{
    Answers, ChatServer, Output, Results, TaskOptions, Variant, agieval, belle, ceval, evaluate,
    mmlu,
};
use serde_json::json;

use crate::data::data;
use crate::scoring::{belle_files, labelled};

/// How many of MMLU's first subject a model that says always the same has right, by the strict filter.
fn right_of_9(said: &'static str, answers: Answers, stops: &[&str]) -> f64 {
    let chat = |request: &ChatRequest| {
        assert_eq!(request.sampling.temperature, 0.0);
        assert_eq!(request.sampling.stop, stops);
        Ok(ChatReply::new(said))
    };
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&chat, &cache, RunOptions::default()).unwrap();
    let options = TaskOptions {
        answers,
        ..TaskOptions::default()
    };
    let tasks = mmlu::load(data("mmlu"), &options).unwrap();
    let server = ChatServer::new(&runner, "chat");
    let result = evaluate(&tasks[0], &server, None, &mut |_, _| {}).unwrap();
    (result.metric("exact_match,strict").unwrap().value * 9.0).round()
}

#[test]
fn a_chat_model_s_reply_is_read_to_its_end_and_a_continuation_to_its_line_s() {
    let items = mmlu::load(data("mmlu"), &TaskOptions::default()).unwrap();
    let items = items[0].items.iter();
    let right = items.filter(|item| item.doc["answer"] == 1).count() as f64;
    assert!(right > 0.0);
    let thinking = "Let me think.\n\nA is too small.\nThe answer is B.";
    for said in [thinking, "\n\nB", "B"] {
        assert_eq!(right_of_9(said, Answers::Reply, &[]), right, "{said}");
    }
    let stops = ["</s>", "\n"];
    let next = " B\n\nQuestion?\nAnswer: C";
    assert_eq!(right_of_9(next, Answers::Generated, &stops), right);
    assert_eq!(right_of_9(thinking, Answers::Generated, &stops), 0.0);
}

/// The stop texts and the most tokens of AGIEval's and C-Eval's tasks, by their names.
fn generated(answers: Answers, variant: Variant) -> Vec<(String, Vec<String>, usize)> {
    let options = TaskOptions {
        answers,
        variant,
        num_fewshot: Some(0),
        ..TaskOptions::default()
    };
    let mut tasks = agieval::load(data("agieval"), &options).unwrap();
    tasks.extend(ceval::load(data("ceval"), ceval::Split::Val, &options).unwrap());
    let generated = tasks.into_iter().filter_map(|task| match task.output {
        Output::Generate {
            until, max_tokens, ..
        } => Some((task.name, until, max_tokens)),
        Output::Choices => None,
    });
    generated.collect()
}

#[test]
fn chat_models_have_room_to_answer_and_the_harness_s_tasks_stay_as_they_are() {
    for (name, until, max_tokens) in generated(Answers::Reply, Variant::Harness) {
        assert_eq!((until, max_tokens), (Vec::new(), 1024), "{name}");
    }
    let harness = generated(Answers::Likelihood, Variant::Harness);
    let math = ("agieval_math".to_owned(), vec!["Q:".to_owned()], 32);
    assert_eq!(harness, [math]);
    let official = generated(Answers::Likelihood, Variant::Official);
    assert_eq!(official.len(), 5);
    assert!(
        official
            .iter()
            .all(|(_, until, most)| until.is_empty() && *most == 1024)
    );
}

/// A runner of a chat model that fails where `fails` says so, and replies B otherwise.
fn skipping<T>(fails: impl Fn(&str) -> bool + Sync, run: impl FnOnce(&Runner<'_>) -> T) -> T {
    let chat = |request: &ChatRequest| match &*request.messages[0].content {
        text if fails(text) => Err(ModelError::new(ModelErrorKind::Other, "no reply")),
        _ => Ok(ChatReply::new("B\n得分: 0.5")),
    };
    let cache = ReplyCache::in_memory().unwrap();
    let options = RunOptions {
        on_failure: OnFailure::Skip,
        ..RunOptions::default()
    };
    run(&Runner::new(&chat, &cache, options).unwrap())
}

#[test]
fn a_question_without_a_reply_is_in_no_figure_and_counted() {
    let options = TaskOptions {
        answers: Answers::Generated,
        ..TaskOptions::default()
    };
    let task = mmlu::load(data("mmlu"), &options).unwrap().remove(0);
    let wrong: Vec<_> = task
        .items
        .iter()
        .filter(|item| item.doc["answer"] != 1)
        .collect();
    let fails = |text: &str| wrong.iter().any(|item| text.ends_with(&item.text));
    let result = skipping(fails, |runner| {
        evaluate(
            &task,
            &ChatServer::new(runner, "chat"),
            None,
            &mut |_, _| {},
        )
        .unwrap()
    });
    assert_eq!(result.no_reply, wrong.len());
    assert_eq!(result.sample_len, 9 - wrong.len());
    assert_eq!(result.metric("exact_match,strict").unwrap().value, 1.0);
    assert_eq!(result.unparsable, [("strict", 0), ("flexible", 0)]);
    // A subject without any reply does not take its group's figures away.
    let none = skipping(
        |_| true,
        |runner| {
            let server = ChatServer::new(runner, "chat");
            evaluate(&task, &server, None, &mut |_, _| {}).unwrap()
        },
    );
    assert_eq!((none.sample_len, none.metrics.len()), (0, 0));
    let groups = mmlu::groups(&[none, result.clone()]);
    let share = groups[0].metric("exact_match,strict").unwrap().value;
    assert_eq!((share, groups[0].sample_len), (1.0, 9 - wrong.len()));
    let results = Results {
        model: "chat".to_owned(),
        config: serde_json::Map::new(),
        tasks: vec![result],
        groups: Vec::new(),
    };
    let json = results.to_json();
    assert_eq!(json["results"]["mmlu_anatomy"]["no_reply"], wrong.len());
    let sample = results.tasks[0]
        .samples
        .iter()
        .find(|s| s.unanswered())
        .unwrap();
    assert_eq!(sample.to_json()["resps"], json!([[null]]));

    let dir = belle_files();
    let task = belle::load(dir.path().join("eval_set.json")).unwrap();
    let mut asked = 0;
    let (result, judgments) = skipping(
        |text| text == "写诗",
        |runner| {
            let server = ChatServer::new(runner, "chat");
            let mut result = evaluate(&task, &server, None, &mut |_, _| {}).unwrap();
            let judge = belle::BelleJudge::new("judge");
            let judgments = judge.run(runner, "chat", &mut result).unwrap();
            asked += judgments.rows.len();
            (result, judgments)
        },
    );
    assert_eq!((asked, result.no_reply, result.sample_len), (2, 1, 2));
    assert_eq!(result.metric("score,all").unwrap().value, 0.5);
    assert!(result.metric("score,generation").is_none());
    assert!(
        judgments
            .rows
            .iter()
            .all(|row| row.category != "generation")
    );
    assert!(result.samples[0].metrics.is_empty());
    assert_eq!(result.samples[1].metrics, [("score", 0.5)]);
}

#[test]
fn a_text_without_a_reply_is_in_no_figure_of_a_classification() {
    let classifier = Classifier {
        subject: "kind".to_owned(),
        labels: vec!["A".to_owned(), "B".to_owned()],
        shots: Vec::new(),
        style: Style::Direct,
        max_tokens: 9,
    };
    let texts = [
        labelled("alpha", "B"),
        labelled("beta", "A"),
        labelled("gamma", "A"),
    ];
    let classify = |failing: &'static [&'static str]| {
        skipping(
            |text| failing.iter().any(|name| text.contains(name)),
            |runner| classifier.run(&ChatServer::new(runner, "chat"), &texts, &mut |_, _| {}),
        )
    };
    let figures = classify(&["beta"]).unwrap();
    assert_eq!(figures.confusion, [[0, 1], [0, 1]]);
    assert_eq!(
        (figures.accuracy.value, &*figures.unparsable),
        (0.5, &[0, 0][..])
    );
    let result = classifier.task_result(&texts, &figures);
    assert_eq!((result.no_reply, result.sample_len), (1, 2));
    assert!(result.samples[1].unanswered() && result.samples[1].metrics.is_empty());
    let error = classify(&["alpha", "beta", "gamma"]).unwrap_err();
    assert_eq!(error.to_string(), "none of 3 texts got a reply");
}
