//! Templates of the Alpaca kind: a preamble, then headings before instruction, input and answer.

use super::{Rendered, user_text};
use crate::record::Dialogue;

/// The texts of one template of the Alpaca kind.
#[derive(Debug)]
pub(super) struct Alpaca {
    pub(super) name: String,
    pub(super) preamble: String,
    pub(super) preamble_with_input: String,
    pub(super) instruction: String,
    /// What stands before an input; none where the input is a line of the instruction, which
    /// then always comes with the first preamble.
    pub(super) input: Option<String>,
    pub(super) response: String,
}

impl Alpaca {
    /// The system text or the preamble once, then instruction, input and answer of each turn. Which
    /// preamble is decided by the first turn alone: a later one must not change what stands before
    /// an earlier answer.
    pub(super) fn write(
        &self,
        dialogue: &Dialogue<'_>,
        guard: impl Fn(&str) -> String,
        out: &mut Rendered,
    ) {
        let with_input = dialogue
            .turns
            .first()
            .is_some_and(|turn| !turn.input.is_empty());
        let mut context = match dialogue.system {
            Some(system) => guard(system),
            None if with_input => self.preamble_with_input.clone(),
            None => self.preamble.clone(),
        };
        for (number, turn) in dialogue.turns.iter().enumerate() {
            out.reply = number;
            let (instruction, input) = match &self.input {
                Some(input) => (turn.instruction.to_owned(), Some((input, turn.input))),
                None => (user_text(turn), None),
            };
            context += &format!("\n\n{}{}\n\n", self.instruction, guard(&instruction));
            if let Some((heading, input)) = input.filter(|(_, input)| !input.is_empty()) {
                context += &format!("{heading}{}\n\n", guard(input));
            }
            out.context(std::mem::take(&mut context) + &self.response);
            if let Some(answer) = turn.answer {
                out.answer(guard(answer), true);
            }
        }
    }
}
