//! Which system wrote a file of judgments.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::row::{Place, Row, take};
use super::{Id, read_rows};
use crate::error::{Error, Result};

/// A layout of saved judgments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// FastChat's single grading.
    FastchatSingle,
    /// FastChat's pairwise grading.
    FastchatPair,
    /// Vicuna's reviews.
    Vicuna,
    /// AlpacaEval's annotations.
    AlpacaEval,
    /// Arena-Hard's judgments, of v0.1 or v2.0.
    ArenaHard,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::FastchatSingle,
        Self::FastchatPair,
        Self::Vicuna,
        Self::AlpacaEval,
        Self::ArenaHard,
    ];

    /// The format's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FastchatSingle => "fastchat-single",
            Self::FastchatPair => "fastchat-pair",
            Self::Vicuna => "vicuna",
            Self::AlpacaEval => "alpaca-eval",
            Self::ArenaHard => "arena-hard",
        }
    }

    /// The fields by which a record is known to be of this format.
    fn marks(self) -> &'static [&'static str] {
        match self {
            Self::FastchatSingle => &["question_id", "model", "judge", "score"],
            Self::FastchatPair => &[
                "question_id",
                "model_1",
                "model_2",
                "g1_winner",
                "g2_winner",
            ],
            Self::Vicuna => &["question_id", "answer1_id", "answer2_id", "score"],
            Self::AlpacaEval => &["instruction", "preference", "generator_2"],
            Self::ArenaHard => &["model", "judge", "games"],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| Error::UnknownName {
                what: "format",
                name: name.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// The format of a file of judgments, by its first record's fields.
///
/// # Errors
///
/// [`Error::Empty`], [`Error::UnknownFormat`], and whatever keeps the record from being read.
pub fn detect(path: impl AsRef<Path>) -> Result<Format> {
    let path = path.as_ref();
    let record = first(path)?.ok_or_else(|| Error::Empty {
        path: path.to_owned(),
    })?;
    let known = Format::ALL
        .into_iter()
        .find(|format| format.marks().iter().all(|mark| record.contains_key(*mark)));
    known.ok_or_else(|| Error::UnknownFormat {
        path: path.to_owned(),
        fields: record
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// Whether the first record of a file is a judgment as [`Judgments`](crate::judge::Judgments) are
/// written; an empty file has none.
///
/// # Errors
///
/// Whatever keeps the record from being read.
pub fn is_own(path: impl AsRef<Path>) -> Result<bool> {
    let record = first(path.as_ref())?;
    Ok(record.is_some_and(|record| record.contains_key("prompt_hash")))
}

fn first(path: &Path) -> Result<Option<Map<String, Value>>> {
    let first = read_rows(path)?.next().transpose()?;
    Ok(first.map(|(_, record)| record))
}

/// A question's identifier and category, in any layout that has both.
struct Categorised(Id, String);

impl Row for Categorised {
    fn from_object(mut object: Map<String, Value>, place: Place<'_>) -> Result<Self> {
        let id = if object.contains_key("uid") {
            "uid"
        } else {
            "question_id"
        };
        Ok(Self(
            take(&mut object, id, place)?,
            take(&mut object, "category", place)?,
        ))
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        Ok(Map::from_iter([
            ("question_id".to_owned(), serde_json::to_value(&self.0)?),
            ("category".to_owned(), Value::from(self.1.as_str())),
        ]))
    }
}

/// The categories of the questions of FastChat's, Vicuna's or Arena-Hard's `question.jsonl`.
///
/// # Errors
///
/// When the file cannot be read or a question lacks a field.
pub fn read_categories(path: impl AsRef<Path>) -> Result<BTreeMap<Id, String>> {
    read_rows::<Categorised>(path)?
        .map(|row| row.map(|(_, Categorised(id, category))| (id, category)))
        .collect()
}
