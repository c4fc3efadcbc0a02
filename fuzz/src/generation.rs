//! What a model sends, and the files of generation.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use llm_data::generate::{
    Answer, Augment, ChatReply, ChatRequest, Choice, Evolve, FinishReason, GenerateOptions,
    Language, PromptSet, Question, ReplyCache, RunOptions, Runner, Sampling, SelfChat,
    SelfInstruct,
};
use llm_data::{AlpacaRecord, Role};

use super::{in_file, parts, shown, split, text};

static SEEDS: LazyLock<Vec<AlpacaRecord>> = LazyLock::new(|| {
    let seed = |(instruction, input, output): (&str, &str, &str)| AlpacaRecord {
        instruction: instruction.to_owned(),
        input: input.to_owned(),
        output: output.to_owned(),
        ..AlpacaRecord::default()
    };
    [
        ("Name the capital of the country.", "France", "Paris"),
        (
            "Write a poem of two lines.",
            "",
            "Roses are red,\nviolets are blue.",
        ),
        ("把句子译成英文。", "你好", "Hello"),
    ]
    .map(seed)
    .to_vec()
});

/// Asks `run` with a model that gives the texts in turn.
fn with_model<T>(texts: &[&str], reason: &FinishReason, run: impl FnOnce(&Runner<'_>) -> T) -> T {
    let asked = AtomicUsize::new(0);
    let model = |_: &ChatRequest| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        Ok(ChatReply {
            choices: vec![Choice {
                text: texts[number % texts.len()].to_owned(),
                finish_reason: reason.clone(),
                logprobs: None,
            }],
            usage: None,
            optional_refused: false,
        })
    };
    let cache = ReplyCache::in_memory().expect("a cache");
    let options = RunOptions {
        workers: 1,
        ..RunOptions::default()
    };
    run(&Runner::new(&model, &cache, options).expect("a runner"))
}

/// A model's replies, read by every program.
pub fn replies(data: &[u8]) {
    static PROMPTS: LazyLock<[PromptSet; 2]> =
        LazyLock::new(|| [Language::En, Language::Zh].map(PromptSet::builtin));
    let (options, bytes) = split(data);
    let text = text(bytes);
    let texts = parts(&text);
    let reasons = [
        FinishReason::Stop,
        FinishReason::Length,
        FinishReason::ContentFilter,
        FinishReason::Other("x".to_owned()),
    ];
    let prompts = &PROMPTS[usize::from(options >> 2 & 1)];
    with_model(&texts, &reasons[usize::from(options & 3)], |runner| {
        programs(runner, prompts)
    });
}

fn programs(runner: &Runner<'_>, prompts: &PromptSet) {
    let options = GenerateOptions::new("m");
    let mut program = SelfInstruct::new(options.clone(), &SEEDS, prompts, 8);
    program.max_requests = 2;
    let made = program.run(runner).expect("run");
    assert!(made.records.len() <= 8 && made.records.iter().all(|task| !task.output.is_empty()));
    let mut program = Augment::new(options.clone(), &SEEDS, prompts, 6);
    (program.max_requests, program.round) = (4, 2);
    let made = program.run(runner).expect("run");
    assert!(made.records.iter().all(|task| !task.output.is_empty()));
    let mut program = Evolve::new(options.clone(), &SEEDS[..1], prompts);
    program.rounds = 2;
    program.run(runner).expect("run");
    let topics = ["rivers".to_owned()];
    let chat = SelfChat {
        options: options.clone(),
        topics: &topics,
        prompts,
    };
    for conversation in chat.run(runner).expect("run").records {
        let turns = [Role::User, Role::Assistant].into_iter().cycle();
        assert!(conversation.messages.len().is_multiple_of(2));
        let mut messages = conversation.messages.iter().zip(turns);
        assert!(
            messages.all(|(message, role)| message.role == role && !message.content.is_empty())
        );
    }
    let answer = Answer {
        options,
        instructions: &SEEDS,
        prompts,
    };
    answer.run(runner).expect("run");
}

