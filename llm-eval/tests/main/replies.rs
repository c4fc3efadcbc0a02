//! How much of a reply is read.
#![allow(clippy::unwrap_used, reason = "tests")]

use llm_data::generate::{ChatReply, ChatRequest, ReplyCache, RunOptions, Runner};
use llm_eval::bench::{
    Answers, ChatServer, Output, TaskOptions, Variant, agieval, ceval, evaluate, mmlu,
};

use crate::data::data;

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
