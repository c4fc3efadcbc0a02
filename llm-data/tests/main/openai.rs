//! The client against a server that misbehaves.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use llm_data::Error;
use llm_data::generate::{
    ChatModel, ChatRequest, FinishReason, ModelError, ModelErrorKind, OpenAiClient, OpenAiOptions,
    Question, ReplyCache, RetryPolicy, RunOptions, Runner, Sampling,
};
use proptest::prelude::*;

use crate::http;

const GOOD: &str = r#"{"choices": [{"message": {"role": "assistant", "content": "Paris"},
    "finish_reason": "stop"}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}"#;

/// What the server does with one connection.
#[derive(Clone)]
enum Act {
    Reply(u16, &'static str, String),
    /// The connection is closed before or in the middle of the reply.
    Reset(&'static str),
    /// Nothing comes.
    Hang,
    /// A byte now and then.
    Drip,
    /// A body without end.
    Endless,
}

fn ok(body: &str) -> Act {
    Act::Reply(200, "", body.to_owned())
}

fn status(status: u16) -> Act {
    Act::Reply(status, "", r#"{"error": {"message": "no"}}"#.to_owned())
}

/// Serves the acts in turn, the last one for ever; its address and the requests it got.
fn server(acts: Vec<Act>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let act = acts[number.min(acts.len() - 1)].clone();
            let seen = Arc::clone(&seen);
            thread::spawn(move || serve(stream.unwrap(), &act, &seen));
        }
    });
    (address, requests)
}

fn serve(stream: TcpStream, act: &Act, seen: &Mutex<Vec<String>>) {
    let Some((head, body)) = http::request(&stream) else {
        return;
    };
    seen.lock().unwrap().push(head + &body);
    // The client may be gone.
    let send = |text: &str| (&stream).write_all(text.as_bytes()).is_ok();
    match act {
        Act::Reply(status, headers, body) => http::reply(&stream, *status, headers, body),
        Act::Reset(text) => {
            send(text);
        }
        Act::Hang => thread::sleep(Duration::from_secs(5)),
        Act::Drip => {
            send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
            while send(" ") {
                thread::sleep(Duration::from_millis(20));
            }
        }
        Act::Endless => {
            send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            while send(&chunk) {}
        }
    }
}

fn client(base_url: &str) -> OpenAiClient {
    let mut options = OpenAiOptions::new(base_url);
    options.timeout = Duration::from_millis(400);
    options.max_body_bytes = 1 << 20;
    options.api_key = Some("sk-the-very-secret".into());
    OpenAiClient::new(options).unwrap()
}

fn request() -> ChatRequest {
    ChatRequest::new("m", "The capital of France?", Sampling::default())
}

fn ask(act: Act) -> Result<llm_data::generate::ChatReply, ModelError> {
    client(&server(vec![act]).0).ask(&request())
}

/// The reply, or the error, and how many requests the server saw.
fn run(acts: Vec<Act>) -> (Result<String, Error>, usize) {
    let (address, requests) = server(acts);
    let (client, cache) = (client(&address), ReplyCache::in_memory().unwrap());
    let retry = RetryPolicy {
        max_retries: 3,
        min_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(20),
        ..RetryPolicy::default()
    };
    let options = RunOptions {
        retry,
        ..RunOptions::default()
    };
    let runner = Runner::new(&client, &cache, options).unwrap();
    let question = Question {
        request: request(),
        attempt: 0,
    };
    let replies = runner.ask_all(&[question]);
    let text = replies.map(|replies| replies[0].as_ref().unwrap().choices[0].text.clone());
    let seen = requests.lock().unwrap().len();
    (text, seen)
}

