//! Verdicts in lines of their own: Vicuna's two scores and BELLE's 得分.

use regex::Regex;

use super::decide::{Found, decide};
use super::{Range, Reason, Verdict};
use crate::pattern::pattern;

pattern!(
    ASSISTANT,
    r"(?i)(?:\b(?:assistant|answer|response|model|ai|bot)\s*#?\s*[12ab]\b(?:'s)?|(?:助手|模型|回答|答案)\s*[12ab一二甲乙]|\b[ab12]\s*:)"
);
pattern!(
    SCORE,
    r"(?i)(-?[0-9]+(?:\.[0-9]+)?|\bnan\b)(?:\s*分)?(?:\s*(?:/|out of)\s*([0-9]+)(?:\s*分)?)?"
);
pattern!(
    SCORE_WORDS,
    r#"(?i)^(?:[\s,;:|&*_()\[\]"'`.=]|\b(?:and|vs|scores?|ratings?|is|are|for|the|gets?|receives?|points?)\b|评分|得分|分数|分别|为|是|和|分)*$"#
);
pattern!(
    BELLE,
    r#"得分[\s"'*]*(?::|为|是)[\s"'*:(\[]*(-?[0-9]+(?:\.[0-9]+)?|(?i:nan))[\s*]*(?:分)?(?:\s*/\s*1(?:\.0)?(?:\s*分)?)?"#
);
pattern!(
    NUMBER_GOES_ON,
    r"^(?:[%/0-9]|[,.][0-9]|\s*(?:到|至|[-~–—或])\s*[0-9])"
);
pattern!(CUT_OFF, r#"得分[\s"'*]*(?::|为|是)[\s"'*:]*$"#);

/// The two scores of the first line that is not blank (or the opening of a code fence).
pub(super) fn vicuna(text: &str, range: Range) -> Result<Verdict, Reason> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("```"));
    let line = ASSISTANT.replace_all(line.ok_or(Reason::NoVerdict)?, " ");
    if !SCORE_WORDS.is_match(&SCORE.replace_all(&line, " ")) {
        return Err(Reason::NoVerdict);
    }
    let mut scores = Vec::new();
    for captures in SCORE.captures_iter(&line) {
        if captures
            .get(2)
            .is_some_and(|max| max.as_str().parse() != Ok(range.max()))
        {
            return Err(Reason::NotANumber);
        }
        let score: f64 = captures[1].parse().map_err(|_| Reason::NotANumber)?;
        scores.push(range.check(score)?);
    }
    match scores[..] {
        [first, second] => Ok(Verdict::Pair(first, second)),
        _ => Err(Reason::NoVerdict),
    }
}

/// The last number from 0 to 1 after `得分:`.
pub(super) fn belle(text: &str) -> Result<Verdict, Reason> {
    if CUT_OFF.is_match(text) {
        return Err(Reason::Truncated);
    }
    let zero_to_one = |score: f64| {
        if (0.0..=1.0).contains(&score) {
            Ok(score)
        } else {
            Err(Reason::OutOfRange)
        }
    };
    let mut found = Vec::new();
    for captures in BELLE.captures_iter(text) {
        let (score, end) = (
            captures.get(1).map_or(0, |score| score.start()),
            captures.get_match().end(),
        );
        let value = match captures[1].parse::<f64>() {
            _ if NUMBER_GOES_ON.is_match(&text[end..]) => Err(Reason::NotANumber),
            Ok(score) if score.is_finite() => zero_to_one(score),
            _ => Err(Reason::NotANumber),
        };
        found.push(Found {
            start: score,
            end,
            value,
        });
    }
    decide(text, &found)?.map(Verdict::Score)
}
