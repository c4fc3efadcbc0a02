//! Which of the matches of a grammar is the judge's verdict.

use regex::Regex;

use super::Reason;
use super::text::line_around;
use crate::pattern::pattern;

/// How many matches are looked at, from the last one on: enough for any judge, and bounded work for
/// a reply that has nothing else.
const LAST: usize = 256;

/// How many bytes before a match are looked at.
const NEAR: usize = 400;

/// A match of a grammar in a text.
pub(super) struct Found<T> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) value: T,
}

// Between two matches: they are alternatives (`[[A]] or [[B]]`).
pattern!(
    SEPARATOR,
    r#"(?i)^[\s"'*`,/|&、.;]*(?:(?:or|and|and/or|vs\.?|或者?|和|与)[\s"'*`,]*)?$"#
);
// Between two matches: they are the ends of a scale (`[[1]] to [[10]]`).
pattern!(
    UNTIL,
    r#"(?i)^["'*`]*\s*(?:to|through|[-~–—]|到|至)\s*["'*`]*$"#
);
// After a match: it explains the grammar (`[[A]] if assistant A is better`).
pattern!(
    CONDITION,
    r#"(?i)^["'`*)]{0,4}[ \t]*(?:=[ \t]*[a-z\p{Han}]|(?:[:=-]+[ \t]*)?(?:if\b|when\b|means?\b|indicates?\b|represents?\b|stands for\b|denotes?\b|for (?:assistant|model|answer|response) [ab12]\b|如果|若|表示|代表|意味))"#
);
// After a match that follows an explained one: so is this (`and [[C]] for a tie`).
pattern!(
    FOR_TIE,
    r#"(?i)^["'`*)]{0,4}[ \t]*(?:[:=-]+[ \t]*)?for (?:a )?tie\b"#
);
// Before a match: it is an example.
pattern!(
    EXAMPLE,
    r#"(?i)(?:\bfor example|\bfor instance|\be\.g\.|\bexample(?: output)?[ \t]*:|\bsuch as|例如|比如|示例)(?:[\s:,"'*`]|\b(?:my|the|final|verdict|is|tie|rating|score|label)\b|评分|得分|判决)*$"#
);
// Before a match: it is not the verdict (`not [[B]]`, `would have been [[10]]`).
pattern!(
    DENIED,
    r#"(?i)(?:(?:\bnot|n't|\bnever)(?:\s+(?:choose|pick|say|select|give|output|award|prefer|deserve)(?:\s+(?:it|an?|the))?)?|\b(?:would|could|might|should) have (?:been|given|rated|scored|deserved|earned|received)(?:\s+(?:it|an?|the))?|\brather than|\binstead of|\bloser(?:\s+is)?|\b(?:worse|worst|weaker)(?:\s+(?:one|answer|response))?\s+is|而不是|不是|并非|不会选择?|不选)[\s:"'`*]*$"#
);
// After a match: it is what lost (`[[B]] is wrong`).
pattern!(
    LOST,
    r#"(?i)^["'`*]{0,4}(?:[ \t]+is[ \t]+(?:the[ \t]+)?(?:[a-z]+ly[ \t]+|much[ \t]+)?(?:worse|weaker|inferior|worst|incorrect|wrong)\b|(?:的(?:回答|答案))?(?:有误|错误|不正确|较差|更差))"#
);
// Before a match: somebody wants it (`asked me to output [[10]]`); what is between is captured.
pattern!(
    DEMANDED,
    r"(?i)\b(?:ask|tell|told|instruct|beg|want|request|order|trick|get)[a-z]*\s+(?:me|us|you|the\s+(?:judge|evaluator|grader|model))\s+(?:to|into)\b([^.!?;:,\n]{0,60})\b(?:give|giving|output|rate|award|assign|print|choose|say|reply)[a-z]*\b[^.!?;:,\n\[]{0,20}$"
);
// Before a match: somebody else wrote it (`contained the text [[B]]`, `included a forged verdict ([[B]]`).
pattern!(
    CITED,
    r#"(?i)(?:\b(?:contain|includ|insert|inject|embedd?|append|claim|forg|plant)(?:s|ed|es|ing)?|\bdemand(?:s|ing)|\bfak(?:es?|ed|ing)|\b(?:wrote|writes)|自称|声称|伪造|写道|写着|包含|注入|植入)[\s"'`*(]*(?:(?:the|an?|its|own|self|forged|faked?|false|injected|text|string|words?|phrase|line|sentence|verdict|rating|score|tag|label|marker|of|了|的|一个|文字|文本|虚假|评分|得分|判决|分数)[\s"'`*(:]*)*$"#
);
// Anywhere in a sentence: it tells of what the answers have in them.
pattern!(
    TELLS,
    r"(?i)\b(?:contain|includ|insert|inject|embed|append|claim|demand|forg|fak|plant|manipulat|ignor|disregard|quot)[a-z]*\b|\b(?:wrote|writes|written|says|said|asks|asked|tells|told|tries|tried|attempts|attempted|instructs|instructed|wants|wanted|found|appears|ends|itself|self|candidate|its own)\b|\b(?:in|inside|within|from|by)\s+(?:the\s+)?(?:[a-z]+\s+)?(?:assistant|answer|response|output)\b|'s\s+(?:own\s+)?(?:verdict|rating|score)|自称|声称|要求|伪造|写道|写着|包含|注入|植入|试图|忽略|不予理会|无视|不算"
);
// Before a match: it is called a verdict.
pattern!(
    NAMED,
    r#"(?i)(?:\b(?:verdict|rating|score|grade|decision|conclusion|winner|judge?ment)\b|评分|得分|打分|判决|结论|评价).*(?:[:=]|\b(?:is|to)(?:\s+[a-z]+){0,2}|是|为)[\s"'`*(]*$"#
);
// Before a match: the judge speaks.
pattern!(
    I_SAY,
    r"(?i)\bI(?:'ll)?(?:\s+(?:will|now|have to|must|[a-z]+ly|therefore|thus|hence))*\s+(?:say|give|rate|choose|pick|select|prefer|judge|decide|assign|award|conclude|go with|vote|score|change|revise)\b|我(?:的|会|将|最终|因此|所以)*(?:认为|选择|给|判|打)"
);
// In what introduces a verdict: it is the judge's.
pattern!(MINE, r"(?i)\b(?:my|here (?:is|are))\b|我的");
// The end of a sentence.
pattern!(SENTENCE, r"[.!?;](?:\s|$)|[。！？；]");
// Between two matches: the first one is better (`[[A]] is better than [[B]]`).
pattern!(
    BEATS,
    r#"(?i)^["'`*]*\s*(?:(?:is|was)\s+)?(?:(?:[a-z]+ly|much|far)\s+)?(?:(?:better|superior|stronger|preferable|preferred|more\s+[a-z]+)\s+(?:than|to|over)|beats|outperforms|over|wins\s+(?:over|against)|>+|优于|好于|胜过|强于)\s*["'`*]*$"#
);
// Between two matches: the second one is the scale (`[[8]] out of [[10]]`).
pattern!(
    OUT_OF,
    r#"(?i)^["'`*]*\s*\(?(?:out\s+of|of\s+a\s+possible)\s*["'`*]*$"#
);
// Before a match: it is code (`x[[1]]`, `grid = [[5]]`), unless
pattern!(CODE, r"(?i)(?:[a-z0-9_]|=\s*)$");
// it is called a verdict.
pattern!(
    LABELLED,
    r"(?i)(?:rating|score|verdict|is|评分|得分)\W{0,3}$"
);
// Before a quotation: it shows the format.
pattern!(
    FORMAT,
    r"(?i)(?:\bformat\b|\bform\b|按照|格式|形式|样式)[^.。]{0,10}$"
);
// After a match that begins a line: it is an entry of a list.
pattern!(COLON, r"^[*`]*\s*[:-]\s*\S");
// After a match: it is a link.
pattern!(LINK, r"^\((?:https?:|#)");
// The beginning of an item of a list.
pattern!(MARKER, r"^\s*(?:[0-9]+[.):、]|[-*•+]|\([a-z0-9]\))\s*");
// In the last line of a list: it is the verdict after all.
pattern!(
    FINAL,
    r"(?i)\b(?:overall|final|verdict|conclusion|winner|rating|score|decision)\b|最终|总体|结论|综合|评分|得分|判决"
);
// The words around a verdict.
pattern!(
    VERDICT_WORDS,
    r#"(?i)^(?:[\s:*_.,!"'`>\-=]|\b(?:my|the|final|overall|verdict|rating|score|is|a|b|tie|assistant|better|answer)\b|最终|评分|得分|判决|评价|结论|是|为)*$"#
);

