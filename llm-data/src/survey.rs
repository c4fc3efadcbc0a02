//! What records are like: their kinds, lengths, languages, first words.

mod histogram;
mod tokens;
mod words;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::clean::language;
use crate::error::Result;
use crate::format::{Document, Preference, Record};
use crate::record::{Conversation, Message, Role};
use crate::stream::Numbered;
use crate::words::for_each_word;

pub use histogram::Histogram;
pub use tokens::{CountTokens, TokenLengths};
pub use words::FirstWords;

/// Characters of a record that its language is told by. Cleaning takes more, and more time.
const LANGUAGE_SAMPLE: usize = 1000;
/// Records that are surveyed in one go, and how many at the same time at most.
const CHUNK: usize = 1024;
const CHUNKS: usize = 64;

/// What the records of a data set are like, counted one after another in bounded memory.
///
/// A record's text is what its messages say, without the system text; of a preference both answers;
/// of a plain text all. The result is the same on any number of threads, and the same for a data
/// set as a whole as for its parts merged, as long as there are at most 2000 different
/// [first words](FirstWords).
///
/// ```
/// use llm_data::{Conversation, CountTokens, Message, Record, Role, Survey};
///
/// let messages = vec![
///     Message::new(Role::User, "Name the capital of France, please."),
///     Message::new(Role::Assistant, "The capital of France is Paris."),
/// ];
/// let records = [Record::Conversation(Conversation::from(messages))];
/// let mut survey = Survey::default();
/// survey.add_all(&records, CountTokens::No)?;
/// assert_eq!(survey.languages["eng"], 1);
/// assert_eq!(survey.characters.answers.percentile(50), 31);
/// assert_eq!(survey.first_words.top(1), [("name", 1)]);
/// # Ok::<(), llm_data::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// How many records.
    pub records: usize,
    /// The language of one record in N is detected, which takes longer than all else; which ones, their texts
    /// decide. 0 and 1: of each.
    #[serde(default)]
    pub languages_one_in: u64,
    /// By kind: `conversation`, `preference`, `text`.
    pub kinds: BTreeMap<String, usize>,
    /// Messages by [role](Role::as_str); of a preference both answers.
    pub messages: BTreeMap<String, usize>,
    /// The assistant's messages of each conversation; a preference's two answers are one.
    pub turns: Histogram,
    /// Lengths in characters (Unicode scalar values).
    pub characters: Sizes,
    /// Lengths in words; a Chinese or Japanese character is a word.
    pub words: Sizes,
    /// Lengths in bytes of UTF-8.
    pub bytes: Sizes,
    /// Lengths in tokens, where they are counted.
    pub tokens: TokenLengths,
    /// Records by language: its ISO 639-3 code, told by whatlang from the first 1000 characters, or
    /// `unknown`. Short texts of Latin script are often taken for another language.
    pub languages: BTreeMap<String, usize>,
    /// Records with a system text that is not white space alone.
    pub with_system: usize,
    /// Records that say which functions may be called.
    pub with_tools: usize,
    /// Records in which a function is called.
    pub with_tool_calls: usize,
    /// Conversations of which no instruction has an input of its own, as in Alpaca records with an
    /// empty `input`.
    pub without_input: usize,
    /// What the first user message of a conversation begins with.
    pub first_words: FirstWords,
}

/// Lengths in one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Of the records.
    pub records: Histogram,
    /// Of the single answers: the assistant's messages.
    pub answers: Histogram,
}

/// A record of any kind that somebody else holds.
#[derive(Debug, Clone, Copy)]
pub enum RecordRef<'a> {
    /// A conversation.
    Conversation(&'a Conversation),
    /// A preference.
    Preference(&'a Preference),
    /// A plain text.
    Text(&'a Document),
}

impl<'a> From<&'a Record> for RecordRef<'a> {
    fn from(record: &'a Record) -> Self {
        match record {
            Record::Conversation(conversation) => Self::Conversation(conversation),
            Record::Preference(preference) => Self::Preference(preference),
            Record::Text(document) => Self::Text(document),
        }
    }
}

impl<'a> From<&'a Conversation> for RecordRef<'a> {
    fn from(conversation: &'a Conversation) -> Self {
        Self::Conversation(conversation)
    }
}

