//! Records through the steps, chunk by chunk, in bounded memory.

use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;
use serde_json::Value;

use crate::error::Error;
use crate::parallel::{Bounds, in_chunks};
use crate::record::{Conversation, Message};

use super::account::{Account, StepAccount};
use super::codec::Item;
use super::exact::{Seen, hash_messages};
use super::pipeline::Pipeline;
use super::spool::Place;
use super::step::Rule;
use super::verdict::{Found, Verdict, beginning};
use super::whole::{Collector, Compared, Replay};

/// How [`Pipeline::stream`] uses memory and disk. None of it changes the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Records that are worked on at a time, at most; at least 1. Default 4096.
    pub chunk_records: usize,
    /// Bytes of them from which no further one is added. Four chunks are in memory at a time.
    /// Default 8 MiB.
    pub chunk_bytes: usize,
    /// Bytes that a step over all records has in memory for each of three things: the records and
    /// their keys before they become temporary files, and what is compared. Default 64 MiB.
    pub memory: usize,
    /// Where temporary files are; none: [`std::env::temp_dir`]. They have no name, so that they are
    /// gone when the process is.
    pub directory: Option<PathBuf>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            chunk_records: 4096,
            chunk_bytes: 8 << 20,
            memory: 64 << 20,
            directory: None,
        }
    }
}

impl StreamOptions {
    fn validate(&self) -> Result<(), Error> {
        if self.chunk_records == 0 {
            return Err(Error::option("chunk_records", "at least 1", 0));
        }
        Ok(())
    }

    fn place(&self) -> Place {
        Place {
            directory: self.directory.clone().unwrap_or_else(std::env::temp_dir),
            memory: self.memory,
        }
    }
}

impl Pipeline {
    /// Cleans records, each with its number, as they come; `sink` gets those that are kept, in
    /// their order. The records are read on a thread of their own, worked on by the current rayon
    /// pool, and given to `sink` on this thread. Result and account depend neither on the number of
    /// threads nor on the options.
    ///
    /// Takes memory for the chunks of [`StreamOptions`] and, by record, 25 to 31 bytes for
    /// `exact_duplicates`; 8 to 16 for a contamination's prompts; and for each step over all records
    /// (near-duplicates, SimHash, contamination) 8 for their places and 4, with SimHash 12, for the
    /// clusters. Such a step takes disk: the records once, beside them those of such a step before,
    /// and 8 bytes by record and band of MinHash. `sink` gets nothing before the last of them has
    /// seen all records.
    ///
    /// ```
    /// use llm_data::clean::{Pipeline, Step, StreamOptions};
    /// use llm_data::{Conversation, Error, Message, Role};
    ///
    /// let says = |text: &str| Conversation::from(vec![Message::new(Role::User, text)]);
    /// let records = ["Hello.", "Bye.", "hello"].map(says).into_iter();
    /// let steps: Vec<Step> = serde_json::from_str(r#"[{"step": "exact_duplicates"}]"#)?;
    /// let mut kept = Vec::new();
    /// let account = Pipeline::new(&steps)?.stream(
    ///     (1..).zip(records).map(Ok),
    ///     &StreamOptions::default(),
    ///     |number, _| {
    ///         kept.push(number);
    ///         Ok::<_, Error>(())
    ///     },
    /// )?;
    /// assert_eq!((kept, account.dropped), (vec![1, 2], 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The first error of `records`, behind the records before it, and that of `sink`, as they are;
    /// [`Error::Option`]; [`Error::Io`] with the directory of the temporary files;
    /// [`Error::TooManyRecords`].
    pub fn stream<E: From<Error> + Send>(
        &self,
        records: impl Iterator<Item = Result<(usize, Conversation), E>> + Send,
        options: &StreamOptions,
        mut sink: impl FnMut(usize, Conversation) -> Result<(), E>,
    ) -> Result<Account, E> {
        options.validate()?;
        let place = options.place();
        let mut account = Account::default();
        let mut source = Source::Input { records, count: 0 };
        let mut rules = &self.rules[..];
        loop {
            let whole = |(_, rule): &(&str, Rule)| matches!(rule, Rule::Whole(_));
            let end = rules.iter().position(whole).unwrap_or(rules.len());
            let mut pass = Pass::new(&rules[..end], self.examples);
            let Some((name, Rule::Whole(whole))) = rules.get(end) else {
                pass.run(&mut source, options, |items| {
                    account.kept += items.len();
                    account.changed += items.iter().filter(|item| item.changed).count();
                    let mut items = items.into_iter();
                    items.try_for_each(|item| sink(item.number, item.record))
                })?;
                source.close(&mut account);
                account.steps.extend(pass.steps);
                account.dropped = account.records - account.kept;
                return Ok(account);
            };
            let corpus = whole.corpus();
            let mut collector = Collector::new(whole, &corpus, &place);
            pass.run(&mut source, options, |items| Ok(collector.add(&items)?))?;
            source.close(&mut account);
            account.steps.extend(pass.steps);
            source = Source::Replay(Box::new(collector.finish(name, self.examples)?));
            rules = &rules[end + 1..];
        }
    }
}