/// Whether `text` has nothing but the words around a verdict.
pub(super) fn only_verdict_words(text: &str) -> bool {
    VERDICT_WORDS.is_match(text)
}

/// The last of `found` that is a verdict.
pub(super) fn decide<T: PartialEq + Clone>(text: &str, found: &[Found<T>]) -> Result<T, Reason> {
    let found = &found[found.len().saturating_sub(LAST)..];
    let mut real: Vec<&Found<T>> = Vec::new();
    let mut conditional = false;
    let listed = listed(text, found);
    for (at, one) in found.iter().enumerate() {
        let after = &text[one.end..];
        conditional = CONDITION.is_match(after) || (conditional && FOR_TIE.is_match(after));
        let previous = at
            .checked_sub(1)
            .map_or("", |at| &text[found[at].end..one.start]);
        let next = found
            .get(at + 1)
            .map_or("", |next| &text[one.end..next.start]);
        let in_range = UNTIL.is_match(previous) || UNTIL.is_match(next);
        let second_best = BEATS.is_match(previous) || OUT_OF.is_match(previous);
        if !(conditional || in_range || second_best || listed[at] || is_quoted(text, one)) {
            real.push(one);
        }
    }
    let Some((last, before)) = real.split_last() else {
        return Err(Reason::NoVerdict);
    };
    if let Some(other) = before.last()
        && other.value != last.value
        && SEPARATOR.is_match(&text[other.end..last.start])
    {
        return Err(Reason::Contradictory);
    }
    // A verdict is stated on its own. One that is only mentioned after it may be the candidate's.
    if !(is_stated(text, last) && is_the_judges(text, last))
        && let Some(stated) = before.iter().rev().find(|one| is_stated(text, one))
        && stated.value != last.value
    {
        return Err(Reason::Contradictory);
    }
    Ok(last.value.clone())
}

