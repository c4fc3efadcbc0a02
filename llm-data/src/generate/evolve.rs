//! Evol-Instruct: instructions made harder or rarer step by step (WizardLM, arXiv:2304.12244).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::cache::Question;
use super::cost::Estimate;
use super::model::ChatReply;
use super::program::{GenerateOptions, Generated, check_single, user_text, whole_text};
use super::prompts::{Language, PromptSet};
use super::runner::Runner;
use crate::error::{Error, Result};
use crate::record::AlpacaRecord;

/// How an instruction is evolved: five ways in depth, one in breadth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// One more constraint or requirement.
    Constraints,
    /// A question that goes deeper and wider.
    Deepen,
    /// General concepts replaced by specific ones.
    Concretise,
    /// Several steps of reasoning asked for.
    Reasoning,
    /// An input of data: a table, code, JSON.
    ComplicateInput,
    /// A new, rarer instruction of the same field.
    Breadth,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Constraints,
        Self::Deepen,
        Self::Concretise,
        Self::Reasoning,
        Self::ComplicateInput,
        Self::Breadth,
    ];

    fn prompt(self) -> &'static str {
        match self {
            Self::Constraints => "evolve_constraints",
            Self::Deepen => "evolve_deepen",
            Self::Concretise => "evolve_concretise",
            Self::Reasoning => "evolve_reasoning",
            Self::ComplicateInput => "evolve_complicate_input",
            Self::Breadth => "evolve_breadth",
        }
    }
}

/// An evolved instruction with its answer, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evolved {
    /// Instruction and answer; an input is part of the instruction.
    pub record: AlpacaRecord,
    /// The index of the instruction that it began as.
    pub origin: usize,
    /// The round, from 1.
    pub round: usize,
    /// The last step.
    pub operation: Operation,
}

/// Rounds of evolution over a pool of instructions.
///
/// In each round every instruction takes one operation, drawn by the seed. A step is eliminated,
/// and the instruction goes into the next round as it was, where (1) the model finds that it gains
/// nothing, (2) the answer says "sorry" in fewer than 80 words, (3) the answer has only punctuation
/// and stop words, or (4) the new instruction copies words of the prompt: what stands there between
/// `#` signs, and the paper's own ("given prompt", "rewritten prompt").
#[derive(Debug, Clone)]
pub struct Evolve<'a> {
    /// Model, sampling, seed.
    pub options: GenerateOptions,
    /// The instructions to begin with; their outputs are not used.
    pub instructions: &'a [AlpacaRecord],
    /// The prompts.
    pub prompts: &'a PromptSet,
    /// Rounds; the paper has 4.
    pub rounds: usize,
    /// Which operations are drawn from, with equal chances.
    pub operations: Vec<Operation>,
}

/// A step under way.
struct Step {
    origin: usize,
    operation: Operation,
    before: String,
    after: String,
}

impl<'a> Evolve<'a> {
    /// Four rounds of all operations.
    pub fn new(
        options: GenerateOptions,
        instructions: &'a [AlpacaRecord],
        prompts: &'a PromptSet,
    ) -> Self {
        Self {
            options,
            instructions,
            prompts,
            rounds: 4,
            operations: Operation::ALL.to_vec(),
        }
    }

    /// The cost if no step is eliminated: in each round a rewriting, a comparison, and an answer of
    /// `expected_tokens`, with instructions that stay as long as they are.
    ///
    /// # Errors
    /// [`Error::Option`] for records with a system text or a history, [`Error::Cache`].
    pub fn estimate(&self, runner: &Runner<'_>, expected_tokens: u32) -> Result<Estimate> {
        check_single(self.instructions)?;
        let pool: Vec<String> = self.instructions.iter().map(user_text).collect();
        let mut total = runner.estimate(&[], 0)?;
        for round in 1..=self.rounds {
            let steps: Vec<Step> = self.steps(&pool, round).collect();
            let rewrite: Vec<_> = steps.iter().map(|step| self.rewrite(step, round)).collect();
            let compare = steps.iter().enumerate().map(|(index, step)| {
                let after = format!("{} {round}.{index}", step.before);
                self.compare(&step.before, &after, 0)
            });
            let compare: Vec<_> = compare.collect();
            let answers: Vec<_> = pool
                .iter()
                .map(|text| instruction(format!("{text} {round}")))
                .collect();
            let length = pool
                .iter()
                .map(|text| super::cost::estimate_tokens(text))
                .sum::<u64>();
            let length = length / pool.len().max(1) as u64 + 25;
            total = total
                .plus(runner.estimate(&rewrite, u32::try_from(length).unwrap_or(u32::MAX))?)
                .plus(runner.estimate(&compare, 4)?)
                .plus(self.answers(&answers).estimate(runner, expected_tokens)?);
        }
        Ok(total)
    }

