//! The generation programs, with models that are closures.

use std::hash::{DefaultHasher, Hash, Hasher};

use llm_data::generate::{
    Answer, Augment, ChatReply, ChatRequest, Evolve, FinishReason, GenerateOptions, Language,
    ModelError, ModelErrorKind, OnFailure, Operation, PromptSet, ReplyCache, RetryPolicy,
    RunOptions, Runner, SelfChat, SelfInstruct,
};
use llm_data::{AlpacaRecord, Error};
use proptest::prelude::*;

use crate::common::record;

const WORDS: &[&str] = &[
    "river", "explain", "number", "quiet", "garden", "compare", "letter", "winter", "doctor",
    "bread", "choose", "history", "simple", "village", "measure", "colour", "market", "answer",
    "summer", "teacher", "planet", "forest", "engine", "window", "rewrite", "sentence", "argue",
    "friend", "travel", "coffee", "poem", "recipe", "advice", "city", "school", "music", "sorry",
    "budget",
];

fn words(state: &mut u64, count: usize) -> String {
    let mut word = || {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        WORDS[(*state >> 33) as usize % WORDS.len()]
    };
    let words: Vec<_> = (0..count).map(|_| word()).collect();
    words.join(" ")
}

pub(crate) fn seeds() -> Vec<AlpacaRecord> {
    let mut state = 3;
    let mut seed = |_| record(&words(&mut state, 8), "", &words(&mut state, 5));
    (0..30).map(&mut seed).collect()
}

/// Plausible replies to every prompt of Self-Instruct and Evol-Instruct, by the prompt's hash.
pub(crate) fn random_model(request: &ChatRequest) -> Result<ChatReply, ModelError> {
    let prompt = &request.messages[0].content;
    let mut hasher = DefaultHasher::new();
    prompt.hash(&mut hasher);
    let mut state = hasher.finish();
    let text = if prompt.contains("1. Instruction:") {
        let mut task = |number: usize| {
            let (asked, answer) = (words(&mut state, 7), words(&mut state, 6));
            format!(
                "{number}. Instruction: {asked}\n{number}. Input:\n<noinput>\n{number}. Output:\n{answer}\n"
            )
        };
        (4..8).map(|number| task(number) + "###\n").collect()
    } else if prompt.contains("one word: Equal") {
        if state.is_multiple_of(4) {
            "Equal."
        } else {
            "Different."
        }
        .to_owned()
    } else {
        words(&mut state, 9)
    };
    Ok(ChatReply::new(text))
}

