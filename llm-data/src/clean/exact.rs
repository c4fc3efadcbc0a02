//! Texts that are the same, told by their hashes.

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Result;
use crate::record::Message;
use crate::words::for_each_word;

use super::clusters::{Clusters, narrow};
use super::signs::for_each_sign;

/// Texts that are the same word by word, without case, punctuation and white space (as
/// [`find_leakage`](crate::find_leakage) compares them), or, unless `normalise`, byte by byte.
///
/// Signs that say something are compared with the words: of arithmetic and programs between what they
/// join (`7 - 2`, `a=b`, `yes / no`), before a number (`-5`, `$5`), behind a word (`C++`, `50%`), points
/// and colons inside numbers, and all mathematical ones of Unicode. A hyphen between words, a bullet and
/// Markdown's emphasis say nothing.
///
/// Compared by a 128-bit hash (XXH3), of which 106 bits are used. Texts without a word are compared
/// byte by byte.
///
/// ```
/// let clusters = llm_data::clean::exact_duplicates(&["Hello, world!", "bye", "hello world"], true)?;
/// assert_eq!(clusters.duplicates().collect::<Vec<_>>(), [(2, 0)]);
/// # Ok::<(), llm_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::TooManyRecords`](crate::Error::TooManyRecords).
pub fn exact_duplicates<T: AsRef<str> + Sync>(texts: &[T], normalise: bool) -> Result<Clusters> {
    narrow(texts.len())?;
    let hashes: Vec<u128> = texts
        .par_iter()
        .map(|text| hash(text.as_ref(), normalise))
        .collect();
    let mut seen = Seen::default();
    let places = hashes.iter().enumerate();
    let first = |(place, hash): (usize, &u128)| {
        let first = seen.first(*hash, place as u64);
        first.unwrap_or(place as u64) as u32
    };
    Ok(Clusters(places.map(first).collect()))
}

/// What two texts are compared by.
fn hash(text: &str, normalise: bool) -> u128 {
    let words = if normalise {
        normal(text)
    } else {
        String::new()
    };
    match words.is_empty() {
        true => xxh3_128(text.as_bytes()),
        false => xxh3_128(words.as_bytes()),
    }
}

/// What the messages of two conversations are compared by: roles, and where each text ends.
pub(super) fn hash_messages<'a>(
    messages: impl Iterator<Item = &'a Message>,
    normalise: bool,
) -> u128 {
    let messages: Vec<&Message> = messages.collect();
    let mut texts = Vec::new();
    if normalise {
        texts.extend(messages.iter().map(|message| normal(&message.content)));
    }
    let in_words = texts.iter().any(|text| !text.is_empty());
    let mut all = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let text = if in_words {
            &texts[place]
        } else {
            &message.content
        };
        all.extend(message.role.as_str().as_bytes());
        all.extend((text.len() as u64).to_le_bytes());
        all.extend(text.as_bytes());
    }
    xxh3_128(&all)
}

/// The words of a text, and behind them its signs; nothing where there is no word.
fn normal(text: &str) -> String {
    let mut words = String::new();
    for_each_word(text, |word| {
        words.push_str(word);
        words.push(' ');
    });
    if words.is_empty() {
        return words;
    }
    for_each_sign(text, |place, sign| {
        // No word has a line end.
        words.push_str(&format!("\n{place}{sign}"));
    });
    words
}

/// The hashes that came, each with the number under which it came first: 25 to 31 bytes for each.
///
/// Many small tables, so that while one grows the others take no more room.
pub(super) struct Seen(Vec<Table>);

/// Bits of the hash that choose the table.
const TABLES: u32 = 10;

impl Default for Seen {
    fn default() -> Self {
        Self((0..1 << TABLES).map(|_| Table::default()).collect())
    }
}

impl Seen {
    /// The number that the hash first came with; none if it is new.
    pub(super) fn first(&mut self, hash: u128, number: u64) -> Option<u64> {
        let table = &mut self.0[(hash >> (u128::BITS - TABLES)) as usize];
        table.first(
            [hash as u32, (hash >> 32) as u32, (hash >> 64) as u32],
            number,
        )
    }
}

/// Open addressing with linear probing.
#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    used: usize,
}

/// Empty where the hash is 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    hash: [u32; 3],
    number: [u32; 2],
}

const EMPTY: [u32; 3] = [0; 3];

