//! Reads answers out of generated texts.

use regex::Regex;

use super::math;
use super::python::strip;
use super::task::{ChoiceGold, Gold, Item};
use crate::pattern::pattern;

/// What the harness writes where a filter finds nothing.
pub(super) const INVALID: &str = "[invalid]";

/// How a generated text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// GSM8K: `strict-match` takes the first number behind `####`, `flexible-extract` the last number;
    /// both are compared without `,`, `$` and a full stop at the end (`exact_match` of the harness).
    Gsm8k,
    /// The letter of multiple choice: `strict` takes a reply of nothing else, or the last one stated as
    /// the answer ("the answer is (B)", 答案：B); `flexible` falls back to the last letter that stands
    /// alone. Of "the answer is B and A is wrong" B is the answer; one that is nothing but a list of
    /// several letters is wrong.
    Letters,
    /// [`Letters`](Self::Letters) and `official`, AGIEval's own: the first of the letters A–F, or all of
    /// them where several choices may be right. Those must be named exactly, in a list.
    AgievalLetters {
        /// Whether several choices may be right.
        several: bool,
    },
    /// AGIEval's MATH and gaokao-mathcloze: an answer in `\boxed{}`, between `$`, behind `=` or the last
    /// number, compared as MATH compares (`is_equiv`).
    AgievalMath,
    /// Not scored.
    Free,
}

/// What a filter makes of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) filter: &'static str,
    pub(super) metric: &'static str,
    /// What was read; `None` where nothing was found.
    pub(super) answer: Option<String>,
    /// 1 where it is right; `None` where the right answer is not known.
    pub(super) score: Option<f64>,
}

impl Reader {
    /// The readings of all filters, always in the same order.
    pub(super) fn read(self, text: &str, item: &Item) -> Vec<Reading> {
        match self {
            Self::Gsm8k => gsm8k(text, item),
            Self::Letters => letters(text, item, false).to_vec(),
            Self::AgievalLetters { several } => {
                let mut readings = letters(text, item, several).to_vec();
                let all = official(text, several);
                readings.push(letter_reading("official", all, item));
                readings
            }
            Self::AgievalMath => {
                let score = match &item.gold {
                    Gold::Text(gold) => Some(f64::from(u8::from(math::is_equiv(text, gold)))),
                    _ => None,
                };
                vec![Reading {
                    filter: "none",
                    metric: "acc",
                    answer: math::parse_answer(text),
                    score,
                }]
            }
            Self::Free => vec![Reading {
                filter: "none",
                metric: "bypass",
                answer: Some(text.to_owned()),
                score: None,
            }],
        }
    }
}

pattern!(STRICT, r"#### (\-?[0-9\.,]+)");
pattern!(FLEXIBLE, r"(-?[$0-9.,]{2,})|(-?[0-9]+)");

/// The first number behind `####`.
pub(super) fn strict_number(text: &str) -> Option<&str> {
    let found = STRICT.captures(text)?.get(1)?;
    Some(strip(found.as_str()))
}

/// The last number.
pub(super) fn flexible_number(text: &str) -> Option<&str> {
    let found = FLEXIBLE.find_iter(text).last()?;
    Some(strip(found.as_str()))
}

fn gsm8k(text: &str, item: &Item) -> Vec<Reading> {
    let read = |filter, answer: Option<&str>| {
        let score = match &item.gold {
            Gold::Text(gold) => {
                let right = bare(answer.unwrap_or(INVALID)) == bare(gold);
                Some(f64::from(u8::from(right)))
            }
            _ => None,
        };
        Reading {
            filter,
            metric: "exact_match",
            answer: answer.map(str::to_owned),
            score,
        }
    };
    vec![
        read("strict-match", strict_number(text)),
        read("flexible-extract", flexible_number(text)),
    ]
}

/// GSM8K's `regexes_to_ignore`: `,`, `\$`, `(?s).*#### `, `\.$`; lower case.
fn bare(text: &str) -> String {
    let text = text.replace([',', '$'], "");
    let text = text.rfind("#### ").map_or(&text[..], |at| &text[at + 5..]);
    text.strip_suffix('.').unwrap_or(text).to_lowercase()
}

