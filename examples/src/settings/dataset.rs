//! Files of records.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Where it is.
    pub path: PathBuf,
    /// What its records look like.
    #[serde(rename = "type")]
    pub format: DataFormat,
}

/// What records look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// `instruction`, `input`, `output`.
    #[default]
    Alpaca,
    /// `conversations[{from, value}]`.
    Sharegpt,
}

impl From<PathBuf> for Dataset {
    /// A file of Alpaca records.
    fn from(path: PathBuf) -> Self {
        let format = DataFormat::Alpaca;
        Self { path, format }
    }
}

impl From<OsString> for Dataset {
    /// As flags spell it: `FILE`, `FILE:alpaca` or `FILE:sharegpt`.
    fn from(text: OsString) -> Self {
        let (path, format) = match text.to_str().and_then(|text| text.rsplit_once(':')) {
            Some((path, "alpaca")) => (path, DataFormat::Alpaca),
            Some((path, "sharegpt")) => (path, DataFormat::Sharegpt),
            _ => return PathBuf::from(text).into(),
        };
        let path = path.into();
        Self { path, format }
    }
}
