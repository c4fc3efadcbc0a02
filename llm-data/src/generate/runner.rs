//! Questions to replies: from the cache or from the model, in parallel, within the budget.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::cache::{Question, ReplyCache};
use super::cost::{Budget, Estimate, Prices, Spent, check_bounded, prompt_tokens, total_cost};
use super::model::{ChatModel, ChatReply, ChatRequest};
use super::retry::{AsModelError, RetryPolicy};
use crate::error::{Error, Result};

/// What to do about a question that gets no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// End the run; what was answered is in the cache.
    #[default]
    Stop,
    /// Go on without that reply and count it. A wrong key or model (401 to 404) ends the run
    /// nevertheless. A later run asks again and may yield another data set.
    Skip,
}

/// How questions are asked.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Questions in flight at a time. The result does not depend on it.
    pub workers: usize,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// Limits on all runs of one cache.
    pub budget: Budget,
    /// What tokens cost.
    pub prices: Prices,
    /// What to do about a question without a reply.
    pub on_failure: OnFailure,
}

impl Default for RunOptions {
    /// Four workers, no limit.
    fn default() -> Self {
        Self {
            workers: 4,
            retry: RetryPolicy::default(),
            budget: Budget::default(),
            prices: Prices::new(),
            on_failure: OnFailure::Stop,
        }
    }
}

/// What a runner has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct RunCounts {
    /// Attempts at the model.
    pub asked: u64,
    /// Replies from the cache.
    pub cached: u64,
    /// Questions without a reply.
    pub failed: u64,
    /// Replies, those from the cache included, to questions without the
    /// [`optional`](super::Sampling::optional) fields that the server refused.
    pub reduced: u64,
    /// The cost of all runs on the cache, by the prices given.
    pub cost: f64,
}