/// Letters, alone or in a list: in one line, and over several lines.
const LIST: &str = r"\(?[A-Z]\)?(?:[\s--\n]*(?:,|;|，|、|；|and|和|与)?[\s--\n]*\(?[A-Z]\)?)*";
const LINES: &str = r"\(?[A-Z]\)?(?:\s*(?:,|;|，|、|；|and|和|与)?\s*\(?[A-Z]\)?)*";

pattern!(ONLY, &format!(r"^[\W_]*({LINES})[\W_]*$"));
pattern!(STATED, &{
    let phrase = r"(?i:answers?\s*(?:is|are|:|：)|答案\s*(?:应该|应当|应)?\s*(?:是|为|选|:|：)|应选择|故选|选择|选)";
    format!(r#"{phrase}\s*[:：]?[\s*_"'“‘【\[]*({LIST})(?:$|[^A-Za-z0-9])"#)
});
pattern!(SEVERED, r"[\s,;，、；]|and|和|与");
// The end of a sentence behind closing marks; and what is said of the letter before it.
pattern!(
    ENDED,
    r#"^[\s--\n]*[)*_"'”’】\]]*[\s--\n]*(?:$|[.。!！?？;；\n])"#
);
pattern!(
    SAID,
    r"^[)*_]*[\s--\n]*(?:(?i:is|was|isn|wasn|would|seems|has)\b|错|不|是错)"
);
pattern!(ALONE, r"[A-Za-z0-9'’]+");

fn letters(text: &str, item: &Item, several: bool) -> [Reading; 2] {
    let text = half_width(text);
    let choices = item.choices.len();
    let strict = stated(&text, choices, several);
    let flexible = match strict.is_empty() {
        true => alone(&text, choices),
        false => strict.clone(),
    };
    [
        letter_reading("strict", strict, item),
        letter_reading("flexible", flexible, item),
    ]
}

fn letter_reading(filter: &'static str, mut found: Vec<usize>, item: &Item) -> Reading {
    found.sort_unstable();
    found.dedup();
    let score = match &item.gold {
        Gold::Choice(ChoiceGold::One(gold)) => Some(found == [*gold]),
        Gold::Choice(ChoiceGold::AnyOf(gold)) => Some(found == *gold),
        Gold::Text(_) | Gold::Unknown => None,
    };
    let names = super::task::letters(26);
    let answer: String = found
        .iter()
        .filter_map(|i| names.get(*i))
        .map(String::as_str)
        .collect();
    Reading {
        filter,
        metric: "exact_match",
        answer: (!answer.is_empty()).then_some(answer),
        score: score.map(|right| f64::from(u8::from(right))),
    }
}

/// Full-width letters and brackets as ASCII.
fn half_width(text: &str) -> String {
    let half = |c: char| match c {
        'Ａ'..='Ｚ' | '（' | '）' => u8::try_from(u32::from(c) - 0xFEE0).map_or(c, char::from),
        c => c,
    };
    text.chars().map(half).collect()
}

/// The numbers of the letters in a list; none where one is not a choice.
fn numbers(list: &str, choices: usize) -> Vec<usize> {
    let upper = list.bytes().filter(u8::is_ascii_uppercase);
    let numbers: Vec<usize> = upper.map(|letter| usize::from(letter - b'A')).collect();
    match numbers.iter().all(|number| *number < choices) {
        true => numbers,
        false => Vec::new(),
    }
}

fn stated(text: &str, choices: usize, several: bool) -> Vec<usize> {
    if let Some(only) = ONLY.captures(text).and_then(|found| found.get(1)) {
        let only = numbers(only.as_str(), choices);
        if !only.is_empty() {
            return only;
        }
    }
    let denied = |at: usize| text[..at].ends_with(['不', '别', '勿', '没']);
    let statements = STATED.captures_iter(text);
    let affirmed = statements.filter(|found| found.get(0).is_some_and(|all| !denied(all.start())));
    let Some(list) = affirmed.last().and_then(|found| found.get(1)) else {
        return Vec::new();
    };
    let behind = &text[list.end()..];
    let answer = match several {
        true => answers(list.as_str(), behind),
        false => answer(list.as_str(), behind, choices),
    };
    numbers(answer, choices)
}

/// What a statement of one choice names: the letter it begins with, since others belong to what is said
/// next ("B I think", "B, A is wrong"), but all of a list with which the sentence ends.
fn answer<'a>(list: &'a str, behind: &str, choices: usize) -> &'a str {
    let whole = ENDED.is_match(behind) && !numbers(list, choices).is_empty();
    match SEVERED.find(list) {
        Some(end) if !whole => &list[..end.start()],
        _ => list,
    }
}

