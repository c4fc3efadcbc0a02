//! Self-Instruct: which tasks are asked for, and which are kept.

use llm_data::AlpacaRecord;
use llm_data::generate::{
    Augment, ChatReply, ChatRequest, Evolve, FinishReason, GenerateOptions, Language, PromptSet,
    SelfInstruct, load_seed_tasks,
};
use serde_json::Value;

use crate::common::{record, shared};
use crate::generate::{random_model, seeds, with_model};

/// The rules of Alpaca and BELLE, against their own code (`goldens/gen_task_rules.py`).
#[test]
fn tasks_are_kept_as_alpaca_and_belle_keep_them() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/task_rules.json")).unwrap();
    for (key, language) in [("en", Language::En), ("zh", Language::Zh)] {
        let (prompts, seeds) = (PromptSet::builtin(language), seeds());
        let mut kept = 0;
        for case in goldens[key].as_array().unwrap() {
            let mut reply = ChatReply::new(case["reply"].as_str().unwrap());
            if case["finish_reason"] == "length" {
                reply.choices[0].finish_reason = FinishReason::Length;
            }
            let mut program = SelfInstruct::new(GenerateOptions::new("m"), &seeds, &prompts, 1000);
            (program.max_requests, program.max_similarity) = (1, 2.0);
            if language == Language::Zh {
                program.blacklist =
                    serde_json::from_value(goldens["zh_blacklist"].clone()).unwrap();
            }
            let made =
                with_model(|_: &ChatRequest| Ok(reply.clone()), 1, |r| program.run(r)).unwrap();
            let expected: Vec<AlpacaRecord> =
                serde_json::from_value(case["tasks"].clone()).unwrap();
            assert_eq!(made.records, expected, "{case:#}");
            kept += expected.len();
        }
        assert!(kept > 100, "{kept}");
    }
}

#[test]
fn a_reply_that_begins_with_its_number_is_read_as_well() {
    let (prompts, seeds) = (PromptSet::builtin(Language::En), seeds());
    let mut program = SelfInstruct::new(GenerateOptions::new("m"), &seeds, &prompts, 2);
    program.max_requests = 1;
    for text in [
        "4. Instruction: Name three kinds of bread.\n4. Input:\n<noinput>\n4. Output:\nRye.",
        "###\n1. Instruction: Name three kinds of bread.\n1. Input:\n<noInput>\n1. Output:\nRye.\n###",
        "Name three kinds of bread.\n4. Input: <noinput>\n4. Output: Rye.\n###\n",
    ] {
        let made = with_model(
            |_: &ChatRequest| Ok(ChatReply::new(text)),
            1,
            |r| program.run(r),
        )
        .unwrap();
        assert_eq!(
            made.records,
            [record("Name three kinds of bread.", "", "Rye.")],
            "{text}"
        );
        assert!(made.dropped.is_empty(), "{:?}", made.dropped);
    }
}

#[test]
fn near_instructions_are_refused() {
    let prompts = PromptSet::builtin(Language::En);
    let seeds = [record(
        "List seven words about a quiet winter garden today",
        "",
        "x",
    )];
    let mut program = SelfInstruct::new(GenerateOptions::new("m"), &seeds, &prompts, 9);
    (program.shown, program.max_requests) = (1, 1);
    // Of 9 words 7 and 6 stand in the seed in order: F1 is 14/18 and 12/18.
    let reply = " List seven words about a quiet winter tree now\n2. Input:\n<noinput>\n2. Output:\na\n###\n\
        3. Instruction: List seven words about a quiet city here now\n3. Input:\n<noinput>\n3. Output:\nb\n###\n\
        4. Instruction: List seven words about a quiet city here now!\n4. Input:\n<noinput>\n4. Output:\nb";
    let made = with_model(
        |_: &ChatRequest| Ok(ChatReply::new(reply)),
        1,
        |r| program.run(r),
    )
    .unwrap();
    let kept: Vec<_> = made
        .records
        .iter()
        .map(|record| record.instruction.as_str())
        .collect();
    assert_eq!(kept, ["List seven words about a quiet city here now"]);
    assert_eq!(made.dropped["similar"], 2);
}

#[test]
fn the_result_depends_on_the_seed_and_not_on_the_workers() {
    let (prompts, seeds) = (PromptSet::builtin(Language::En), seeds());
    let run = |workers, seed| {
        let mut options = GenerateOptions::new("m");
        options.seed = seed;
        let tasks = SelfInstruct::new(options.clone(), &seeds, &prompts, 30);
        let augment = Augment::new(options.clone(), &seeds, &prompts, 60);
        let augment_model = |request: &ChatRequest| {
            let reply = random_model(request)?;
            Ok(ChatReply::new(reply.choices[0].text.replace("4. ", "1. ")))
        };
        let evolve = Evolve::new(options, &seeds, &prompts);
        (
            with_model(random_model, workers, |runner| tasks.run(runner)).unwrap(),
            with_model(augment_model, workers, |runner| augment.run(runner)).unwrap(),
            with_model(random_model, workers, |runner| evolve.run(runner)).unwrap(),
        )
    };
    let one = run(1, 7);
    assert_eq!(one.0.records.len(), 30);
    assert_eq!(one.1.records.len(), 60);
    assert!(one.2.records.len() > 30, "{:?}", one.2.dropped);
    for workers in [2, 5, 16] {
        assert_eq!(run(workers, 7), one);
    }
    assert_ne!(run(1, 8), one);
}

#[test]
fn the_references_seeds_are_read() {
    for (file, count) in [
        ("alpaca_seed_tasks.jsonl", 175),
        ("belle_zh_seed_tasks.jsonl", 175),
    ] {
        let Some(path) = shared(&format!("data/self_instruct/{file}")) else {
            return;
        };
        let seeds = load_seed_tasks(path).unwrap();
        assert_eq!(seeds.len(), count, "{file}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seeds.jsonl");
    std::fs::write(
        &path,
        "{\"instruction\": 3, \"instances\": [{\"input\": 1}]}\n{\"instruction\": \"q\", \"instances\": []}",
    )
    .unwrap();
    let error = load_seed_tasks(&path).unwrap_err().to_string();
    for field in [
        "`instruction`",
        "`instances[0].input`",
        "`instances[0].output`",
        "`instances`",
    ] {
        assert!(error.contains(field), "{error}");
    }
}
