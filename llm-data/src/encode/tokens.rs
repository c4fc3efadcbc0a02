//! The tokens of a conversation, and which of them the assistant says.

use std::ops::Range;

use crate::record::{Message, Role};

/// A conversation's tokens, each with whether the assistant says it.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) spoken: Vec<bool>,
    /// Where the last answer begins and ends.
    pub(crate) answer: Range<usize>,
    /// What is supervised: the reply, and where it stands.
    pub(crate) said: Vec<(usize, Range<usize>)>,
}

impl Tokens {
    /// Where the last reply that is supervised begins, within the tokens that there are.
    pub(super) fn last_reply(&self) -> usize {
        let last = self.said.last().map_or(0, |(reply, _)| *reply);
        let mut ranges = self.said.iter().filter(|(reply, _)| *reply == last);
        let start = ranges.next().map_or(0, |(_, range)| range.start);
        start.min(self.spoken.len())
    }
}

/// From the first to the last of what is said in the last turn, before which there are so many replies;
/// in the last one that says anything where it says nothing.
pub(super) fn last_answer(said: &[(usize, Range<usize>)], earlier: usize) -> Range<usize> {
    let Some((last, end)) = said.last().map(|(reply, range)| (*reply, range.end)) else {
        return 0..0;
    };
    let first = said.iter().find(|(reply, _)| *reply >= earlier.min(last));
    first.map_or(0, |(_, range)| range.start)..end
}

/// The flags of the assistant's messages; one for a call and the words right before it.
pub(super) fn reply_flags(messages: &[Message], flags: &[bool]) -> Vec<bool> {
    let mut replies = Vec::new();
    let mut words = true;
    for (index, (message, flag)) in messages.iter().zip(flags).enumerate() {
        let next = messages.get(index + 1).map(|next| next.role);
        match message.role {
            Role::Assistant if next == Some(Role::FunctionCall) => words = *flag,
            Role::Assistant | Role::FunctionCall => {
                replies.push(*flag && words);
                words = true;
            }
            _ => {}
        }
    }
    replies
}
