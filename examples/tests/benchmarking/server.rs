//! A chat server that says what a function says.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::http;

/// Serves chat completions until the test ends; `reply` gets all that the messages say.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    /// The texts of the requests so far.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, reply) = (Arc::clone(&asked), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*reply));
            }
        });
        Self { endpoint, asked }
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<String>>, reply: &dyn Fn(&str) -> String) {
    let Some((_, body)) = http::request(&stream) else {
        return;
    };
    let body: Value = serde_json::from_str(&body).unwrap();
    let messages = body["messages"].as_array().unwrap().iter();
    let text: Vec<_> = messages.map(|m| m["content"].as_str().unwrap()).collect();
    let text = text.join("\n");
    let message = json!({"role": "assistant", "content": reply(&text)});
    seen.lock().unwrap().push(text);
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]}).to_string();
    http::reply(&stream, 200, "", &body);
}
