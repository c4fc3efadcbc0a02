//! Which modules an adapter goes to: PEFT's rules (`peft/tuners/tuners_utils.py`).

use fancy_regex::Regex;

use crate::{Error, LoraConfig, Modules, Result};

/// PEFT's targets for every model type of the family.
const DEFAULT: [&str; 2] = ["q_proj", "v_proj"];

/// What the configuration's choice comes to on a model.
pub(crate) struct Targets {
    /// Names of the linear layers that get an adapter.
    pub(crate) modules: Vec<String>,
    /// Entries of the list that match none.
    pub(crate) unmatched: Vec<String>,
}

/// Applies the configuration's rules to the names of the model's linear layers.
pub(crate) fn resolve(config: &LoraConfig, linears: &[String]) -> Result<Targets> {
    let default = || Modules::List(DEFAULT.map(str::to_owned).to_vec());
    let targets = config.target_modules.clone().unwrap_or_else(default);
    let mut modules = Vec::new();
    for name in linears {
        let excluded = match &config.exclude_modules {
            Some(exclude) => is_chosen("exclude_modules", exclude, name)?,
            None => false,
        };
        if !excluded
            && !is_saved(config, name)
            && is_chosen("target_modules", &targets, name)?
            && in_layers(config, &targets, name)?
        {
            modules.push(name.clone());
        }
    }
    let unmatched = match &targets {
        Modules::List(entries) => {
            let matches_none = |entry: &&String| !linears.iter().any(|name| ends_with(name, entry));
            entries.iter().filter(matches_none).cloned().collect()
        }
        Modules::AllLinear | Modules::Regex(_) => Vec::new(),
    };
    Ok(Targets { modules, unmatched })
}

fn is_chosen(field: &str, modules: &Modules, name: &str) -> Result<bool> {
    match modules {
        Modules::AllLinear => Ok(name != "lm_head"),
        Modules::List(entries) => Ok(entries.iter().any(|entry| ends_with(name, entry))),
        Modules::Regex(regex) => matches(field, &format!("^(?:{regex})$"), name),
    }
}

/// Whether `modules_to_save` names a module, by the bare end of its name as PEFT compares.
pub(crate) fn is_saved(config: &LoraConfig, name: &str) -> bool {
    let saved = config.modules_to_save.as_deref().unwrap_or_default();
    saved.iter().any(|entry| name.ends_with(entry.as_str()))
}

/// `layers_to_transform`, which does not bear on modules that the list names in full.
fn in_layers(config: &LoraConfig, targets: &Modules, name: &str) -> Result<bool> {
    let layers = config
        .layers_to_transform
        .as_ref()
        .map_or(&[][..], |layers| layers.as_slice());
    let in_full =
        matches!(targets, Modules::List(entries) if entries.iter().any(|entry| entry == name));
    if layers.is_empty() || in_full {
        return Ok(true);
    }
    let patterns = config
        .layers_pattern
        .as_ref()
        .map_or(&[][..], |patterns| patterns.as_slice());
    let patterns = patterns.iter().filter(|pattern| !pattern.is_empty());
    let named: Vec<_> = patterns
        .map(|pattern| format!(r"^(?:.*?\.)?{pattern}\.(\d+)\."))
        .collect();
    let regexes = match named.is_empty() {
        true => vec![r"^.*?\.[^.]*\.(\d+)\.".to_owned()],
        false => named,
    };
    for regex in regexes {
        let captures = compile("layers_pattern", &regex)?
            .captures(name)
            .ok()
            .flatten();
        let index = captures.and_then(|captures| captures.get(1)?.as_str().parse::<usize>().ok());
        if let Some(index) = index {
            return Ok(layers.contains(&index));
        }
    }
    Ok(false)
}

/// Whether a name is `entry` or ends with it at a dot.
fn ends_with(name: &str, entry: &str) -> bool {
    name.strip_suffix(entry)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a regular expression of a configuration field matches somewhere in `name`.
pub(crate) fn matches(field: &str, regex: &str, name: &str) -> Result<bool> {
    let found = compile(field, regex)?.is_match(name);
    found.map_err(|error| Error::config(field, "a regular expression that ends", error))
}

fn compile(field: &str, regex: &str) -> Result<Regex> {
    Regex::new(regex).map_err(|error| Error::config(field, "a regular expression", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OneOrMany;

    fn linears() -> Vec<String> {
        let layer = |i| {
            ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"]
                .map(|m| format!("model.layers.{i}.{m}"))
        };
        (0..3)
            .flat_map(layer)
            .chain(["lm_head".to_owned()])
            .collect()
    }

    fn chosen(config: LoraConfig) -> Vec<String> {
        resolve(&config, &linears()).unwrap().modules
    }

    fn list(names: &[&str]) -> Option<Modules> {
        Some(Modules::List(
            names.iter().map(|name| (*name).to_owned()).collect(),
        ))
    }

    #[test]
    fn names_match_at_dots_only() {
        let config = LoraConfig {
            target_modules: list(&["proj", "q_proj", "mlp.down_proj"]),
            ..Default::default()
        };
        let targets = resolve(&config, &linears()).unwrap();
        assert_eq!(targets.modules.len(), 6);
        assert_eq!(targets.unmatched, ["proj"]);
    }

    #[test]
    fn the_default_is_q_and_v() {
        assert_eq!(chosen(LoraConfig::default()).len(), 6);
    }

    #[test]
    fn all_linear_leaves_the_head_out() {
        let config = LoraConfig {
            target_modules: Some(Modules::AllLinear),
            ..Default::default()
        };
        assert_eq!(chosen(config).len(), 9);
    }

    #[test]
    fn a_regex_matches_whole_names_with_lookahead() {
        let regex = |text: &str| LoraConfig {
            target_modules: Some(Modules::Regex(text.to_owned())),
            ..Default::default()
        };
        assert_eq!(chosen(regex("q_proj")), [] as [&str; 0]);
        assert_eq!(chosen(regex(r"(?!.*\.1\.).*q_proj")).len(), 2);
        assert!(resolve(&regex("("), &linears()).is_err());
    }

    #[test]
    fn exclusion_saving_and_layers_narrow_the_choice() {
        let config = LoraConfig {
            target_modules: list(&["q_proj", "v_proj", "lm_head"]),
            exclude_modules: list(&["v_proj"]),
            layers_to_transform: Some(OneOrMany::Many(vec![0, 2])),
            ..Default::default()
        };
        // A name in full is outside the rule of layers.
        assert_eq!(
            chosen(config.clone()),
            [
                "model.layers.0.self_attn.q_proj",
                "model.layers.2.self_attn.q_proj",
                "lm_head"
            ]
        );
        let config = LoraConfig {
            modules_to_save: Some(vec!["lm_head".to_owned()]),
            ..config
        };
        assert_eq!(chosen(config).len(), 2);
    }
}