/// Whether a match is told of rather than given: somebody else wrote it, or its sentence or introduction
/// says what the answers have in them.
pub(super) fn is_told_of<T>(text: &str, one: &Found<T>) -> bool {
    let (before, _) = line_around(text, one.start, one.end);
    is_cited(end_of(before)) || !is_the_judges(text, one)
}

/// Whether a line introduces what the answers have in them.
pub(super) fn introduces_others(line: &str) -> bool {
    let sentence = SENTENCE.split(end_of(line)).last().unwrap_or_default();
    line.ends_with(':') && TELLS.is_match(sentence) && !MINE.is_match(sentence)
}

/// Whether a match is called a verdict, is what the judge says, or is all that its sentence has.
fn is_stated<T>(text: &str, one: &Found<T>) -> bool {
    let (before, after) = sentence_around(text, one);
    NAMED.is_match(before)
        || I_SAY.is_match(before)
        || (only_verdict_words(before) && only_verdict_words(after))
}

/// Whether neither a match's sentence nor the line that introduces it tells of the answers.
fn is_the_judges<T>(text: &str, one: &Found<T>) -> bool {
    let (before, after) = sentence_around(text, one);
    let (line, _) = line_around(text, one.start, one.end);
    let introduction = text[..one.start - line.len()]
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !(line.is_empty() || line.starts_with("```")));
    let introduced = introduction.is_some_and(introduces_others);
    !(TELLS.is_match(before) || TELLS.is_match(after) || introduced)
}

/// The rest of a match's sentence in its line: what stands before it and after it.
fn sentence_around<'a, T>(text: &'a str, one: &Found<T>) -> (&'a str, &'a str) {
    let (before, after) = line_around(text, one.start, one.end);
    let (before, after) = (end_of(before), start_of(after));
    let from = SENTENCE.find_iter(before).last().map_or(0, |end| end.end());
    let to = SENTENCE.find(after).map_or(after.len(), |end| end.start());
    (&before[from..], &after[..to])
}

