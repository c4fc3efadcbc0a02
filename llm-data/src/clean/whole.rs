//! Steps that compare records with each other or with other sets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::leakage::index::{Corpus, Index};
use crate::leakage::{EvaluationSet, Texts, load_evaluation};
use crate::record::{Conversation, Message, Role};

use super::account::StepAccount;
use super::clusters::{Clusters, cluster, narrow};
use super::codec::Item;
use super::minhash::{Bands, MinHash};
use super::shingles::{Confirmer, EXPANSION, ShingleSource, shingles};
use super::simhash::{Hashes, SHINGLE, SimHash, simhash};
use super::spool::{Keys, Place, Spool};
use super::verdict::{Found, beginning};

/// What of two conversations is compared; the system text never is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// All messages.
    #[default]
    Conversation,
    /// The first message.
    Prompt,
    /// The first two messages, as FastChat does.
    FirstTurn,
}

impl Compared {
    /// The messages that are compared.
    pub(super) fn messages(self, conversation: &Conversation) -> impl Iterator<Item = &Message> {
        let count = match self {
            Self::Conversation => usize::MAX,
            Self::Prompt => 1,
            Self::FirstTurn => 2,
        };
        let messages = conversation.messages.iter();
        let spoken = messages.filter(|message| message.role != Role::System);
        spoken.take(count)
    }

    pub(super) fn text(self, conversation: &Conversation) -> String {
        let mut text = String::new();
        for message in self.messages(conversation) {
            text.push_str(&message.content);
            // To be read; words are compared without it.
            text.push('\u{1E}');
        }
        text
    }
}

/// Options of [`Step::Contamination`](super::Step).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contamination {
    /// Evaluation files, as [`load_evaluation`] reads them.
    pub evaluation: Vec<PathBuf>,
}

impl Contamination {
    pub(super) fn load(&self) -> Result<Vec<EvaluationSet>> {
        self.evaluation.iter().map(load_evaluation).collect()
    }
}

/// A step over all records, ready.
pub(super) enum Whole {
    Near(Compared, MinHash),
    Simhash(Compared, SimHash),
    Contamination(Vec<EvaluationSet>),
}

impl Whole {
    /// What records are compared with besides each other.
    pub(super) fn corpus(&self) -> Corpus<'_> {
        match self {
            Self::Contamination(sets) => Corpus::new(sets),
            Self::Near(..) | Self::Simhash(..) => Corpus::new(&[]),
        }
    }
}

/// What of the records a step judges by.
enum Evidence<'a> {
    Near(&'a MinHash, Bands, Box<Keys>),
    Simhash(&'a SimHash, Hashes),
    Contamination(Box<Index<'a>>),
}

/// A step over all records while they come in. They are put aside on disk.
pub(super) struct Collector<'a> {
    compare: Compared,
    evidence: Evidence<'a>,
    spool: Spool,
    memory: usize,
}

/// Keys that are sorted at a time at least: 16 bytes each.
const KEYS: usize = 1 << 16;

impl<'a> Collector<'a> {
    pub(super) fn new(whole: &'a Whole, corpus: &'a Corpus<'a>, place: &Place) -> Self {
        let (compare, evidence) = match whole {
            Whole::Near(compare, options) => {
                let keys = Box::new(Keys::new(place, options.bands));
                let bands = Bands::new(options);
                (*compare, Evidence::Near(options, bands, keys))
            }
            Whole::Simhash(compare, options) => {
                (*compare, Evidence::Simhash(options, Hashes::default()))
            }
            Whole::Contamination(_) => {
                let index = Box::new(Index::new(corpus));
                (Compared::default(), Evidence::Contamination(index))
            }
        };
        Self {
            compare,
            evidence,
            spool: Spool::new(place),
            memory: place.memory,
        }
    }

    pub(super) fn add(&mut self, items: &[Item]) -> Result<()> {
        let compare = self.compare;
        match &mut self.evidence {
            Evidence::Near(options, bands, keys) => {
                let of = |item: &Item| {
                    bands.keys(&shingles(&compare.text(&item.record), options.shingle))
                };
                let all: Vec<Option<Vec<u64>>> = items.par_iter().map(of).collect();
                all.into_iter().try_for_each(|one| keys.push(one))?;
            }
            Evidence::Simhash(options, hashes) => {
                let of = |item: &Item| simhash(&compare.text(&item.record), options.width);
                let all: Vec<Option<u64>> = items.par_iter().map(of).collect();
                all.into_iter().try_for_each(|one| hashes.push(one))?;
            }
            Evidence::Contamination(index) => {
                let look = |item: &Item| index.look(&Texts::from(&item.record));
                let found: Vec<_> = items.par_iter().map(look).collect();
                // Places instead of the records' numbers, which need not be each one's own.
                for (place, found) in (self.spool.len()..).zip(found) {
                    index.add(place, found);
                }
            }
        }
        items.iter().try_for_each(|item| self.spool.push(item))
    }

    /// Judges the records; they come again, without those that are dropped.
    pub(super) fn finish(mut self, step: &str, examples: usize) -> Result<Replay> {
        self.spool.finish()?;
        let (spool, compare) = (&self.spool, self.compare);
        let texts = |size| OnDisk {
            spool,
            compare,
            size,
        };
        let limit = (self.memory / 16).max(KEYS);
        let verdicts = match self.evidence {
            Evidence::Near(options, bands, mut keys) => {
                drop(bands);
                keys.finish()?;
                let source = texts(options.shingle);
                let mut confirmer = Confirmer::new(&source, self.memory);
                let parts = keys.parts(limit);
                let keys = |round| keys.load(round / parts, round % parts, parts);
                let clusters = cluster(spool.len(), options.bands * parts, keys, |pairs| {
                    confirmer.check(pairs, |a, b| options.alike(a, b))
                })?;
                Verdicts::Clusters("near_duplicate", clusters)
            }
            Evidence::Simhash(options, hashes) => {
                let clusters = hashes.clusters(options, &texts(SHINGLE), limit, self.memory)?;
                Verdicts::Clusters("simhash_duplicate", clusters)
            }
            Evidence::Contamination(index) => Verdicts::leaks(&index)?,
        };
        Ok(Replay {
            spool: self.spool,
            verdicts,
            step: StepAccount::new(step),
            examples,
            place: 0,
        })
    }
}

/// The compared texts of records on disk.
struct OnDisk<'a> {
    spool: &'a Spool,
    compare: Compared,
    size: usize,
}

