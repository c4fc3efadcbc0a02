//! Self-Instruct: new tasks from a few seed tasks, after Stanford Alpaca (English) and BELLE
//! (Chinese).

use std::path::Path;

use super::cache::Question;
use super::cost::{Estimate, estimate_tokens};
use super::model::FinishReason;
use super::parse::{read_tasks, write_tasks};
use super::program::{GenerateOptions, Generated, Known, check_single, estimate};
use super::prompts::{Language, PromptSet};
use super::runner::Runner;
use crate::error::{Error, Result};
use crate::format::seed_task;
use crate::load::{LoadOptions, load};
use crate::record::AlpacaRecord;

/// Words for which Alpaca drops an instruction: a language model can neither see, hear nor draw.
const EN_BLACKLIST: &[&str] = &[
    "image",
    "images",
    "graph",
    "graphs",
    "picture",
    "pictures",
    "file",
    "files",
    "map",
    "maps",
    "draw",
    "plot",
    "go to",
    "video",
    "audio",
    "music",
    "flowchart",
    "diagram",
];

/// The same for Chinese, where words have no borders, and names of other assistants.
const ZH_BLACKLIST: &[&str] = &[
    "图像",
    "图片",
    "照片",
    "截图",
    "图表",
    "曲线图",
    "折线图",
    "柱状图",
    "饼图",
    "流程图",
    "视频",
    "音频",
    "录音",
    "文件",
    "附件",
    "链接",
    "网址",
    "http",
    "OpenAI",
    "ChatGPT",
    "chatgpt",
    "GPT-3",
    "GPT-4",
    "gpt-3",
    "gpt-4",
];

/// New tasks from seed tasks.
///
/// Each request shows `shown` seed tasks, drawn by the seed and the request's number, and asks for
/// more of them up to number `asked`. A task is kept when it passes the language's rules and no
/// instruction, seed or kept, is as near as `max_similarity` allows (ROUGE-L F1). The result
/// depends on seed and replies only, so a run that is killed goes on where it was.
///
/// English rules (Stanford Alpaca, `generate_instruction.py`): the last task of a reply that was cut
/// off is dropped, and instructions of at most 3 or over 150 words, with a word of the black list,
/// that begin with "Write a program", punctuation or a non-ASCII character. Chinese rules (BELLE,
/// `1.5M/generate_instruction.py`): the same for a cut-off reply; instructions of at most 3
/// characters; with an input, instructions from 100 characters (150 where they speak of examples);
/// tasks with a word of the black list anywhere.
#[derive(Debug, Clone)]
pub struct SelfInstruct<'a> {
    /// Model, sampling, seed.
    pub options: GenerateOptions,
    /// The seed tasks, [`load_seed_tasks`] reads them.
    pub seeds: &'a [AlpacaRecord],
    /// The prompts, which set the language.
    pub prompts: &'a PromptSet,
    /// How many tasks to make.
    pub target: usize,
    /// Seed tasks in a prompt.
    pub shown: usize,
    /// The number up to which a reply counts, those shown included.
    pub asked: usize,
    /// The largest ROUGE-L F1 to another instruction.
    pub max_similarity: f64,
    /// Words for which a task is dropped.
    pub blacklist: Vec<String>,
    /// The most requests; with fewer tasks than the target by then, the result is short.
    pub max_requests: usize,
}

impl<'a> SelfInstruct<'a> {
    /// 3 tasks shown, 20 (Chinese 10) asked for, similarity up to 0.7.
    pub fn new(
        options: GenerateOptions,
        seeds: &'a [AlpacaRecord],
        prompts: &'a PromptSet,
        target: usize,
    ) -> Self {
        let (asked, blacklist) = match prompts.language() {
            Language::En => (20, EN_BLACKLIST),
            Language::Zh => (10, ZH_BLACKLIST),
        };
        Self {
            options,
            seeds,
            prompts,
            target,
            shown: 3,
            asked,
            max_similarity: 0.7,
            blacklist: blacklist.iter().map(|word| (*word).to_owned()).collect(),
            max_requests: target.saturating_add(100),
        }
    }

    /// The cost if `expected_yield` of the tasks asked for are kept; Alpaca's yield was near 0.6.
    ///
    /// # Errors
    /// [`Error::Option`], [`Error::Cache`].
    pub fn estimate(&self, runner: &Runner<'_>, expected_yield: f64) -> Result<Estimate> {
        self.check()?;
        let new = self.asked - self.shown;
        let kept = (new as f64 * expected_yield.clamp(0.01, 1.0)).max(0.01);
        let requests = (self.target as f64 / kept).ceil() as usize;
        let tokens = |seed: &AlpacaRecord| {
            estimate_tokens(&seed.instruction)
                + estimate_tokens(&seed.input)
                + estimate_tokens(&seed.output)
                + 16
        };
        let mean = self.seeds.iter().map(tokens).sum::<u64>() / self.seeds.len() as u64;
        let (requests, expected) = (
            requests.min(self.max_requests),
            mean.saturating_mul(new as u64),
        );
        estimate(runner, requests, |number| self.question(number), expected)
    }