/// Runs with a model that needs no cache to be kept.
pub(crate) fn with_model<T>(
    model: impl Fn(&ChatRequest) -> Result<ChatReply, ModelError> + Sync,
    workers: usize,
    run: impl FnOnce(&Runner<'_>) -> T,
) -> T {
    let cache = ReplyCache::in_memory().unwrap();
    let options = RunOptions {
        workers,
        retry: RetryPolicy {
            max_retries: 0,
            ..RetryPolicy::default()
        },
        on_failure: OnFailure::Skip,
        ..RunOptions::default()
    };
    run(&Runner::new(&model, &cache, options).unwrap())
}

/// A model that replies by what the prompt contains; the first match counts.
fn scripted(script: Vec<(&str, &str)>) -> impl Fn(&ChatRequest) -> Result<ChatReply, ModelError> {
    move |request| {
        let prompt = &request.messages[0].content;
        let reply = script.iter().find(|(part, _)| prompt.contains(part));
        let error = || ModelError::new(ModelErrorKind::Other, format!("no reply to {prompt}"));
        reply
            .map(|(_, reply)| ChatReply::new(*reply))
            .ok_or_else(error)
    }
}

#[test]
fn answers_that_are_none_are_dropped() {
    let prompts = PromptSet::builtin(Language::En);
    let instructions: Vec<_> = ["good", "empty", "long", "hidden", "failing", "padded"]
        .map(|name| record(&format!("{name}?"), "", "old"))
        .into_iter()
        .chain([record("With {{input}} or", "the {{instruction}} text", "")])
        .collect();
    let model = |request: &ChatRequest| {
        let prompt = request.messages[0].content.as_str();
        let mut reply = ChatReply::new(match prompt {
            "empty?" => " \n",
            "padded?" => "\n padded\n",
            _ => prompt,
        });
        match prompt {
            "long?" => reply.choices[0].finish_reason = FinishReason::Length,
            "hidden?" => reply.choices[0].finish_reason = FinishReason::ContentFilter,
            "failing?" => return Err(ModelError::new(ModelErrorKind::Refused(400), "too long")),
            _ => {}
        }
        Ok(reply)
    };
    let program = Answer {
        options: GenerateOptions::new("m"),
        instructions: &instructions,
        prompts: &prompts,
    };
    let made = with_model(model, 3, |runner| program.run(runner)).unwrap();
    let outputs: Vec<_> = made
        .records
        .iter()
        .map(|record| record.output.as_str())
        .collect();
    assert_eq!(
        outputs,
        [
            "good?",
            "padded",
            "With {{input}} or\n\nthe {{instruction}} text"
        ]
    );
    let dropped: Vec<_> = made.dropped.into_iter().collect();
    assert_eq!(
        dropped,
        [
            ("content_filter", 1),
            ("cut_off", 1),
            ("empty", 1),
            ("no_reply", 1)
        ]
    );
}

#[test]
fn every_operation_asks_in_its_own_way_and_eliminations_work() {
    let prompts = PromptSet::builtin(Language::En);
    let start = [record("Sort the list.", "3, 1, 2", "")];
    let long = format!("I am sorry, but {}", "word ".repeat(80));
    let evolve = |operation, after: &str, verdict: &str, answer: &str| {
        let mut program = Evolve::new(GenerateOptions::new("m"), &start, &prompts);
        (program.rounds, program.operations) = (1, vec![operation]);
        let method = match operation {
            Operation::Constraints => "one more constraint",
            Operation::Deepen => "in more depth",
            Operation::Concretise => "specific ones",
            Operation::Reasoning => "steps of reasoning",
            Operation::ComplicateInput => "JSON",
            Operation::Breadth => "but is rarer",
        };
        let script = vec![
            ("one word: Equal", verdict),
            (method, after),
            (after, answer),
        ];
        let made = with_model(scripted(script), 1, |runner| program.run(runner)).unwrap();
        let dropped: Vec<_> = made.dropped.keys().copied().collect();
        (made.records, dropped.join(" "))
    };
    for operation in Operation::ALL {
        let (records, dropped) = evolve(operation, "Sort it twice.", "Different", "1, 2, 3");
        assert_eq!(dropped, "");
        assert_eq!(records[0].record, record("Sort it twice.", "", "1, 2, 3"));
        assert_eq!((records[0].operation, records[0].round), (operation, 1));
    }
    let dropped = |after, verdict, answer| evolve(Operation::Deepen, after, verdict, answer).1;
    assert_eq!(dropped("Sort it twice.", "Equal", "1"), "no_gain");
    assert_eq!(
        dropped("Sort the list.\n3, 1, 2", "Different", "1"),
        "no_gain"
    );
    assert_eq!(dropped("Sort it twice.", "Perhaps", "1"), "not_compared");
    assert_eq!(
        dropped("Sort it twice.", "Not equal.", "Sorry, I cannot."),
        "sorry"
    );
    assert_eq!(dropped("Sort it twice.", "Different", &long), "");
    assert_eq!(
        dropped("Sort it twice.", "Different", "It is -- the, and!"),
        "only_stop_words"
    );
    assert_eq!(
        dropped("Sort the Rewritten Task.", "Different", "1"),
        "copies_prompt"
    );
    assert_eq!(
        dropped("Sort the given prompt.", "Different", "1"),
        "copies_prompt"
    );
}

#[test]
fn conversations_end_with_the_assistant() {
    let prompts = PromptSet::builtin(Language::En);
    let topics: Vec<_> = ["whole", "open", "order", "none", "cut"]
        .map(str::to_owned)
        .to_vec();
    let model = |request: &ChatRequest| {
        let has = |topic: &str| {
            request.messages[0]
                .content
                .contains(&format!("\n{topic}\n"))
        };
        let mut reply = ChatReply::new(match () {
            () if has("whole") => {
                "Here it is:\n[Human] Hi\nthere\n[AI]: Hello.\n\n- a\n[人类]好\n[助手]：好的"
            }
            () if has("open") => "[Human] Hi\n[AI] Hello.\n[Human] And?",
            () if has("order") => "[Human] Hi\n[AI] Hello.\n[AI] Again.\n[Human] x\n[AI] y",
            () if has("none") => "[AI] Hello.\n[Human] Hi",
            () => "[Human] Hi\n[AI] Hello.\n[Human] And?\n[AI] It go",
        });
        if has("cut") {
            reply.choices[0].finish_reason = FinishReason::Length;
        }
        Ok(reply)
    };
    let program = SelfChat {
        options: GenerateOptions::new("m"),
        topics: &topics,
        prompts: &prompts,
    };
    let made = with_model(model, 2, |runner| program.run(runner)).unwrap();
    let texts = made.records.iter().map(|conversation| {
        let messages = conversation.messages.iter();
        messages
            .map(|message| format!("{}: {}", message.role.as_str(), message.content))
            .collect::<Vec<_>>()
    });
    let short = ["user: Hi", "assistant: Hello."]
        .map(str::to_owned)
        .to_vec();
    let whole = [
        "user: Hi\nthere",
        "assistant: Hello.\n\n- a",
        "user: 好",
        "assistant: 好的",
    ];
    let expected = vec![
        whole.map(str::to_owned).to_vec(),
        short.clone(),
        short.clone(),
        short,
    ];
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    assert_eq!(made.dropped["format"], 1);
}

/// Fifty become two hundred, none near another, and mistakes stand in the next prompts.
#[test]
fn fifty_records_become_two_hundred() {
    let prompts = PromptSet::builtin(Language::En);
    let mut state = 9;
    let mut make = |_| {
        record(
            &words(&mut state, 9),
            &words(&mut state, 9),
            &words(&mut state, 9),
        )
    };
    let records: Vec<_> = (0..50).map(&mut make).collect();
    let (first, count) = (records[0].clone(), std::sync::atomic::AtomicUsize::new(0));
    let shown = std::sync::Mutex::new(Vec::new());
    let model = |request: &ChatRequest| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let prompt = request.messages[0].content.clone();
        shown.lock().unwrap().push(prompt.clone());
        let mut hasher = DefaultHasher::new();
        prompt.hash(&mut hasher);
        let mut state = hasher.finish();
        let mut task = record(
            &words(&mut state, 9),
            &words(&mut state, 9),
            &words(&mut state, 9),
        );
        if number.is_multiple_of(5) {
            task = record(
                &first.instruction,
                &first.input,
                &format!("{} again", first.output),
            );
        }
        Ok(ChatReply::new(format!(
            "1. Instruction: {}\n1. Input: {}\n1. Output: {}",
            task.instruction, task.input, task.output
        )))
    };
    let program = Augment::new(GenerateOptions::new("m"), &records, &prompts, 200);
    let made = with_model(model, 1, |runner| program.run(runner)).unwrap();
    assert_eq!(made.records.len(), 200);
    assert_eq!(made.records[..50], records);
    assert!(made.dropped["similar"] >= 30, "{:?}", made.dropped);
    let shown = shown.into_inner().unwrap();
    assert!(
        shown
            .iter()
            .any(|prompt| prompt.contains(&format!("{} again", first.output)))
    );
    assert!(!shown[0].contains(" again"));
}

