//! Differences of length and markdown between two answers.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::summary::{average, check_count, check_lengths, squares};
use crate::{Error, Result};

/// An answer's length and markdown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Style {
    /// Its length in tokens; the Arena counts those of OpenAI's tokenizer.
    pub tokens: u64,
    /// Headers: lines that begin with one to six `#` and white space.
    pub headers: u64,
    /// List items: lines that begin with `-`, `*` or `+`, or a number and a dot, and white space.
    pub lists: u64,
    /// Bold passages: `**…**` and `__…__` within a line.
    pub bolds: u64,
}

impl Style {
    /// The style of a text of so many tokens. Code between three backquotes does not count, nor does
    /// what the Arena's expressions do not find (`utils/add_markdown_info.py` of Arena-Hard).
    pub fn of(text: &str, tokens: u64) -> Self {
        let text = without_code(text);
        let (mut headers, mut lists) = (0, 0);
        for line in lines(&text) {
            headers += u64::from(is_header(line));
            lists += u64::from(is_item(line));
        }
        Self {
            tokens,
            headers,
            lists,
            bolds: bolds(&text, '*') + bolds(&text, '_'),
        }
    }

    fn counts(self) -> [f64; 4] {
        [self.tokens, self.headers, self.lists, self.bolds].map(|count| count as f64)
    }
}

/// Lines with what ends them, as a line's last word may have only its end for white space.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
}

/// How many bytes are searched for what stands in blocks: more than an answer of 100 000 letters
/// with 600 blocks needs.
const MAX_SEARCHED: usize = 1 << 26;

/// Without each block between three backquotes that has no backquote in it: its inside, wherever the
/// text has it. Of a text that is too long to be searched for so many blocks, the blocks alone.
fn without_code(text: &str) -> String {
    let mut blocks = blocks(text);
    blocks.retain(|block| !block.is_empty());
    if blocks.len().saturating_mul(text.len()) <= MAX_SEARCHED {
        let cut = |kept: String, block: &Range<usize>| kept.replace(&text[block.clone()], "");
        return blocks.iter().fold(text.to_owned(), cut);
    }
    let (mut kept, mut end) = (String::new(), 0);
    for block in blocks {
        kept += &text[end..block.start];
        end = block.end;
    }
    kept + &text[end..]
}

/// Where the insides of blocks are.
fn blocks(text: &str) -> Vec<Range<usize>> {
    const FENCE: &str = "```";
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(place) = text[from..].find(FENCE) {
        let start = from + place + FENCE.len();
        let length = text[start..].find('`').unwrap_or(text.len() - start);
        let end = start + length;
        if text[end..].starts_with(FENCE) {
            found.push(start..end);
            from = end + FENCE.len();
        } else {
            // The next place where a match can begin is one backquote on.
            from += place + 1;
        }
    }
    found
}

fn is_header(line: &str) -> bool {
    let rest = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - rest.len())) && rest.starts_with(char::is_whitespace)
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let rest = match line.strip_prefix(['-', '*', '+']) {
        Some(rest) => rest,
        None => {
            let rest = line.trim_start_matches(is_digit);
            match rest.strip_prefix('.') {
                Some(after) if rest.len() < line.len() => after,
                _ => return false,
            }
        }
    };
    rest.starts_with(char::is_whitespace)
}

/// ASCII and full-width digits, of all that Python's `\d` finds.
fn is_digit(c: char) -> bool {
    matches!(c, '0'..='9' | '０'..='９')
}

/// How often two of the mark enclose something in a line that has no such mark in it.
fn bolds(text: &str, mark: char) -> u64 {
    let chars: Vec<char> = text.chars().collect();
    let is_mark = |place: usize| chars.get(place) == Some(&mark);
    let (mut count, mut at) = (0, 0);
    while at + 1 < chars.len() {
        if !(is_mark(at) && is_mark(at + 1)) {
            at += 1;
            continue;
        }
        let inside = chars[at + 2..].iter();
        let length = inside.take_while(|c| **c != mark && **c != '\n').count();
        let end = at + 2 + length;
        if length > 0 && is_mark(end) && is_mark(end + 1) {
            count += 1;
            at = end + 2;
        } else {
            at += 1;
        }
    }
    count
}