/// What a statement of several choices names: the list, without the subject of what is said next ("A, C,
/// B is wrong"; "A and C I think").
fn answers<'a>(list: &'a str, behind: &str) -> &'a str {
    let verb = |text: &str| text.strip_prefix(' ').is_some_and(|t| t.starts_with(lower));
    let subject = SAID.is_match(behind) || (list.ends_with('I') && verb(behind));
    match SEVERED.find_iter(list).last() {
        Some(end) if subject => &list[..end.start()],
        _ => list,
    }
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase()
}

/// The last letter that stands alone and is no article.
fn alone(text: &str, choices: usize) -> Vec<usize> {
    let is_letter = |word: &regex::Match<'_>| {
        let article =
            word.as_str() == "A" && is_article(&text[..word.start()], &text[word.end()..]);
        word.len() == 1 && !article && !numbers(word.as_str(), choices).is_empty()
    };
    let last = ALONE.find_iter(text).filter(is_letter).last();
    last.map_or_else(Vec::new, |word| numbers(word.as_str(), choices))
}

/// Words behind a letter that begins a sentence ("A is right"), which no article has behind it.
const VERBS: [&str; 12] = [
    "is", "was", "because", "since", "as", "and", "or", "would", "seems", "fits", "looks", "has",
];

/// Whether a capital A is the article: at the beginning of a sentence or a choice's text, before a word in
/// small letters that is none of [`VERBS`].
fn is_article(before: &str, after: &str) -> bool {
    let before = before.trim_end_matches(' ');
    let inside = before.ends_with(|c: char| c.is_alphanumeric() || ",，、".contains(c));
    let word = after.strip_prefix(' ').unwrap_or("");
    let word = word.split(|c| !lower(c)).next().unwrap_or("");
    !inside && !word.is_empty() && !VERBS.contains(&word)
}

