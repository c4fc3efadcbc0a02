//! Places where programs write, tried before the work is done.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Refuses outputs that are among the inputs or the same twice, and places where nothing can be
/// written.
///
/// # Errors
/// Those, with the path.
pub fn check<'a>(
    outputs: impl IntoIterator<Item = &'a PathBuf>,
    inputs: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<()> {
    let inputs: Vec<&PathBuf> = inputs.into_iter().collect();
    let mut before: Vec<&PathBuf> = Vec::new();
    for output in outputs {
        let path = output.display();
        if inputs.iter().any(|input| is_same(input, output)) {
            bail!("{path}: it is read from, and would be overwritten");
        }
        if before.iter().any(|other| is_same(other, output)) {
            bail!("{path}: two outputs cannot be written to one file");
        }
        try_place(output).with_context(|| path.to_string())?;
        before.push(output);
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

/// A file's one name; it need not be there yet, but its directory.
fn place(path: &Path) -> Option<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Some(path);
    }
    Some(directory(path).canonicalize().ok()?.join(path.file_name()?))
}

fn directory(path: &Path) -> &Path {
    let dir = path.parent().filter(|dir| *dir != Path::new(""));
    dir.unwrap_or(Path::new("."))
}

/// Makes a file beside the output, as what writes it whole or not at all does, and removes it.
fn try_place(path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else {
        bail!("it has no file's name");
    };
    if path.is_dir() {
        bail!("it is a directory");
    }
    let name = format!(".{}.{}.try", name.to_string_lossy(), std::process::id());
    let tried = path.with_file_name(name);
    File::create(&tried)?;
    Ok(fs::remove_file(&tried)?)
}