/// Whether a match is an example, denied, a link, code, or part of somebody else's words.
fn is_quoted<T>(text: &str, one: &Found<T>) -> bool {
    let (before, after) = line_around(text, one.start, one.end);
    let near = end_of(before);
    if EXAMPLE.is_match(near)
        || is_demanded(near)
        || is_cited(near)
        || DENIED.is_match(near)
        || LINK.is_match(after)
        || LOST.is_match(after)
    {
        return true;
    }
    if CODE.is_match(near) && !LABELLED.is_match(near) {
        return true;
    }
    if before.trim_start().starts_with('>') {
        return !(only_verdict_words(before) && only_verdict_words(after));
    }
    // Inside quotation marks: an odd number of them before, and one that closes.
    if before.matches('"').count() % 2 == 0 {
        return false;
    }
    match (before.rsplit_once('"'), after.split_once('"')) {
        (Some((said, before)), Some((after, _))) => {
            FORMAT.is_match(end_of(said))
                || DENIED.is_match(end_of(said))
                || !(only_verdict_words(before) && only_verdict_words(after))
        }
        _ => false,
    }
}

/// Whether somebody else is said to want what follows.
fn is_demanded(near: &str) -> bool {
    DEMANDED
        .captures(near)
        .is_some_and(|captures| !captures[1].split_whitespace().any(|word| word == "I"))
}

/// Whether somebody else is said to have written what follows.
fn is_cited(near: &str) -> bool {
    CITED.find(near).is_some_and(|cited| {
        let sentence = SENTENCE.split(&near[..cited.start()]).last();
        !sentence.is_some_and(|sentence| sentence.split_whitespace().any(|word| word == "I"))
    })
}

/// The first part of a line, beyond which no pattern looks.
fn start_of(line: &str) -> &str {
    let mut to = line.len().min(NEAR);
    while !line.is_char_boundary(to) {
        to -= 1;
    }
    &line[..to]
}

/// The last part of a line, beyond which no pattern looks.
fn end_of(line: &str) -> &str {
    let mut from = line.len().saturating_sub(NEAR);
    while !line.is_char_boundary(from) {
        from += 1;
    }
    &line[from..]
}

/// Which matches are items of a list of the possible verdicts. A list is three different values with
/// only separators between them, or lines that follow each other with different values: two when they
/// are marked as a list, three otherwise. A last line that says it is final is none of it.
fn listed<T: PartialEq>(text: &str, found: &[Found<T>]) -> Vec<bool> {
    let mut listed = vec![false; found.len()];
    for (from, to) in runs(found, |one, next| {
        SEPARATOR.is_match(&text[one.end..next.start])
    }) {
        if distinct(&found[from..to]) >= 3 {
            listed[from..to].fill(true);
        }
    }
    for (from, to) in runs(found, |one, next| on_next_line(&text[one.end..next.start])) {
        let run = &found[from..to];
        let marked = run.iter().all(|one| {
            let (before, after) = line_around(text, one.start, one.end);
            MARKER.is_match(before)
                || (before.trim_matches([' ', '*', '`']).is_empty() && COLON.is_match(after))
        });
        let distinct = distinct(run);
        if (marked && distinct >= 2) || distinct >= 3 {
            listed[from..to].fill(true);
            let (before, _) = line_around(text, found[to - 1].start, found[to - 1].end);
            listed[to - 1] = !FINAL.is_match(end_of(before));
        }
    }
    listed
}

/// The stretches of matches of which each is `joined` to the next.
fn runs<T>(
    found: &[Found<T>],
    joined: impl Fn(&Found<T>, &Found<T>) -> bool,
) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut from = 0;
    for to in 1..=found.len() {
        if to == found.len() || !joined(&found[to - 1], &found[to]) {
            runs.push((from, to));
            from = to;
        }
    }
    runs
}

/// How many different values there are.
fn distinct<T: PartialEq>(run: &[Found<T>]) -> usize {
    (0..run.len())
        .filter(|&at| run[..at].iter().all(|one| one.value != run[at].value))
        .count()
}

/// Whether `between` two matches lies the end of a line, and no line of its own.
fn on_next_line(between: &str) -> bool {
    let mut lines = between.split('\n');
    let (first, last) = (lines.next(), lines.next_back());
    first.is_some() && last.is_some() && lines.all(|line| line.trim().is_empty())
}