    /// Runs all rounds.
    ///
    /// # Errors
    /// [`Error::Option`] without operations and for records with a system text or a history, and those of
    /// [`Runner::ask_all`].
    pub fn run(&self, runner: &Runner<'_>) -> Result<Generated<Evolved>> {
        if self.operations.is_empty() {
            return Err(Error::option("operations", "one at least", "none"));
        }
        check_single(self.instructions)?;
        let mut pool: Vec<String> = self.instructions.iter().map(user_text).collect();
        let mut made = Generated::default();
        for round in 1..=self.rounds {
            let steps = self.rewritten(runner, &pool, round, &mut made)?;
            let steps = self.with_gain(runner, steps, &mut made)?;
            for (step, answer) in self.answered(runner, steps, &mut made)? {
                pool[step.origin].clone_from(&step.after);
                made.records.push(Evolved {
                    record: AlpacaRecord {
                        output: answer,
                        ..instruction(step.after)
                    },
                    origin: step.origin,
                    round,
                    operation: step.operation,
                });
            }
            tracing::info!(round, kept = made.records.len(), "evol-instruct");
        }
        Ok(made)
    }

    fn steps(&self, pool: &[String], round: usize) -> impl Iterator<Item = Step> {
        pool.iter().enumerate().map(move |(origin, before)| {
            let number = ((round as u64) << 32) | origin as u64;
            let drawn = self
                .options
                .draws(b"evolinst", number)
                .below(self.operations.len().max(1));
            Step {
                origin,
                operation: self
                    .operations
                    .get(drawn)
                    .copied()
                    .unwrap_or(Operation::Deepen),
                before: before.clone(),
                after: String::new(),
            }
        })
    }

    /// The pool's new instructions, without those that fail or copy the prompt.
    fn rewritten(
        &self,
        runner: &Runner<'_>,
        pool: &[String],
        round: usize,
        made: &mut Generated<Evolved>,
    ) -> Result<Vec<Step>> {
        let steps: Vec<Step> = self.steps(pool, round).collect();
        let questions: Vec<_> = steps.iter().map(|step| self.rewrite(step, round)).collect();
        let replies = runner.ask_all(&questions)?;
        made.questions += questions.len();
        let markers = markers(self.prompts);
        let mut kept = Vec::new();
        for (step, reply) in steps.into_iter().zip(replies) {
            match whole_text(reply.as_ref()) {
                Ok(text) if text == step.before => made.drop("no_gain"),
                Ok(text) if copies(text, &step.before, &markers) => made.drop("copies_prompt"),
                Ok(text) => kept.push(Step {
                    after: text.to_owned(),
                    ..step
                }),
                Err(reason) => made.drop(reason),
            }
        }
        Ok(kept)
    }

    /// The steps of which the model does not say that both instructions are equal. A reply that says
    /// neither is asked for once more.
    fn with_gain(
        &self,
        runner: &Runner<'_>,
        steps: Vec<Step>,
        made: &mut Generated<Evolved>,
    ) -> Result<Vec<Step>> {
        let mut verdicts = vec![None; steps.len()];
        for attempt in 0..2 {
            let open: Vec<usize> = (0..steps.len())
                .filter(|i| verdicts[*i].is_none())
                .collect();
            let question = |index: &usize| {
                let step = &steps[*index];
                self.compare(&step.before, &step.after, attempt)
            };
            let questions: Vec<_> = open.iter().map(question).collect();
            made.questions += questions.len();
            for (index, reply) in open.into_iter().zip(runner.ask_all(&questions)?) {
                verdicts[index] = differ(reply.as_ref());
            }
        }
        let mut kept = Vec::new();
        for (step, verdict) in steps.into_iter().zip(verdicts) {
            match verdict {
                Some(true) => kept.push(step),
                Some(false) => made.drop("no_gain"),
                None => made.drop("not_compared"),
            }
        }
        Ok(kept)
    }

    fn answered(
        &self,
        runner: &Runner<'_>,
        steps: Vec<Step>,
        made: &mut Generated<Evolved>,
    ) -> Result<Vec<(Step, String)>> {
        let mut kept = Vec::new();
        let instructions: Vec<_> = steps
            .iter()
            .map(|step| instruction(step.after.clone()))
            .collect();
        let questions = self.answers(&instructions).questions();
        made.questions += questions.len();
        for (step, reply) in steps.into_iter().zip(runner.ask_all(&questions)?) {
            match whole_text(reply.as_ref()) {
                Ok(text) if is_excuse(text, self.prompts.language()) => made.drop("sorry"),
                Ok(text) if is_void(text) => made.drop("only_stop_words"),
                Ok(text) => kept.push((step, text.to_owned())),
                Err(reason) => made.drop(reason),
            }
        }
        Ok(kept)
    }

