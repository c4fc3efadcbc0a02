//! Completions made elsewhere, BELLE, and models that only chat.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use llm_data::generate::{ChatReply, ChatRequest, ReplyCache, RunOptions, Runner};
use llm_eval::bench::classify::{Classifier, Labelled, Style};
use llm_eval::bench::score::{Benchmark, Score, read_completions, score};
use llm_eval::bench::{ChatServer, TaskOptions, belle, evaluate, mmlu};
use serde_json::{Value, json};

use crate::data::{data, golden, shared};

fn exact(score: Score) -> llm_eval::bench::TaskResult {
    match score {
        Score::Exact(result) => *result,
        Score::Judged(_) => panic!("not exact"),
    }
}

#[test]
fn gsm8k_completions_score_as_in_the_harness() {
    let Some(test) = shared("data/eval/gsm8k_test.jsonl") else {
        return;
    };
    let golden = &golden()["gsm8k"];
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("test.jsonl");
    let text = std::fs::read_to_string(test).unwrap();
    std::fs::write(&data, text.lines().take(20).collect::<Vec<_>>().join("\n")).unwrap();
    let raw: HashMap<String, String> = serde_json::from_value(golden["raw"].clone()).unwrap();
    let samples = golden["samples"]["gsm8k"].as_array().unwrap();
    let rows = samples
        .iter()
        .filter(|sample| sample["filter"] == "strict-match");
    let reply = |sample: &Value| raw[sample["arguments"][0][0].as_str().unwrap()].clone();
    let lines = rows.map(|sample| serde_json::json!({"out": reply(sample)}).to_string());
    let completions = dir.path().join("completions.jsonl");
    std::fs::write(&completions, lines.collect::<Vec<_>>().join("\n")).unwrap();

    let texts = read_completions(&completions, "out").unwrap();
    let result = exact(score(Benchmark::Gsm8k, &data, &texts).unwrap());
    for key in ["exact_match,strict-match", "exact_match,flexible-extract"] {
        let expected = golden["results"]["gsm8k"][key].as_f64().unwrap();
        assert_eq!(result.metric(key).unwrap().value, expected, "{key}");
    }
    assert_eq!(
        result.unparsable,
        [("strict-match", 11), ("flexible-extract", 2)]
    );

    let error = read_completions(&completions, "text")
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("completions.jsonl:1: field `text`: absent"),
        "{error}"
    );
    let error = score(Benchmark::Gsm8k, &data, &texts[1..])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "completions: expected 20, got 19");
}

#[test]
fn letters_score_strictly_and_flexibly() {
    let path = data("agieval/gaokao-physics.jsonl");
    let rows: Vec<Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let right = |row: &Value| {
        let letters = row["label"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_str().unwrap());
        letters.collect::<String>()
    };
    let mut texts: Vec<_> = rows
        .iter()
        .map(|row| format!("答案：{}。", right(row)))
        .collect();
    texts[0] = "不知道".to_owned();
    let result = exact(score(Benchmark::Agieval, &path, &texts).unwrap());
    for filter in ["strict", "flexible", "official"] {
        assert_eq!(
            result
                .metric(&format!("exact_match,{filter}"))
                .unwrap()
                .value,
            7.0 / 8.0
        );
    }
    assert_eq!(
        result.unparsable,
        [("strict", 1), ("flexible", 1), ("official", 1)]
    );
    let error = score(Benchmark::Agieval, data("texts.json"), &texts)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("no data set of AGIEval is named `texts`"),
        "{error}"
    );
}

#[test]
fn belle_is_judged_class_by_class() {
    let Some(path) = shared("data/eval/belle_eval_set.jsonl") else {
        return;
    };
    let task = belle::load(&path).unwrap();
    assert_eq!(task.items.len(), 1000);
    let replies: Vec<_> = (0..1000)
        .map(|i| {
            if i % 10 == 0 {
                "无法评分".to_owned()
            } else {
                "得分: 0.5".to_owned()
            }
        })
        .collect();
    let Score::Judged(classes) = score(Benchmark::Belle, &path, &replies).unwrap() else {
        panic!("not judged");
    };
    let of = |name: &str| classes.iter().find(|class| class.class == name).unwrap();
    assert_eq!((of("all").questions, of("all").unparsable), (1000, 100));
    assert_eq!((of("closed qa").questions, of("math").questions), (52, 75));
    assert_eq!(of("all").mean.unwrap().value, 0.5);
}

