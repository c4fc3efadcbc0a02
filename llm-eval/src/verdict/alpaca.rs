//! The verdicts of AlpacaEval's annotators.

use regex::Regex;
use serde_json::Value;

use super::decide::{Found, decide};
use super::{Preference, Reason, Verdict, python};
use crate::pattern::pattern;

pattern!(
    CHOICE,
    r#"(?im)(?:^[\s"'*`#>\-]*(?:(?:the\s+)?(?:answer|best|better|preferred|verdict|choice|winner)\b[^.\n(]{0,24}[\s:]*)?[*`"']*(?:output\s*)?\((a|b)\)[\s"'*`.!]*$)|(?:\boutput\s*\((a|b)\)[*`"']*\s+is\s+(?:(?:the|much|slightly|clearly|far|significantly|overall)\s+)*(?:better|best|preferred|superior)\b)|(?:\b(?:prefer|choose|select|pick)\s+["'`*]*(?:output\s*)?\((a|b)\))|(?:\b(?:better|best|preferred)\s+(?:output|one|choice)\s+is[\s"'*`:]*(?:output\s*)?\((a|b)\))"#
);

/// The preferred output: the first one is A.
pub(super) fn choice(text: &str) -> Result<Verdict, Reason> {
    match text.trim_matches(|c: char| c.is_whitespace() || "\"'`*.".contains(c)) {
        "m" => return Ok(Verdict::Preference(Preference::A)),
        "M" => return Ok(Verdict::Preference(Preference::B)),
        _ => {}
    }
    if let Some(ranking) = python::last_list(text) {
        return ranked(&ranking).map(Verdict::Preference);
    }
    let mut found = Vec::new();
    for captures in CHOICE.captures_iter(text) {
        let letter = captures
            .iter()
            .skip(1)
            .flatten()
            .next()
            .map_or("", |letter| letter.as_str());
        let value = if letter.eq_ignore_ascii_case("a") {
            Preference::A
        } else {
            Preference::B
        };
        let place = captures.get_match();
        found.push(Found {
            start: place.start(),
            end: place.end(),
            value,
        });
    }
    decide(text, &found).map(Verdict::Preference)
}

/// The preference of a ranking of `model_1` and `model_2` that gives each a rank of its own.
fn ranked(ranking: &Value) -> Result<Preference, Reason> {
    let rank = |name: &str| {
        let mut ranks = ranking
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one["model"] == name);
        match (ranks.next().map(|one| one["rank"].as_u64()), ranks.next()) {
            (Some(Some(rank)), None) => Ok(rank),
            (Some(_), Some(_)) => Err(Reason::Contradictory),
            _ => Err(Reason::NoVerdict),
        }
    };
    match (rank("model_1")?, rank("model_2")?) {
        (1, 2) => Ok(Preference::A),
        (2, 1) => Ok(Preference::B),
        (1, 1) | (2, 2) => Err(Reason::Contradictory),
        _ => Err(Reason::OutOfRange),
    }
}
