//! Answers of mathematics, compared as Hendrycks' MATH and AGIEval compare them (`math_equivalence.py`,
//! `parse_math_answer`).

use fancy_regex::Regex;

use crate::pattern::pattern;

pattern!(DOLLARS, r"\$(.*)\$");
pattern!(NUMBER, r"(?:\$)?\d+(?:\.\d+)?(?![\w\d])");

/// The answer in a text.
pub(super) fn parse_answer(text: &str) -> Option<String> {
    if text.contains("\\boxed") {
        return remove_boxed(last_boxed(text)?);
    }
    between_dollars(text)
        .filter(|answer| !answer.is_empty())
        .or_else(|| without_dollars(text))
}

fn remove_boxed(text: &str) -> Option<String> {
    let answer = text.strip_prefix("\\boxed{")?.strip_suffix('}')?;
    Some(behind_equals(answer).to_owned())
}

/// What is behind the last `=`, without spaces before it; the text itself where there is none.
fn behind_equals(text: &str) -> &str {
    match text.rsplit_once('=') {
        Some((_, answer)) => answer.trim_start_matches(' '),
        None => text,
    }
}

/// From the last `\boxed` (or `\fbox`) to the brace that closes it.
fn last_boxed(text: &str) -> Option<&str> {
    let start = text.rfind("\\boxed").or_else(|| text.rfind("\\fbox"))?;
    let mut open = 0;
    for (at, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(&text[start..=at]);
                }
            }
            _ => {}
        }
    }
    None
}

fn between_dollars(text: &str) -> Option<String> {
    let found = DOLLARS.captures_iter(text).filter_map(Result::ok).last()?;
    Some(behind_equals(found.get(1)?.as_str()).to_owned())
}

fn without_dollars(text: &str) -> Option<String> {
    if text.contains('=') {
        let answer = behind_equals(text).trim_end_matches('.');
        let answer = answer.split("\\n").next().unwrap_or(answer);
        return Some(answer.to_owned());
    }
    let found = NUMBER.find_iter(text).filter_map(Result::ok).last()?;
    Some(found.as_str().to_owned())
}

/// Whether two texts give the same answer.
pub(super) fn is_equiv(a: &str, b: &str) -> bool {
    let (a, b) = (parse_answer(a), parse_answer(b));
    match (&a, &b) {
        (Some(x), Some(y)) => match (normalise(x), normalise(y)) {
            (Some(x), Some(y)) => x == y,
            _ => x == y,
        },
        _ => a == b,
    }
}

/// `_strip_string`; `None` where the original fails.
fn normalise(text: &str) -> Option<String> {
    let mut text = text
        .replace('\n', "")
        .replace("\\!", "")
        .replace("\\\\", "\\");
    for fraction in ["tfrac", "dfrac"] {
        text = text.replace(fraction, "frac");
    }
    for nothing in ["\\left", "\\right", "^{\\circ}", "^\\circ", "\\$"] {
        text = text.replace(nothing, "");
    }
    text = without_units(&text)?;
    text = text
        .replace("\\%", "")
        .replace(" .", " 0.")
        .replace("{.", "{0.");
    if text.is_empty() {
        return Some(text);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    if let [name, value] = text.split('=').collect::<Vec<_>>()[..]
        && name.chars().count() <= 2
    {
        text = value.to_owned();
    }
    text = braced_roots(&text)?.replace(' ', "");
    text = braced_fractions(&text)?;
    if text == "0.5" {
        text = "\\frac{1}{2}".to_owned();
    }
    Some(slash_as_fraction(text))
}

/// Without `\text{ …`, which stands before units.
fn without_units(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split("\\text{ ").collect();
    match parts[..] {
        [_] => Some(text.to_owned()),
        [number, _] => Some(number.to_owned()),
        _ => None,
    }
}

/// `\sqrt3` as `\sqrt{3}`.
fn braced_roots(text: &str) -> Option<String> {
    let mut parts = text.split("\\sqrt");
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let first = part.chars().next()?;
        out += "\\sqrt";
        match first {
            '{' => out += part,
            c => {
                out += &format!("{{{c}}}");
                out += &part[c.len_utf8()..];
            }
        }
    }
    Some(out)
}

/// `\frac12` and `\frac1{72}` as `\frac{1}{2}` and `\frac{1}{72}`.
fn braced_fractions(text: &str) -> Option<String> {
    let mut parts = text.split("\\frac");
    let mut out = parts.next()?.to_owned();
    for part in parts {
        out += "\\frac";
        if part.chars().next()? == '{' {
            out += part;
            continue;
        }
        let mut chars = part.chars();
        let (Some(a), Some(b)) = (chars.next(), chars.next()) else {
            return Some(text.to_owned());
        };
        out += &match b {
            '{' => format!("{{{a}}}{{{}", chars.as_str()),
            b => format!("{{{a}}}{{{b}}}{}", chars.as_str()),
        };
    }
    Some(out)
}

/// `3/4` as `\frac{3}{4}`.
fn slash_as_fraction(text: String) -> String {
    if let [a, b] = text.split('/').collect::<Vec<_>>()[..]
        && let (Ok(x), Ok(y)) = (a.parse::<i64>(), b.parse::<i64>())
        && text == format!("{x}/{y}")
    {
        return format!("\\frac{{{x}}}{{{y}}}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn answers_are_compared_as_the_harness_compares_them() {
        let text = include_str!("../../tests/goldens/lm_eval.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let pairs: Vec<(String, String, bool)> =
            serde_json::from_value(golden["math_pairs"].clone()).unwrap();
        assert!(pairs.iter().filter(|(_, _, same)| *same).count() > 100);
        for (a, b, same) in pairs {
            assert_eq!(is_equiv(&a, &b), same, "{a:?} {b:?}");
        }
    }
}
