//! Cleaning: named steps over conversations, each with an account of what it did and why.
//!
//! A [`Pipeline`] runs [`Step`]s one after the other. A step changes a record or drops it for a
//! reason; the [`Account`] counts both by step and reason with some examples. Records are worked
//! on in parallel; result and account are the same on any number of threads. [`Pipeline::stream`]
//! cleans files of any size in bounded memory.

mod account;
mod alpaca;
mod clusters;
mod code;
mod codec;
mod exact;
mod html;
mod minhash;
mod personal;
mod phrases;
mod pipeline;
mod rouge;
mod shingles;
mod signs;
mod simhash;
mod spool;
mod step;
mod stream;
mod text;
mod turns;
mod verdict;
mod whole;

pub use account::{Account, Example, StepAccount, Tally};
pub use clusters::Clusters;
pub use code::Code;
pub use exact::exact_duplicates;
pub use html::{Html, HtmlWhen};
pub use minhash::{MinHash, near_duplicates};
pub use personal::{PersonalAction, PersonalData, PersonalKind};
pub use phrases::{PhraseList, Phrases, Speaker, SpecialAction, SpecialTexts};
pub use pipeline::{Cleaned, Pipeline};
pub use rouge::{Rouge, RougeText, RougeUnit, rouge_l};
pub use shingles::jaccard;
pub use simhash::{SimHash, simhash, simhash_duplicates};
pub use step::Step;
pub use stream::StreamOptions;
pub(crate) use text::language;
pub use text::{Language, Length};
pub use turns::Turns;
pub use whole::{Compared, Contamination};
