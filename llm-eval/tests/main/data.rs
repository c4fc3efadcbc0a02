//! Where the data lies.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use serde_json::Value;

pub(crate) fn data(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(path)
}

pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("../goldens/lm_eval.json")).unwrap()
}

/// A path in the shared folder; none, with the reason printed, where it is absent and
/// `REQUIRE_SHARED` is unset.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if path.exists() {
        return Some(path);
    }
    let absent = format!("{} is absent", path.display());
    assert!(std::env::var_os("REQUIRE_SHARED").is_none(), "{absent}");
    eprintln!("skipped: {absent}");
    None
}
