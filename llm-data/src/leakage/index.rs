//! The evaluation records' texts and n-grams, and the training records that have them too.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::texts::{EvaluationSet, Part, Text, Texts};
use super::{BOILERPLATE, N, NAMED, Overlap, OverlapKind, SHORTEST};
use crate::words::{for_each_word, join};

/// N words on end.
type Gram = [u32; N];

/// A training word that no evaluation record has. Memory ends long before so many words.
const UNKNOWN: u32 = u32::MAX;

/// The evaluation sets with their words as numbers, so that words are compared by comparing these.
pub(crate) struct Corpus<'a> {
    vocabulary: HashMap<String, u32>,
    sets: Vec<Vec<Record<'a>>>,
}

struct Record<'a> {
    set: &'a str,
    number: usize,
    texts: Vec<(Part, Vec<u32>)>,
}

impl<'a> Corpus<'a> {
    pub(crate) fn new(evaluation: &'a [EvaluationSet]) -> Self {
        let mut vocabulary = HashMap::new();
        let mut numbered = |text: &Text| {
            let mut words = Vec::new();
            for_each_word(&text.content, |word| {
                words.push(number_of(word, &mut vocabulary));
            });
            (text.part, words)
        };
        let sets = evaluation.iter().map(|set| {
            let records = set.records.iter().map(|(number, texts)| Record {
                set: &set.name,
                number: *number,
                texts: texts.0.iter().map(&mut numbered).collect(),
            });
            records.collect()
        });
        let sets = sets.collect();
        Self { vocabulary, sets }
    }

    fn texts(&self) -> impl Iterator<Item = (Part, &[u32])> {
        self.sets.iter().flatten().flat_map(Record::texts)
    }
}

impl Record<'_> {
    fn texts(&self) -> impl Iterator<Item = (Part, &[u32])> {
        self.texts.iter().map(|(part, words)| (*part, &**words))
    }
}

/// The word's number, a new one for a new word.
fn number_of(word: &str, vocabulary: &mut HashMap<String, u32>) -> u32 {
    match vocabulary.get(word) {
        Some(&number) => number,
        None => {
            let number = vocabulary.len() as u32;
            vocabulary.insert(word.to_owned(), number);
            number
        }
    }
}

/// The n-grams of a text; an input's are its prompt's.
fn grams(part: Part, words: &[u32]) -> impl Iterator<Item = &Gram> {
    let words = if part == Part::Input { &[] } else { words };
    words.array_windows()
}

/// Whether a text can match as a whole.
fn stands_for_itself(part: Part, words: &[u32]) -> bool {
    words.len() >= SHORTEST || (part == Part::Prompt && !words.is_empty())
}

/// The same in every run, unlike a hash map's own.
fn hash(text: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

/// What of the evaluation sets the training records have, added one by one.
pub(crate) struct Index<'a> {
    corpus: &'a Corpus<'a>,
    /// The words by their numbers.
    names: Vec<&'a str>,
    /// The texts that can match as a whole, with the training records that have them.
    whole: HashMap<&'a [u32], Vec<usize>>,
    grams: HashSet<&'a Gram>,
    /// Those of them that training records have.
    shared: HashMap<&'a Gram, Shared>,
    /// Hashes of the training prompts; two of one hash would merely count as one.
    prompts: HashSet<u64>,
    training_records: usize,
}

/// What of the evaluation sets one training record has.
pub(crate) struct Found<'a> {
    /// Its prompt's hash.
    prompt: Option<u64>,
    whole: Vec<&'a [u32]>,
    grams: Vec<&'a Gram>,
}

/// The training records that have an n-gram.
#[derive(Default)]
struct Shared {
    /// None once it is boilerplate.
    records: Vec<usize>,
    /// Different prompts of theirs. Many answers to one question make no boilerplate of it.
    prompts: usize,
}

impl Shared {
    fn is_boilerplate(&self) -> bool {
        self.prompts > BOILERPLATE
    }

    fn add(&mut self, record: usize, new_prompt: bool) {
        if self.is_boilerplate() || self.records.last() == Some(&record) {
            return;
        }
        self.records.push(record);
        self.prompts += usize::from(new_prompt);
        if self.is_boilerplate() {
            self.records = Vec::new();
        }
    }
}

impl<'a> Index<'a> {
    pub(crate) fn new(corpus: &'a Corpus<'a>) -> Self {
        let whole = corpus
            .texts()
            .filter(|&(part, words)| stands_for_itself(part, words))
            .map(|(_, words)| (words, Vec::new()));
        let grams = corpus.texts().flat_map(|(part, words)| grams(part, words));
        let mut names = vec![""; corpus.vocabulary.len()];
        for (word, &number) in &corpus.vocabulary {
            names[number as usize] = word;
        }
        Self {
            corpus,
            names,
            whole: whole.collect(),
            grams: grams.collect(),
            shared: HashMap::new(),
            prompts: HashSet::new(),
            training_records: 0,
        }
    }

