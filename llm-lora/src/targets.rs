//! Which modules an adapter goes to: PEFT's rules (`peft/tuners/tuners_utils.py`).

use fancy_regex::Regex;

use crate::{Error, LoraConfig, Modules, OneOrMany, Result};

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
    let chosen = Choice::new("target_modules", &targets)?;
    let excluded = match &config.exclude_modules {
        Some(exclude) => Some(Choice::new("exclude_modules", exclude)?),
        None => None,
    };
    let layers = Layers::new(config)?;
    let mut modules = Vec::new();
    for name in linears {
        let is_excluded = match &excluded {
            Some(excluded) => excluded.matches(name)?,
            None => false,
        };
        let in_full = matches!(&targets, Modules::List(entries) if entries.contains(name));
        if !is_excluded
            && !is_saved(config, name)
            && chosen.matches(name)?
            && (in_full || layers.contain(name)?)
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

/// Whether `modules_to_save` names a module, by the bare end of its name as PEFT compares.
pub(crate) fn is_saved(config: &LoraConfig, name: &str) -> bool {
    let saved = config.modules_to_save.as_deref().unwrap_or_default();
    saved.iter().any(|entry| name.ends_with(entry.as_str()))
}

/// A choice of modules, its regular expression compiled.
enum Choice<'a> {
    AllLinear,
    List(&'a [String]),
    Regex(&'a str, Regex),
}

impl<'a> Choice<'a> {
    fn new(field: &'a str, modules: &'a Modules) -> Result<Self> {
        Ok(match modules {
            Modules::AllLinear => Self::AllLinear,
            Modules::List(entries) => Self::List(entries),
            Modules::Regex(regex) => Self::Regex(field, compile(field, &format!("^(?:{regex})$"))?),
        })
    }

    fn matches(&self, name: &str) -> Result<bool> {
        match self {
            Self::AllLinear => Ok(name != "lm_head"),
            Self::List(entries) => Ok(entries.iter().any(|entry| ends_with(name, entry))),
            Self::Regex(field, regex) => {
                regex.is_match(name).map_err(|error| endless(field, error))
            }
        }
    }
}

/// `layers_to_transform` with `layers_pattern`.
struct Layers<'a> {
    /// Empty for all.
    indices: &'a [usize],
    /// Each captures a layer's index.
    patterns: Vec<Regex>,
}

impl<'a> Layers<'a> {
    fn new(config: &'a LoraConfig) -> Result<Self> {
        let indices = config
            .layers_to_transform
            .as_ref()
            .map_or(&[][..], OneOrMany::as_slice);
        let names = config
            .layers_pattern
            .as_ref()
            .map_or(&[][..], OneOrMany::as_slice);
        let names = names.iter().filter(|name| !name.is_empty());
        let mut patterns: Vec<String> = names
            .map(|name| format!(r"^(?:.*?\.)?{name}\.(\d+)\."))
            .collect();
        if patterns.is_empty() {
            patterns.push(r"^.*?\.[^.]*\.(\d+)\.".to_owned());
        }
        let compile = |pattern: &String| compile("layers_pattern", pattern);
        Ok(Self {
            indices,
            patterns: patterns.iter().map(compile).collect::<Result<_>>()?,
        })
    }

    fn contain(&self, name: &str) -> Result<bool> {
        if self.indices.is_empty() {
            return Ok(true);
        }
        for pattern in &self.patterns {
            let captures = pattern
                .captures(name)
                .map_err(|error| endless("layers_pattern", error))?;
            let index = captures.and_then(|captures| captures.get(1)?.as_str().parse().ok());
            if let Some(index) = index {
                return Ok(self.indices.contains(&index));
            }
        }
        Ok(false)
    }
}

/// Whether a name is `entry` or ends with it at a dot.
fn ends_with(name: &str, entry: &str) -> bool {
    name.strip_suffix(entry)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Compiles a regular expression of a configuration field.
pub(crate) fn compile(field: &str, regex: &str) -> Result<Regex> {
    Regex::new(regex).map_err(|error| Error::config(field, "a regular expression", error))
}

fn endless(field: &str, error: fancy_regex::Error) -> Error {
    Error::config(field, "a regular expression that ends", error)
}

#[cfg(test)]
mod tests {
    use super::*;

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