impl ShingleSource for OnDisk<'_> {
    fn bytes(&self, place: u32) -> usize {
        let range = self.spool.range(place as usize);
        EXPANSION * (range.end - range.start) as usize
    }

    fn shingles(&self, place: u32) -> Result<Cow<'_, [u64]>> {
        let item = self.spool.get(place as usize)?;
        let text = self.compare.text(&item.record);
        Ok(Cow::Owned(shingles(&text, self.size)))
    }
}

enum Verdicts {
    /// All but the first of each cluster go, for this reason.
    Clusters(&'static str, Clusters),
    /// Those at these places go, in ascending order; what some of them share.
    Leaks(Vec<u32>, HashMap<usize, String>),
}

impl Verdicts {
    fn leaks(index: &Index<'_>) -> Result<Self> {
        let mut texts = HashMap::new();
        for overlap in index.overlaps().flatten() {
            for &place in &overlap.training {
                let text = || {
                    let (set, record) = (&overlap.set, overlap.record);
                    format!("{set}, record {record}: {}", overlap.text)
                };
                texts.entry(place).or_insert_with(text);
            }
        }
        let leaking = index.leaking().into_iter().map(narrow);
        Ok(Self::Leaks(leaking.collect::<Result<_>>()?, texts))
    }

    /// Why the record at `place` goes, if it does.
    fn reason(&self, place: usize) -> Option<&'static str> {
        match self {
            Self::Clusters(reason, clusters) => (clusters.first(place) != place).then_some(reason),
            Self::Leaks(leaking, _) => {
                let found = leaking.binary_search_by_key(&place, |place| *place as usize);
                found.is_ok().then_some("evaluation_overlap")
            }
        }
    }
}

/// The records that a step over all of them keeps, in their order, and the account of it.
pub(super) struct Replay {
    spool: Spool,
    verdicts: Verdicts,
    pub(super) step: StepAccount,
    examples: usize,
    place: usize,
}

impl Replay {
    fn advance(&mut self) -> Result<Option<Item>> {
        while self.place < self.spool.len() {
            let place = self.place;
            self.place += 1;
            let Some(reason) = self.verdicts.reason(place) else {
                let item = self.spool.get_next(place)?;
                self.step.keep(item.number, Vec::new(), self.examples);
                return Ok(Some(item));
            };
            let (number, text) = match self.step.is_example(reason, self.examples) {
                true => self.example(place)?,
                false => (0, String::new()),
            };
            self.step
                .drop(number, Found::new(reason, text), self.examples);
        }
        Ok(None)
    }

    /// A dropped record's number, and why it was.
    fn example(&self, place: usize) -> Result<(usize, String)> {
        let item = self.spool.get(place)?;
        let text = beginning(&Compared::Conversation.text(&item.record));
        let text = match &self.verdicts {
            Verdicts::Clusters(_, clusters) => {
                let first = self.spool.get(clusters.first(place))?.number;
                format!("of record {first}: {text}")
            }
            Verdicts::Leaks(_, texts) => texts.get(&place).cloned().unwrap_or(text),
        };
        Ok((item.number, text))
    }
}

impl Iterator for Replay {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
