//! Augmentation: fifty records become two hundred, by paraphrase and by new instances.

use super::cache::Question;
use super::cost::{Estimate, estimate_tokens};
use super::model::ChatReply;
use super::parse::{read_tasks, write_tasks};
use super::program::{
    GenerateOptions, Generated, Known, check_single, estimate, user_text, whole_text,
};
use super::prompts::PromptSet;
use super::runner::Runner;
use crate::error::{Error, Result};
use crate::record::AlpacaRecord;

/// More records of the kind of those given.
///
/// Request `i` shows record `i`, round and round; by turns a whole round asks for paraphrases of the
/// instruction or for new instances of the task (another input, another output). A paraphrase is
/// refused whose instruction and input are near those of any record, and a new instance whose input
/// and output are: ROUGE-L F1 from `min_similarity` on. The last refused replies stand in the next
/// prompts as counter-examples.
#[derive(Debug, Clone)]
pub struct Augment<'a> {
    /// Model, sampling, seed.
    pub options: GenerateOptions,
    /// The records to begin with.
    pub records: &'a [AlpacaRecord],
    /// The prompts.
    pub prompts: &'a PromptSet,
    /// How many records to have in the end, those given included.
    pub target: usize,
    /// The ROUGE-L F1 from which a record is a near-duplicate.
    pub min_similarity: f64,
    /// Requests between two looks at the mistakes. The result depends on it, not on the number of
    /// workers.
    pub round: usize,
    /// Mistakes in a prompt.
    pub mistakes: usize,
    /// The most requests; with fewer records than the target by then, the result is short.
    pub max_requests: usize,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Paraphrase,
    Instance,
}

/// What records are compared by.
#[derive(Default)]
struct KnownRecords {
    questions: Known,
    instances: Known,
}

impl KnownRecords {
    fn push(&mut self, record: &AlpacaRecord) {
        self.questions.push(user_text(record));
        self.instances.push(instance(record));
    }
}

fn instance(record: &AlpacaRecord) -> String {
    format!("{}\n{}", record.input, record.output)
}

impl<'a> Augment<'a> {
    /// Near-duplicates from 0.7 on, 3 mistakes from rounds of 8 requests.
    pub fn new(
        options: GenerateOptions,
        records: &'a [AlpacaRecord],
        prompts: &'a PromptSet,
        target: usize,
    ) -> Self {
        Self {
            options,
            records,
            prompts,
            target,
            min_similarity: 0.7,
            round: 8,
            mistakes: 3,
            max_requests: target.saturating_mul(4),
        }
    }

    /// The cost if `expected_yield` of the replies are kept, without counter-examples.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::Cache`].
    pub fn estimate(&self, runner: &Runner<'_>, expected_yield: f64) -> Result<Estimate> {
        self.check()?;
        let missing = self.target.saturating_sub(self.records.len());
        let requests = (missing as f64 / expected_yield.clamp(0.01, 1.0)).ceil() as usize;
        let length = |record: &AlpacaRecord| {
            estimate_tokens(&user_text(record)) + estimate_tokens(&record.output) + 16
        };
        let mean = self.records.iter().map(length).sum::<u64>() / self.records.len() as u64;
        let requests = requests.min(self.max_requests);
        estimate(runner, requests, |number| self.question(number, &[]), mean)
    }

    /// Asks until the target is reached; the records given come first in the result.
    ///
    /// # Errors
    /// [`Error::Option`] for numbers that make no sense, and those of [`Runner::ask_all`].
    pub fn run(&self, runner: &Runner<'_>) -> Result<Generated<AlpacaRecord>> {
        self.check()?;
        let mut made = Generated {
            records: self.records.to_vec(),
            ..Generated::default()
        };
        let mut known = KnownRecords::default();
        self.records.iter().for_each(|record| known.push(record));
        let mut mistakes: Vec<AlpacaRecord> = Vec::new();
        while made.records.len() < self.target && made.questions < self.max_requests {
            let round = self.round.min(self.max_requests - made.questions);
            let numbers = made.questions..made.questions + round;
            let shown = &mistakes[mistakes.len().saturating_sub(self.mistakes)..];
            let questions: Vec<_> = numbers.map(|number| self.question(number, shown)).collect();
            for reply in runner.ask_all(&questions)? {
                if made.records.len() >= self.target {
                    break;
                }
                let kind = self.kind(made.questions);
                made.questions += 1;
                match self.task(reply.as_ref()) {
                    Err(reason) => made.drop(reason),
                    Ok(task) if self.is_near(kind, &task, &known) => {
                        made.drop("similar");
                        mistakes.push(task);
                    }
                    Ok(task) => {
                        known.push(&task);
                        made.records.push(task);
                    }
                }
            }
            tracing::info!(
                records = made.records.len(),
                requests = made.questions,
                "augmentation"
            );
        }
        Ok(made)
    }

    fn kind(&self, number: usize) -> Kind {
        match (number / self.records.len()).is_multiple_of(2) {
            true => Kind::Paraphrase,
            false => Kind::Instance,
        }
    }

    fn question(&self, number: usize, mistakes: &[AlpacaRecord]) -> Question {
        let language = self.prompts.language();
        let name = match self.kind(number) {
            Kind::Paraphrase => "augment_paraphrase",
            Kind::Instance => "augment_instance",
        };
        let shown = &self.records[number % self.records.len()];
        let mistakes: Vec<&AlpacaRecord> = mistakes.iter().collect();
        let fields = [
            ("task", &*write_tasks(language, &[shown])),
            ("mistakes", &*write_tasks(language, &mistakes)),
        ];
        self.options
            .question(self.prompts.fill(name, &fields), number as u64)
    }

    fn task(&self, reply: Option<&ChatReply>) -> std::result::Result<AlpacaRecord, &'static str> {
        let text = whole_text(reply)?;
        let tasks = read_tasks(self.prompts.language(), text, 1, false);
        let task = tasks.into_iter().next().unwrap_or(Err("format"))?;
        match task.instruction.is_empty() || task.output.is_empty() {
            true => Err("empty"),
            false => Ok(task),
        }
    }

    fn is_near(&self, kind: Kind, task: &AlpacaRecord, known: &KnownRecords) -> bool {
        let similarity = match kind {
            Kind::Paraphrase => known.questions.nearest(&user_text(task)),
            Kind::Instance => known.instances.nearest(&instance(task)),
        };
        similarity >= self.min_similarity
    }

    fn check(&self) -> Result<()> {
        if self.records.is_empty() {
            return Err(Error::option("records", "one record at least", 0));
        }
        if self.round == 0 {
            return Err(Error::option("round", "a number from 1", 0));
        }
        check_single(self.records)
    }
}
