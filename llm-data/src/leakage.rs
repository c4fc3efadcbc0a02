//! Leakage: what evaluation records share with the training data, a whole text or 13 words on end.
//!
//! A score on a question that the model was trained on says nothing. [`find_leakage`] compares
//! records, not prompts: the template's own words are in none of them. Texts are compared word by
//! word, without case, punctuation and white space; a word is a run of letters and digits after
//! Unicode's NFKC, and each Chinese or Japanese character is one of its own. A hit is a hit in
//! words, never in hashes alone. But `5 + 3` and `5 - 3` are the same two words.
//!
//! - **Exact**: the same opening prompt (instruction and input) at any length, or another text
//!   (an input alone, an answer, a later turn) from 8 words on. `Yes` is an answer to much.
//! - **13-gram**: the same 13 words on end. One that occurs under more than 10 different training
//!   prompts is boilerplate and counts for nothing. A hit with a small share may still be a
//!   quotation or an idiom, in Chinese above all, where 13 characters are about 8 words.
//!
//! The numbers are those of the GPT-3 paper (Brown et al. 2020, <https://arxiv.org/abs/2005.14165>,
//! appendix C): n-grams of 13 words, and of 8 at the least, since shorter ones collide by chance;
//! those in more than 10 training documents are common phrases. The paper splits at white space;
//! here punctuation splits as well, so that `a,b` is `a, b`.

mod files;
pub(crate) mod index;
mod texts;

use std::fmt;

use serde::Serialize;

use crate::error::list;

pub use files::load_evaluation;
use index::{Corpus, Index};
pub use texts::{EvaluationSet, Texts};

/// Words in an n-gram.
const N: usize = 13;
/// The shortest text, in words, that can match as a whole without being an opening prompt.
const SHORTEST: usize = 8;
/// Training prompts that an n-gram may occur under before it is boilerplate.
const BOILERPLATE: usize = 10;
/// Training records that an overlap names.
const NAMED: usize = 10;

/// What the evaluation records share with the training data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leakage {
    /// Training records that were compared.
    pub training_records: usize,
    /// The numbers of all those that an evaluation record overlaps with, in ascending order.
    pub leaking: Vec<usize>,
    /// What was compared with them.
    pub sets: Vec<SetLeakage>,
    /// The evaluation records that overlap, each once, in the sets' order.
    pub overlaps: Vec<Overlap>,
}

/// One evaluation set in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SetLeakage {
    /// Its name: a path, or what the caller says.
    pub name: String,
    /// Its records.
    pub records: usize,
    /// Those with a text that is in the training data as a whole.
    pub exact: usize,
    /// Those that only share 13-grams.
    pub ngram: usize,
}

/// One evaluation record that the training data contains, wholly or in part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    /// The evaluation set's name.
    pub set: String,
    /// The record's number in the set, from 1.
    pub record: usize,
    /// What is shared.
    pub kind: OverlapKind,
    /// The share of the record's 13-grams that training records contain, boilerplate excepted;
    /// none where all its texts are shorter.
    pub share: Option<f64>,
    /// The numbers of the training records, in ascending order: the first 10.
    pub training: Vec<usize>,
    /// What the record shares with the first of them, as it is compared: the 13-gram, or the first
    /// 13 words of the text.
    pub text: String,
}

/// What an evaluation record shares with training records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OverlapKind {
    /// A whole text; perhaps 13-grams of others besides.
    #[serde(rename = "exact")]
    Exact,
    /// 13 words on end.
    #[serde(rename = "13-gram")]
    NGram,
}

/// Compares training records, each with its number, with all of `evaluation`.
///
/// Takes memory for the evaluation sets' 13-grams and for the overlaps; the training records can
/// be read one by one. The same input yields the same result.
///
/// ```
/// use llm_data::{AlpacaRecord, EvaluationSet, find_leakage};
///
/// let asks = |instruction: &str, output: &str| AlpacaRecord {
///     instruction: instruction.to_owned(),
///     output: output.to_owned(),
///     ..AlpacaRecord::default()
/// };
/// let training = [asks("Name a colour.", "Red."), asks("Who wrote Hamlet?", "Shakespeare.")];
/// let held_out = [asks("who wrote “Hamlet”", "It was Shakespeare.")];
///
/// let validation = EvaluationSet::new("validation", (1..).zip(&held_out));
/// let leakage = find_leakage((1..).zip(&training), &[validation]);
/// assert_eq!(leakage.leaking, [2]);
/// ```
pub fn find_leakage<T: Into<Texts>>(
    training: impl IntoIterator<Item = (usize, T)>,
    evaluation: &[EvaluationSet],
) -> Leakage {
    let corpus = Corpus::new(evaluation);
    let mut index = Index::new(&corpus);
    for (number, record) in training {
        let found = index.look(&record.into());
        index.add(number, found);
    }
    let mut leakage = Leakage {
        training_records: index.training_records(),
        leaking: index.leaking(),
        sets: Vec::new(),
        overlaps: Vec::new(),
    };
    for (set, overlaps) in evaluation.iter().zip(index.overlaps()) {
        let count = |kind| overlaps.iter().filter(|one| one.kind == kind).count();
        leakage.sets.push(SetLeakage {
            name: set.name.clone(),
            records: set.records.len(),
            exact: count(OverlapKind::Exact),
            ngram: count(OverlapKind::NGram),
        });
        leakage.overlaps.extend(overlaps);
    }
    leakage
}

impl fmt::Display for Leakage {
    /// A line for each set, then one for each of the first overlaps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaking, all) = (self.leaking.len(), self.training_records);
        write!(f, "leakage     {leaking} of {all} training records")?;
        for set in &self.sets {
            let SetLeakage {
                name,
                records,
                exact,
                ngram,
            } = set;
            write!(
                f,
                "\n  {name}: {exact} exact, {ngram} by 13-gram, of {records} records"
            )?;
        }
        write!(f, "{}", list(&self.overlaps, self.overlaps.len()))
    }
}

impl fmt::Display for Overlap {
    /// `test.jsonl, record 3: 13-gram (7.5 %), training record 12, 17: "…"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, record {}: ", self.set, self.record)?;
        match (self.kind, self.share) {
            (OverlapKind::Exact, _) => write!(f, "exact")?,
            (OverlapKind::NGram, share) => {
                write!(f, "13-gram ({:.1} %)", 100.0 * share.unwrap_or_default())?;
            }
        }
        let numbers: Vec<String> = self.training.iter().map(usize::to_string).collect();
        let more = if numbers.len() == NAMED { ", …" } else { "" };
        let numbers = numbers.join(", ");
        write!(f, ", training record {numbers}{more}: {:?}", self.text)
    }
}