impl Table {
    fn first(&mut self, hash: [u32; 3], number: u64) -> Option<u64> {
        let hash = if hash == EMPTY { [1, 0, 0] } else { hash };
        // At most 4 of 5 slots are used.
        if self.used * 5 >= self.slots.len() * 4 {
            self.grow();
        }
        let at = self.find(hash);
        let slot = &mut self.slots[at];
        if slot.hash == EMPTY {
            let number = [number as u32, (number >> 32) as u32];
            *slot = Slot { hash, number };
            self.used += 1;
            return None;
        }
        Some(u64::from(slot.number[0]) | u64::from(slot.number[1]) << 32)
    }

    /// The slot that has the hash, or the free one where it belongs.
    fn find(&self, hash: [u32; 3]) -> usize {
        let mut at = ((u64::from(hash[0]) * self.slots.len() as u64) >> 32) as usize;
        while self.slots[at].hash != EMPTY && self.slots[at].hash != hash {
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
        at
    }

    fn grow(&mut self) {
        let size = (self.slots.len() + self.slots.len() / 4).max(16);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size]);
        for slot in old.into_iter().filter(|slot| slot.hash != EMPTY) {
            let at = self.find(slot.hash);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn texts_without_words_are_compared_as_they_are() {
        let texts = ["?!", "!", "?!", "", "", "Ｇｏ！", "go"];
        let clusters = exact_duplicates(&texts, true).unwrap();
        assert_eq!(clusters, Clusters(vec![0, 1, 0, 3, 3, 5, 5]));
        let clusters = exact_duplicates(&texts, false).unwrap();
        assert_eq!(clusters, Clusters(vec![0, 1, 0, 3, 3, 5, 6]));
    }

    #[test]
    fn signs_that_say_something_make_texts_differ() {
        let same = |one: &str, other: &str| hash(one, true) == hash(other, true);
        for (one, other) in [
            ("Compute 7 + 2.", "Compute 7 - 2."),
            ("Learn C", "Learn C++"),
            ("Learn C++", "Learn C#"),
            ("Is x < y?", "Is x > y?"),
            ("a=b", "a==b"),
            ("The root of -5", "The root of 5"),
            ("It costs $5", "It costs 5"),
            ("50% of it", "50 of it"),
            ("About 1.5 of it", "About 1:5 of it"),
            ("a ≤ b", "a ≥ b"),
            ("3 × 4", "3 ÷ 4"),
            ("1 + 2 3", "1 2 + 3"),
            ("a = -5", "a < -5"),
            ("a = \"b\"", "a + \"b\""),
        ] {
            assert!(!same(one, other), "{one} | {other}");
        }
        for (one, other) in [
            ("Compute 7 - 2.", "compute 7-2"),
            ("Compute 7 − 2", "Compute 7 - 2"),
            ("A well-known man", "a well known man"),
            ("Paris - the capital", "Paris: the capital"),
            ("- one\n- two", "one\ntwo"),
            ("* 5 apples\n> 6 pears", "5 apples\n6 pears"),
            ("the **very** good # one", "The very good one"),
            ("# Title", "Title"),
            ("Wait -- what?", "Wait, what"),
            ("Non ! Jamais", "Non, jamais."),
            ("５＋３", "5+3"),
            ("Stra\u{DF}e!", "STRASSE"),
        ] {
            assert!(same(one, other), "{one} | {other}");
        }
    }

    #[test]
    fn roles_and_ends_of_messages_count() {
        use crate::record::Role::{Assistant, User};
        let hash = |turns: [(crate::Role, &str); 2], normalise| {
            let messages = turns.map(|(role, text)| Message::new(role, text));
            hash_messages(messages.iter(), normalise)
        };
        for normalise in [false, true] {
            let one = hash([(User, "a b"), (Assistant, "c")], normalise);
            assert_ne!(one, hash([(User, "a"), (Assistant, "b c")], normalise));
            assert_ne!(one, hash([(Assistant, "a b"), (User, "c")], normalise));
            assert_eq!(one, hash([(User, "a b"), (Assistant, "c")], normalise));
        }
    }

    #[test]
    fn every_hash_is_found_again_with_its_first_number() {
        let mut seen = Seen::default();
        let hash = |number: u64| match number {
            0 => 0,
            // All in one table, side by side and at its end.
            1..1000 => u128::from(number + 1),
            1000..2000 => u128::from(u32::MAX) - u128::from(number % 1000),
            _ => xxh3_128(&number.to_le_bytes()),
        };
        let large = u64::MAX - 100_000;
        for number in 0..100_000 {
            assert_eq!(seen.first(hash(number), large + number), None);
        }
        for number in 0..100_000 {
            assert_eq!(seen.first(hash(number), 7), Some(large + number));
        }
        let slots: usize = seen.0.iter().map(|table| table.slots.len()).sum();
        assert!(slots * size_of::<Slot>() < 100_000 * 34, "{slots}");
    }
}
