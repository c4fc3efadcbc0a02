//! What generation refuses, and what it tells apart.

use std::sync::Mutex;

use llm_data::generate::{
    Answer, Augment, Budget, ChatModel, ChatReply, ChatRequest, Evolve, GenerateOptions, Language,
    ModelError, Price, PromptSet, Question, ReplyCache, RunOptions, Runner, Sampling, SelfInstruct,
};
use llm_data::{AlpacaRecord, Error, Role};

fn record(instruction: &str) -> AlpacaRecord {
    AlpacaRecord {
        instruction: instruction.to_owned(),
        output: "An answer.".to_owned(),
        ..AlpacaRecord::default()
    }
}

fn echo(request: &ChatRequest) -> Result<ChatReply, ModelError> {
    Ok(ChatReply::new(&request.messages[0].content))
}

fn runner<'a>(model: &'a dyn ChatModel, cache: &'a ReplyCache) -> Runner<'a> {
    Runner::new(model, cache, RunOptions::default()).unwrap()
}

#[test]
fn an_answer_is_asked_for_with_system_text_and_history() {
    let asked = Mutex::new(Vec::new());
    let model = |request: &ChatRequest| {
        asked.lock().unwrap().push(request.messages.clone());
        Ok(ChatReply::new("New."))
    };
    let cache = ReplyCache::in_memory().unwrap();
    let whole = AlpacaRecord {
        system: Some("Be brief.".to_owned()),
        history: vec![("Hello?".to_owned(), "Hi.".to_owned())],
        ..record("And now?")
    };
    let blank = AlpacaRecord {
        system: Some(" ".to_owned()),
        ..record("Alone?")
    };
    let program = Answer {
        options: GenerateOptions::new("m"),
        instructions: &[whole.clone(), blank],
        prompts: &PromptSet::builtin(Language::En),
    };
    let made = program.run(&runner(&model, &cache)).unwrap();
    assert_eq!(made.records[0].output, "New.");
    assert_eq!(made.records[0].history, whole.history);
    let mut asked = asked.into_inner().unwrap();
    asked.sort_by_key(Vec::len);
    let said = |messages: &[llm_data::Message]| -> Vec<(Role, String)> {
        let messages = messages.iter();
        messages
            .map(|one| (one.role, one.content.clone()))
            .collect()
    };
    assert_eq!(said(&asked[0]), [(Role::User, "Alone?".to_owned())]);
    let expected = [
        (Role::System, "Be brief."),
        (Role::User, "Hello?"),
        (Role::Assistant, "Hi."),
        (Role::User, "And now?"),
    ];
    assert_eq!(
        said(&asked[1]),
        expected.map(|(role, text)| (role, text.to_owned()))
    );
}

#[test]
fn what_a_method_would_lose_is_refused() {
    let cache = ReplyCache::in_memory().unwrap();
    let runner = runner(&echo, &cache);
    let prompts = PromptSet::builtin(Language::En);
    let options = || GenerateOptions::new("m");
    let with_history = AlpacaRecord {
        history: vec![("q".to_owned(), "a".to_owned())],
        ..record("one")
    };
    let records = [record("one"), record("two"), record("three"), with_history];
    let errors = [
        Augment::new(options(), &records, &prompts, 9)
            .run(&runner)
            .unwrap_err(),
        Augment::new(options(), &records, &prompts, 9)
            .estimate(&runner, 0.5)
            .unwrap_err(),
        Evolve::new(options(), &records, &prompts)
            .run(&runner)
            .unwrap_err(),
        SelfInstruct::new(options(), &records, &prompts, 9)
            .run(&runner)
            .unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("record 4"), "{error}");
    }
    assert_eq!(runner.counts().unwrap().asked, 0);
}

#[test]
fn a_reply_counts_up_to_the_number_asked_for_and_no_target_overflows() {
    let cache = ReplyCache::in_memory().unwrap();
    let names = ["Ants", "Bees", "Cats", "Dogs", "Eels", "Foxes", "Goats"];
    let task = |(number, name): (usize, &&str)| {
        let number = number + 4;
        format!(
            "{number}. Instruction: Tell all about {name} that live near {number} {name}\n\
             {number}. Input:\n<noinput>\n{number}. Output:\n{name}.\n###\n"
        )
    };
    let reply: String = names.iter().enumerate().map(task).collect();
    let model = |_: &ChatRequest| Ok(ChatReply::new(&reply));
    let runner = runner(&model, &cache);
    let prompts = PromptSet::builtin(Language::En);
    let seeds = ["one", "two", "three"].map(record);
    let mut program = SelfInstruct::new(GenerateOptions::new("m"), &seeds, &prompts, usize::MAX);
    (program.asked, program.max_requests) = (8, 1);
    program.max_similarity = 2.0;
    assert_eq!(program.run(&runner).unwrap().records.len(), 5);
    let augment = Augment::new(GenerateOptions::new("m"), &seeds, &prompts, usize::MAX);
    assert_eq!(augment.max_requests, usize::MAX);
    // Thousands are reckoned some at a time, each once.
    let augment = Augment::new(GenerateOptions::new("m"), &seeds, &prompts, 2503);
    let estimate = augment.estimate(&runner, 1.0).unwrap();
    assert_eq!((estimate.requests, estimate.cached), (2500, 0));
}

