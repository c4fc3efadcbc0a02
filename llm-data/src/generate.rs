//! Data from a strong model: the model behind a trait, its replies behind a cache, and the
//! programs that ask for instructions, answers and conversations.

mod answer;
mod augment;
mod cache;
mod cost;
mod evolve;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod limit;
mod model;
mod parse;
mod program;
mod prompt_texts;
mod prompts;
#[cfg(feature = "http")]
mod redact;
mod retry;
mod runner;
mod self_chat;
mod self_instruct;
#[cfg(feature = "http")]
mod wire;

pub use answer::Answer;
pub use augment::Augment;
pub use cache::{Question, ReplyCache};
pub use cost::{Budget, Estimate, Price, Prices, Spent};
pub use evolve::{Evolve, Evolved, Operation};
#[cfg(feature = "http")]
pub use http::{OpenAiClient, OpenAiOptions};
pub use model::{
    Alternative, ChatModel, ChatReply, ChatRequest, Choice, FinishReason, ModelError,
    ModelErrorKind, Sampling, TokenLogprob, Usage,
};
pub use program::{GenerateOptions, Generated};
pub use prompt_texts::{BuiltinPrompt, PromptList, PromptTexts, fill_fields};
pub use prompts::{GenerationPrompts, Language, PromptSet};
pub use retry::RetryPolicy;
pub use runner::{OnFailure, RunCounts, RunOptions, Runner};
pub use self_chat::SelfChat;
pub use self_instruct::{SelfInstruct, load_seed_tasks};
