//! Self-chat: a model plays both sides of a conversation about a topic (Baize, arXiv:2304.01196).

use super::cache::Question;
use super::cost::Estimate;
use super::model::FinishReason;
use super::program::{GenerateOptions, Generated};
use super::prompts::PromptSet;
use super::runner::Runner;
use crate::error::Result;
use crate::record::{Conversation, Message, Role};

/// What begins a statement in a transcript, and whose it is.
const SPEAKERS: &[(&str, Role)] = &[
    ("[Human]", Role::User),
    ("[AI]", Role::Assistant),
    ("[人类]", Role::User),
    ("[助手]", Role::Assistant),
];

/// A conversation about each topic, in one request.
///
/// The transcript is read up to the first statement that is empty or out of turn, and ends with the
/// assistant; the last statement of a reply that was cut off is left out. Topics without a whole
/// exchange are dropped and counted.
#[derive(Debug, Clone)]
pub struct SelfChat<'a> {
    /// Model, sampling, seed.
    pub options: GenerateOptions,
    /// Questions or key phrases that conversations are about.
    pub topics: &'a [String],
    /// The prompts.
    pub prompts: &'a PromptSet,
}

impl SelfChat<'_> {
    /// The cost, with transcripts of `expected_tokens` on average.
    ///
    /// # Errors
    /// [`Error::Cache`](crate::Error::Cache).
    pub fn estimate(&self, runner: &Runner<'_>, expected_tokens: u32) -> Result<Estimate> {
        runner.estimate(&self.questions(), expected_tokens)
    }

    /// Asks for all of them.
    ///
    /// # Errors
    /// Those of [`Runner::ask_all`].
    pub fn run(&self, runner: &Runner<'_>) -> Result<Generated<Conversation>> {
        let questions = self.questions();
        let mut made = Generated {
            questions: questions.len(),
            ..Generated::default()
        };
        for reply in runner.ask_all(&questions)? {
            match reply.as_ref().and_then(|reply| reply.choices.first()) {
                None => made.drop("no_reply"),
                Some(choice) if choice.finish_reason == FinishReason::ContentFilter => {
                    made.drop("content_filter");
                }
                Some(choice) => {
                    let cut_off = choice.finish_reason == FinishReason::Length;
                    match transcript(&choice.text, cut_off) {
                        messages if messages.is_empty() => made.drop("format"),
                        messages => made.records.push(Conversation::from(messages)),
                    }
                }
            }
        }
        Ok(made)
    }

    fn questions(&self) -> Vec<Question> {
        let question = |topic: &String| {
            self.options
                .question(self.prompts.fill("self_chat", &[("topic", topic)]), 0)
        };
        self.topics.iter().map(question).collect()
    }
}

fn transcript(text: &str, cut_off: bool) -> Vec<Message> {
    let mut statements = statements(text);
    if cut_off {
        statements.pop();
    }
    let turns = [Role::User, Role::Assistant].into_iter().cycle();
    let said =
        |(message, turn): &(Message, Role)| message.role == *turn && !message.content.is_empty();
    let ordered = statements.into_iter().zip(turns).take_while(said);
    let mut messages: Vec<Message> = ordered.map(|(message, _)| message).collect();
    messages.truncate(messages.len() / 2 * 2);
    messages
}

/// What stands behind each speaker's mark at a line's beginning.
fn statements(text: &str) -> Vec<Message> {
    let mut statements: Vec<Message> = Vec::new();
    for line in text.lines() {
        let marked = SPEAKERS.iter().find_map(|(mark, role)| {
            let said = line.trim_start().strip_prefix(mark)?;
            Some((*role, said.trim_start_matches([':', '：'])))
        });
        match (marked, statements.last_mut()) {
            (Some((role, said)), _) => statements.push(Message::new(role, said.trim_start())),
            (None, Some(last)) => {
                last.content.push('\n');
                last.content.push_str(line);
            }
            (None, None) => {}
        }
    }
    for statement in &mut statements {
        statement.content = statement.content.trim().to_owned();
    }
    statements
}