#[test]
fn prompts_are_replaced_by_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("answer_plain.txt", "Please: {{instruction}} {{unknown}}\n");
    write("README.md", "not a prompt");
    let prompts = PromptSet::from_dir(Language::En, folder.path()).unwrap();
    let instructions = [record("Hello {{instruction}}", "", "")];
    let program = Answer {
        options: GenerateOptions::new("m"),
        instructions: &instructions,
        prompts: &prompts,
    };
    let echo = |request: &ChatRequest| Ok(ChatReply::new(&request.messages[0].content));
    let made = with_model(echo, 1, |runner| program.run(runner)).unwrap();
    assert_eq!(
        made.records[0].output,
        "Please: Hello {{instruction}} {{unknown}}"
    );

    write("answer.txt", "{{instruction}} only");
    let error = PromptSet::from_dir(Language::En, folder.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Prompt { reason, .. } if reason.contains("{{input}}")),
        "{error}"
    );
    std::fs::remove_file(folder.path().join("answer.txt")).unwrap();
    write("anwser.txt", "{{instruction}}");
    let error = PromptSet::from_dir(Language::En, folder.path()).unwrap_err();
    assert!(
        matches!(&error, Error::Prompt { reason, .. } if reason.contains("self_chat")),
        "{error}"
    );
}

proptest! {
    /// Replies of labels, numbers and separators in any order are read or counted, without a panic.
    #[test]
    fn any_reply_is_read(
        parts in prop::collection::vec(prop::sample::select(vec![
            "###", "4. ", "5.", " ", "\n", "Instruction:", "Input:", "Output:", "指令：", "输入:", "输出：",
            "Name three kinds of bread", "<noinput>", "无输入", "é", "[Human]", "[AI]", "[人类]", ".", ":",
        ]), 0..40),
        zh in any::<bool>(), cut in any::<bool>(),
    ) {
        let mut reply = ChatReply::new(parts.concat());
        if cut {
            reply.choices[0].finish_reason = FinishReason::Length;
        }
        let model = |_: &ChatRequest| Ok(reply.clone());
        let prompts = PromptSet::builtin(if zh { Language::Zh } else { Language::En });
        let (options, seeds, topics) = (GenerateOptions::new("m"), seeds(), ["a".to_owned()]);
        let mut tasks = SelfInstruct::new(options.clone(), &seeds, &prompts, 9);
        tasks.max_requests = 1;
        let made = with_model(model, 1, |runner| tasks.run(runner)).unwrap();
        for record in made.records {
            prop_assert!(record.instruction.chars().count() > 3 && !record.output.is_empty());
        }
        let chat = SelfChat { options, topics: &topics, prompts: &prompts };
        let made = with_model(model, 1, |runner| chat.run(runner)).unwrap();
        for conversation in made.records {
            prop_assert!(conversation.messages.len().is_multiple_of(2));
        }
    }
}