/// How two answers' styles become covariates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StyleFormula {
    /// (a − b) / (a + b + 1) of tokens and of each count, then with mean 0 and population sd 1:
    /// FastChat's `preprocess_for_style`.
    Arena,
    /// (a − b) / (a + b) of tokens; of each count / (tokens + 1) again (a − b) / (a + b + 1); then
    /// with mean 0 and sample sd 1: Arena-Hard 2's `show_result.py`.
    ArenaHard,
}

/// What battles differ in beside the models: one row per battle, of the first minus the second.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariates {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Vec<Vec<f64>>,
}

impl Covariates {
    /// Covariates as they are.
    ///
    /// # Errors
    /// Where a row has not one value for each name, or a value is not finite.
    pub fn new(names: Vec<String>, rows: Vec<Vec<f64>>) -> Result<Self> {
        for (index, row) in rows.iter().enumerate() {
            check_lengths("names and covariates", names.len(), row.len())?;
            if let Some(&value) = row.iter().find(|value| !value.is_finite()) {
                return Err(Error::BadValue {
                    what: "covariates",
                    index,
                    value,
                    reason: "must be finite",
                });
            }
        }
        Ok(Self { names, rows })
    }

    /// Covariates `tokens`, `headers`, `lists` and `bolds` from the styles of each battle's two
    /// answers, by the Arena's or Arena-Hard's formula. One that is the same in all battles is left
    /// out.
    ///
    /// # Errors
    /// With fewer than two battles.
    pub fn style(answers: &[(Style, Style)], formula: StyleFormula) -> Result<Self> {
        check_count("battles", answers.len(), 2)?;
        let differences: Vec<[f64; 4]> = answers
            .iter()
            .map(|(first, second)| difference(*first, *second, formula))
            .collect();
        let spare = match formula {
            StyleFormula::Arena => 0,
            StyleFormula::ArenaHard => 1,
        };
        let mut names = Vec::new();
        let mut rows = vec![Vec::new(); answers.len()];
        for (place, name) in ["tokens", "headers", "lists", "bolds"]
            .into_iter()
            .enumerate()
        {
            let column: Vec<f64> = differences.iter().map(|row| row[place]).collect();
            if column.iter().all(|value| *value == column[0]) {
                continue;
            }
            let (mean, n) = (average(&column), (column.len() - spare) as f64);
            let sd = (squares(&column) / n).sqrt();
            names.push(name.to_owned());
            for (row, value) in rows.iter_mut().zip(&column) {
                row.push((value - mean) / sd);
            }
        }
        Self::new(names, rows)
    }

    /// The covariates' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Their values, battle by battle.
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.rows
    }
}

fn difference(first: Style, second: Style, formula: StyleFormula) -> [f64; 4] {
    let (a, b) = (first.counts(), second.counts());
    let relative = |a: f64, b: f64, more: f64| {
        let sum = a + b + more;
        if sum > 0.0 { (a - b) / sum } else { 0.0 }
    };
    let dense = |counts: [f64; 4], place: usize| counts[place] / (counts[0] + 1.0);
    std::array::from_fn(|place| match formula {
        StyleFormula::Arena => relative(a[place], b[place], 1.0),
        StyleFormula::ArenaHard if place == 0 => relative(a[0], b[0], 0.0),
        StyleFormula::ArenaHard => relative(dense(a, place), dense(b, place), 1.0),
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn very_many_blocks_are_cut_at_once() {
        let mut text = "- item\n".to_owned();
        for number in 0..180_000 {
            let _ = write!(text, "```\n- {number}```");
        }
        text += "\n- item";
        let start = Instant::now();
        let style = Style::of(&text, 1);
        assert_eq!((style.headers, style.lists), (0, 2));
        // Quadratic in the blocks it takes minutes.
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