/// As [`Pipeline::run`](crate::clean::Pipeline::run) takes and leaves them.
impl<'a> From<&'a (usize, Conversation)> for RecordRef<'a> {
    fn from((_, conversation): &'a (usize, Conversation)) -> Self {
        Self::Conversation(conversation)
    }
}

/// As [`RecordReader`](crate::RecordReader) gives them.
impl<'a> From<&'a Numbered<Record>> for RecordRef<'a> {
    fn from(numbered: &'a Numbered<Record>) -> Self {
        Self::from(&numbered.record)
    }
}

impl<'a> RecordRef<'a> {
    pub(crate) fn conversation(self) -> Option<&'a Conversation> {
        match self {
            Self::Conversation(conversation) => Some(conversation),
            Self::Preference(preference) => Some(&preference.conversation),
            Self::Text(_) => None,
        }
    }

    /// The messages that are no system text, a preference's answers last.
    pub(crate) fn spoken(self) -> impl Iterator<Item = &'a Message> {
        let messages = self
            .conversation()
            .map(|conversation| &conversation.messages);
        let answers = match self {
            Self::Preference(preference) => Some([&preference.chosen, &preference.rejected]),
            _ => None,
        };
        let all = messages.into_iter().flatten();
        let all = all.chain(answers.into_iter().flatten());
        all.filter(|message| message.role != Role::System)
    }
}

impl Survey {
    /// A survey that detects the language of one record in N.
    pub fn languages_one_in(one_in: u64) -> Self {
        Self {
            languages_one_in: one_in,
            ..Self::default()
        }
    }