/// Where records come from: from outside, or from a step that had to see all of them.
enum Source<I> {
    Input { records: I, count: usize },
    Replay(Box<Replay>),
}

impl<I> Source<I> {
    /// Accounts for what has come.
    fn close(&mut self, account: &mut Account) {
        match self {
            Self::Input { count, .. } => account.records = *count,
            Self::Replay(replay) => account.steps.push(std::mem::take(&mut replay.step)),
        }
    }
}

impl<E: From<Error>, I: Iterator<Item = Result<(usize, Conversation), E>>> Iterator for Source<I> {
    type Item = Result<Item, E>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Input { records, count } => Some(records.next()?.map(|(number, record)| {
                *count += 1;
                Item {
                    number,
                    changed: false,
                    record,
                }
            })),
            Self::Replay(replay) => Some(replay.next()?.map_err(E::from)),
        }
    }
}

/// Steps that judge a record as it comes, and what they did so far.
struct Pass<'a> {
    rules: &'a [(&'static str, Rule)],
    steps: Vec<StepAccount>,
    /// What the steps that compare texts have seen; of the others nothing.
    seen: Vec<Seen>,
    examples: usize,
}

/// What some steps say about one record.
struct Trail {
    /// The steps that changed it, by place, with the changes.
    changes: Vec<(usize, Vec<Found>)>,
    /// The step that dropped it.
    dropped: Option<(usize, Found)>,
}

impl<'a> Pass<'a> {
    fn new(rules: &'a [(&'static str, Rule)], examples: usize) -> Self {
        Self {
            rules,
            steps: rules
                .iter()
                .map(|(name, _)| StepAccount::new(name))
                .collect(),
            seen: rules.iter().map(|_| Seen::default()).collect(),
            examples,
        }
    }

    /// Gives `out` what the steps keep of the records, chunk by chunk.
    fn run<E: Send>(
        &mut self,
        records: impl Iterator<Item = Result<Item, E>> + Send,
        options: &StreamOptions,
        mut out: impl FnMut(Vec<Item>) -> Result<(), E>,
    ) -> Result<(), E> {
        let bounds = Bounds {
            items: options.chunk_records,
            weight: options.chunk_bytes,
        };
        let size = |item: &Result<Item, E>| item.as_ref().map_or(0, |item| item.record.size());
        in_chunks(up_to_an_error(records), size, bounds, |chunk| {
            let mut error = None;
            let items = chunk.into_iter().map_while(|item| match item {
                Ok(item) => Some(item),
                Err(found) => {
                    error = Some(found);
                    None
                }
            });
            let items = items.collect();
            out(self.work(items))?;
            error.map_or(Ok(()), Err)
        })
    }

    fn work(&mut self, mut items: Vec<Item>) -> Vec<Item> {
        let mut next = 0;
        while let Some((_, rule)) = self.rules.get(next) {
            if let Rule::Exact(compare, normalise) = rule {
                items = self.exact(next, (*compare, *normalise), items);
                next += 1;
            } else {
                let alone = self.rules[next..].iter();
                let alone = alone.take_while(|(_, rule)| matches!(rule, Rule::Each(_)));
                let steps = next..next + alone.count();
                next = steps.end;
                items = self.each(steps, items);
            }
        }
        items
    }

    /// The steps there judge each record alone.
    fn each(&mut self, steps: Range<usize>, mut items: Vec<Item>) -> Vec<Item> {
        let rules = &self.rules[steps.clone()];
        let trails: Vec<Trail> = items
            .par_iter_mut()
            .map(|item| walk(rules, &mut item.record))
            .collect();
        let (accounts, examples) = (&mut self.steps[steps], self.examples);
        let all = items.into_iter().zip(trails);
        let kept = all.filter_map(|(mut item, trail)| {
            item.changed |= !trail.changes.is_empty();
            account(accounts, item.number, trail, examples).then_some(item)
        });
        kept.collect()
    }

    /// Drops the records with a text that was there before.
    fn exact(
        &mut self,
        step: usize,
        (compare, normalise): (Compared, bool),
        items: Vec<Item>,
    ) -> Vec<Item> {
        let hashes: Vec<u128> = items
            .par_iter()
            .map(|item| hash_messages(compare.messages(&item.record), normalise))
            .collect();
        let (account, seen) = (&mut self.steps[step], &mut self.seen[step]);
        let all = items.into_iter().zip(hashes);
        let kept = all.filter_map(|(item, hash)| {
            let Some(first) = seen.first(hash, item.number as u64) else {
                account.keep(item.number, Vec::new(), self.examples);
                return Some(item);
            };
            let mut found = Found::new("exact_duplicate", "");
            if account.is_example(found.reason, self.examples) {
                let text = Compared::Conversation.text(&item.record);
                found.excerpt = format!("of record {first}: {}", beginning(&text));
            }
            account.drop(item.number, found, self.examples);
            None
        });
        kept.collect()
    }
}

