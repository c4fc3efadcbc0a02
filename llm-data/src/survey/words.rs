//! The words that instructions begin with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::{for_each_word, stands_alone};

/// Different words that are counted each.
const WORDS: usize = 2000;
/// Characters of an instruction that its first word is looked for in.
const BEGINNING: usize = 64;

/// The words that instructions begin with, without case: mostly verbs, so that they say how diverse
/// the tasks are ([Self-Instruct](https://arxiv.org/abs/2212.10560), figure 2, takes the root verb).
/// Of Chinese and Japanese the first two characters.
///
/// The first 2000 different words are counted each, all others together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstWords {
    /// How often each occurs.
    words: BTreeMap<String, usize>,
    /// Instructions that begin with another word.
    others: usize,
}

impl FirstWords {
    /// Counts the word that the instruction begins with; one without words counts for nothing.
    pub(super) fn add(&mut self, instruction: &str) {
        if let Some(word) = first_word(instruction) {
            self.count(word, 1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (word, count) in &other.words {
            self.count(word.clone(), *count);
        }
        self.others += other.others;
    }

    fn count(&mut self, word: String, count: usize) {
        if let Some(sum) = self.words.get_mut(&word) {
            *sum += count;
        } else if self.words.len() < WORDS {
            self.words.insert(word, count);
        } else {
            self.others += count;
        }
    }

    /// How often the word begins an instruction.
    pub fn get(&self, word: &str) -> usize {
        self.words.get(word).copied().unwrap_or(0)
    }

    /// How many different words, up to the 2000 that are counted each.
    pub fn distinct(&self) -> usize {
        self.words.len()
    }

    /// Instructions that begin with a word that is not counted by itself.
    pub fn others(&self) -> usize {
        self.others
    }

    /// The most frequent words, at most `limit`; among equally frequent ones in alphabetical order.
    pub fn top(&self, limit: usize) -> Vec<(&str, usize)> {
        let words = self.words.iter();
        let mut words: Vec<(&str, usize)> = words.map(|(word, &count)| (&**word, count)).collect();
        words.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
        words.truncate(limit);
        words
    }
}

fn first_word(text: &str) -> Option<String> {
    let text = text.trim_start_matches(|character: char| !character.is_alphanumeric());
    let end = text.char_indices().nth(BEGINNING);
    let text = &text[..end.map_or(text.len(), |(place, _)| place)];
    let mut words = Vec::new();
    for_each_word(text, |word| {
        if words.len() < 2 {
            words.push(word.to_owned());
        }
    });
    let single = |word: &String| word.chars().all(stands_alone);
    let pair = words.len() == 2 && words.iter().all(single);
    match pair {
        true => Some(words.concat()),
        false => words.into_iter().next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_told_in_any_script() {
        let first = |text| first_word(text);
        assert_eq!(first("Write a poem").as_deref(), Some("write"));
        assert_eq!(first("  \"WHAT's\" up").as_deref(), Some("whats"));
        assert_eq!(first("写一首诗").as_deref(), Some("写一"));
        assert_eq!(first("写 a poem").as_deref(), Some("写"));
        assert_eq!(first("?!\n").as_deref(), None);
        let long = first_word(&"x".repeat(1 << 20));
        assert_eq!(long.map(|word| word.len()), Some(BEGINNING));
    }

    #[test]
    fn rare_words_beyond_the_bound_are_counted_together() {
        let mut words = FirstWords::default();
        for number in 0..WORDS + 500 {
            words.add(&format!("w{number} x"));
            words.add("write x");
        }
        assert_eq!(words.distinct(), WORDS);
        assert_eq!(words.top(1), [("write", WORDS + 500)]);
        assert_eq!(words.others(), 501);
        let mut twice = words.clone();
        twice.merge(&words);
        assert_eq!((twice.others(), twice.get("w7")), (1002, 2));
    }
}
