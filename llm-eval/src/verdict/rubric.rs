//! Scores by criterion.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::decide::pattern;
use super::json::{number, objects};
use super::{Range, Reason, Verdict};

pattern!(
    LINE,
    r"(?i)^[\s\-*•#>|]*(?:[0-9]+[.)、]\s*)?[*_`]*([^:\[\]|*`\n]+?)[*_`]*\s*[:|=\-–—]\s*[*_`]*\s*(?:\[\[[\s*]*([+-]?[0-9]+(?:\.[0-9]+)?|nan)\s*分?\s*(?:/\s*([0-9]+))?[\s*]*\]\]|\[?([+-]?[0-9]+(?:\.[0-9]+)?|nan)\s*分?\s*(?:/\s*([0-9]+))?\]?[\s_*`|.,;]*(?:$|[-–—(]))"
);

/// The last score of each criterion, from lines (`accuracy: [[8]]`) or from an object.
pub(super) fn scores(text: &str, criteria: &[String], range: Range) -> Result<Verdict, Reason> {
    let mut scores = from_objects(text, criteria, range)?;
    if scores.is_empty() {
        scores = from_lines(text, criteria, range)?;
    }
    let missing = criteria
        .iter()
        .find(|criterion| !scores.contains_key(*criterion));
    match missing {
        Some(criterion) => Err(Reason::MissingCriterion(criterion.clone())),
        None if scores.is_empty() => Err(Reason::NoVerdict),
        None => Ok(Verdict::Scores(scores)),
    }
}

fn from_lines(
    text: &str,
    criteria: &[String],
    range: Range,
) -> Result<BTreeMap<String, f64>, Reason> {
    let mut read = BTreeMap::new();
    for captures in text.lines().filter_map(|line| LINE.captures(line)) {
        let name = captures[1]
            .split('(')
            .next()
            .unwrap_or_default()
            .trim()
            .to_lowercase();
        let name = match criteria
            .iter()
            .find(|criterion| criterion.to_lowercase() == name)
        {
            Some(criterion) => criterion.clone(),
            None if criteria.is_empty() && captures.get(2).is_some() => name,
            None => continue,
        };
        let either = |bracketed, bare| {
            captures
                .get(bracketed)
                .or(captures.get(bare))
                .map(|found| found.as_str())
        };
        let score = match either(3, 5).map(str::parse) {
            Some(max) if max != Ok(range.max()) => Err(Reason::NotANumber),
            _ => either(2, 4)
                .unwrap_or_default()
                .parse()
                .map_err(|_| Reason::NotANumber)
                .and_then(|score| range.check(score)),
        };
        read.insert(name, score);
    }
    read.into_iter()
        .map(|(name, score)| Ok((name, score?)))
        .collect()
}

/// The scores in the last object that has all the criteria, directly or under `scores`.
fn from_objects(
    text: &str,
    criteria: &[String],
    range: Range,
) -> Result<BTreeMap<String, f64>, Reason> {
    let (objects, cut_off) = objects(text);
    for one in objects.iter().rev() {
        let nested = one
            .value
            .get("scores")?
            .and_then(|scores| scores.as_object());
        let mut read = BTreeMap::new();
        for criterion in criteria {
            let value = match nested {
                Some(scores) => scores.get(criterion),
                None => one.value.get(criterion)?,
            };
            if let Some(value) = value {
                read.insert(criterion.clone(), number(value, range)?);
            }
        }
        if let Some(scores) = nested.filter(|_| criteria.is_empty()) {
            for (name, value) in scores {
                read.insert(name.to_lowercase(), number(value, range)?);
            }
        }
        if !read.is_empty() {
            return Ok(read);
        }
    }
    if cut_off {
        Err(Reason::Truncated)
    } else {
        Ok(BTreeMap::new())
    }
}