    /// Counts a record. After an error nothing of it is counted.
    ///
    /// # Errors
    /// What the tokenizer or the chat template fails with, where it is not the record's fault.
    pub fn add<'a>(
        &mut self,
        record: impl Into<RecordRef<'a>>,
        tokens: CountTokens<'_>,
    ) -> Result<()> {
        let record = record.into();
        self.tokens.add(record, tokens)?;
        self.records += 1;
        self.add_language(record);
        match record {
            RecordRef::Conversation(conversation) => {
                count(&mut self.kinds, "conversation");
                self.add_conversation(conversation, 0);
            }
            RecordRef::Preference(preference) => {
                count(&mut self.kinds, "preference");
                self.add_conversation(&preference.conversation, 1);
                count(&mut self.messages, preference.chosen.role.as_str());
                count(&mut self.messages, preference.rejected.role.as_str());
            }
            RecordRef::Text(document) => {
                count(&mut self.kinds, "text");
                let [characters, words, bytes] = measure(&document.text);
                self.characters.records.add(characters);
                self.words.records.add(words);
                self.bytes.records.add(bytes);
                return Ok(());
            }
        }
        let mut record_size = [0; 3];
        for message in record.spoken() {
            let size = measure(&message.content);
            if message.role == Role::Assistant {
                let units = [&mut self.characters, &mut self.words, &mut self.bytes];
                units
                    .into_iter()
                    .zip(size)
                    .for_each(|(unit, size)| unit.answers.add(size));
            }
            record_size
                .iter_mut()
                .zip(size)
                .for_each(|(sum, size)| *sum += size);
        }
        let units = [&mut self.characters, &mut self.words, &mut self.bytes];
        let sizes = units.into_iter().zip(record_size);
        sizes.for_each(|(unit, size)| unit.records.add(size));
        Ok(())
    }

    /// Counts records in their order, on the threads of the current rayon pool.
    ///
    /// # Errors
    /// Those of [`add`](Self::add), of the first record that fails; those before it may be counted.
    pub fn add_all<'a, R>(&mut self, records: &'a [R], tokens: CountTokens<'_>) -> Result<()>
    where
        R: Sync,
        RecordRef<'a>: From<&'a R>,
    {
        let one_in = self.languages_one_in;
        for part in records.chunks(CHUNK * CHUNKS) {
            let surveys: Vec<Result<Self>> = part
                .par_chunks(CHUNK)
                .map(|chunk| {
                    let mut survey = Self::languages_one_in(one_in);
                    let mut each = chunk.iter();
                    each.try_for_each(|record| survey.add(record, tokens))?;
                    Ok(survey)
                })
                .collect();
            for survey in surveys {
                self.merge(&survey?);
            }
        }
        Ok(())
    }

    /// Counts what the survey of further records has counted.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            records,
            languages_one_in: _,
            kinds,
            messages,
            turns,
            characters,
            words,
            bytes,
            tokens,
            languages,
            with_system,
            with_tools,
            with_tool_calls,
            without_input,
            first_words,
        } = other;
        self.records += records;
        merge_counts(&mut self.kinds, kinds);
        merge_counts(&mut self.messages, messages);
        self.turns.merge(turns);
        self.characters.merge(characters);
        self.words.merge(words);
        self.bytes.merge(bytes);
        self.tokens.merge(tokens);
        merge_counts(&mut self.languages, languages);
        self.with_system += with_system;
        self.with_tools += with_tools;
        self.with_tool_calls += with_tool_calls;
        self.without_input += without_input;
        self.first_words.merge(first_words);
    }

    fn add_conversation(&mut self, conversation: &Conversation, more_turns: usize) {
        let messages = &conversation.messages;
        for message in messages {
            count(&mut self.messages, message.role.as_str());
        }
        let of = |role: Role| messages.iter().filter(move |message| message.role == role);
        self.turns.add(of(Role::Assistant).count() + more_turns);
        let system = of(Role::System).any(|message| !message.content.trim().is_empty());
        self.with_system += usize::from(system);
        let tools = conversation.tools.as_deref().map(str::trim);
        self.with_tools += usize::from(tools.is_some_and(|tools| !matches!(tools, "" | "[]")));
        self.with_tool_calls += usize::from(of(Role::FunctionCall).next().is_some());
        let input = of(Role::User).any(|message| !message.instruction_and_input().1.is_empty());
        self.without_input += usize::from(!input);
        if let Some(first) = of(Role::User).next() {
            self.first_words.add(&first.content);
        }
    }

    fn add_language(&mut self, record: RecordRef<'_>) {
        if self.languages_one_in > 1 {
            let first = match record {
                RecordRef::Text(document) => Some(&document.text),
                _ => record.spoken().next().map(|message| &message.content),
            };
            let hash = xxh3_64(first.map_or(&[], |text| text.as_bytes()));
            if !hash.is_multiple_of(self.languages_one_in) {
                return;
            }
        }
        let found = match record {
            RecordRef::Text(document) => language([&*document.text], LANGUAGE_SAMPLE),
            _ => {
                let texts = record.spoken().map(|message| &*message.content);
                language(texts, LANGUAGE_SAMPLE)
            }
        };
        let code = found.1.map_or("unknown", |info| info.lang().code());
        count(&mut self.languages, code);
    }
}

impl Sizes {
    fn merge(&mut self, other: &Self) {
        self.records.merge(&other.records);
        self.answers.merge(&other.answers);
    }
}

/// The English name of a language, such as "Mandarin" for `cmn`, where
/// [`Survey::languages`] may have it.
pub fn language_name(code: &str) -> Option<&'static str> {
    whatlang::Lang::from_code(code).map(whatlang::Lang::eng_name)
}

/// Characters, words and bytes.
fn measure(text: &str) -> [usize; 3] {
    let mut words = 0;
    for_each_word(text, |_| words += 1);
    [text.chars().count(), words, text.len()]
}

fn count(counts: &mut BTreeMap<String, usize>, key: &str) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => {
            counts.insert(key.to_owned(), 1);
        }
    }
}

fn merge_counts(ours: &mut BTreeMap<String, usize>, theirs: &BTreeMap<String, usize>) {
    for (key, count) in theirs {
        *ours.entry(key.clone()).or_insert(0) += count;
    }
}
