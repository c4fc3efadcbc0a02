//! Templates: files of them, and programs in Jinja.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use llm_data::{ChatOptions, ChatTemplate, EncodeOptions, Encoder, Error, Template};
use serde_json::{Value, json};

use super::{in_file, messages, parts, shown, split, text, tokens};

/// A rendering's time. The promise is one second; the fuzzer's build is several times slower.
const TIME: Duration = Duration::from_secs(8);

/// A file of templates in JSON, YAML or Jinja, then the texts of a conversation.
pub fn templates_file(data: &[u8]) {
    let (options, bytes) = split(data);
    let text = text(bytes);
    let parts = parts(&text);
    let name = ["t.json", "t.yaml", "t.jinja"][usize::from(options % 3)];
    in_file(name, parts[0].as_bytes(), |path| {
        let names = match Template::names_in_file(path) {
            Ok(names) => names,
            Err(error) => return shown(&error),
        };
        for name in names.iter().take(4) {
            match Template::from_file(path, name) {
                Ok(template) => used(template, &parts[1..], options),
                Err(error) => shown(&error),
            }
        }
    });
}

/// A template that can be read writes conversations and prompts.
fn used(template: Template, texts: &[&str], options: u8) {
    let conversation = messages(texts, options & 16 != 0);
    let _ = template.definition();
    if let Err(error) = template.text(&conversation) {
        shown(&error);
    }
    match Encoder::new(tokens::bytes().clone(), template, EncodeOptions::default()) {
        Ok(encoder) => {
            let _ = (encoder.stop_ids(), encoder.stop_strings());
            tokens::as_generation_gets_it(&encoder, &conversation, true);
        }
        Err(error) => shown(&error),
    }
}

static TOOLS: LazyLock<Value> = LazyLock::new(
    || json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]),
);

/// A chat template, then the texts of a conversation.
pub fn chat_template(data: &[u8]) {
    let (options, bytes) = split(data);
    let text = text(bytes);
    let parts = parts(&text);
    let template = match ChatTemplate::new(parts[0], "<s>", "</s>") {
        Ok(template) => template,
        Err(error) => return shown(&error),
    };
    let conversation = messages(&parts[1..], options & 16 != 0);
    let begin = Instant::now();
    let chat = ChatOptions {
        add_generation_prompt: options & 1 != 0,
        tools: (options & 2 != 0).then_some(&*TOOLS),
    };
    match template.render_with(&conversation, chat) {
        Ok(rendered) => {
            assert!(rendered.text.len() <= 64 << 20);
            let mut end = 0;
            for range in &rendered.generation {
                assert!(end <= range.start && range.start <= range.end);
                assert!(rendered.text.get(range.clone()).is_some());
                end = range.end;
            }
        }
        Err(error @ Error::ChatTemplateFailed { .. }) => {
            let text = error.to_string();
            assert!(!text.contains("panicked"), "{text}");
        }
        Err(error) => shown(&error),
    }
    assert!(begin.elapsed() < TIME, "{:?}", begin.elapsed());
}
