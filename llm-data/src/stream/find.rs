//! From a path, a directory or a glob to the data files there.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::load::io;

/// The ends of names that data files have in a directory, before that of the compression.
const ENDS: [&str; 5] = [".json", ".jsonl", ".ndjson", ".txt", ".parquet"];
const COMPRESSED: [&str; 2] = [".gz", ".zst"];

/// The end of the directories that `prepare_data` writes reports into, beside data.
const REPORT: &str = ".report";

/// The data files of a path, a directory or a glob, in an order that is the same everywhere: by the
/// names of directories and files.
///
/// A directory is searched with those below it, for names that end in `.json`, `.jsonl`, `.ndjson`,
/// `.txt` or `.parquet`, and those with `.gz` or `.zst` behind; links to directories are passed over.
/// A glob (`data/**/*.jsonl`) gives the files that it matches, however their names end. A path that
/// exists is never a glob.
///
/// Names that begin with `.` or `_` (`_temporary`, `_delta_log`) are no data, as in Hive and Spark,
/// but for a partition's (`_day=3`): such files and directories are passed over unless the path or
/// a part of the glob (`_old*`) begins so itself. So are reports beside data (`data.jsonl.report`).
///
/// # Errors
/// [`Error::NoFiles`], [`Error::Pattern`], [`Error::Io`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # std::fs::write(dir.path().join("b.json"), "[]")?;
/// # std::fs::write(dir.path().join("a.jsonl.gz"), "")?;
/// # std::fs::write(dir.path().join("README.md"), "")?;
/// let files = llm_data::find_files(dir.path().to_str().unwrap())?;
/// let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
/// assert_eq!(names, ["a.jsonl.gz", "b.json"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn find_files(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let mut files = Vec::new();
    if path.is_dir() {
        search(path, &mut files)?;
    } else if path.exists() {
        files.push(path.to_owned());
    } else {
        let paths = glob::glob(pattern).map_err(|error| Error::Pattern {
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        for path in paths {
            let path = path.map_err(|error| {
                let path = error.path().to_owned();
                io(&path, error.into())
            })?;
            if path.is_file() && !is_hidden_from(pattern, &path) {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        return Err(Error::NoFiles {
            pattern: pattern.to_owned(),
        });
    }
    files.sort();
    Ok(files)
}

fn search(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).map_err(|source| io(directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| io(directory, source))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(|source| io(&path, source))?;
        let name = name.to_string_lossy();
        if is_hidden(&name) {
            continue;
        }
        if kind.is_dir() {
            search(&path, files)?;
        } else if is_data(&name) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn is_hidden(name: &str) -> bool {
    let marked = name.starts_with('.') || (name.starts_with('_') && !name.contains('='));
    marked || name.ends_with(REPORT)
}

/// Whether a part of the path is hidden, and no part of the glob names it by its first character.
fn is_hidden_from(glob: &str, path: &Path) -> bool {
    let named = |name: &str| {
        glob.split(std::path::is_separator).any(|part| {
            part.chars().next() == name.chars().next()
                && glob::Pattern::new(part).is_ok_and(|part| part.matches(name))
        })
    };
    path.components().any(|part| match part {
        Component::Normal(name) => {
            let name = name.to_string_lossy();
            is_hidden(&name) && !named(&name)
        }
        _ => false,
    })
}

fn is_data(name: &str) -> bool {
    let name = uncompressed(name);
    ENDS.iter().any(|end| name.ends_with(end))
}

/// The name without the end that says how the file is compressed.
pub(super) fn uncompressed(name: &str) -> &str {
    let stripped = COMPRESSED.iter().find_map(|end| name.strip_suffix(end));
    stripped.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_globs_give_files_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("b");
        std::fs::create_dir_all(sub.join(".hidden")).unwrap();
        for name in ["c.jsonl", "b/z.txt.gz", "b/a.parquet", "b/.x.json", "a.md"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::write(sub.join(".hidden/x.json"), "").unwrap();
        std::fs::create_dir(sub.join("z.txt.gz.report")).unwrap();
        std::fs::write(sub.join("z.txt.gz.report/report.json"), "").unwrap();
        let found = |pattern: &str| {
            let pattern = dir.path().join(pattern);
            let files = find_files(pattern.to_str().unwrap())?;
            let relative = |file: &PathBuf| {
                let file = file.strip_prefix(dir.path()).unwrap();
                file.to_str().unwrap().to_owned()
            };
            Ok::<_, Error>(files.iter().map(relative).collect::<Vec<_>>())
        };
        assert_eq!(found("").unwrap(), ["b/a.parquet", "b/z.txt.gz", "c.jsonl"]);
        assert_eq!(found("*.md").unwrap(), ["a.md"]);
        assert_eq!(found("**/*.txt.gz").unwrap(), ["b/z.txt.gz"]);
        assert_eq!(found("b/.*.json").unwrap(), ["b/.x.json"]);
        assert!(matches!(found("*.csv"), Err(Error::NoFiles { .. })));
        assert!(matches!(found("***"), Err(Error::Pattern { .. })));
    }

    /// Spark's and Delta Lake's own files, a partition by a column `_day`.
    #[test]
    fn names_with_an_underscore_are_read_only_if_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "_SUCCESS",
            "_delta_log/00.json",
            "_temporary/0/a.json",
            "_day=1/a.json",
            "b/_c.json",
            "b/c_.json",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        for (pattern, expected) in [
            ("", &["_day=1/a.json", "b/c_.json"][..]),
            ("**/*.json", &["_day=1/a.json", "b/c_.json"]),
            ("*/*.json", &["_day=1/a.json", "b/c_.json"]),
            ("_temporary", &["_temporary/0/a.json"]),
            ("_temp*/**/*.json", &["_temporary/0/a.json"]),
            ("_delta_log/*.json", &["_delta_log/00.json"]),
            ("b/_*.json", &["b/_c.json"]),
            ("b/_c.json", &["b/_c.json"]),
        ] {
            let files = find_files(dir.path().join(pattern).to_str().unwrap()).unwrap();
            let expected: Vec<PathBuf> =
                expected.iter().map(|name| dir.path().join(name)).collect();
            assert_eq!(files, expected, "{pattern}");
        }
    }
}
