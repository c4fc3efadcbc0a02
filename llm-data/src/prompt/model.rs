//! Writing a conversation down with a checkpoint's own chat template.

use std::ops::Range;

use serde_json::Value;

use super::{Jinja, Rendered, user_text};
use crate::chat::{ChatOptions, ChatTemplate, ChatText};
use crate::error::{Error, Result};
use crate::record::{Dialogue, Message, Role};
use crate::special::Specials;

/// A chat template with its tools, in which people's special-token text is marked.
struct Chat<'a> {
    template: &'a ChatTemplate,
    tools: Option<Value>,
}

impl<'a> Chat<'a> {
    fn new(jinja: &'a Jinja, guard: &impl Fn(&str) -> String) -> Self {
        Self {
            template: &jinja.chat,
            tools: jinja.tools.as_ref().map(|tools| guarded(tools, guard)),
        }
    }

    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<ChatText> {
        let options = ChatOptions {
            add_generation_prompt,
            tools: self.tools.as_ref(),
        };
        self.template.render_with(messages, options)
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

/// Renders the conversation turn by turn, once up to each answer with the generation prompt and
/// once with the answer; the answer's segment is the difference.
///
/// A template may write an answer differently once a next turn follows (Qwen3 drops the thinking),
/// or the text before it (Mistral moves the system text to the last user message). The sequence
/// then begins anew with that writing, so that what stands before the last answer is what
/// generation gets, and the earlier answers are not supervised.
///
/// A template with `{% generation %}` blocks says itself what of a reply is supervised: what stands
/// in a block when the whole conversation is written.
pub(super) fn write(
    jinja: &Jinja,
    dialogue: &Dialogue<'_>,
    specials: &Specials,
    guard: impl Fn(&str) -> String,
    out: &mut Rendered,
) -> Result<()> {
    let chat = &Chat::new(jinja, &guard);
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(
        dialogue
            .system
            .map(|system| Message::new(Role::System, guard(system))),
    );
    let mut whole = None;
    // All segments together.
    let mut done = String::new();
    let mut tail = String::new();
    for (index, turn) in dialogue.turns.iter().enumerate() {
        messages.push(Message::new(Role::User, guard(&user_text(turn))));
        out.turn = index;
        let prompt = chat.render(&messages, true)?.text;
        match prompt.strip_prefix(&done) {
            Some(rest) => out.context(rest),
            None => {
                out.segments.clear();
                out.context(prompt.clone());
            }
        }
        done = prompt;
        let Some(answer) = turn.answer else { continue };
        let answer = guard(answer);
        messages.push(Message::new(Role::Assistant, answer.clone()));
        let full = &*whole.insert(chat.render(&messages, false)?);
        let reply = match full.text.strip_prefix(&done) {
            Some(reply) => reply,
            None if index + 1 < dialogue.turns.len() => continue,
            None => reply_behind_question(chat, &messages, &done, &full.text)?
                .ok_or_else(|| not_a_prefix(&done, &full.text))?,
        };
        let begin = full.text.len() - reply.len();
        let end = match chat.template.marks_generation() {
            true => out.marked_reply(full, begin),
            false => begin + out.reply(reply, &answer, specials),
        };
        done += &full.text[begin..end];
        full.text[end..].clone_into(&mut tail);
    }
    if let Some(whole) = whole.filter(|_| chat.template.marks_generation()) {
        out.keep_blocks(&whole);
    }
    let last = dialogue.turns.last();
    if !tail.is_empty() && last.is_some_and(|turn| turn.answer.is_some()) {
        out.context(tail);
    }
    Ok(())
}

impl Rendered {
    /// Writes a reply up to its end, which is returned.
    fn reply(&mut self, reply: &str, answer: &str, specials: &Specials) -> usize {
        let end = reply_end(reply, answer, specials, self.mark);
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
    messages: &[Message],
    prompt: &str,
    full: &'a str,
) -> Result<Option<&'a str>> {
    let [before @ .., question, answer] = messages else {
        return Ok(None);
    };
    // A text that no template writes: what stands behind it is the template's.
    const STAND_IN: &str = "\u{F0000}";
    let mut asked = before.to_vec();
    asked.push(Message::new(Role::User, STAND_IN));
    let asked = chat.render(&asked, true)?.text;
    let behind = asked.rsplit_once(STAND_IN).map(|(_, behind)| behind);
    let Some(behind) = behind.filter(|behind| prompt.ends_with(behind)) else {
        return Ok(None);
    };
    let (question, answer) = (question.content.trim(), answer.content.trim());
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