/// `find_first_capital_letter` and `parse_qa_multiple_answer` of AGIEval's `post_process.py`.
fn official(text: &str, several: bool) -> Vec<usize> {
    let found = text.bytes().filter(|byte| (b'A'..=b'F').contains(byte));
    let found = found.map(|letter| usize::from(letter - b'A'));
    match several {
        true => found.collect(),
        false => found.take(1).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn item(gold: ChoiceGold) -> Item {
        Item {
            doc: serde_json::Value::Null,
            text: String::new(),
            choices: super::super::task::letters(4),
            gold: Gold::Choice(gold),
        }
    }

    #[test]
    fn letters_are_read_strictly_and_flexibly() {
        let item = item(ChoiceGold::One(1));
        let cases = [
            ("B", Some("B"), Some("B")),
            (" (B).\n", Some("B"), Some("B")),
            ("Ｂ", Some("B"), Some("B")),
            (
                "The answer is **B**, because A is wrong.",
                Some("B"),
                Some("B"),
            ),
            ("答案：Ｂ。", Some("B"), Some("B")),
            ("我认为应该选B", Some("B"), Some("B")),
            ("A dog would take B I think", None, Some("B")),
            (
                "The answer is A. No, the answer is B.",
                Some("B"),
                Some("B"),
            ),
            ("E", None, None),
            ("I cannot answer.", None, None),
            ("Answer: Bob", None, None),
            ("", None, None),
        ];
        for (text, strict, flexible) in cases {
            let read = letters(text, &item, false);
            assert_eq!(read[0].answer.as_deref(), strict, "strict, {text:?}");
            assert_eq!(read[1].answer.as_deref(), flexible, "flexible, {text:?}");
        }
    }

    #[test]
    fn one_choice_is_what_the_statement_begins_with() {
        let item = item(ChoiceGold::One(1));
        let right = [
            "The answer is B and A is incorrect.",
            "The correct answer is B, A is wrong because x.",
            "The answer is (B) A typical cell is small.",
            "Answer: B\nC is wrong",
            "答案：B，A错误",
            "应该选B，不选A",
            "The answer is B I think.",
            "The answer is B A is too small.",
        ];
        for text in right {
            let scores = letters(text, &item, false).map(|reading| reading.score);
            assert_eq!(scores, [Some(1.0), Some(1.0)], "{text:?}");
        }
        // Whoever names several has not answered.
        for text in ["The answer is A and B.", "答案：B、C。", "B, A", "BC"] {
            let scores = letters(text, &item, false).map(|reading| reading.score);
            assert_eq!(scores, [Some(0.0), Some(0.0)], "{text:?}");
        }
        assert_eq!(
            letters("The answer is DNA, B", &item, false)[0].answer,
            None
        );
    }

    #[test]
    fn a_is_read_where_any_other_letter_is() {
        let item = item(ChoiceGold::One(0));
        let texts = [
            "I would pick A because it fits.",
            "Option A fits.",
            "It must be A since it fits",
            "A is right here",
            "A because it fits",
            "I'd go for A here",
        ];
        for text in texts {
            let read = |text: &str| letters(text, &item, false)[1].answer.clone();
            assert_eq!(read(text).as_deref(), Some("A"), "{text:?}");
            let other = text.replace('A', "C");
            assert_eq!(read(&other).as_deref(), Some("C"), "{other:?}");
        }
        let articles = [
            "B) A typical cell",
            "I say B. A cell is small.",
            "\"A cell\": B",
        ];
        for text in articles {
            let read = &letters(text, &item, false)[1];
            assert_eq!(read.answer.as_deref(), Some("B"), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_the_harness_reads_them() {
        let text = include_str!("../../tests/goldens/lm_eval.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows: Vec<(String, String, String, f64, String, f64)> =
            serde_json::from_value(golden["replies"].clone()).unwrap();
        for (text, gold, strict, strict_score, flexible, flexible_score) in rows {
            let item = Item {
                gold: Gold::Text(gold),
                ..item(ChoiceGold::One(0))
            };
            let got: Vec<_> = Reader::Gsm8k
                .read(&text, &item)
                .into_iter()
                .map(|reading| {
                    (
                        reading.answer.unwrap_or(INVALID.to_owned()),
                        reading.score.unwrap(),
                    )
                })
                .collect();
            assert_eq!(
                got,
                [(strict, strict_score), (flexible, flexible_score)],
                "{text:?}"
            );
        }
    }

    #[test]
    fn several_right_choices_must_be_named_exactly() {
        let item = item(ChoiceGold::AnyOf(vec![0, 2]));
        let score = |text: &str| letters(text, &item, true)[0].score;
        assert_eq!(score("AC"), Some(1.0));
        assert_eq!(score("答案是 C、A"), Some(1.0));
        assert_eq!(score("The answer is (A) and (C)."), Some(1.0));
        assert_eq!(score("A"), Some(0.0));
        assert_eq!(score("ABC"), Some(0.0));
        assert_eq!(score("答案：AC，B错误"), Some(1.0));
        assert_eq!(score("The answer is A and C, B is wrong."), Some(1.0));
        assert_eq!(score("The answer is A and C I think."), Some(1.0));
        assert_eq!(score("Answer: A, C\nB is wrong"), Some(1.0));
        let read = Reader::AgievalLetters { several: true }.read("选项 A 和 C", &item);
        assert_eq!((read[2].filter, read[2].score), ("official", Some(1.0)));
    }
}