    fn answers<'b>(&'b self, instructions: &'b [AlpacaRecord]) -> Answer<'b> {
        Answer {
            options: self.options.clone(),
            instructions,
            prompts: self.prompts,
        }
    }

    fn rewrite(&self, step: &Step, round: usize) -> Question {
        let method = self
            .prompts
            .text(step.operation.prompt())
            .unwrap_or_default();
        let fields = [("method", method), ("instruction", step.before.as_str())];
        let name = match step.operation {
            Operation::Breadth => "evolve_breadth",
            _ => "evolve",
        };
        // An instruction that was left as it was gets another reply in another round.
        self.options
            .question(self.prompts.fill(name, &fields), round as u64)
    }

    fn compare(&self, first: &str, second: &str, attempt: u64) -> Question {
        let fields = [("first", first), ("second", second)];
        let mut question = self
            .options
            .question(self.prompts.fill("evolve_equal", &fields), attempt);
        question.request.sampling.temperature = 0.0;
        question
    }
}

fn instruction(text: String) -> AlpacaRecord {
    AlpacaRecord {
        instruction: text,
        ..AlpacaRecord::default()
    }
}

/// Whether a reply says that two instructions differ: its first word, as the prompt asks for; `None` where that
/// says neither.
fn differ(reply: Option<&ChatReply>) -> Option<bool> {
    let text = whole_text(reply).ok()?.to_lowercase();
    let text = text.trim_start_matches(|c: char| !c.is_alphabetic());
    let end = text.find(|c: char| !c.is_alphabetic());
    match &text[..end.unwrap_or(text.len())] {
        "equal" | "same" | "相同" | "相等" => Some(false),
        "different" | "unequal" | "不同" | "不相同" | "不相等" => Some(true),
        // "Not equal", as the paper's prompt has it.
        "not" if text["not".len()..].trim_start().starts_with("equal") => Some(true),
        _ => None,
    }
}

/// The prompts' words that no new instruction may contain.
fn markers(prompts: &PromptSet) -> BTreeSet<String> {
    let paper = ["given prompt", "rewritten prompt", "created prompt"].map(str::to_owned);
    let texts = ["evolve", "evolve_breadth"]
        .into_iter()
        .filter_map(|name| prompts.text(name));
    let marked = texts.flat_map(|text| text.split('#').skip(1).step_by(2));
    let marked = marked.map(|words| words.trim().to_lowercase());
    marked
        .filter(|words| !words.is_empty() && !words.contains('\n'))
        .chain(paper)
        .collect()
}

/// Whether a new instruction has a marker that the old one has not.
fn copies(after: &str, before: &str, markers: &BTreeSet<String>) -> bool {
    let (after, before) = (after.to_lowercase(), before.to_lowercase());
    markers
        .iter()
        .any(|marker| after.contains(marker) && !before.contains(marker))
}

/// "sorry" in fewer than 80 words; of Chinese, characters count.
fn is_excuse(text: &str, language: Language) -> bool {
    let lower = text.to_lowercase();
    match language {
        Language::En => lower.contains("sorry") && text.split_whitespace().count() < 80,
        Language::Zh => {
            let excuses = ["抱歉", "对不起", "sorry"];
            excuses.iter().any(|word| lower.contains(word)) && text.chars().count() < 80
        }
    }
}

/// Words that say nothing by themselves.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do",
    "does", "for", "from", "had", "has", "have", "he", "her", "his", "i", "if", "in", "into", "is",
    "it", "its", "me", "my", "no", "not", "of", "on", "or", "our", "she", "should", "so", "such",
    "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "too", "us", "very", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "with", "would", "you", "your",
];
const ZH_STOP_CHARACTERS: &str = "的了是在我你他她它们这那有和与或就也都而及着吗呢吧啊呀";

/// Only punctuation and stop words.
fn is_void(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.all(|word| {
        STOP_WORDS.contains(&word) || word.chars().all(|c| ZH_STOP_CHARACTERS.contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_first_word() {
        for (reply, expected) in [
            ("Equal", Some(false)),
            ("**Equal.** They ask for the same.", Some(false)),
            ("Equal (not different)", Some(false)),
            ("different", Some(true)),
            ("Different, not the same", Some(true)),
            ("Not Equal", Some(true)),
            ("相同。", Some(false)),
            ("不同：深度不同。", Some(true)),
            ("They are not the same.", None),
            ("Not really", None),
            ("5", None),
        ] {
            assert_eq!(differ(Some(&ChatReply::new(reply))), expected, "{reply}");
        }
        assert_eq!(differ(None), None);
    }
}
