//! The YAML file of settings.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Settings;

/// The file in the output that holds the resolved settings.
pub const FILE: &str = "finetune.yaml";

/// The template with which the adapter or model of a directory was trained, where it is recorded.
pub fn recorded_template(dir: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Recorded {
        template: Option<String>,
    }
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let recorded: Result<Recorded, _> = serde_saphyr::from_str(&text);
    Ok(recorded
        .map_err(|error| anyhow!("{}: {error}", path.display()))?
        .template)
}

/// The keys and values of a settings file, each known and of the right type.
pub(super) fn read_file(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path)?;
    let values: Map<String, Value> =
        serde_saphyr::from_str(&text).map_err(|error| anyhow!("{error}"))?;
    let known = serde_json::to_value(Settings::default())?;
    let known: Vec<&String> = known.as_object().into_iter().flat_map(Map::keys).collect();
    for key in values.keys() {
        if !known.contains(&key) {
            let likeness = |other: &&&String| (strsim::jaro_winkler(key, other) * 1000.0) as u32;
            let closest = known
                .iter()
                .max_by_key(likeness)
                .filter(|other| likeness(other) > 700);
            match closest {
                Some(closest) => bail!("unknown key `{key}`; did you mean `{closest}`?"),
                None => bail!("unknown key `{key}`"),
            }
        }
    }
    // The types are those of the settings; the error names line and column.
    let typed: Settings = serde_saphyr::from_str(&text).map_err(|error| anyhow!("{error}"))?;
    let typed = serde_json::to_value(typed)?;
    for (key, value) in &values {
        // YAML's reader takes "8" for 8; a quoted number is a mistake more often than not.
        if value.is_string() && typed[key].is_number() {
            bail!("`{key}`: expected a number, got the text {value}");
        }
    }
    Ok(values
        .keys()
        .map(|key| (key.clone(), typed[key].clone()))
        .collect())
}
