//! The runner: cache, budget, dry run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use llm_data::Error;
use llm_data::generate::{
    Budget, ChatReply, ChatRequest, ModelError, ModelErrorKind, OnFailure, Price, Question,
    ReplyCache, RetryPolicy, RunOptions, Runner, Sampling, Usage,
};
use proptest::prelude::*;

fn question(prompt: &str, attempt: u64) -> Question {
    let sampling = Sampling {
        max_tokens: 100,
        ..Sampling::default()
    };
    Question {
        request: ChatRequest::new("m", prompt, sampling),
        attempt,
    }
}

fn questions(count: usize) -> Vec<Question> {
    (0..count)
        .map(|number| question(&format!("What is {number}?"), 0))
        .collect()
}

fn echo(request: &ChatRequest) -> Result<ChatReply, ModelError> {
    Ok(ChatReply::new(&request.messages[0].content))
}

fn fast(max_retries: usize) -> RetryPolicy {
    RetryPolicy {
        max_retries,
        min_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        ..RetryPolicy::default()
    }
}

#[test]
fn replies_come_in_order_and_are_asked_for_once() {
    let asked = AtomicU64::new(0);
    let model = |request: &ChatRequest| {
        // The first ones come last.
        std::thread::sleep(Duration::from_millis(
            20_u64.saturating_sub(asked.fetch_add(1, Ordering::SeqCst)),
        ));
        echo(request)
    };
    let cache = ReplyCache::in_memory().unwrap();
    let options = RunOptions {
        workers: 8,
        ..RunOptions::default()
    };
    let runner = Runner::new(&model, &cache, options).unwrap();
    let mut questions = questions(40);
    questions.extend_from_within(..10);
    for _ in 0..2 {
        let replies = runner.ask_all(&questions).unwrap();
        for (question, reply) in questions.iter().zip(replies) {
            assert_eq!(
                reply.unwrap().choices[0].text,
                question.request.messages[0].content
            );
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 40);
    assert_eq!(cache.len().unwrap(), 40);
}

#[test]
fn everything_that_changes_a_reply_changes_the_key() {
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&echo, &cache, RunOptions::default()).unwrap();
    let base = question("a", 0);
    let change = |change: &dyn Fn(&mut Question)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    let extra = serde_json::from_str(r#"{"x": 1}"#).unwrap();
    let variants = [
        base.clone(),
        change(&|q| q.attempt = 1),
        change(&|q| q.request.model = "n".into()),
        change(&|q| q.request.n = 2),
        change(&|q| q.request.messages[0].content.push('b')),
        change(&|q| q.request.messages[0].role = llm_data::Role::System),
        change(&|q| q.request.sampling.temperature = 0.5),
        change(&|q| q.request.sampling.top_p = 0.5),
        change(&|q| q.request.sampling.max_tokens = 5),
        change(&|q| q.request.sampling.seed = Some(1)),
        change(&|q| q.request.sampling.logprobs = Some(20)),
        change(&|q| q.request.sampling.optional = serde_json::Map::clone(&extra)),
        change(&|q| q.request.sampling.stop.push("x".into())),
        change(&|q| q.request.sampling.extra = serde_json::Map::clone(&extra)),
    ];
    runner.ask_all(&variants).unwrap();
    assert_eq!(cache.len().unwrap(), variants.len() as u64);

    struct Elsewhere;
    impl llm_data::generate::ChatModel for Elsewhere {
        fn ask(&self, request: &ChatRequest) -> Result<ChatReply, ModelError> {
            echo(request)
        }
        fn endpoint(&self) -> String {
            "elsewhere".into()
        }
    }
    let runner = Runner::new(&Elsewhere, &cache, RunOptions::default()).unwrap();
    runner.ask_all(&variants).unwrap();
    assert_eq!(cache.len().unwrap(), 2 * variants.len() as u64);
}

#[test]
fn a_cache_is_held_by_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.redb");
    let cache = ReplyCache::open(&path).unwrap();
    assert!(matches!(
        ReplyCache::open(&path),
        Err(Error::CacheLocked { .. })
    ));
    drop(cache);
    ReplyCache::open(&path).unwrap();
    assert!(matches!(
        ReplyCache::open(folder.path()),
        Err(Error::Io { .. })
    ));
    let absent = folder.path().join("no/cache.redb");
    assert!(matches!(ReplyCache::open(absent), Err(Error::Io { .. })));
}

