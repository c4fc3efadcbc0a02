//! The index of a sharded checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::INDEX;
use super::safetensors::{SafetensorsFile, check_unique_keys};
use crate::{Error, Result};

#[derive(Deserialize)]
struct Index<'a> {
    #[serde(borrow)]
    weight_map: &'a serde_json::value::RawValue,
}

/// Opens every shard that the index of `dir` names.
pub(super) fn open(dir: &Path) -> Result<Vec<SafetensorsFile>> {
    let path = dir.join(INDEX);
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let json = |source| Error::Json {
        path: path.clone(),
        source,
    };
    let refuse = |reason: String| Error::ShardIndex {
        path: path.clone(),
        reason,
    };

    let map = serde_json::from_str::<Index>(&text)
        .map_err(json)?
        .weight_map
        .get();
    check_unique_keys(map.as_bytes()).map_err(|error| refuse(error.to_string()))?;
    let map: BTreeMap<String, String> = serde_json::from_str(map).map_err(json)?;

    let files: BTreeSet<&String> = map.values().collect();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|file| shard_path(dir, file))
        .collect::<Result<_, _>>()
        .map_err(refuse)?;
    let shards: Vec<_> = paths
        .iter()
        .map(SafetensorsFile::open)
        .collect::<Result<_>>()?;
    let mut holders: BTreeMap<&str, &Path> = BTreeMap::new();
    for shard in &shards {
        for (tensor, _) in shard.iter() {
            if let Some(other) = holders.insert(tensor, shard.path()) {
                let (one, two) = (other.display(), shard.path().display());
                return Err(refuse(format!("`{tensor}` is in both {one} and {two}")));
            }
        }
    }
    for (tensor, file) in &map {
        if holders
            .get(tensor.as_str())
            .is_none_or(|holder| !holder.ends_with(file))
        {
            return Err(refuse(format!("`{tensor}` is not in `{file}`")));
        }
    }
    Ok(shards)
}

/// The path of a shard, refused before it is opened unless it is a plain file name whose target lies
/// in the directory, or in the `blobs` of the Hugging Face cache that the directory belongs to.
fn shard_path(dir: &Path, file: &str) -> Result<PathBuf, String> {
    let mut components = Path::new(file).components();
    let plain = matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    );
    if !plain || file.contains(['\\', '/', ':', '\0']) {
        return Err(format!(
            "`{}` is not a plain file name",
            file.escape_debug()
        ));
    }
    let path = dir.join(file);
    let absent = |error| format!("`{file}`: {error}");
    let target = path.canonicalize().map_err(absent)?;
    let roots = [dir.to_owned(), dir.join("../../blobs")];
    let inside = roots
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .any(|root| target.parent() == Some(&root));
    match inside {
        true => Ok(path),
        false => Err(format!(
            "`{file}` leads outside its directory, to {}",
            target.display()
        )),
    }
}

/// Whether a directory holds weights that only Python's pickle reads.
pub(super) fn has_pickle(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        path.extension()
            .is_some_and(|extension| ["bin", "pt", "pth"].iter().any(|known| extension == *known))
    })
}