#[test]
fn fields_that_undo_the_budget_are_refused() {
    for name in ["n", "best_of", "max_tokens", "max_completion_tokens"] {
        let cache = ReplyCache::in_memory().unwrap();
        let runner = runner(&echo, &cache);
        let mut sampling = Sampling::default();
        sampling.extra.insert(name.to_owned(), 5.into());
        let request = ChatRequest::new("m", "q", sampling);
        let error = runner.ask_all(&[Question {
            request,
            attempt: 0,
        }]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("got {name}")), "{error}");
        assert_eq!(runner.counts().unwrap().asked, 0);
    }
}

#[test]
fn a_limit_on_cost_needs_the_price_of_every_model_that_was_paid() {
    let cache = ReplyCache::in_memory().unwrap();
    let question = |model: &str| {
        [Question {
            request: ChatRequest::new(model, "q", Sampling::default()),
            attempt: 0,
        }]
    };
    runner(&echo, &cache).ask_all(&question("dear")).unwrap();
    let mut options = RunOptions {
        budget: Budget {
            cost: Some(1000.0),
            ..Budget::default()
        },
        prices: [("cheap".to_owned(), Price::default())].into(),
        ..RunOptions::default()
    };
    let ask = |options: &RunOptions| {
        let runner = Runner::new(&echo, &cache, options.clone()).unwrap();
        runner.ask_all(&question("cheap"))
    };
    let error = ask(&options).unwrap_err();
    assert!(matches!(error, Error::NoPrice { model } if model == "dear"));
    options.prices.insert("dear".to_owned(), Price::default());
    ask(&options).unwrap();
}

#[test]
fn a_file_that_is_no_cache_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("thesis.txt");
    for text in ["The only copy of my thesis.", "{}"] {
        std::fs::write(&path, text).unwrap();
        let error = ReplyCache::open(&path).unwrap_err();
        assert!(matches!(error, Error::Cache { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A question that is asked once more is told from the first time.
#[test]
fn the_source_hears_which_time_it_is_asked() {
    struct Counting;
    impl ChatModel for Counting {
        fn ask(&self, _: &ChatRequest) -> Result<ChatReply, ModelError> {
            Ok(ChatReply::new("first"))
        }
        fn ask_again(&self, _: &ChatRequest, attempt: u64) -> Result<ChatReply, ModelError> {
            Ok(ChatReply::new(format!("again {attempt}")))
        }
    }
    let cache = ReplyCache::in_memory().unwrap();
    let question = |attempt| Question {
        request: ChatRequest::new("m", "q", Sampling::default()),
        attempt,
    };
    let replies = runner(&Counting, &cache).ask_all(&[question(0), question(2)]);
    let texts = replies.unwrap().into_iter().flatten();
    let texts: Vec<String> = texts.map(|reply| reply.choices[0].text.clone()).collect();
    assert_eq!(texts, ["first", "again 2"]);
}

#[cfg(feature = "http")]
#[test]
fn servers_that_only_their_query_tells_apart_share_no_replies() {
    use llm_data::generate::{OpenAiClient, OpenAiOptions};
    let client = |query: &str| {
        let url = format!("http://host/v1{query}");
        OpenAiClient::new(OpenAiOptions::new(url)).unwrap()
    };
    let (east, west) = (client("?route=east"), client("?route=west"));
    assert_ne!(east.identity(), west.identity());
    assert_eq!(east.identity(), client("?route=east").identity());
    let cache = ReplyCache::in_memory().unwrap();
    for client in [&east, &west] {
        let shown = format!("{:?} {}", runner(client, &cache), client.endpoint());
        let identity = format!("{shown} {}", client.identity());
        assert!(
            !identity.contains("east") && !identity.contains("west"),
            "{identity}"
        );
        assert!(!shown.contains('#'), "{shown}");
    }
    // Where nothing is hidden, the key is that of the address as it is shown, as in older caches.
    for query in ["", "?api-version=2024-06-01"] {
        assert_eq!(client(query).identity(), client(query).endpoint());
    }
}
