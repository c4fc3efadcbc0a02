//! Writing a conversation down with a checkpoint's own chat template.

use std::ops::Range;

use serde_json::Value;

use super::{Jinja, Rendered, user_text};
use crate::chat::{ChatOptions, ChatTemplate, ChatText, messages};
use crate::error::{Error, Result};
use crate::record::Dialogue;
use crate::special::{Specials, unused_mark};

/// A chat template with its tools, in which people's special-token text is marked.
struct Chat<'a> {
    jinja: &'a Jinja,
    template: &'a ChatTemplate,
    tools: Option<Value>,
    specials: &'a Specials,
}

impl<'a> Chat<'a> {
    fn render(&self, messages: &[Value], add_generation_prompt: bool) -> Result<ChatText> {
        let options = ChatOptions {
            add_generation_prompt,
            tools: self.tools.as_ref(),
        };
        self.template.render_json(messages, options)
    }

    /// An error where a template has passed over what functions gave, or over a call: a word of it is
    /// not in the text.
    fn check_written<'m>(
        &self,
        text: &str,
        mut words: impl Iterator<Item = &'m str>,
    ) -> Result<()> {
        match words.all(|word| text.contains(word)) {
            true => Ok(()),
            false => Err(Error::NoCalls {
                template: self.jinja.name.clone(),
            }),
        }
    }
}

