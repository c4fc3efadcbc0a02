//! Records one at a time: files in any format, compressed ones, many of them, mixtures.

mod find;
mod mixture;
#[cfg(feature = "parquet")]
mod parquet;
mod reader;
mod scan;
mod source;
#[cfg(feature = "parquet")]
mod values;
mod writer;
#[cfg(feature = "zstd")]
mod zstd;

pub use find::find_files;
pub use mixture::{Mixture, Stop};
pub use reader::{Numbered, ReadOptions, RecordReader};
pub(crate) use source::Source;
pub use writer::{OnLoss, RecordWriter, WriteOptions, Written};