/// A directory with three of BELLE's questions and an instruction for each class.
pub(crate) fn belle_files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("eval_set.json");
    let rows = [
        ("写诗", "一首诗", "generation"),
        ("一加一", "二", "math"),
        ("再问", "", "closed\u{a0}QA"),
    ];
    let rows = rows.map(|(question, answer, class)| {
        serde_json::json!({"question": question, "std_answer": answer, "class": class}).to_string()
    });
    std::fs::write(&set, rows.join("\n")).unwrap();
    let prompts = dir.path().join("eval_prompt.json");
    let prompt = |class: &str| {
        serde_json::json!({"class": class, "prompt": format!("按{class}评分。")}).to_string()
    };
    std::fs::write(&prompts, belle::CLASSES.map(prompt).join("\n")).unwrap();
    dir
}

#[test]
fn belles_answers_are_judged_by_the_instruction_of_their_class() {
    let dir = belle_files();
    let set = dir.path().join("eval_set.json");
    let prompts = dir.path().join("eval_prompt.json");
    let task = belle::load(&set).unwrap();
    let chat = |request: &ChatRequest| {
        let text: Vec<_> = request.messages.iter().map(|m| &*m.content).collect();
        let text = text.concat();
        let said = match text.as_str() {
            "写诗" | "一加一" | "再问" => "我的回答",
            // The instruction is the class's and stands behind the answer; the reference answer is shown
            // except where BELLE shows none.
            _ if text.contains("按generation评分。") => {
                assert!(text.contains("写诗") && !text.contains("一首诗"), "{text}");
                assert!(text.find("我的回答") < text.find("按generation评分。"));
                "得分: 0.25"
            }
            _ if text.contains("按math评分。") => {
                assert!(text.contains("一加一") && text.contains("\n二\n"), "{text}");
                "理由……\n得分：1"
            }
            _ => "无法评分",
        };
        Ok(ChatReply::new(said))
    };
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&chat, &cache, RunOptions::default()).unwrap();
    let server = ChatServer::new(&runner, "chat");
    let mut result = evaluate(&task, &server, None, &mut |_, _| {}).unwrap();
    assert!(result.metrics.is_empty());
    let judge = belle::BelleJudge::new("judge")
        .with_prompts(&prompts)
        .unwrap();
    let estimate = judge.estimate(&runner, &task, Some(2), 100).unwrap();
    assert_eq!((estimate.requests, estimate.completion_tokens), (2, 200));
    let judgments = judge.run(&runner, "chat", &mut result).unwrap();
    let scores: Vec<_> = judgments.rows.iter().map(|row| row.score).collect();
    assert_eq!(scores, [Some(0.25), Some(1.0), None]);
    assert_eq!(result.metric("score,all").unwrap().value, 0.625);
    assert_eq!(result.metric("score,math").unwrap().value, 1.0);
    assert!(result.metric("score,closed qa").is_none());
    assert!(result.unparsable.contains(&("closed qa", 1)));
    assert_eq!(result.samples[0].metrics, [("score", 0.25)]);

    std::fs::write(&prompts, r#"{"class": "math", "prompt": "评分"}"#).unwrap();
    let error = belle::BelleJudge::new("judge")
        .with_prompts(&prompts)
        .unwrap_err();
    assert!(error.to_string().ends_with("the class code is missing"));
}