/// The same value with all its texts and names guarded.
fn guarded(value: &Value, guard: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => guard(text).into(),
        Value::Array(items) => items.iter().map(|item| guarded(item, guard)).collect(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| (guard(name), guarded(value, guard));
            Value::Object(fields.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

/// A message, guarded; its role and the names of its fields are the template's to understand.
fn guarded_message(message: &Value, guard: &impl Fn(&str) -> String) -> Value {
    let fields = message.as_object().into_iter().flatten();
    let field = |(name, value): (&String, &Value)| match name.as_str() {
        "role" => (name.clone(), value.clone()),
        _ => (name.clone(), guarded(value, guard)),
    };
    Value::Object(fields.map(field).collect())
}

/// The dialogue's messages in transformers' terms.
fn plain_messages(dialogue: &Dialogue<'_>) -> Result<Vec<Value>> {
    let system = dialogue.system.into_iter();
    let mut all: Vec<Value> = system.map(|text| messages::said("system", text)).collect();
    for turn in &dialogue.turns {
        all.push(messages::said("user", &user_text(turn)));
        all.extend(messages::messages(turn.calls, turn.first_call)?);
        all.extend(turn.answer.map(|text| messages::said("assistant", text)));
    }
    Ok(all)
}

/// Writes a conversation down as the template does.
pub(super) fn render(
    jinja: &Jinja,
    dialogue: &Dialogue<'_>,
    specials: &Specials,
) -> Result<Rendered> {
    let plain = plain_messages(dialogue)?;
    let tools = dialogue.tools.or(jinja.tools.as_ref());
    let mut texts = vec![jinja.chat.source()];
    for value in plain.iter().chain(tools) {
        messages::strings(value, &mut texts);
    }
    let mut out = Rendered::new(dialogue, unused_mark(texts.into_iter()));
    let guard = |text: &str| specials.guard(text, out.mark).into_owned();
    let chat = Chat {
        jinja,
        template: &jinja.chat,
        tools: tools.map(|tools| guarded(tools, &guard)),
        specials,
    };
    let messages: Vec<Value> = plain
        .iter()
        .map(|message| guarded_message(message, &guard))
        .collect();
    write(&chat, &messages, &mut out)?;
    Ok(out)
}

/// Renders the conversation reply by reply, once up to each with the generation prompt and once with
/// it; the reply's segment is the difference. A reply is an answer, or calls of functions.
///
/// A template may write a reply differently once something follows (Qwen3 drops the thinking), or
/// the text before it (Mistral moves the system text to the last user message). The sequence then
/// begins anew with that writing, so that what stands before the last reply is what generation gets,
/// and the earlier replies are not supervised.
///
/// A template with `{% generation %}` blocks says itself what of a reply is supervised: what stands
/// in a block when the whole conversation is written.
fn write(chat: &Chat<'_>, messages: &[Value], out: &mut Rendered) -> Result<()> {
    let mut whole = None;
    // All segments together.
    let mut done = String::new();
    let mut tail = String::new();
    let mut asked = 0;
    let says = |message: &&Value| message["role"] == "assistant";
    while asked < messages.len() {
        let reply = messages[asked..].iter().position(|message| says(&message));
        let at = asked + reply.unwrap_or(messages.len() - asked);
        done = write_prompt(chat, messages, asked..at, &done, out)?;
        tail.clear();
        asked = at + 1;
        let Some(answer) = messages.get(at) else {
            break;
        };
        let full = &*whole.insert(chat.render(&messages[..=at], false)?);
        let found = match full.text.strip_prefix(&done) {
            Some(reply) => Some(reply),
            None if asked < messages.len() => None,
            None => Some(
                reply_behind_question(chat, &messages[..=at], &done, &full.text)?
                    .ok_or_else(|| not_a_prefix(&done, &full.text))?,
            ),
        };
        if let Some(reply) = found {
            chat.check_written(reply, called(answer))?;
            let begin = full.text.len() - reply.len();
            let end = match chat.template.marks_generation() {
                true => out.marked_reply(full, begin),
                false => begin + out.reply(reply, answer, chat.specials),
            };
            done += &full.text[begin..end];
            full.text[end..].clone_into(&mut tail);
        }
        out.reply += 1;
    }
    if let Some(whole) = whole.filter(|_| chat.template.marks_generation()) {
        out.keep_blocks(&whole);
    }
    if !tail.is_empty() {
        out.context(tail);
    }
    Ok(())
}

/// Writes the messages of a range up to where the reply begins, and returns all that is written.
fn write_prompt(
    chat: &Chat<'_>,
    messages: &[Value],
    asked: Range<usize>,
    done: &str,
    out: &mut Rendered,
) -> Result<String> {
    let prompt = chat.render(&messages[..asked.end], true)?.text;
    let new = match prompt.strip_prefix(done) {
        Some(rest) => rest,
        None => {
            out.segments.clear();
            &*prompt
        }
    };
    let given = messages[asked].iter();
    let given = given.filter(|message| message["role"] == "tool");
    chat.check_written(new, given.map(|message| longest_word(content(message))))?;
    out.context(new);
    Ok(prompt)
}

/// The text of a message; empty where there is none.
fn content(message: &Value) -> &str {
    message["content"].as_str().unwrap_or_default()
}

/// The names of the functions that a message calls.
fn called(message: &Value) -> impl DoubleEndedIterator<Item = &str> {
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    calls.filter_map(|call| call["function"]["name"].as_str())
}

/// A template may write a text as JSON; its words stay.
fn longest_word(text: &str) -> &str {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.max_by_key(|word| word.len()).unwrap_or_default()
}

impl Rendered {
    /// Writes a reply up to its end, which is returned.
    fn reply(&mut self, reply: &str, answer: &Value, specials: &Specials) -> usize {
        let end = match called(answer).next() {
            // Behind calls there may be special tokens of their own before the one that ends the reply,
            // and behind that only white space.
            Some(_) => reply.trim_end().len(),
            None => reply_end(reply, content(answer), specials, self.mark),
        };
        if says_something(&reply[..end], specials, self.mark) {
            self.answer(&reply[..end], false);
        } else {
            self.context(&reply[..end]);
        }
        end
    }

    /// Writes the reply that begins at `begin`, of which what stands in blocks is supervised, up to
    /// the end of the last of them, which is returned.
    fn marked_reply(&mut self, full: &ChatText, begin: usize) -> usize {
        let mut written = begin;
        for block in full.generation.iter().filter(|block| block.end > begin) {
            let start = block.start.max(begin);
            if start > written {
                self.context(&full.text[written..start]);
            }
            self.answer(&full.text[start..block.end], false);
            written = block.end;
        }
        written
    }

    /// Takes the loss from answers that stand in no block of the `whole` conversation.
    fn keep_blocks(&mut self, whole: &ChatText) {
        let texts = self.segments.iter().map(|segment| segment.text.as_str());
        if !whole.text.starts_with(&texts.collect::<String>()) {
            return;
        }
        let mut begin = 0;
        for segment in &mut self.segments {
            let end = begin + segment.text.len();
            let mut blocks = whole.generation.iter();
            segment.supervised &= blocks.any(|block| block.start < end && begin < block.end);
            begin = end;
        }
    }
}

/// The reply in `full` where the conversation begins differently from `prompt` but is the same
/// behind the last user text.
fn reply_behind_question<'a>(
    chat: &Chat<'_>,
    messages: &[Value],
    prompt: &str,
    full: &'a str,
) -> Result<Option<&'a str>> {
    let [before @ .., question, answer] = messages else {
        return Ok(None);
    };
    // A text that no template writes: what stands behind it is the template's.
    const STAND_IN: &str = "\u{F0000}";
    let mut asked = before.to_vec();
    let mut stand_in = question.clone();
    stand_in["content"] = STAND_IN.into();
    asked.push(stand_in);
    let asked = chat.render(&asked, true)?.text;
    let behind = asked.rsplit_once(STAND_IN).map(|(_, behind)| behind);
    let Some(behind) = behind.filter(|behind| prompt.ends_with(behind)) else {
        return Ok(None);
    };
    let answer = called(answer).next_back().unwrap_or(content(answer)).trim();
    let question = content(question).trim();
    let replies = full
        .rmatch_indices(behind)
        .filter(|(place, _)| full[..*place].trim_end().ends_with(question))
        .map(|(place, _)| &full[place + behind.len()..]);
    // An answer may quote the question; the reply is what has all of the answer in it.
    let whole = replies.clone().find(|reply| reply.contains(answer));
    Ok(whole.or_else(|| replies.clone().next()))
}

/// Where a reply ends in what a chat template wrote for it: behind the first special token after
/// its text, or where no special token follows behind the template's text.
fn reply_end(reply: &str, answer: &str, specials: &Specials, mark: char) -> usize {
    let spans = specials.spans(reply, mark);
    // The last such piece: a template may write a header, in which a short answer occurs too.
    let text = spans.iter().rposition(|(range, special)| {
        special.is_none() && reply[range.clone()].contains(answer.trim())
    });
    let end = |(range, special): &(Range<usize>, Option<u32>)| special.map(|_| range.end);
    let written = reply.trim_end();
    match text {
        Some(text) => spans[text..].iter().find_map(end),
        None => spans.iter().rev().find_map(end),
    }
    // White space behind the template's end marker is not the answer's.
    .or_else(|| (!written.ends_with(answer.trim())).then_some(written.len()))
    .unwrap_or(reply.len())
}

/// Whether there is text in a reply besides special tokens.
fn says_something(reply: &str, specials: &Specials, mark: char) -> bool {
    let spans = specials.spans(reply, mark);
    spans
        .iter()
        .any(|(range, special)| special.is_none() && !reply[range.clone()].trim().is_empty())
}

fn not_a_prefix(prompt: &str, conversation: &str) -> Error {
    let same = prompt
        .chars()
        .zip(conversation.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let excerpt = |text: &str| text.chars().skip(same).take(40).collect();
    Error::NotAPrefix {
        prompt: excerpt(prompt),
        conversation: excerpt(conversation),
    }
}