/// A prompt file of the user's.
pub fn prompts_dir(data: &[u8]) {
    const NAMES: [&str; 4] = [
        "answer.txt",
        "self_instruct.txt",
        "evolve.txt",
        "evolve_deepen.txt",
    ];
    let (options, bytes) = split(data);
    let language = if options & 16 != 0 {
        Language::Zh
    } else {
        Language::En
    };
    let prompts = in_file(NAMES[usize::from(options % 4)], bytes, |path| {
        PromptSet::from_dir(language, path.parent().expect("a folder"))
    });
    match prompts {
        Ok(prompts) => with_model(&["a {{task}} #b#"], &FinishReason::Stop, |runner| {
            programs(runner, &prompts);
        }),
        Err(error) => shown(&error),
    }
}

/// A file of replies that is damaged: pieces of three bytes offset, one byte length and what stands
/// there then. It is read, or set aside and begun anew.
pub fn reply_cache(data: &[u8]) {
    static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("replies.redb");
        ask(&ReplyCache::open(&path).expect("a cache"));
        std::fs::read(&path).expect("read")
    });
    let (options, mut patches) = split(data);
    let mut file = FILE.clone();
    while let [a, b, c, length, rest @ ..] = patches {
        let offset = u32::from_le_bytes([*a, *b, *c, 0]) as usize % file.len();
        let length = usize::from(*length)
            .min(rest.len())
            .min(file.len() - offset);
        file[offset..offset + length].copy_from_slice(&rest[..length]);
        patches = &rest[length..];
    }
    if options & 1 != 0 {
        file.truncate(file.len() * usize::from(options) / 256);
    }
    in_file("replies.redb", &file, |path| match ReplyCache::open(path) {
        Ok(cache) => ask(&cache),
        Err(error) => shown(&error),
    });
}

/// Asks three questions and looks at the books.
fn ask(cache: &ReplyCache) {
    let model = |request: &ChatRequest| Ok(ChatReply::new(request.messages[0].content.clone()));
    let options = RunOptions {
        workers: 1,
        ..RunOptions::default()
    };
    let runner = Runner::new(&model, cache, options).expect("a runner");
    let question = |attempt| Question {
        request: ChatRequest::new("m", "a?", Sampling::default()),
        attempt,
    };
    let replies = runner.ask_all(&[question(0), question(1), question(2)]);
    match replies {
        Ok(replies) => {
            let mut replies = replies.iter().flatten();
            assert!(replies.all(|reply| reply.choices[0].text == "a?"));
        }
        Err(error) => shown(&error),
    }
    let _ = (cache.len(), cache.spent());
}

#[cfg(feature = "http")]
pub use http::wire;

#[cfg(feature = "http")]
mod http {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, LazyLock, Mutex};
    use std::thread;
    use std::time::Duration;

    use llm_data::generate::{ChatModel, ChatRequest, OpenAiClient, OpenAiOptions, Sampling};

    use super::{split, text};

    const SECRET: &str = "sk-the-very-secret";
    const STATUS: [u16; 8] = [200, 200, 200, 200, 400, 401, 429, 503];

    /// A client and what the server sends it next.
    static CLIENT: LazyLock<(OpenAiClient, Arc<Mutex<Vec<u8>>>)> = LazyLock::new(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let response = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::clone(&response);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sent = Arc::clone(&sent);
                thread::spawn(move || serve(&stream.expect("a connection"), &sent));
            }
        });
        let mut options = OpenAiOptions::new(format!("http://{address}/v1"));
        options.timeout = Duration::from_secs(8);
        options.api_key = Some(SECRET.into());
        (OpenAiClient::new(options).expect("a client"), response)
    });

    /// One response for each request, until the client is gone.
    fn serve(stream: &TcpStream, response: &Mutex<Vec<u8>>) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).ok()?;
            let response = response.lock().ok()?.clone();
            { stream }.write_all(&response).ok()?;
        }
    }

    /// A server's reply: `Retry-After`, a line end, the body. The key is in no error.
    pub fn wire(data: &[u8]) {
        let (options, bytes) = split(data);
        let status = STATUS[usize::from(options % 8)];
        let line = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len());
        let wait = text(&bytes[..line]).replace(|c: char| !(' '..='~').contains(&c), "");
        let body = bytes.get(line + 1..).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nretry-after: {wait}\r\n\r\n"
        );
        let (client, response) = &*CLIENT;
        *response.lock().expect("no panic there") = [head.as_bytes(), body].concat();
        let request = ChatRequest::new("m", "a?", Sampling::default());
        match client.ask(&request) {
            Ok(reply) => assert!(status == 200 && !reply.choices.is_empty()),
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(SECRET) && shown.len() < 64 << 10, "{shown}");
            }
        }
    }
}
