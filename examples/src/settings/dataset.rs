//! Files of records.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use llm_data::{Format, find_files};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Files of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Where they are: a file, a directory or a glob.
    pub path: PathBuf,
    /// Their format; none: each file's is told by its first record.
    #[serde(
        rename = "type",
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "name",
        deserialize_with = "by_name"
    )]
    pub format: Option<Format>,
}

impl Dataset {
    /// The files.
    ///
    /// # Errors
    /// When there are none.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let path = &self.path;
        let pattern = path
            .to_str()
            .ok_or_else(|| anyhow!("{}: not UTF-8", path.display()))?;
        Ok(find_files(pattern)?)
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn name<S: Serializer>(format: &Option<Format>, serializer: S) -> Result<S::Ok, S::Error> {
    format.map(Format::name).serialize(serializer)
}

fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Format>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    let format = name.map(|name| Format::by_name(&name)).transpose();
    format.map_err(de::Error::custom)
}

impl From<PathBuf> for Dataset {
    /// Of the format that the first record tells.
    fn from(path: PathBuf) -> Self {
        Self { path, format: None }
    }
}

impl From<OsString> for Dataset {
    /// As flags spell it: `FILE`, or `FILE:sharegpt` and so on.
    fn from(text: OsString) -> Self {
        let named = text.to_str().and_then(|text| text.rsplit_once(':'));
        let named = named.and_then(|(path, name)| Some((path, Format::by_name(name).ok()?)));
        match named {
            Some((path, format)) => Self {
                path: path.into(),
                format: Some(format),
            },
            None => PathBuf::from(text).into(),
        }
    }
}
