//! Judgments read one by one, of each only what the figures need.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Number;

use super::{Duplicate, Duplicates, OnDuplicate};
use crate::error::{Error, Result};
use crate::judge::files::{Row, read_rows};

/// How many duplicates are named.
const NAMED: usize = 20;

/// The longest part of a duplicate's name, in characters.
const MAX_PART: usize = 60;

/// Rows that count, and what was found while reading them.
pub(super) struct Judgments<T> {
    pub(super) rows: Vec<T>,
    pub(super) read: usize,
    pub(super) duplicates: Duplicates,
}

/// A row's place, for errors.
pub(super) struct At<'a> {
    pub(super) path: &'a Path,
    pub(super) line: usize,
}

impl At<'_> {
    pub(super) fn field(&self, field: &str, reason: impl Into<String>) -> Error {
        Error::Field {
            path: self.path.to_owned(),
            line: self.line,
            field: field.to_owned(),
            reason: reason.into(),
        }
    }

    /// A number as a score; `None` for what stands for a failed parser: `null` and −1.
    pub(super) fn score(&self, field: &str, score: Option<&Number>) -> Result<Option<f64>> {
        match score.map(Number::as_f64) {
            None => Ok(None),
            Some(Some(score)) if score.is_finite() => {
                Ok(Some(score).filter(|&score| score != -1.0))
            }
            Some(_) => Err(self.field(field, "not a finite number")),
        }
    }
}

/// Reads the rows of all files. `lean` keeps what is needed of a row, and says what it judges: rows
/// for which that is the same are duplicates.
pub(super) fn read<R: Row, T>(
    paths: &[&Path],
    on_duplicate: OnDuplicate,
    lean: impl Fn(R, At<'_>) -> Result<(Vec<String>, T)>,
) -> Result<Judgments<T>> {
    let mut judgments = Judgments {
        rows: Vec::new(),
        read: 0,
        duplicates: Duplicates::default(),
    };
    let mut seen: HashMap<Vec<String>, (usize, PathBuf, usize)> = HashMap::new();
    for path in paths {
        for row in read_rows::<R>(path)? {
            let (line, row) = row?;
            judgments.read += 1;
            let (key, row) = lean(row, At { path, line })?;
            let Some((at, earlier, earlier_line)) = seen.get(&key) else {
                seen.insert(key, (judgments.rows.len(), path.to_path_buf(), line));
                judgments.rows.push(row);
                continue;
            };
            judgments.duplicates.count += 1;
            if judgments.duplicates.first.len() < NAMED {
                judgments.duplicates.first.push(Duplicate {
                    key: name(&key),
                    earlier: format!("{}:{earlier_line}", earlier.display()),
                    later: format!("{}:{line}", path.display()),
                });
            }
            match on_duplicate {
                OnDuplicate::Keep => judgments.rows.push(row),
                OnDuplicate::First => {}
                OnDuplicate::Last => judgments.rows[*at] = row,
            }
        }
    }
    Ok(judgments)
}

fn name(key: &[String]) -> String {
    let part = |part: &String| match part.char_indices().nth(MAX_PART) {
        Some((at, _)) => format!("{}…", &part[..at]),
        None => part.clone(),
    };
    key.iter().map(part).collect::<Vec<_>>().join(", ")
}
