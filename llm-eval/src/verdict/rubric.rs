//! Scores by criterion.

use std::collections::BTreeMap;

use regex::Regex;

use super::decide::{introduces_others, is_told_of};
use super::json::{Field, Fields, number, objects};
use super::text::normalise;
use super::{Range, Reason, Verdict};
use crate::pattern::pattern;

pattern!(
    LINE,
    r"(?i)^[\s\-*•#>|]*(?:[0-9]+[.)、]\s*)?[*_`]*([^:\[\]|*`\n]+?)[*_`]*\s*[:|=\-–—]\s*[*_`]*\s*(?:\[\[[\s*]*([+-]?[0-9]+(?:\.[0-9]+)?|nan)\s*分?\s*(?:/\s*([0-9]+))?[\s*]*\]\]|\[?([+-]?[0-9]+(?:\.[0-9]+)?|nan)\s*分?\s*(?:/\s*([0-9]+))?\]?[\s_*`|.,;]*(?:$|\(|[-–—]+\s*[^\s\-–—0-9]))"
);
// After a score: it is the lower end of a scale (`1 (worst) to 10`).
pattern!(
    SCALE,
    r#"^(?:[^()\n]*\))?[\s"'*`]*(?:to|through|or|[-~–—]|到|至|或)[\s"'*`\[]*[0-9]"#
);

/// Whether each of the criteria can be read back for itself, from a reply that scores them all, and from
/// the grammar's name, where commas part them.
pub(super) fn are_readable(criteria: &[String]) -> bool {
    if criteria.is_empty() || criteria.iter().any(|name| name.contains(',')) {
        return criteria.is_empty();
    }
    let range = Range::default();
    let scored = |name: &String| format!("{name}: [[{}]]\n", range.min());
    let reply: String = criteria.iter().map(scored).collect();
    normalise(&reply).is_ok_and(|reply| {
        from_lines(&reply, criteria, range).is_ok_and(|read| read.len() == criteria.len())
    })
}

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
    let mut told_of = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some(captures) = LINE.captures(line) else {
            told_of = introduces_others(line.trim());
            continue;
        };
        if told_of || SCALE.is_match(&line[captures.get_match().end()..]) {
            continue;
        }
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

/// The scores in the last object that has all the criteria, directly or under `scores`; where none
/// has, in the last one that has some.
fn from_objects(
    text: &str,
    criteria: &[String],
    range: Range,
) -> Result<BTreeMap<String, f64>, Reason> {
    let (objects, cut_off) = objects(text);
    let mut partial = BTreeMap::new();
    for one in objects.iter().rev().filter(|one| !is_told_of(text, one)) {
        let read = from_object(&one.value, criteria, range)?;
        if !read.is_empty() && read.len() >= criteria.len() {
            return Ok(read);
        }
        if partial.is_empty() {
            partial = read;
        }
    }
    if cut_off && partial.is_empty() {
        Err(Reason::Truncated)
    } else {
        Ok(partial)
    }
}

fn from_object(
    object: &Fields,
    criteria: &[String],
    range: Range,
) -> Result<BTreeMap<String, f64>, Reason> {
    let nested = match object.get("scores")? {
        Some(Field::Fields(scores)) => Some(scores),
        _ => None,
    };
    let names: Vec<String> = match nested {
        Some(scores) if criteria.is_empty() => scores.names().map(str::to_lowercase).collect(),
        _ => criteria.to_vec(),
    };
    let mut read = BTreeMap::new();
    for name in names {
        if let Some(value) = nested.unwrap_or(object).get(&name)? {
            let score = number(value, range)?;
            read.insert(name, score);
        }
    }
    Ok(read)
}
