//! Text in, token ids and labels out.
//!
//! What supervised fine-tuning needs between a data file and the training loop, and generation
//! between a conversation and the model:
//!
//! - [`Tokenizer`] reads a checkpoint's `tokenizer.json` and what stands beside it; its
//!   [`DecodeStream`] turns ids back into text one by one, [`StopStrings`] ends it.
//! - [`load_alpaca`] and [`load_sharegpt`] read data files and say everything that is wrong with
//!   them; [`split`] holds out a part, [`find_leakage`] says what of it is in the rest.
//! - [`clean`] cleans conversations by named steps and accounts for each record; it finds texts that are
//!   nearly the same, and says how near.
//! - [`Survey`] says what records are like, [`Report`] what a run read, did and wrote: the account.
//! - [`generate`] asks a strong model for data, through a cache and within a budget: Self-Instruct,
//!   Evol-Instruct, self-chat, augmentation, answers.
//! - [`Template`] is how a conversation is written down: Alpaca and its kin, ChatML, Vicuna, others of
//!   FastChat's kind, those of a file of one's own, or the checkpoint's own [`ChatTemplate`].
//! - [`Encoder`] makes [`Sample`]s of records, ids and labels in one pass, and prompts of
//!   conversations; [`Statistics`] tells what became of a data set, [`html`] shows its samples.
//!
//! Only what the assistant says is supervised. The ids before an answer are exactly those that
//! generation starts from; only the template's own text yields special tokens, never a user's.
//! The formats are described in `docs/data-format.md`.
//!
//! ```no_run
//! use llm_data::{EncodeOptions, Encoder, LoadOptions, Template, Tokenizer, load_alpaca, split};
//!
//! # fn main() -> llm_data::Result<()> {
//! let tokenizer = Tokenizer::from_dir("models/SmolLM2-135M-Instruct")?;
//! let data = load_alpaca("alpaca.json", &LoadOptions::default())?;
//! let template = Template::by_name("alpaca", &tokenizer)?;
//! let encoder = Encoder::new(tokenizer, template, EncodeOptions::default())?;
//! let set = encoder.encode_all(&data.records)?;
//! println!("{}", set.statistics);
//! let (train, validation) = split(set.samples.len(), 0.05, 42);
//! # let _ = (train, validation);
//! # Ok(())
//! # }
//! ```

mod bytelevel;
mod chat;
pub mod clean;
mod decode;
mod encode;
mod ending;
mod error;
mod files;
mod format;
pub mod generate;
mod inspect;
mod issue;
mod leakage;
mod load;
mod pack;
mod parallel;
mod pieces;
mod place;
mod prepared;
mod prompt;
mod record;
mod report;
mod samples;
mod special;
mod split;
mod stats;
mod stop;
mod stream;
mod survey;
mod tokenizer;
mod truncate;
mod words;

pub use chat::{ChatOptions, ChatTemplate, ChatText};
pub use decode::DecodeStream;
pub use encode::{EncodeOptions, Encoded, EncodedSet, Encoder, IGNORE_INDEX, Sample};
pub use error::{Error, Result};
pub use files::TokenizerFiles;
pub use format::{Document, Format, Loss, Preference, Record};
pub use inspect::{ShownToken, html, shown_tokens};
pub use issue::{Reason, RecordIssue, count_by_reason};
pub use leakage::{
    EvaluationSet, Leakage, Overlap, OverlapKind, SetLeakage, Texts, find_leakage, load_evaluation,
};
pub use load::{LoadOptions, Loaded, OnBadRecord, load_alpaca, load_sharegpt};
pub use pack::{Packed, best_fit};
pub use parallel::{Bounds, in_chunks, in_order};
pub use pieces::{PieceRule, Pieces};
pub use prepared::{Prepared, PreparedKey};
pub use prompt::Template;
pub use record::{AlpacaRecord, Conversation, Message, Role};
pub use report::{BadPlace, BadRecords, FileHash, Report, ReportFile, hash_file};
pub use samples::{Ready, Samples};
pub use split::split;
pub use stats::{Cut, Lengths, Statistics};
pub use stop::StopStrings;
pub use stream::{
    Mixture, Numbered, OnLoss, ReadOptions, RecordReader, RecordWriter, Stop, WriteOptions,
    Written, find_files,
};
pub use survey::{
    CountTokens, FirstWords, Histogram, RecordRef, Sizes, Survey, TokenLengths, language_name,
};
pub use tokenizer::Tokenizer;
pub use truncate::Truncation;

/// What options are that nobody has said anything about, where that is true.
fn yes() -> bool {
    true
}