    /// Asks until the target is reached.
    ///
    /// # Errors
    /// [`Error::Option`] for numbers that make no sense, and those of [`Runner::ask_all`].
    pub fn run(&self, runner: &Runner<'_>) -> Result<Generated<AlpacaRecord>> {
        self.check()?;
        let mut made = Generated::default();
        let seeds = self.seeds.iter();
        let mut known: Known = seeds.map(|seed| seed.instruction.as_str()).collect();
        while made.records.len() < self.target && made.questions < self.max_requests {
            let missing = (self.target - made.records.len()).div_ceil(self.asked - self.shown);
            let round = missing
                .min(runner.workers())
                .min(self.max_requests - made.questions);
            let numbers = made.questions..made.questions + round;
            let questions: Vec<_> = numbers.map(|number| self.question(number)).collect();
            for reply in runner.ask_all(&questions)? {
                // The rest of a round that is not needed is left out, so that the result does not
                // depend on the number of workers.
                if made.records.len() >= self.target {
                    break;
                }
                made.questions += 1;
                match reply.as_ref().and_then(|reply| reply.choices.first()) {
                    None => made.drop("no_reply"),
                    Some(choice) => {
                        let cut_off = choice.finish_reason == FinishReason::Length;
                        self.take(&choice.text, cut_off, &mut known, &mut made);
                    }
                }
            }
            tracing::info!(
                kept = made.records.len(),
                requests = made.questions,
                "self-instruct"
            );
        }
        Ok(made)
    }

    fn take(
        &self,
        reply: &str,
        cut_off: bool,
        known: &mut Known,
        made: &mut Generated<AlpacaRecord>,
    ) {
        let tasks = read_tasks(self.prompts.language(), reply, self.shown + 1, cut_off);
        for task in tasks.into_iter().take(self.asked - self.shown) {
            if made.records.len() >= self.target {
                return;
            }
            let kept = task.and_then(|task| match self.refusal(&task) {
                Some(reason) => Err(reason),
                None if known.nearest(&task.instruction) > self.max_similarity => Err("similar"),
                None => Ok(task),
            });
            match kept {
                Ok(task) => {
                    known.push(task.instruction.clone());
                    made.records.push(task);
                }
                Err(reason) => made.drop(reason),
            }
        }
    }

    /// The rule that a task breaks.
    fn refusal(&self, task: &AlpacaRecord) -> Option<&'static str> {
        match self.prompts.language() {
            Language::En => english_refusal(&task.instruction, &self.blacklist),
            Language::Zh => chinese_refusal(task, &self.blacklist),
        }
        .or_else(|| task.output.is_empty().then_some("no_output"))
    }

    fn question(&self, number: usize) -> Question {
        let number = number as u64;
        let tasks = self
            .options
            .draws(b"selfinst", number)
            .sample(self.seeds, self.shown);
        let language = self.prompts.language();
        let fields = [
            ("asked", &*self.asked.to_string()),
            ("tasks", &*write_tasks(language, &tasks)),
            ("next", &*(tasks.len() + 1).to_string()),
        ];
        self.options
            .question(self.prompts.fill("self_instruct", &fields), number)
    }

    fn check(&self) -> Result<()> {
        if self.shown == 0 || self.shown > self.seeds.len() {
            let expected = "from 1 to the number of seed tasks";
            return Err(Error::option("shown", expected, self.shown));
        }
        if self.asked <= self.shown {
            return Err(Error::option("asked", "more than are shown", self.asked));
        }
        check_single(self.seeds)
    }
}

fn english_refusal(instruction: &str, blacklist: &[String]) -> Option<&'static str> {
    let words = instruction.split_whitespace().count();
    let first = instruction.chars().next();
    match () {
        () if words <= 3 => Some("too_short"),
        () if words > 150 => Some("too_long"),
        () if blacklist.iter().any(|word| has_word(instruction, word)) => Some("blacklist"),
        () if instruction.starts_with("Write a program") => Some("write_a_program"),
        () if first.is_some_and(|c| c.is_ascii_punctuation()) => Some("starts_with_punctuation"),
        () if first.is_some_and(|c| !c.is_ascii()) => Some("starts_with_non_ascii"),
        () => None,
    }
}

fn chinese_refusal(task: &AlpacaRecord, blacklist: &[String]) -> Option<&'static str> {
    let instruction = &task.instruction;
    let texts = [instruction, &task.input, &task.output];
    let length = instruction.chars().count();
    let examples = instruction.contains("示例") || instruction.contains("例子");
    let limit = if examples { 150 } else { 100 };
    match () {
        () if blacklist
            .iter()
            .any(|word| texts.iter().any(|text| text.contains(word))) =>
        {
            Some("blacklist")
        }
        () if length <= 3 => Some("too_short"),
        () if !task.input.is_empty() && length >= limit => Some("too_long"),
        () => None,
    }
}

/// Whether a text holds a word in whatever case, with no letter, digit or underscore at its sides.
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    let inner = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !word.is_empty()
        && text.match_indices(&word).any(|(start, found)| {
            let before = text[..start].chars().next_back();
            let after = text[start + found.len()..].chars().next();
            !inner(before) && !inner(after)
        })
}

/// Reads seed tasks: JSONL (or an array) of `{instruction, instances: [{input, output}, …]}`, of
/// which the first instance counts; an input may be absent.
///
/// # Errors
/// The same as [`load_alpaca`](crate::load_alpaca), whose records it yields.
pub fn load_seed_tasks(path: impl AsRef<Path>) -> Result<Vec<AlpacaRecord>> {
    Ok(load(path.as_ref(), &LoadOptions::default(), seed_task)?.records)
}
