//! ROUGE-L, equal to Google's `rouge-score`.

use std::collections::HashMap;

/// What ROUGE-L counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RougeUnit {
    /// Words as `rouge-score` cuts them, without its stemmer: lower case, and whatever is not
    /// `a-z0-9` separates. Nothing is left of a Chinese text.
    Words,
    /// Letters and digits of any script, each alone, in lower case; white space and punctuation
    /// count for nothing. For Chinese.
    Characters,
}

/// Precision, recall and their harmonic mean, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rouge {
    /// The share of the prediction that is in the longest common subsequence.
    pub precision: f64,
    /// The share of the target that is.
    pub recall: f64,
    /// `2 · precision · recall / (precision + recall)`.
    pub f1: f64,
}

/// ROUGE-L (Lin 2004, <https://aclanthology.org/W04-1013>) as
/// [`rouge-score`](https://github.com/google-research/google-research/tree/master/rouge) computes
/// it: the longest common subsequence of the whole texts, beta = 1. A text without a unit scores 0.
///
/// ```
/// use llm_data::clean::{RougeUnit, rouge_l};
///
/// let score = rouge_l("The cat sat.", "the cat, it sat", RougeUnit::Words);
/// assert_eq!((score.precision, score.recall), (0.75, 1.0));
/// assert_eq!(rouge_l("今天天气好", "今天下雨", RougeUnit::Characters).recall, 0.4);
/// ```
pub fn rouge_l(target: &str, prediction: &str, unit: RougeUnit) -> Rouge {
    RougeText::new(target, unit).score(&RougeText::new(prediction, unit))
}

/// A text cut into units once, to be compared with many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RougeText {
    /// Each unit as its text.
    units: Vec<Box<str>>,
}

impl RougeText {
    /// Cuts `text`.
    pub fn new(text: &str, unit: RougeUnit) -> Self {
        let text = text.to_lowercase();
        let units = match unit {
            RougeUnit::Words => text
                .split(|character: char| !matches!(character, 'a'..='z' | '0'..='9'))
                .filter(|word| !word.is_empty())
                .map(Box::from)
                .collect(),
            RougeUnit::Characters => text
                .chars()
                .filter(|character| character.is_alphanumeric())
                .map(|character| character.to_string().into())
                .collect(),
        };
        Self { units }
    }

    /// The score of `prediction` against this target.
    pub fn score(&self, prediction: &Self) -> Rouge {
        if self.units.is_empty() || prediction.units.is_empty() {
            return Rouge::default();
        }
        let common = common_subsequence(&self.units, &prediction.units) as f64;
        let precision = common / prediction.units.len() as f64;
        let recall = common / self.units.len() as f64;
        let f1 = if precision + recall > 0.0 {
            2.0 * precision * recall / (precision + recall)
        } else {
            0.0
        };
        Rouge {
            precision,
            recall,
            f1,
        }
    }
}

/// The length of the longest common subsequence, 64 cells of the table at a time (Hyyrö 2004,
/// "Bit-parallel LCS-length computation revisited"): `v` has a zero wherever a row of the table
/// steps up.
fn common_subsequence(a: &[Box<str>], b: &[Box<str>]) -> usize {
    let blocks = a.len().div_ceil(64);
    let mut places: HashMap<&str, Vec<u64>> = HashMap::new();
    for (place, unit) in a.iter().enumerate() {
        let bits = places.entry(unit).or_insert_with(|| vec![0; blocks]);
        bits[place / 64] |= 1 << (place % 64);
    }
    let mut v = vec![u64::MAX; blocks];
    for bits in b.iter().filter_map(|unit| places.get(&**unit)) {
        let mut carry = false;
        for (v, bits) in v.iter_mut().zip(bits) {
            let u = *v & bits;
            let (sum, first) = v.overflowing_add(u);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first || second;
            *v = sum | (*v & !bits);
        }
    }
    (0..a.len())
        .filter(|place| v[place / 64] & (1 << (place % 64)) == 0)
        .count()
}