/// Whatever happens to the file, no reply is wrong and nothing is lost without a trace.
#[test]
fn a_damaged_cache_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.redb");
    let questions = questions(20);
    let ask = |path: &std::path::Path| {
        let cache = ReplyCache::open(path).unwrap();
        let runner = Runner::new(&echo, &cache, RunOptions::default()).unwrap();
        let replies = runner.ask_all(&questions).unwrap();
        for (question, reply) in questions.iter().zip(replies) {
            assert_eq!(
                reply.unwrap().choices[0].text,
                question.request.messages[0].content
            );
        }
        (
            runner.counts().unwrap().asked,
            cache.set_aside().map(std::path::Path::to_owned),
        )
    };
    assert_eq!(ask(&path), (20, None));
    assert_eq!(ask(&path), (0, None));
    let good = std::fs::read(&path).unwrap();

    let damaged = folder.path().join("damaged.redb");
    let mut rebuilt = 0;
    let mut check = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).unwrap();
        // One whose first bytes are others is no cache, and left alone; zeros stand there until a new cache is
        // whole, and whoever is killed then can go on.
        let start = &bytes[..bytes.len().min(9)];
        if !good.starts_with(start) && start.iter().any(|byte| *byte != 0) {
            assert!(matches!(
                ReplyCache::open(&damaged),
                Err(Error::Cache { .. })
            ));
            assert_eq!(std::fs::read(&damaged).unwrap(), bytes);
            return;
        }
        let (_, aside) = ask(&damaged);
        if let Some(aside) = aside {
            rebuilt += 1;
            std::fs::remove_file(aside).unwrap();
        }
        assert_eq!(ask(&damaged), (0, None));
    };
    check(b"not a database");
    check(&[0; 4096]);
    for length in [1, 100, 4096, good.len() / 2, good.len() - 1] {
        check(&good[..length]);
    }
    let mut state = 1u64;
    for _ in 0..60 {
        let mut bytes = good.clone();
        for _ in 0..4 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            // Half of the damage hits the header.
            let place = (state >> 33) as usize
                % if state & 1 << 20 == 0 {
                    512
                } else {
                    bytes.len()
                };
            bytes[place] ^= 1 << (state >> 60 & 7);
        }
        check(&bytes);
    }
    eprintln!("{rebuilt} of 67 damaged files were set aside");
    assert!(rebuilt > 5);
}

#[test]
fn failures_end_the_run_or_are_skipped() {
    let model = |request: &ChatRequest| match request.messages[0].content.as_str() {
        "What is 3?" => Err(ModelError::new(ModelErrorKind::Refused(400), "filtered")),
        "What is 5?" => Err(ModelError::new(ModelErrorKind::Server(503), "busy")),
        _ => echo(request),
    };
    let cache = ReplyCache::in_memory().unwrap();
    let mut options = RunOptions {
        workers: 2,
        retry: fast(2),
        ..RunOptions::default()
    };
    let runner = Runner::new(&model, &cache, options.clone()).unwrap();
    assert!(matches!(
        runner.ask_all(&questions(8)),
        Err(Error::Model { .. })
    ));

    options.on_failure = OnFailure::Skip;
    let runner = Runner::new(&model, &cache, options.clone()).unwrap();
    let replies = runner.ask_all(&questions(8)).unwrap();
    let missing: Vec<_> = (0..8).filter(|index| replies[*index].is_none()).collect();
    assert_eq!(missing, [3, 5]);
    assert_eq!(runner.counts().unwrap().failed, 2);

    let locked_out = |_: &ChatRequest| Err(ModelError::new(ModelErrorKind::Refused(401), "no key"));
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&locked_out, &cache, options).unwrap();
    assert!(matches!(
        runner.ask_all(&questions(8)),
        Err(Error::Model { .. })
    ));
}

