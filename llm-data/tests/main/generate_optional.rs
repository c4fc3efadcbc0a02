//! Fields that a server may refuse.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llm_data::generate::{
    ChatReply, ChatRequest, ModelError, ModelErrorKind, OnFailure, Question, ReplyCache,
    RetryPolicy, RunOptions, Runner, Sampling,
};
use serde_json::json;

fn questions(count: usize) -> Vec<Question> {
    let mut sampling = Sampling::default();
    let format = json!({"type": "json_schema"});
    sampling
        .optional
        .insert("response_format".to_owned(), format);
    let request = |number| ChatRequest::new("m", format!("{number}?"), sampling.clone());
    (0..count)
        .map(|number| Question {
            request: request(number),
            attempt: 0,
        })
        .collect()
}

fn options(workers: usize) -> RunOptions {
    RunOptions {
        workers,
        retry: RetryPolicy {
            min_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            ..RetryPolicy::default()
        },
        ..RunOptions::default()
    }
}

/// A server that refuses optional fields with a status, and the questions it got: with the fields,
/// and without.
struct Server {
    status: u16,
    full: Mutex<Vec<String>>,
    less: Mutex<Vec<String>>,
}

impl Server {
    fn new(status: u16) -> Self {
        Self {
            status,
            full: Mutex::default(),
            less: Mutex::default(),
        }
    }

    fn answer(&self, request: &ChatRequest) -> Result<ChatReply, ModelError> {
        let text = request.messages[0].content.clone();
        if request.sampling.optional.is_empty() {
            self.less.lock().unwrap().push(text.clone());
            return Ok(ChatReply::new(text));
        }
        self.full.lock().unwrap().push(text);
        std::thread::sleep(Duration::from_millis(5));
        Err(ModelError::new(ModelErrorKind::Refused(self.status), "no"))
    }

    fn counts(&self) -> (usize, usize) {
        (
            self.full.lock().unwrap().len(),
            self.less.lock().unwrap().len(),
        )
    }
}

#[test]
fn refused_fields_are_left_out_for_the_rest_of_the_run() {
    for (status, workers) in [(400, 1), (422, 4)] {
        let server = Server::new(status);
        let model = |request: &ChatRequest| server.answer(request);
        let cache = ReplyCache::in_memory().unwrap();
        let runner = Runner::new(&model, &cache, options(workers)).unwrap();
        let replies = runner.ask_all(&questions(40)).unwrap();
        for (number, reply) in replies.iter().enumerate() {
            let reply = reply.as_ref().unwrap();
            assert_eq!(reply.choices[0].text, format!("{number}?"));
            assert!(reply.optional_refused);
        }
        let (full, less) = server.counts();
        assert!((1..=workers).contains(&full), "{full} of {workers}");
        assert_eq!(less, 40);
        // Another batch of the same run.
        runner.ask_all(&questions(50)).unwrap();
        assert_eq!(server.counts(), (full, 50));
        let counts = runner.counts().unwrap();
        assert_eq!(
            (counts.reduced, counts.asked as usize),
            (40 + 50, full + 50)
        );
    }
}

/// The cache knows what was refused, whatever the number of workers.
#[test]
fn a_run_that_goes_on_asks_nothing_twice() {
    let server = Server::new(400);
    let model = |request: &ChatRequest| server.answer(request);
    let cache = ReplyCache::in_memory().unwrap();
    let first = Runner::new(&model, &cache, options(1)).unwrap();
    first.ask_all(&questions(40)[3..4]).unwrap();
    assert_eq!(server.counts(), (1, 1));
    let second = Runner::new(&model, &cache, options(4)).unwrap();
    let replies = second.ask_all(&questions(40)).unwrap();
    assert!(
        replies
            .iter()
            .all(|reply| reply.as_ref().unwrap().optional_refused)
    );
    assert_eq!(server.counts(), (1, 40));
    assert_eq!(second.counts().unwrap().cached, 1);
    let mut asked = server.less.lock().unwrap().clone();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), 40);
}

#[test]
fn a_wrong_key_or_model_is_no_matter_of_fields() {
    for status in [401, 403, 404, 413] {
        let server = Server::new(status);
        let model = |request: &ChatRequest| server.answer(request);
        let cache = ReplyCache::in_memory().unwrap();
        let runner = Runner::new(&model, &cache, options(1)).unwrap();
        assert!(runner.ask_all(&questions(3)).is_err());
        assert_eq!(server.counts(), (1, 0), "{status}");
    }
}

/// A question that is refused with the fields and without says nothing about them.
#[test]
fn a_question_refused_for_itself_leaves_the_fields_in() {
    let full = AtomicUsize::new(0);
    let model = |request: &ChatRequest| {
        if !request.sampling.optional.is_empty() {
            full.fetch_add(1, Ordering::SeqCst);
        }
        match &*request.messages[0].content {
            "0?" => Err(ModelError::new(ModelErrorKind::Refused(400), "too long")),
            text => Ok(ChatReply::new(text)),
        }
    };
    let cache = ReplyCache::in_memory().unwrap();
    let options = RunOptions {
        on_failure: OnFailure::Skip,
        ..options(1)
    };
    let runner = Runner::new(&model, &cache, options).unwrap();
    let replies = runner.ask_all(&questions(5)).unwrap();
    assert_eq!(replies.iter().flatten().count(), 4);
    assert!(replies.iter().flatten().all(|one| !one.optional_refused));
    assert_eq!(full.load(Ordering::SeqCst), 5);
    let counts = runner.counts().unwrap();
    assert_eq!((counts.failed, counts.reduced, counts.asked), (1, 0, 6));
}

/// What earlier versions wrote, and hashed: a cache stays valid.
#[test]
fn requests_and_replies_without_the_newer_fields_are_as_before() {
    let request = ChatRequest::new("m", "Hi", Sampling::default());
    let written = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"sampling":{"temperature":1.0,"top_p":1.0,"max_tokens":3072},"n":1}"#;
    assert_eq!(serde_json::to_string(&request).unwrap(), written);
    let written = r#"{"choices":[{"text":"Ho","finish_reason":"stop"}],"usage":null}"#;
    let reply: ChatReply = serde_json::from_str(written).unwrap();
    assert_eq!(reply, ChatReply::new("Ho"));
    assert_eq!(serde_json::to_string(&reply).unwrap(), written);
}
