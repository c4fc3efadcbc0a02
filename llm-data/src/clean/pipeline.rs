//! Steps one after the other, over all records.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::record::Conversation;
use crate::tokenizer::Tokenizer;

use super::account::Account;
use super::step::{Rule, Step};
use super::stream::StreamOptions;

/// Examples of each reason, by default.
const EXAMPLES: usize = 3;

/// Cleaning steps in their order.
///
/// ```
/// use llm_data::clean::{Pipeline, Step};
/// use llm_data::{Conversation, Message, Role};
///
/// let steps: Vec<Step> = serde_json::from_str(
///     r#"[{"step": "control_characters"}, {"step": "length", "min_words": 3}]"#,
/// )?;
/// let mut conversation = Conversation::default();
/// conversation.messages.push(Message::new(Role::User, "Name a \u{0}colour."));
/// conversation.messages.push(Message::new(Role::Assistant, "Red."));
///
/// let cleaned = Pipeline::new(&steps)?.run(vec![(1, conversation), (2, Conversation::default())])?;
/// assert_eq!(cleaned.records[0].1.messages[0].content, "Name a colour.");
/// let account = cleaned.account;
/// assert_eq!((account.kept, account.changed, account.dropped), (1, 1, 1));
/// assert_eq!(account.steps[1].dropped["too_few_words"].records, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipeline {
    pub(super) rules: Vec<(&'static str, Rule)>,
    pub(super) examples: usize,
}

/// What a [`Pipeline`] leaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// The records that were kept, each with its number, in their order.
    pub records: Vec<(usize, Conversation)>,
    /// What became of all of them.
    pub account: Account,
}

impl Pipeline {
    /// Checks the steps' options, reads their lists and evaluation files.
    ///
    /// # Errors
    /// [`Error::Option`](crate::Error::Option) for options that make no sense, or rules that need
    /// a tokenizer; [`Error::Io`](crate::Error::Io) and the errors of
    /// [`load_evaluation`](crate::load_evaluation) for their files.
    pub fn new(steps: &[Step]) -> Result<Self> {
        Self::prepare(steps, None)
    }

    /// The same for steps that count tokens.
    ///
    /// # Errors
    /// Those of [`Pipeline::new`].
    pub fn with_tokenizer(steps: &[Step], tokenizer: Tokenizer) -> Result<Self> {
        Self::prepare(steps, Some(&Arc::new(tokenizer)))
    }

    fn prepare(steps: &[Step], tokenizer: Option<&Arc<Tokenizer>>) -> Result<Self> {
        let rules = steps
            .iter()
            .map(|step| Ok((step.name(), step.prepare(tokenizer)?)));
        Ok(Self {
            rules: rules.collect::<Result<_>>()?,
            examples: EXAMPLES,
        })
    }

    /// The same with up to `examples` examples of each reason instead of 3.
    #[must_use]
    pub fn examples(mut self, examples: usize) -> Self {
        self.examples = examples;
        self
    }

    /// Whether every step judges a record alone: then a file can be cleaned in parts, and their
    /// accounts [merged](Account::merge).
    pub fn is_by_record(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.all(|(_, rule)| matches!(rule, Rule::Each(_)))
    }

    /// Cleans records in memory, each with its number: [`Pipeline::stream`] for few of them.
    ///
    /// # Errors
    /// Those of [`near_duplicates`](super::near_duplicates) and its kin.
    pub fn run(&self, records: Vec<(usize, Conversation)>) -> Result<Cleaned> {
        let mut kept = Vec::new();
        let options = StreamOptions {
            memory: usize::MAX,
            ..StreamOptions::default()
        };
        let account = self.stream(records.into_iter().map(Ok), &options, |number, record| {
            kept.push((number, record));
            Ok::<_, Error>(())
        })?;
        Ok(Cleaned {
            records: kept,
            account,
        })
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.rules.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Pipeline")
            .field("steps", &names)
            .field("examples", &self.examples)
            .finish()
    }
}
