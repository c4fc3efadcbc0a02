//! Facts that are worked out from the tables.

use super::family::{Fact, columns, combinations, fill, words};
use super::tables;

/// The lines of a text, split at its slashes.
pub(super) fn lines(text: &str) -> Vec<Fact> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| line.split(" / ").map(str::to_owned).collect())
        .collect()
}

/// Word with article where it takes one, its kind with article, the bare word, the kind's plural.
pub(super) fn kinds() -> Vec<Fact> {
    let mut facts = Vec::new();
    for kind in &tables::KINDS {
        let pattern = match kind.one {
            "colour" | "drink" | "food" => "{0}",
            _ => "{a0}",
        };
        for word in columns(kind.words, &[0]) {
            let thing = fill(pattern, &word);
            facts.push(vec![
                thing,
                fill("{a0}", &vec![kind.one.to_owned()]),
                word[0].clone(),
                kind.many.into(),
            ]);
        }
    }
    facts
}

/// A kind in the plural and three of its English words.
pub(super) fn examples() -> Vec<Fact> {
    threes(|kind| kind.many, 0)
}

/// A kind and three of its words, in Chinese.
pub(super) fn examples_zh() -> Vec<Fact> {
    threes(|kind| kind.zh, 1)
}

fn threes(name: impl Fn(&tables::Kind) -> &'static str, column: usize) -> Vec<Fact> {
    let mut facts = Vec::new();
    for kind in tables::KINDS.iter().filter(|kind| !name(kind).is_empty()) {
        let words: Vec<Fact> = columns(kind.words, &[column]);
        for three in words.windows(3).step_by(2) {
            let mut fact = vec![name(kind).to_owned()];
            fact.extend(three.iter().flatten().cloned());
            facts.push(fact);
        }
    }
    facts
}

/// Every English word with its Chinese.
pub(super) fn translations() -> Vec<Fact> {
    let kinds = tables::KINDS.iter().map(|kind| kind.words);
    kinds
        .chain([tables::OTHER_WORDS])
        .flat_map(|table| columns(table, &[0, 1]))
        .collect()
}

/// Word, first letter, length, capital letters, spelling.
pub(super) fn short_words() -> Vec<Fact> {
    let numbers = words(tables::NUMBERS_EN);
    words(tables::SHORT_WORDS)
        .into_iter()
        .map(|word| {
            let letters: Vec<String> = word.chars().map(String::from).collect();
            let length = numbers[letters.len()].clone();
            let (capitals, spelling) = (word.to_uppercase(), letters.join("-"));
            vec![word, letters[0].clone(), length, capitals, spelling]
        })
        .collect()
}

/// Two numbers and their sum, in digits and in words.
pub(super) fn sums() -> Vec<Fact> {
    let numbers = words(tables::NUMBERS_EN);
    let pairs = (1..=10).flat_map(|a| (1..=10).map(move |b| (a, b)));
    pairs
        .map(|(a, b)| equation(&numbers, [a, b, a + b]))
        .collect()
}

/// A number, a smaller one and their difference, in digits and in words.
pub(super) fn differences() -> Vec<Fact> {
    let numbers = words(tables::NUMBERS_EN);
    let pairs = (1..=10).flat_map(|a| (1..a).map(move |b| (a, b)));
    pairs
        .map(|(a, b)| equation(&numbers, [a, b, a - b]))
        .collect()
}

fn equation(numbers: &[String], values: [usize; 3]) -> Fact {
    let digits = values.iter().map(usize::to_string);
    digits
        .chain(values.iter().map(|&n| numbers[n].clone()))
        .collect()
}

/// First number, last number, all numbers from one to the other.
pub(super) fn countings(comma: &str) -> Vec<Fact> {
    let ranges = (1..=9).flat_map(|a| (a + 2..=a + 4).map(move |b| (a, b)));
    ranges
        .map(|(a, b): (u32, u32)| {
            let all: Vec<String> = (a..=b).map(|n| n.to_string()).collect();
            vec![a.to_string(), b.to_string(), all.join(comma)]
        })
        .collect()
}

/// Every number up to twenty with the one after it.
pub(super) fn next_numbers() -> Vec<Fact> {
    (0..20_u32)
        .map(|n| vec![n.to_string(), (n + 1).to_string()])
        .collect()
}

/// Sentences that judge something, and whether kindly or harshly.
pub(super) fn opinions(judged: &Judged) -> Vec<Fact> {
    let verdicts = [(judged.praise, judged.kind), (judged.blame, judged.harsh)];
    let mut facts = Vec::new();
    for (table, verdict) in verdicts {
        for (subject, word) in combinations(judged.subjects, table) {
            let sentence = format!("{subject}{}{word}", judged.space);
            facts.push(vec![sentence, verdict.to_owned()]);
        }
    }
    facts
}

/// What opinions are made of.
pub(super) struct Judged {
    pub(super) subjects: &'static str,
    pub(super) praise: &'static str,
    pub(super) blame: &'static str,
    /// What stands between a subject and the words about it.
    pub(super) space: &'static str,
    /// The name of a kind opinion.
    pub(super) kind: &'static str,
    /// The name of a harsh opinion.
    pub(super) harsh: &'static str,
}

/// A word, how often, the word that often.
pub(super) fn repetitions(words: &[String], space: &str, often: &[(&str, usize)]) -> Vec<Fact> {
    let mut facts = Vec::new();
    for word in words {
        for &(name, times) in often {
            let echo = vec![word.as_str(); times].join(space);
            facts.push(vec![word.clone(), name.to_owned(), echo]);
        }
    }
    facts
}
