//! The templates that are code.

use super::{Rendered, user_text};
use crate::record::Dialogue;

/// FastChat, `conversation.py`, `vicuna_v1.1`.
pub(super) const VICUNA_SYSTEM: &str = "A chat between a curious user and an artificial intelligence \
    assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.";
pub(super) const VICUNA_END: &str = "</s>";
pub(super) const CHATML_END: &str = "<|im_end|>";

pub(super) fn chatml(dialogue: &Dialogue<'_>, guard: impl Fn(&str) -> String, out: &mut Rendered) {
    let mut context = String::new();
    if let Some(system) = dialogue.system {
        context = format!("<|im_start|>system\n{}{CHATML_END}\n", guard(system));
    }
    for (number, turn) in dialogue.turns.iter().enumerate() {
        out.reply = number;
        let user = guard(&user_text(turn));
        context += &format!("<|im_start|>user\n{user}{CHATML_END}\n<|im_start|>assistant\n");
        out.context(std::mem::take(&mut context));
        if let Some(answer) = turn.answer {
            out.answer(guard(answer) + CHATML_END, false);
            context.push('\n');
        }
    }
    if !context.is_empty() {
        out.context(context);
    }
}

pub(super) fn vicuna(dialogue: &Dialogue<'_>, guard: impl Fn(&str) -> String, out: &mut Rendered) {
    let mut context = dialogue
        .system
        .map_or_else(|| VICUNA_SYSTEM.to_owned(), &guard)
        + " ";
    for (number, turn) in dialogue.turns.iter().enumerate() {
        out.reply = number;
        context += &format!("USER: {} ASSISTANT:", guard(&user_text(turn)));
        out.context(std::mem::take(&mut context));
        if let Some(answer) = turn.answer {
            out.answer(format!(" {}{VICUNA_END}", guard(answer)), false);
        }
    }
}
