//! Answers to instructions.

use super::cache::Question;
use super::cost::Estimate;
use super::program::{GenerateOptions, Generated, whole_text};
use super::prompts::PromptSet;
use super::runner::Runner;
use crate::error::Result;
use crate::record::{AlpacaRecord, Message, Role};

/// An answer to each instruction, in place of whatever output it had; its system text and history are asked
/// with it.
///
/// Records whose answer is empty, cut off, withheld by a filter or missing are dropped and counted.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    /// Model, sampling, seed.
    pub options: GenerateOptions,
    /// Instructions with their inputs.
    pub instructions: &'a [AlpacaRecord],
    /// The prompts.
    pub prompts: &'a PromptSet,
}

impl Answer<'_> {
    /// The cost, with answers of `expected_tokens` on average.
    ///
    /// # Errors
    /// [`Error::Cache`](crate::Error::Cache).
    pub fn estimate(&self, runner: &Runner<'_>, expected_tokens: u32) -> Result<Estimate> {
        runner.estimate(&self.questions(), expected_tokens)
    }

    /// Asks all of them.
    ///
    /// # Errors
    /// Those of [`Runner::ask_all`].
    pub fn run(&self, runner: &Runner<'_>) -> Result<Generated<AlpacaRecord>> {
        let questions = self.questions();
        let replies = runner.ask_all(&questions)?;
        let mut made = Generated {
            questions: questions.len(),
            ..Generated::default()
        };
        for (record, reply) in self.instructions.iter().zip(replies) {
            match whole_text(reply.as_ref()) {
                Ok(text) => made.records.push(AlpacaRecord {
                    output: text.to_owned(),
                    ..record.clone()
                }),
                Err(reason) => made.drop(reason),
            }
        }
        Ok(made)
    }

    pub(crate) fn questions(&self) -> Vec<Question> {
        let question = |record: &AlpacaRecord| {
            let name = if record.input.trim().is_empty() {
                "answer_plain"
            } else {
                "answer"
            };
            let fields = [
                ("instruction", record.instruction.as_str()),
                ("input", &record.input),
            ];
            let mut question = self.options.question(self.prompts.fill(name, &fields), 0);
            question.request.messages.splice(0..0, before(record));
            question
        };
        self.instructions.iter().map(question).collect()
    }
}

/// What stands before a record's instruction.
fn before(record: &AlpacaRecord) -> impl Iterator<Item = Message> {
    let system = record.system.iter();
    let system = system.filter(|text| !text.trim().is_empty());
    let history = record
        .history
        .iter()
        .flat_map(|(question, answer)| [(Role::User, question), (Role::Assistant, answer)]);
    let all = system.map(|text| (Role::System, text)).chain(history);
    all.map(|(role, text)| Message::new(role, text))
}