/// Asks a model through a cache.
///
/// Every reply is committed to the cache before it is returned, so a run that is killed and started again with
/// the same questions never repeats a question whose reply was stored. (Replies under way when it is killed, at
/// most one for each worker, are lost.)
///
/// ```
/// use llm_data::generate::{ChatReply, ChatRequest, Question, ReplyCache, RunOptions, Runner, Sampling};
///
/// # fn main() -> llm_data::Result<()> {
/// let model = |_: &ChatRequest| Ok(ChatReply::new("Paris"));
/// let cache = ReplyCache::in_memory()?;
/// let runner = Runner::new(&model, &cache, RunOptions::default())?;
/// let request = ChatRequest::new("any", "The capital of France?", Sampling::default());
/// let questions = [Question { request, attempt: 0 }];
/// runner.ask_all(&questions)?;
/// runner.ask_all(&questions)?;
/// let counts = runner.counts()?;
/// assert_eq!((counts.asked, counts.cached), (1, 1));
/// # Ok(())
/// # }
/// ```
pub struct Runner<'a> {
    model: &'a dyn ChatModel,
    identity: String,
    cache: &'a ReplyCache,
    options: RunOptions,
    asked: AtomicU64,
    cached: AtomicU64,
    failed: AtomicU64,
    reduced: AtomicU64,
    in_flight: AtomicUsize,
    /// Optional fields that the server refused.
    refused: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for Runner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner")
            .field("endpoint", &self.model.endpoint())
            .field("cache", &self.cache)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<'a> Runner<'a> {
    /// A runner over `model` and `cache`.
    ///
    /// # Errors
    /// [`Error::Option`] for no workers.
    pub fn new(
        model: &'a dyn ChatModel,
        cache: &'a ReplyCache,
        options: RunOptions,
    ) -> Result<Self> {
        if options.workers == 0 {
            return Err(Error::option("workers", "a number from 1", 0));
        }
        Ok(Self {
            model,
            identity: model.identity(),
            cache,
            options,
            asked: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reduced: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            refused: Mutex::default(),
        })
    }

    /// What was done so far.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn counts(&self) -> Result<RunCounts> {
        Ok(RunCounts {
            asked: self.asked.load(Ordering::Relaxed),
            cached: self.cached.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            reduced: self.reduced.load(Ordering::Relaxed),
            cost: total_cost(&self.cache.spent()?, &self.options.prices),
        })
    }

    pub(crate) fn workers(&self) -> usize {
        self.options.workers
    }

    /// The replies in the questions' order; `None` for one that failed and is skipped. Questions
    /// that are equal, attempt included, are asked once.
    ///
    /// [`Optional`](super::Sampling::optional) fields that the server refuses are left out from then
    /// on, once a question was answered without them; at most one question for each worker is
    /// refused. The cache remembers it for the run that goes on from there.
    ///
    /// # Errors
    /// [`Error::Budget`] before a limit would be exceeded, [`Error::NoPrice`], [`Error::Model`]
    /// where a question fails for good, [`Error::Cache`].
    pub fn ask_all(&self, questions: &[Question]) -> Result<Vec<Option<ChatReply>>> {
        self.ask_all_with(questions, |reply| reply)
    }

    /// The same, of each reply only what `read` makes of it: log-probabilities of thousands of replies are not
    /// to be held.
    ///
    /// # Errors
    /// As [`ask_all`](Self::ask_all).
    pub fn ask_all_with<T: Clone + Send>(
        &self,
        questions: &[Question],
        read: impl Fn(ChatReply) -> T + Sync,
    ) -> Result<Vec<Option<T>>> {
        let (unique, places) = self.unique(questions)?;
        self.recall(&unique)?;
        let replies: Vec<_> = unique.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failure = Mutex::new(None::<Error>);
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((question, key)) = unique.get(index) else {
                    break;
                };
                match self.ask(question, key, &stop) {
                    Ok(reply) => *lock(&replies[index]) = reply.map(&read),
                    Err(error) => {
                        let mut first = lock(&failure);
                        // A worker that was told to stop says only that.
                        if !stop.swap(true, Ordering::Relaxed) || first.is_none() {
                            *first = Some(error);
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let workers = self.options.workers.min(unique.len());
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let reply = |place: usize| lock(&replies[place]).clone();
        Ok(places.into_iter().map(reply).collect())
    }

    /// What the questions would cost, without asking any: a dry run.
    ///
    /// `expected_tokens` is the expected length of a reply.
    ///
    /// # Errors
    /// [`Error::Cache`].
    pub fn estimate(&self, questions: &[Question], expected_tokens: u32) -> Result<Estimate> {
        let (unique, _) = self.unique(questions)?;
        let mut total = Estimate::default().with_price(Some(&super::cost::Price::default()));
        for (question, key) in unique {
            if self.cache.get(&key)?.is_some() {
                total.cached += 1;
                continue;
            }
            let request = &question.request;
            let n = u64::from(request.n);
            let most = u64::from(request.sampling.max_tokens);
            let one = Estimate {
                requests: 1,
                prompt_tokens: prompt_tokens(request),
                completion_tokens: n * most.min(u64::from(expected_tokens)),
                max_completion_tokens: n * most,
                ..Estimate::default()
            };
            total = total.plus(one.with_price(self.options.prices.get(&request.model)));
        }
        Ok(total)
    }

    /// The different questions with their keys, and for each question its place among them.
    fn unique<'q>(&self, questions: &'q [Question]) -> Result<(Vec<Keyed<'q>>, Vec<usize>)> {
        let mut unique: Vec<Keyed<'q>> = Vec::new();
        let mut places = Vec::with_capacity(questions.len());
        let mut seen = HashMap::new();
        for question in questions {
            let key = question.key(&self.identity)?;
            let place = match seen.entry(key) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    unique.push((question, key));
                    *entry.insert(unique.len() - 1)
                }
            };
            places.push(place);
        }
        Ok((unique, places))
    }

    fn ask(
        &self,
        question: &Question,
        key: &[u8; 32],
        stop: &AtomicBool,
    ) -> Result<Option<ChatReply>> {
        if let Some(reply) = self.cache.get(key)? {
            self.cached.fetch_add(1, Ordering::Relaxed);
            self.note(&question.request, &reply);
            return Ok(Some(reply));
        }
        match self.reply(question, key, stop) {
            Ok(reply) => {
                self.note(&question.request, &reply);
                Ok(Some(reply))
            }
            Err(error) => {
                let skip = self.options.on_failure == OnFailure::Skip
                    && error
                        .as_model_error()
                        .is_some_and(|error| !error.kind.concerns_all());
                let unanswered = u64::from(error.as_model_error().is_some());
                self.failed.fetch_add(unanswered, Ordering::Relaxed);
                if !skip {
                    return Err(error);
                }
                tracing::warn!(%error, "a question goes without a reply");
                Ok(None)
            }
        }
    }

    /// A reply from the model, without the optional fields where it refuses them.
    fn reply(&self, question: &Question, key: &[u8; 32], stop: &AtomicBool) -> Result<ChatReply> {
        let cancelled = || stop.load(Ordering::Relaxed);
        let ask = |question: &Question, refused| {
            let attempt = || self.attempt(question, (key, refused), cancelled);
            self.options.retry.run(cancelled, attempt)
        };
        let request = &question.request;
        let known = lock(&self.refused).contains(&optional(request));
        if !known {
            let reply = ask(question, false);
            let refused = |error: &Error| {
                let error = error.as_model_error();
                error.is_some_and(|error| error.kind.may_concern_fields())
            };
            if request.sampling.optional.is_empty() || !reply.as_ref().is_err_and(refused) {
                return reply;
            }
        }
        let mut less = question.clone();
        less.request.sampling.optional.clear();
        ask(&less, true)
    }

    /// Remembers that a reply came after the optional fields were refused.
    fn note(&self, request: &ChatRequest, reply: &ChatReply) {
        if reply.optional_refused {
            self.reduced.fetch_add(1, Ordering::Relaxed);
            lock(&self.refused).insert(optional(request));
        }
    }

    /// Remembers what the run before has found out about optional fields: what the first reply in
    /// the cache says.
    fn recall(&self, questions: &[Keyed<'_>]) -> Result<()> {
        for (question, key) in questions {
            if question.request.sampling.optional.is_empty() {
                continue;
            }
            if let Some(reply) = self.cache.get(key)? {
                if reply.optional_refused {
                    lock(&self.refused).insert(optional(&question.request));
                }
                break;
            }
        }
        Ok(())
    }

    /// One attempt: enters the most it can cost, asks, and enters what it did cost. The reply is
    /// stored under the key, with whether the optional fields were refused before.
    fn attempt(
        &self,
        question: &Question,
        (key, refused): (&[u8; 32], bool),
        cancelled: impl Fn() -> bool,
    ) -> Result<ChatReply> {
        let (request, options) = (&question.request, &self.options);
        check_bounded(request)?;
        options.budget.check(&request.model, &options.prices)?;
        let bound = Spent::bound(request);
        self.reserve(request, bound, cancelled)?;
        self.asked.fetch_add(1, Ordering::Relaxed);
        let reply = match question.attempt {
            0 => self.model.ask(request),
            attempt => self.model.ask_again(request, attempt),
        };
        let reply = reply.and_then(|mut reply| {
            if reply.choices.is_empty() {
                return Err(super::ModelError::new(
                    super::ModelErrorKind::Malformed,
                    "no choices",
                ));
            }
            reply.optional_refused = refused;
            Ok(reply)
        });
        let (used, entry) = match &reply {
            Ok(reply) => {
                let usage = reply.usage.unwrap_or(bound.usage);
                let used = Spent { requests: 1, usage };
                (used, Some((key, reply)))
            }
            Err(error) if error.kind.may_be_billed() => (bound, None),
            // Refused requests cost no tokens, but they count as requests.
            Err(_) => (
                Spent {
                    requests: 1,
                    ..Spent::default()
                },
                None,
            ),
        };
        let settled = self.cache.settle(&request.model, bound, used, entry);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        settled?;
        reply.map_err(|source| Error::Model { source })
    }

    /// Enters the most that a question can cost. Where that is too much, but other questions under
    /// way may turn out cheaper, it waits for them.
    fn reserve(
        &self,
        request: &ChatRequest,
        bound: Spent,
        cancelled: impl Fn() -> bool,
    ) -> Result<()> {
        let options = &self.options;
        let durable = options.budget != Budget::default();
        loop {
            let others = self.in_flight.fetch_add(1, Ordering::SeqCst);
            let reserved = self
                .cache
                .reserve(&request.model, bound, durable, |ledger| {
                    options.budget.allows(ledger, &options.prices)
                });
            if reserved.is_err() {
                self.in_flight.fetch_sub(1, Ordering::SeqCst);
            }
            match reserved {
                Err(Error::Budget { .. }) if others > 0 && !cancelled() => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                other => return other,
            }
        }
    }
}

type Keyed<'a> = (&'a Question, [u8; 32]);

/// A model's optional fields, by which it is remembered that they were refused.
fn optional(request: &ChatRequest) -> String {
    let fields = serde_json::Value::Object(request.sampling.optional.clone());
    format!("{} {fields}", request.model)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