    /// Looks for a training record's texts in the evaluation sets.
    pub(crate) fn look(&self, record: &Texts) -> Found<'a> {
        let mut found = Found {
            prompt: record.0.first().map(|prompt| hash(&prompt.content)),
            whole: Vec::new(),
            grams: Vec::new(),
        };
        let mut words = Vec::new();
        for Text { part, content } in &record.0 {
            words.clear();
            for_each_word(content, |word| {
                words.push(self.corpus.vocabulary.get(word).copied().unwrap_or(UNKNOWN));
            });
            if stands_for_itself(*part, &words)
                && let Some((text, _)) = self.whole.get_key_value(words.as_slice())
            {
                found.whole.push(text);
            }
            let known = words.split(|&word| word == UNKNOWN);
            let grams = known.flat_map(|words| grams(*part, words));
            found
                .grams
                .extend(grams.filter_map(|gram| self.grams.get(gram)));
        }
        found
    }

    /// Notes what was found in the next training record. The prompt of one without any text is
    /// none.
    pub(crate) fn add(&mut self, number: usize, found: Found<'a>) {
        self.training_records += 1;
        let new_prompt = found
            .prompt
            .is_some_and(|prompt| self.prompts.insert(prompt));
        for text in found.whole {
            if let Some(records) = self.whole.get_mut(text)
                && records.last() != Some(&number)
            {
                records.push(number);
            }
        }
        for gram in found.grams {
            let shared = self.shared.entry(gram).or_default();
            shared.add(number, new_prompt);
        }
    }

    pub(super) fn training_records(&self) -> usize {
        self.training_records
    }

    /// The numbers of the training records that share something.
    pub(crate) fn leaking(&self) -> Vec<usize> {
        let grams = self.shared.values().map(|shared| &shared.records);
        let numbers: BTreeSet<usize> = self
            .whole
            .values()
            .chain(grams)
            .flatten()
            .copied()
            .collect();
        numbers.into_iter().collect()
    }

    /// The overlaps of each set, in the order of its records.
    pub(crate) fn overlaps(&self) -> impl Iterator<Item = Vec<Overlap>> {
        let of_set = |set: &'a Vec<Record<'a>>| set.iter().filter_map(|one| self.overlap(one));
        self.corpus
            .sets
            .iter()
            .map(move |set| of_set(set).collect())
    }

    fn overlap(&self, record: &Record<'a>) -> Option<Overlap> {
        let whole = record
            .texts()
            .filter(|&(part, words)| stands_for_itself(part, words))
            .filter_map(|(_, words)| Some((words, self.whole.get(words)?)));
        let grams: Vec<&Gram> = record
            .texts()
            .flat_map(|(part, words)| grams(part, words))
            .collect();
        let shared: Vec<(&[u32], &Vec<usize>)> = grams
            .iter()
            .filter_map(|&gram| Some((&gram[..], self.shared.get(gram)?)))
            .filter(|(_, shared)| !shared.is_boilerplate())
            .map(|(gram, shared)| (gram, &shared.records))
            .collect();
        let share = (!grams.is_empty()).then(|| shared.len() as f64 / grams.len() as f64);
        let (kind, (training, text)) = match first_of(whole) {
            Some(exact) => (OverlapKind::Exact, exact),
            None => (OverlapKind::NGram, first_of(shared.into_iter())?),
        };
        Some(Overlap {
            set: record.set.to_owned(),
            record: record.number,
            kind,
            share,
            training,
            text: join(text.iter().take(N).map(|&word| self.names[word as usize])),
        })
    }
}

/// The first training records of all that have some of the words, and the words that the very
/// first has.
fn first_of<'w>(
    hits: impl Iterator<Item = (&'w [u32], &'w Vec<usize>)>,
) -> Option<(Vec<usize>, &'w [u32])> {
    let named = |(words, records): (&'w [u32], &'w Vec<usize>)| {
        records
            .iter()
            .take(NAMED)
            .map(move |&record| (record, words))
    };
    let mut hits: Vec<(usize, &[u32])> = hits.flat_map(named).collect();
    // Stable: words that come first in the evaluation record stay first.
    hits.sort_by_key(|&(record, _)| record);
    hits.dedup_by_key(|&mut (record, _)| record);
    let &(_, words) = hits.first()?;
    let records = hits.iter().take(NAMED).map(|&(record, _)| record);
    Some((records.collect(), words))
}
