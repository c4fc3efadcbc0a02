//! Writing a conversation down with a checkpoint's own chat template.

use std::ops::Range;

use super::{Rendered, user_text};
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::record::{Dialogue, Message, Role};
use crate::special::Specials;

/// Renders the conversation turn by turn, once up to each answer with the generation prompt and
/// once with the answer; the answer's segment is the difference.
///
/// A template may write an answer differently once a next turn follows (Qwen3 drops the thinking),
/// or the text before it (Mistral moves the system text to the last user message). The sequence
/// then begins anew with that writing, so that what stands before the last answer is what
/// generation gets, and the earlier answers are not supervised.
pub(super) fn write(
    chat: &ChatTemplate,
    dialogue: &Dialogue<'_>,
    specials: &Specials,
    guard: impl Fn(&str) -> String,
    out: &mut Rendered,
) -> Result<()> {
    let mut messages: Vec<Message> = Vec::new();
    messages.extend(
        dialogue
            .system
            .map(|system| Message::new(Role::System, guard(system))),
    );
    // All segments together.
    let mut done = String::new();
    let mut tail = String::new();
    for (index, turn) in dialogue.turns.iter().enumerate() {
        messages.push(Message::new(Role::User, guard(&user_text(turn))));
        let prompt = chat.render(&messages, true)?;
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
        let full = chat.render(&messages, false)?;
        let reply = match full.strip_prefix(&done) {
            Some(reply) => reply,
            None if index + 1 < dialogue.turns.len() => continue,
            None => reply_behind_question(chat, &messages, &done, &full)?
                .ok_or_else(|| not_a_prefix(&done, &full))?,
        };
        let (reply, rest) = reply.split_at(reply_end(reply, &answer, specials, out.mark));
        if says_something(reply, specials, out.mark) {
            out.answer(reply, false);
        } else {
            out.context(reply);
        }
        done += reply;
        rest.clone_into(&mut tail);
    }
    if !tail.is_empty()
        && dialogue
            .turns
            .last()
            .is_some_and(|turn| turn.answer.is_some())
    {
        out.context(tail);
    }
    Ok(())
}

/// The reply in `full` where the conversation begins differently from `prompt` but is the same
/// behind the last user text.
fn reply_behind_question<'a>(
    chat: &ChatTemplate,
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
    let asked = chat.render(&asked, true)?;
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
