//! Records: typed fields, and the others kept as they are.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A record's place in a file.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The file.
    pub path: &'a Path,
    /// The line on which the record begins, from 1.
    pub line: usize,
}

/// A record of a known layout.
pub trait Row: Sized {
    /// Reads the fields of an object.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] when a field is missing or has the wrong type.
    fn from_object(object: Map<String, Value>, place: Place<'_>) -> Result<Self>;

    /// The object that [`Row::from_object`] reads; what the layout does not know comes last.
    ///
    /// # Errors
    ///
    /// When a number is not finite, which JSON cannot hold.
    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error>;
}

/// A record of any layout.
impl Row for Map<String, Value> {
    fn from_object(object: Map<String, Value>, _: Place<'_>) -> Result<Self> {
        Ok(object)
    }

    fn to_object(&self) -> std::result::Result<Map<String, Value>, serde_json::Error> {
        Ok(self.clone())
    }
}

/// The identifier of a question: a number in FastChat's sets, a text in Arena-Hard's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Takes a field out of an object.
pub(in crate::judge) fn take<T: DeserializeOwned>(
    object: &mut Map<String, Value>,
    name: &str,
    place: Place<'_>,
) -> Result<T> {
    take_optional(object, name, place)?.ok_or_else(|| wrong(name, place, "missing"))
}

/// Takes a field that may be absent out of an object.
pub(in crate::judge) fn take_optional<T: DeserializeOwned>(
    object: &mut Map<String, Value>,
    name: &str,
    place: Place<'_>,
) -> Result<Option<T>> {
    let read = object.shift_remove(name).map(serde_json::from_value);
    read.transpose()
        .map_err(|error| wrong(name, place, &error.to_string()))
}

fn wrong(name: &str, place: Place<'_>, reason: &str) -> Error {
    Error::Field {
        path: place.path.to_owned(),
        line: place.line,
        field: name.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Declares a record. A field marked `?` is left out when it is `None`; others are always written.
macro_rules! row {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$doc:meta])* $field:ident $(($key:literal))? : $type:ty,)*
            $(? $(#[$odoc:meta])* $ofield:ident $(($okey:literal))? : $otype:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $($(#[$odoc])* pub $ofield: Option<$otype>,)*
            /// The fields that the layout does not know.
            pub extra: serde_json::Map<String, serde_json::Value>,
        }

        impl $crate::judge::files::Row for $name {
            fn from_object(
                mut object: serde_json::Map<String, serde_json::Value>,
                place: $crate::judge::files::row::Place<'_>,
            ) -> $crate::Result<Self> {
                Ok(Self {
                    $($field: $crate::judge::files::row::take(&mut object, row!(@key $field $($key)?), place)?,)*
                    $($ofield: $crate::judge::files::row::take_optional::<Option<_>>(&mut object, row!(@key $ofield $($okey)?), place)?.flatten(),)*
                    extra: object,
                })
            }

            fn to_object(&self) -> std::result::Result<serde_json::Map<String, serde_json::Value>, serde_json::Error> {
                let mut object = serde_json::Map::new();
                $(object.insert(row!(@key $field $($key)?).to_owned(), serde_json::to_value(&self.$field)?);)*
                $(if let Some(value) = &self.$ofield {
                    object.insert(row!(@key $ofield $($okey)?).to_owned(), serde_json::to_value(value)?);
                })*
                object.extend(self.extra.clone());
                Ok(object)
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}
pub(super) use row;
