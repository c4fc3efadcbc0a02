//! The lengths of records in tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::{RecordRef, count, merge_counts};
use crate::encode::{Encoded, Encoder, left_out_as};
use crate::error::{Error, Result};
use crate::record::Role;
use crate::tokenizer::Tokenizer;

/// How a [`Survey`](super::Survey) counts tokens.
#[derive(Debug, Clone, Copy, Default)]
pub enum CountTokens<'a> {
    /// Not at all.
    #[default]
    No,
    /// Those of the texts alone, without a template; of a preference both answers. What the assistant
    /// says counts as supervised, and all of a plain text.
    Tokenizer(&'a Tokenizer),
    /// Those of the sample that the encoder makes, cut to its
    /// [`max_seq_len`](crate::EncodeOptions::max_seq_len); of a preference the sample with the chosen
    /// answer. A plain text has no template: its tokens are those of the encoder's tokenizer.
    Encoder(&'a Encoder),
}

/// Lengths in tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLengths {
    /// Of the records.
    pub records: Histogram,
    /// Their tokens that carry loss.
    pub supervised: Histogram,
    /// Records that the tokenizer or the encoder takes none of, by reason.
    pub not_encoded: BTreeMap<String, usize>,
}

impl TokenLengths {
    pub(super) fn add(&mut self, record: RecordRef<'_>, by: CountTokens<'_>) -> Result<()> {
        let counted = match by {
            CountTokens::No => return Ok(()),
            CountTokens::Tokenizer(tokenizer) => of_texts(record, tokenizer),
            CountTokens::Encoder(encoder) => of_sample(record, encoder),
        };
        match counted {
            Ok((tokens, supervised)) => {
                self.records.add(tokens);
                self.supervised.add(supervised);
            }
            Err(error) => match reason(&error) {
                Some(reason) => count(&mut self.not_encoded, reason),
                None => return Err(error),
            },
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.records.merge(&other.records);
        self.supervised.merge(&other.supervised);
        merge_counts(&mut self.not_encoded, &other.not_encoded);
    }
}

/// Why a record has no sample; none where the record is not to blame.
fn reason(error: &Error) -> Option<&'static str> {
    match error {
        Error::Conversation { .. } => Some("wrong_order"),
        error if error.is_refusal() => Some("template_refused"),
        error => left_out_as(error),
    }
}

fn of_texts(record: RecordRef<'_>, tokenizer: &Tokenizer) -> Result<(usize, usize)> {
    if let RecordRef::Text(document) = record {
        let tokens = tokenizer.encode(&document.text)?.len();
        return Ok((tokens, tokens));
    }
    let (mut all, mut supervised) = (0, 0);
    for message in record.spoken() {
        let tokens = tokenizer.encode(&message.content)?.len();
        all += tokens;
        if message.role == Role::Assistant {
            supervised += tokens;
        }
    }
    Ok((all, supervised))
}

fn of_sample(record: RecordRef<'_>, encoder: &Encoder) -> Result<(usize, usize)> {
    let encoded = match record {
        RecordRef::Text(_) => return of_texts(record, encoder.tokenizer()),
        RecordRef::Conversation(conversation) => encoder.encode_conversation(conversation),
        RecordRef::Preference(preference) => {
            let mut chosen = preference.conversation.clone();
            chosen.messages.push(preference.chosen.clone());
            encoder.encode_conversation(&chosen)
        }
    };
    let Encoded { sample, .. } = encoded?;
    Ok((sample.input_ids.len(), sample.supervised_tokens()))
}