#[test]
fn a_chat_server_says_what_it_cannot() {
    let chat = |_: &ChatRequest| Ok(ChatReply::new("B"));
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&chat, &cache, RunOptions::default()).unwrap();
    let server = ChatServer::new(&runner, "chat");
    let tasks = mmlu::load(data("mmlu"), &TaskOptions::default()).unwrap();
    let error = evaluate(&tasks[0], &server, None, &mut |_, _| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("model `chat`: the task `mmlu_anatomy` compares log-probabilities"),
        "{error}"
    );
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("test")).unwrap();
    let file = dir.path().join("test/anatomy_test.csv");
    let options = TaskOptions {
        num_fewshot: Some(0),
        ..TaskOptions::default()
    };
    for (text, expected) in [
        (
            "q,a,b,c,d\n",
            ":1: field `question`: expected 6 columns, got 5",
        ),
        (
            "q,a,b,c,d,A\n\"q\nr\",a,b,c,d,E\n",
            ":2: field `answer`: expected one of the 4 letters, got `E`",
        ),
        (
            "q,a,b,c,d,A\n\n\"q,a\n",
            ":3: a quotation mark is not closed",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = mmlu::load(dir.path(), &options).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    std::fs::write(&file, b"q,a,b,c,d,A\nq,\xff,b,c,d,A\n").unwrap();
    let error = mmlu::load(dir.path(), &options).unwrap_err().to_string();
    assert!(
        error.contains("anatomy_test.csv:2: invalid utf-8"),
        "{error}"
    );
    std::fs::write(&file, "q,a,b,c,d,A\n").unwrap();
    let error = mmlu::load(dir.path(), &TaskOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("anatomy_dev.csv"), "{error}");
}

#[test]
fn a_wrong_value_is_named_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("set.jsonl");
    let class = vec![0; 10_000];
    let row = json!({"question": "问", "class": class, "std_answer": null});
    std::fs::write(&file, format!("\u{feff}{row}\n")).unwrap();
    let error = belle::load(&file).unwrap_err().to_string();
    assert!(
        error.ends_with(":1: field `class`: expected a text, got an array"),
        "{error}"
    );
}

pub(crate) fn labelled(text: &str, label: &str) -> Labelled {
    Labelled {
        text: text.to_owned(),
        label: label.to_owned(),
        ..Labelled::default()
    }
}

#[test]
fn texts_are_classified_by_prompt() {
    let mut classifier = Classifier {
        subject: "sentiment".to_owned(),
        labels: vec!["positive".to_owned(), "negative".to_owned()],
        shots: vec![labelled("I love it.", "positive")],
        style: Style::ChainOfClues,
        max_tokens: 200,
    };
    let prompt = classifier.prompt("It broke.");
    assert!(prompt.contains("list CLUES") && prompt.contains("positive, negative"));
    let shot_and_text = "Text: I love it.\nSentiment: positive\n\nText: It broke.\nCLUES:";
    assert!(prompt.ends_with(shot_and_text), "{prompt}");

    let chat = |request: &ChatRequest| {
        let said = match request.messages[0].content.contains("Text: It") {
            true => " broke\nREASONING: broken things are not positive.\nSentiment: Negative",
            false => " none",
        };
        Ok(ChatReply::new(said))
    };
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&chat, &cache, RunOptions::default()).unwrap();
    let server = ChatServer::new(&runner, "chat");
    let texts = [
        labelled("It broke.", "negative"),
        labelled("It shines.", "Positive"),
        labelled("Hm.", "negative"),
    ];
    let got = classifier.run(&server, &texts, &mut |_, _| {}).unwrap();
    assert_eq!(got.confusion, [[0, 1], [0, 1]]);
    assert_eq!(got.unparsable, [0, 1]);
    assert!((got.accuracy.value - 1.0 / 3.0).abs() < 1e-12);
    // F1 of "negative" is 2·1 / (2 given + 2 there), of "positive" 0.
    assert!((got.macro_f1 - 0.25).abs() < 1e-12);

    let result = classifier.task_result(&texts, &got);
    assert_eq!(
        result.extra["confusion_matrix"],
        serde_json::json!([[0, 1], [0, 1]])
    );
    let acc: Vec<_> = result.samples.iter().map(|s| s.metrics[0].1).collect();
    assert_eq!(acc, [1.0, 0.0, 0.0]);
    classifier.shots[0].clues = Some("love".to_owned());
    classifier.shots[0].reasoning = Some("love is positive".to_owned());
    let shot =
        "Text: I love it.\nCLUES: love\nREASONING: love is positive\nSentiment: positive\n\n";
    assert!(classifier.prompt("It broke.").contains(shot));

    classifier.labels.pop();
    assert!(classifier.run(&server, &texts, &mut |_, _| {}).is_err());
    classifier.labels.push("neutral".to_owned());
    let error = classifier
        .run(&server, &texts, &mut |_, _| {})
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "no label is named `negative`; known are positive, neutral"
    );
}