#[test]
fn the_request_is_what_the_protocol_says() {
    let (address, requests) = server(vec![ok(GOOD)]);
    let mut request = request();
    request.sampling.stop = vec!["###".to_owned()];
    request.sampling.extra =
        serde_json::from_str(r#"{"reasoning_effort": "low", "top_p": null}"#).unwrap();
    let reply = client(&address).ask(&request).unwrap();
    assert_eq!(reply.choices[0].text, "Paris");
    assert_eq!(reply.choices[0].finish_reason, FinishReason::Stop);
    assert_eq!(
        reply
            .usage
            .map(|usage| (usage.prompt_tokens, usage.completion_tokens)),
        Some((7, 1))
    );
    let seen = requests.lock().unwrap()[0].clone();
    assert!(
        seen.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{seen}"
    );
    assert!(
        seen.to_lowercase()
            .contains("\r\nauthorization: bearer sk-the-very-secret\r\n")
    );
    let body: serde_json::Value = serde_json::from_str(&seen[seen.find('{').unwrap()..]).unwrap();
    let expected = serde_json::json!({
        "model": "m", "messages": [{"role": "user", "content": "The capital of France?"}],
        "temperature": 1.0, "stop": ["###"], "max_tokens": 3072, "reasoning_effort": "low",
    });
    assert_eq!(body, expected);
}

#[test]
fn what_passes_is_asked_again() {
    let too_many = Act::Reply(429, "retry-after: 0\r\n", "slow down".to_owned());
    for fault in [
        too_many,
        status(500),
        status(502),
        status(503),
        Act::Reset(""),
        Act::Reset("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"choi"),
        Act::Hang,
        Act::Drip,
        Act::Endless,
        ok("no JSON"),
        ok("{}"),
    ] {
        let (text, seen) = run(vec![fault, ok(GOOD)]);
        assert_eq!((text.unwrap().as_str(), seen), ("Paris", 2));
    }
}

#[test]
fn what_does_not_pass_ends_by_the_policy() {
    let (error, seen) = run(vec![status(500)]);
    assert!(
        matches!(&error, Err(Error::Model { source }) if source.kind == ModelErrorKind::Server(500))
    );
    assert_eq!(seen, 4);
    // A reply that cannot be read costs money each time.
    for act in [ok("{}"), Act::Endless] {
        assert_eq!(run(vec![act]).1, 2);
    }
    let quota =
        r#"{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}"#;
    assert_eq!(run(vec![Act::Reply(429, "", quota.to_owned())]).1, 1);
    let later = Act::Reply(429, "retry-after: 86400\r\n", String::new());
    assert_eq!(run(vec![later]).1, 1);
}

#[test]
fn what_is_refused_is_not_asked_again() {
    for number in [400, 401, 403, 404, 302] {
        let (error, seen) = run(vec![status(number)]);
        let kind = ModelErrorKind::Refused(number);
        assert!(
            matches!(&error, Err(Error::Model { source }) if source.kind == kind),
            "{error:?}"
        );
        assert_eq!(seen, 1);
    }
}

#[test]
fn retry_after_is_waited_for() {
    let begin = Instant::now();
    let late = Act::Reply(429, "Retry-After: 1\r\n", String::new());
    assert_eq!(run(vec![late, ok(GOOD)]).1, 2);
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn each_fault_has_its_kind() {
    use ModelErrorKind::*;
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = client(&format!("http://{closed}/v1"))
        .ask(&request())
        .unwrap_err();
    assert_eq!(error.kind, Connect, "{error}");
    let deep = format!("{{\"choices\": {}", "[".repeat(10_000));
    for (act, kind) in [
        (Act::Hang, Timeout),
        (Act::Drip, Timeout),
        (Act::Endless, BodyTooLarge),
        (ok(&" ".repeat(2 << 20)), BodyTooLarge),
        (Act::Reset(""), Interrupted),
        (
            Act::Reset("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"),
            Interrupted,
        ),
        (Act::Reset("garbage\r\n\r\n"), Interrupted),
        (ok("<html>"), Malformed),
        (ok("{}"), Malformed),
        (ok("[]"), Malformed),
        (ok(r#"{"choices": []}"#), Malformed),
        (ok(r#"{"choices": [{}]}"#), Malformed),
        (
            ok(r#"{"choices": [{"message": {"content": 3}}]}"#),
            Malformed,
        ),
        (ok(r#"{"error": {"message": "overloaded"}}"#), Malformed),
        (ok(&deep), Malformed),
        (status(429), RateLimited),
        (status(503), Server(503)),
    ] {
        let begin = Instant::now();
        let error = ask(act).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{error}");
    }
}

#[test]
fn compatible_servers_are_understood() {
    for (body, text, finish) in [
        (
            r#"{"choices": [{"text": "a", "finish_reason": "eos"}]}"#,
            "a",
            FinishReason::Stop,
        ),
        (
            r#"{"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]}"#,
            "ab",
            FinishReason::Other(String::new()),
        ),
        (
            r#"{"choices": [{"message": {"content": null}, "finish_reason": "content_filter"}]}"#,
            "",
            FinishReason::ContentFilter,
        ),
        (
            r#"{"error": null, "choices": [{"message": {"content": "x", "unknown": [1]}, "finish_reason": "length"}], "usage": {"prompt_tokens": "?"}}"#,
            "x",
            FinishReason::Length,
        ),
    ] {
        let reply = ask(ok(body)).unwrap();
        assert_eq!(
            (
                reply.choices[0].text.as_str(),
                &reply.choices[0].finish_reason
            ),
            (text, &finish)
        );
        assert_eq!(reply.usage, None);
    }
    let two = r#"{"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}],
        "usage": {"prompt_tokens": 3.0, "completion_tokens": 4}}"#;
    let reply = ask(ok(two)).unwrap();
    let texts: Vec<_> = reply
        .choices
        .iter()
        .map(|choice| choice.text.as_str())
        .collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(reply.usage.map(|usage| usage.prompt_tokens), Some(3));
}

#[test]
fn requests_keep_to_the_minute() {
    let (address, _) = server(vec![ok(GOOD)]);
    let mut options = OpenAiOptions::new(&address);
    // One token in 6 ms, and a bucket of 10 000.
    options.tokens_per_minute = std::num::NonZeroU32::new(10_000);
    let client = OpenAiClient::new(options).unwrap();
    let mut request = request();
    request.sampling.max_tokens = 5_040;
    let begin = Instant::now();
    client.ask(&request).unwrap();
    client.ask(&request).unwrap();
    // Two requests take some 10 090 tokens, so that the second one waits for about 90.
    let waited = begin.elapsed();
    assert!(
        waited > Duration::from_millis(400) && waited < Duration::from_secs(60),
        "{waited:?}"
    );
}

#[test]
fn retry_after_may_be_a_date() {
    let retry_after = |text: &'static str| {
        let error = ask(Act::Reply(503, text, String::new())).unwrap_err();
        error.retry_after
    };
    assert_eq!(
        retry_after("retry-after: 1.5\r\n"),
        Some(Duration::from_millis(1500))
    );
    assert_eq!(
        retry_after("retry-after-ms: 20\r\n"),
        Some(Duration::from_millis(20))
    );
    let past = retry_after("retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    assert_eq!(past, Some(Duration::ZERO));
    let far = retry_after("retry-after: Mon, 06 Nov 2299 08:49:37 GMT\r\n").unwrap();
    assert!(far > Duration::from_secs(200 * 365 * 86400));
    for text in [
        "retry-after: soon\r\n",
        "retry-after: -3\r\n",
        "retry-after: 1e300\r\n",
    ] {
        assert_eq!(retry_after(text), None, "{text}");
    }
}

#[test]
fn the_key_goes_into_the_header_that_is_asked_for() {
    let (address, requests) = server(vec![ok(GOOD)]);
    let mut options = OpenAiOptions::new(address);
    options.api_key = Some("azure".into());
    options.api_key_header = "api-key".to_owned();
    OpenAiClient::new(options).unwrap().ask(&request()).unwrap();
    let seen = requests.lock().unwrap()[0].to_lowercase();
    assert!(
        seen.contains("\r\napi-key: azure\r\n") && !seen.contains("authorization"),
        "{seen}"
    );
}

#[test]
fn addresses_are_checked_and_not_shown() {
    for base_url in [
        "",
        "host/v1",
        "ftp://host/v1",
        "http://us er:p4ssw0rd@host",
        "https:///v1",
        "https://user:p4ssw0rd@host/v1",
        "https://host/v1?key=p4ssw0rd",
        "https://host/v1?code=p4ssw0rd",
        "https://host/v1?a=b&access_token=p4ssw0rd",
    ] {
        let options = OpenAiOptions::new(base_url);
        let shown = format!("{options:?}");
        let error = OpenAiClient::new(options).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Option {
                    field: "base_url",
                    ..
                }
            ),
            "{base_url}: {error}"
        );
        assert!(!format!("{shown} {error} {error:?}").contains("p4ssw0rd"));
    }
    let mut options = OpenAiOptions::new("http://host/v1");
    options.api_key = Some("two\nlines".into());
    let error = OpenAiClient::new(options).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("two"));
}

/// Keeps whatever is logged, at every level.
struct Logged(Mutex<String>);

static LOGGED: Logged = Logged(Mutex::new(String::new()));

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().unwrap().push_str(&line);
    }
    fn flush(&self) {}
}

/// Everything that a client, its errors and a runner over it show.
fn shown(key: &str, session: &str, echo: &str) -> String {
    let (address, _) = server(vec![Act::Reply(401, "", echo.to_owned()), ok(echo)]);
    let mut options = OpenAiOptions::new(format!("{address}?api-version=1&session={session}"));
    options.api_key = Some(key.into());
    let mut shown = format!("{options:?}");
    let client = OpenAiClient::new(options).unwrap();
    shown += &format!("{client:?} {}", client.endpoint());
    for _ in 0..2 {
        let error = client.ask(&request()).unwrap_err();
        shown += &format!("{error} {error:?}");
        let error = Error::Model { source: error };
        shown += &format!("{error} {error:?}");
    }
    let cache = ReplyCache::in_memory().unwrap();
    let runner = Runner::new(&client, &cache, RunOptions::default()).unwrap();
    shown + &format!("{runner:?} {cache:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_secret_is_shown(
        key in "sk-[!-~]{12,40}", session in "q[a-zA-Z0-9]{12,20}", before in "[ -~]{0,400}",
        quoted in any::<bool>(),
    ) {
        // The first case sets it up.
        let _ = log::set_logger(&LOGGED);
        log::set_max_level(log::LevelFilter::Trace);
        LOGGED.0.lock().unwrap().clear();
        // A server that sends everything back, as text and as JSON.
        let echo = format!("{before} {key} {session}");
        let echo = match quoted {
            true => serde_json::json!({"error": {"message": echo, "request": [key]}}).to_string(),
            false => echo,
        };
        let shown = shown(&key, &session, &echo);
        for secret in [&key, &session] {
            prop_assert!(!shown.contains(secret.as_str()), "{shown}");
            prop_assert!(!shown.contains(&format!("{secret:?}")[1..secret.len() - 1]), "{shown}");
        }
        prop_assert!(shown.contains("api-version=1"));
        let logged = LOGGED.0.lock().unwrap().clone();
        prop_assert!(logged.contains("ureq"), "nothing is logged");
        prop_assert!(!logged.contains(&key) && !logged.contains(&session), "{logged}");
        prop_assert!(!logged.contains(&key[key.len() - 10..]), "{logged}");
    }
}
