//! Steps that compare records with each other or with other sets.

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::leakage::{EvaluationSet, find_leakage, load_evaluation};
use crate::record::{Conversation, Role};

use super::clusters::exact_duplicates;
use super::minhash::{MinHash, near_duplicates};
use super::simhash::{SimHash, simhash_duplicates};
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
    fn text(self, conversation: &Conversation) -> String {
        let count = match self {
            Self::Conversation => usize::MAX,
            Self::Prompt => 1,
            Self::FirstTurn => 2,
        };
        let messages = conversation.messages.iter();
        let spoken = messages.filter(|message| message.role != Role::System);
        let mut text = String::new();
        for message in spoken.take(count) {
            text.push_str(&message.content);
            // No message has it once control characters are gone.
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
    Exact(Compared, bool),
    Near(Compared, MinHash),
    Simhash(Compared, SimHash),
    Contamination(Vec<EvaluationSet>),
}

impl Whole {
    /// For each record why it is dropped, if it is.
    pub(super) fn check(&self, records: &[(usize, Conversation)]) -> Result<Vec<Option<Found>>> {
        let texts = |compare: &Compared| -> Vec<String> {
            let records = records.par_iter();
            records.map(|(_, record)| compare.text(record)).collect()
        };
        let (reason, clusters) = match self {
            Self::Exact(compare, normalise) => (
                "exact_duplicate",
                exact_duplicates(&texts(compare), *normalise),
            ),
            Self::Near(compare, options) => {
                ("near_duplicate", near_duplicates(&texts(compare), options)?)
            }
            Self::Simhash(compare, options) => (
                "simhash_duplicate",
                simhash_duplicates(&texts(compare), options)?,
            ),
            Self::Contamination(sets) => return Ok(contamination(records, sets)),
        };
        let mut found = vec![None; records.len()];
        for (place, first) in clusters.duplicates() {
            let (number, original) = (records[first].0, &records[place].1);
            let text = Compared::Conversation.text(original);
            let text = format!("of record {number}: {}", beginning(&text));
            found[place] = Some(Found::new(reason, text));
        }
        Ok(found)
    }
}

fn contamination(records: &[(usize, Conversation)], sets: &[EvaluationSet]) -> Vec<Option<Found>> {
    // Places instead of the records' numbers, which need not be each one's own.
    let places = records.iter().map(|(_, record)| record).enumerate();
    let leakage = find_leakage(places, sets);
    let mut texts: HashMap<usize, String> = HashMap::new();
    for overlap in &leakage.overlaps {
        for &place in &overlap.training {
            let text = || {
                format!(
                    "{}, record {}: {}",
                    overlap.set, overlap.record, overlap.text
                )
            };
            texts.entry(place).or_insert_with(text);
        }
    }
    let mut found = vec![None; records.len()];
    for place in leakage.leaking {
        let text = texts
            .remove(&place)
            .unwrap_or_else(|| beginning(&Compared::Conversation.text(&records[place].1)));
        found[place] = Some(Found::new("evaluation_overlap", text));
    }
    found
}