/// All until the first error, that one included.
fn up_to_an_error<T, E>(
    mut items: impl Iterator<Item = Result<T, E>>,
) -> impl Iterator<Item = Result<T, E>> {
    let mut ended = false;
    std::iter::from_fn(move || {
        let item = if ended { None } else { items.next() }?;
        ended = item.is_err();
        Some(item)
    })
}

/// One record through steps that judge it alone.
fn walk(rules: &[(&'static str, Rule)], record: &mut Conversation) -> Trail {
    let mut trail = Trail {
        changes: Vec::new(),
        dropped: None,
    };
    for (step, (_, rule)) in rules.iter().enumerate() {
        let Rule::Each(rule) = rule else { continue };
        let inputs = inputs(record);
        match rule(record) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                mark_inputs(record, inputs, rule);
                trail.changes.push((step, changes));
            }
            Err(found) => {
                trail.dropped = Some((step, found));
                break;
            }
        }
    }
    trail
}

/// The messages with an input of their own, by place.
fn inputs(record: &Conversation) -> Vec<(usize, String)> {
    let messages = record.messages.iter().enumerate();
    let input = |(place, message): (usize, &Message)| {
        let (_, input) = message.instruction_and_input();
        (!input.is_empty()).then(|| (place, input.to_owned()))
    };
    messages.filter_map(input).collect()
}

/// The inputs' marks after a step has changed the record: what the step makes of an input alone, where the
/// message still ends with it; no mark otherwise. A step that takes messages out changes no texts.
fn mark_inputs(
    record: &mut Conversation,
    inputs: Vec<(usize, String)>,
    rule: &(dyn Fn(&mut Conversation) -> Verdict + Send + Sync),
) {
    for (place, input) in inputs {
        let Some(message) = record.messages.get_mut(place) else {
            continue;
        };
        let stale = message.extra.get("input").and_then(Value::as_str) == Some(&*input);
        if !stale || message.has_input() {
            continue;
        }
        let mut alone = Conversation::from(vec![Message::new(message.role, input)]);
        let input = match rule(&mut alone) {
            Ok(_) => alone.messages.pop().map(|message| message.content),
            Err(_) => None,
        };
        message.mark_input(&input.unwrap_or_default());
    }
}

/// Counts what happened to a record in `steps`; whether it is kept.
fn account(steps: &mut [StepAccount], number: usize, trail: Trail, examples: usize) -> bool {
    let mut changes = trail.changes.into_iter().peekable();
    let end = trail
        .dropped
        .as_ref()
        .map_or(steps.len(), |(step, _)| *step);
    for (place, step) in steps[..end].iter_mut().enumerate() {
        let made = changes.next_if(|(step, _)| *step == place);
        step.keep(number, made.map_or(Vec::new(), |(_, made)| made), examples);
    }
    match trail.dropped {
        Some((step, found)) => {
            steps[step].drop(number, found, examples);
            false
        }
        None => true,
    }
}
