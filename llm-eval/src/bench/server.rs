//! A chat server as a model under test.

use llm_data::generate::{ChatRequest, Estimate, Question, Runner, Sampling};

use super::model::{Generation, LanguageModel, TokenModel, truncate_at};
use crate::Result;

/// The most stop texts that OpenAI's protocol takes.
const MOST_STOPS: usize = 4;

/// An OpenAI-compatible chat server, asked through `llm-data`'s [`Runner`]: in parallel, with retries, within
/// a budget, and through a cache that makes a run which was killed go on where it was.
///
/// Each context is one user message, answered at temperature 0. Likelihoods of given texts a chat server
/// cannot give (its log-probabilities are those of its own replies), so choices need
/// [`Answers::Reply`](super::Answers::Reply). A question that fails and is skipped has no reply, and is in no
/// figure.
///
/// ```
/// use llm_data::generate::{ChatReply, ChatRequest, ReplyCache, RunOptions, Runner};
/// use llm_eval::bench::{ChatServer, Generation, LanguageModel};
///
/// # fn main() -> llm_eval::Result<()> {
/// let chat = |_: &ChatRequest| Ok(ChatReply::new("B\nQuestion: more"));
/// let cache = ReplyCache::in_memory()?;
/// let runner = Runner::new(&chat, &cache, RunOptions::default())?;
/// let request = Generation {
///     context: "A or B?".to_owned(),
///     until: vec!["\n".to_owned()],
///     max_tokens: 16,
/// };
/// assert_eq!(ChatServer::new(&runner, "any").generate(&[request])?, [Some("B".to_owned())]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChatServer<'a> {
    runner: &'a Runner<'a>,
    model: String,
}

impl<'a> ChatServer<'a> {
    /// A server that is asked for `model`.
    pub fn new(runner: &'a Runner<'a>, model: impl Into<String>) -> Self {
        Self {
            runner,
            model: model.into(),
        }
    }

    /// What the requests would cost, without asking any; replies have `expected_tokens` on average.
    ///
    /// # Errors
    /// Those of [`Runner::estimate`].
    pub fn estimate(&self, requests: &[Generation], expected_tokens: u32) -> Result<Estimate> {
        let questions: Vec<_> = requests.iter().map(|one| self.question(one)).collect();
        Ok(self.runner.estimate(&questions, expected_tokens)?)
    }

    fn question(&self, request: &Generation) -> Question {
        let sampling = Sampling {
            temperature: 0.0,
            max_tokens: u32::try_from(request.max_tokens).unwrap_or(u32::MAX),
            stop: request.until.iter().take(MOST_STOPS).cloned().collect(),
            ..Sampling::default()
        };
        Question {
            request: ChatRequest::new(&self.model, &request.context, sampling),
            attempt: 0,
        }
    }
}

impl LanguageModel for ChatServer<'_> {
    fn name(&self) -> &str {
        &self.model
    }

    fn tokens(&self) -> Option<&dyn TokenModel> {
        None
    }

    fn generate(&self, requests: &[Generation]) -> Result<Vec<Option<String>>> {
        let questions: Vec<_> = requests.iter().map(|one| self.question(one)).collect();
        let replies = self.runner.ask_all(&questions)?;
        let text = |(reply, request): (Option<llm_data::generate::ChatReply>, &Generation)| {
            let choice = reply?.choices.into_iter().next()?;
            Some(truncate_at(&choice.text, &request.until).to_owned())
        };
        Ok(replies.into_iter().zip(requests).map(text).collect())
    }
}