#[test]
fn a_limit_on_cost_needs_a_price() {
    let cache = ReplyCache::in_memory().unwrap();
    for (cost, priced) in [(1.0, false), (f64::NAN, true), (-1.0, true)] {
        let mut options = RunOptions::default();
        options.budget.cost = Some(cost);
        if priced {
            options.prices.insert("m".into(), Price::default());
        }
        let runner = Runner::new(&echo, &cache, options).unwrap();
        let error = runner.ask_all(&questions(1)).unwrap_err();
        let expected = matches!(
            error,
            Error::NoPrice { .. }
                | Error::Option {
                    field: "budget.cost",
                    ..
                }
        );
        assert!(expected, "{error}");
    }
}

#[test]
fn a_dry_run_asks_nothing() {
    let cache = ReplyCache::in_memory().unwrap();
    let price = Price {
        prompt: 1.0,
        completion: 10.0,
    };
    let mut options = RunOptions::default();
    options.prices.insert("m".into(), price);
    let runner = Runner::new(&echo, &cache, options).unwrap();
    runner.ask_all(&questions(3)).unwrap();
    let estimate = runner.estimate(&questions(10), 20).unwrap();
    assert_eq!((estimate.requests, estimate.cached), (7, 3));
    assert_eq!(
        (estimate.completion_tokens, estimate.max_completion_tokens),
        (140, 700)
    );
    let prompt = estimate.prompt_tokens as f64;
    assert!((estimate.cost.unwrap() - (prompt + 1400.0) / 1e6).abs() < 1e-12);
    assert!((estimate.max_cost.unwrap() - (prompt + 7000.0) / 1e6).abs() < 1e-12);
    assert_eq!(runner.counts().unwrap().asked, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A server that bills what it likes within a question's limits, and fails now and then, never
    /// bills more than the budget, over several runs; and the budget is used as far as it goes.
    #[test]
    fn no_budget_is_exceeded(
        limit in 1u64..3000, workers in 1usize..6, seed in any::<u64>(), runs in 1usize..4,
    ) {
        let (billed, requests) = (AtomicU64::new(0), AtomicU64::new(0));
        let state = AtomicU64::new(seed);
        let model = |request: &ChatRequest| {
            let drawn = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst).wrapping_mul(0xD134_2543_DE82_EF95) >> 40;
            let usage = Usage {
                prompt_tokens: drawn % (request.messages[0].content.len() as u64 + 1),
                completion_tokens: drawn % (u64::from(request.sampling.max_tokens) + 1),
            };
            requests.fetch_add(1, Ordering::SeqCst);
            if drawn.is_multiple_of(11) {
                return Err(ModelError::new(ModelErrorKind::Server(500), ""));
            }
            billed.fetch_add(usage.prompt_tokens + usage.completion_tokens, Ordering::SeqCst);
            if drawn.is_multiple_of(7) {
                return Err(ModelError::new(ModelErrorKind::Timeout, ""));
            }
            let mut reply = echo(request)?;
            reply.usage = Some(usage);
            Ok(reply)
        };
        let cache = ReplyCache::in_memory().unwrap();
        let price = Price { prompt: 2.0, completion: 2.0 };
        let options = RunOptions {
            workers,
            retry: fast(5),
            budget: Budget { cost: Some(limit as f64 * 2.0 / 1e6), tokens: None, requests: Some(60) },
            prices: [("m".to_owned(), price)].into(),
            on_failure: OnFailure::Stop,
        };
        for run in 0..runs {
            let runner = Runner::new(&model, &cache, options.clone()).unwrap();
            let questions: Vec<_> = (0..20).map(|n| question(&format!("{run} {n}"), 0)).collect();
            match runner.ask_all(&questions) {
                Ok(_) | Err(Error::Budget { .. } | Error::Model { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            prop_assert!(runner.counts().unwrap().cost <= limit as f64 * 2.0 / 1e6 + 1e-12);
        }
        prop_assert!(billed.load(Ordering::SeqCst) <= limit);
        prop_assert!(requests.load(Ordering::SeqCst) <= 60);
    }
}
