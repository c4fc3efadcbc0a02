//! What benchmarks are asked, from which files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use llm_eval::bench::classify::{self, Classifier, Labelled, Style};
use llm_eval::bench::{
    Answers, Generation, GroupResult, LanguageModel, Output, Task, TaskOptions, TaskResult,
    Variant, agieval, belle, ceval, evaluate, generations, gsm8k, mmlu,
};

/// Tokens of a classifier's reply.
const LABEL_TOKENS: usize = 256;

#[derive(Debug, Args)]
pub(super) struct TaskArgs {
    /// A benchmark; several by several --task, each with its --data
    #[arg(long, value_enum, required = true)]
    pub(super) task: Vec<Benchmark>,
    /// Its files: of mmlu a directory with dev/ and test/, of ceval with dev/ and val/, of agieval with NAME.jsonl,
    /// of gsm8k and belle the JSONL file, of classify JSONL with `text` and `label`
    #[arg(long, value_name = "PATH", required = true)]
    data: Vec<PathBuf>,
    /// Where shots come from: GSM8K's training questions, or labelled texts, of which the first are taken
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// harness, original (MMLU's code) or official (C-Eval's, AGIEval's) [default: harness]
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Option<String>,
    /// How multiple choice is answered [default: likelihood]
    #[arg(long, value_enum)]
    answers: Option<How>,
    /// Shots before each question [default: the benchmark's own number; of classify all of --train]
    #[arg(long, value_name = "N")]
    pub(super) num_fewshot: Option<usize>,
    /// Subjects or data sets [default: all that have a file]
    #[arg(long, value_name = "NAME,NAME…", value_delimiter = ',')]
    pub(super) subjects: Vec<String>,
    /// C-Eval's questions: val, or test, whose answers are withheld [default: val]
    #[arg(long, value_enum)]
    pub(super) split: Option<Split>,
    /// Only the first N questions of each task
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// The longest generated answer in tokens [default: the benchmark's own; of classify 256]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// What is classified, as the prompt says it: sentiment, topic [default: label]
    #[arg(long, value_name = "WORD")]
    label_name: Option<String>,
    /// The labels [default: those in --data]
    #[arg(long, value_name = "NAME,NAME…", value_delimiter = ',')]
    labels: Vec<String>,
    /// How a label is asked for: at once, or behind clues and reasoning [default: direct]
    #[arg(long, value_enum)]
    style: Option<Ask>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Benchmark {
    Mmlu,
    Ceval,
    Agieval,
    Gsm8k,
    Belle,
    Classify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// The likeliest choice
    Likelihood,
    /// The letter in what is generated: a chat model's whole reply, or without --endpoint and --chat the rest of
    /// the line behind the prompt
    Generated,
    /// The letter in the first line generated, whatever the model: the harness's mmlu_generative
    FirstLine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Split {
    Val,
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ask {
    Direct,
    Clues,
}

/// What is asked for one `--task`.
pub(super) enum Work {
    Tasks(Benchmark, Vec<Task>),
    Texts(Classifier, Vec<Labelled>),
}

/// Hears of a task how many of how many are done.
pub(super) type Progress<'a> = dyn FnMut(&str, usize, usize) + 'a;

impl TaskArgs {
    /// What is read.
    pub(super) fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        self.data.iter().chain(&self.train)
    }

    /// Refuses what no task would heed.
    pub(super) fn check(&self) -> Result<()> {
        use Benchmark::{Agieval, Ceval, Classify, Gsm8k, Mmlu};
        if self.task.len() != self.data.len() {
            bail!("{} --task and {} --data", self.task.len(), self.data.len());
        }
        let choices = [Mmlu, Ceval, Agieval];
        self.belongs("--train", self.train.is_some(), &[Gsm8k, Classify])?;
        let worded = [Mmlu, Ceval, Agieval, Gsm8k];
        self.belongs("--variant", self.variant.is_some(), &worded)?;
        self.belongs("--answers", self.answers.is_some(), &choices)?;
        let shots = [Mmlu, Ceval, Agieval, Gsm8k, Classify];
        self.belongs("--num-fewshot", self.num_fewshot.is_some(), &shots)?;
        self.belongs("--subjects", !self.subjects.is_empty(), &choices)?;
        self.belongs("--split", self.split.is_some(), &[Ceval])?;
        self.belongs("--label-name", self.label_name.is_some(), &[Classify])?;
        self.belongs("--labels", !self.labels.is_empty(), &[Classify])?;
        self.belongs("--style", self.style.is_some(), &[Classify])
    }

    /// Refuses an option that is given without one of its tasks.
    pub(super) fn belongs(&self, option: &str, given: bool, tasks: &[Benchmark]) -> Result<()> {
        if !given || self.task.iter().any(|task| tasks.contains(task)) {
            return Ok(());
        }
        let names = tasks.iter().filter_map(ValueEnum::to_possible_value);
        let names: Vec<_> = names.map(|name| name.get_name().to_owned()).collect();
        bail!("{option} belongs to --task {}", names.join(" or "))
    }

    /// Reads the files, to ask a model that chats, or by its tokens.
    pub(super) fn load(&self, chats: bool) -> Result<Vec<Work>> {
        let pairs = self.task.iter().zip(&self.data);
        let mut work: Vec<Work> = pairs
            .map(|(task, data)| self.work(*task, data, chats))
            .collect::<Result<_>>()?;
        let Some(most) = self.max_tokens else {
            return Ok(work);
        };
        let mut generated = false;
        for work in &mut work {
            match work {
                Work::Texts(classifier, _) => (classifier.max_tokens, generated) = (most, true),
                Work::Tasks(_, tasks) => {
                    for task in tasks {
                        if let Output::Generate { max_tokens, .. } = &mut task.output {
                            (*max_tokens, generated) = (most, true);
                        }
                    }
                }
            }
        }
        match generated {
            true => Ok(work),
            false => bail!("--max-tokens: no answer is generated"),
        }
    }

    fn work(&self, task: Benchmark, data: &Path, chats: bool) -> Result<Work> {
        let options = TaskOptions {
            variant: Variant::by_name(self.variant.as_deref().unwrap_or("harness"))?,
            answers: match self.answers {
                Some(How::Generated) if chats => Answers::Reply,
                Some(How::Generated | How::FirstLine) => Answers::Generated,
                Some(How::Likelihood) | None => Answers::Likelihood,
            },
            num_fewshot: self.num_fewshot,
            subjects: self.subjects.clone(),
        };
        let split = match self.split {
            Some(Split::Test) => ceval::Split::Test,
            Some(Split::Val) | None => ceval::Split::Val,
        };
        let tasks = match task {
            Benchmark::Mmlu => mmlu::load(data, &options)?,
            Benchmark::Ceval => ceval::load(data, split, &options)?,
            Benchmark::Agieval => agieval::load(data, &options)?,
            Benchmark::Gsm8k => vec![gsm8k::load(data, self.train.as_deref(), &options)?],
            Benchmark::Belle => vec![belle::load(data)?],
            Benchmark::Classify => return self.classification(data),
        };
        Ok(Work::Tasks(task, tasks))
    }

    fn classification(&self, data: &Path) -> Result<Work> {
        let mut texts = classify::read(data)?;
        let labels = match self.labels.is_empty() {
            false => self.labels.clone(),
            true => {
                let there: BTreeSet<_> = texts.iter().map(|text| &text.label).collect();
                there.into_iter().cloned().collect()
            }
        };
        let mut shots = match &self.train {
            Some(train) => classify::read(train)?,
            None => Vec::new(),
        };
        let asked = self.num_fewshot.unwrap_or(shots.len());
        if asked > shots.len() {
            bail!(
                "--num-fewshot {asked}: --train has {} labelled texts",
                shots.len()
            );
        }
        shots.truncate(asked);
        texts.truncate(self.limit.unwrap_or(usize::MAX));
        let classifier = Classifier {
            subject: self.label_name.as_deref().unwrap_or("label").to_owned(),
            labels,
            shots,
            style: match self.style {
                Some(Ask::Clues) => Style::ChainOfClues,
                Some(Ask::Direct) | None => Style::Direct,
            },
            max_tokens: LABEL_TOKENS,
        };
        classifier.check()?;
        Ok(Work::Texts(classifier, texts))
    }
}

impl Work {
    /// Refuses what a model cannot do.
    pub(super) fn check(&self, model: &dyn LanguageModel) -> Result<()> {
        match self {
            Self::Tasks(_, tasks) => Ok(tasks.iter().try_for_each(|task| task.check(model))?),
            Self::Texts(..) => Ok(()),
        }
    }

    /// What the model would be asked to generate.
    pub(super) fn requests(&self, limit: Option<usize>) -> Result<Vec<Generation>> {
        match self {
            Self::Texts(classifier, texts) => Ok(classifier.requests(texts)),
            Self::Tasks(_, tasks) => {
                let mut all = Vec::new();
                for task in tasks {
                    all.extend(generations(task, limit)?);
                }
                Ok(all)
            }
        }
    }

    /// Asks, and scores.
    pub(super) fn run(
        &self,
        model: &dyn LanguageModel,
        limit: Option<usize>,
        progress: &mut Progress<'_>,
    ) -> Result<(Vec<TaskResult>, Vec<GroupResult>)> {
        let (benchmark, tasks) = match self {
            Self::Tasks(benchmark, tasks) => (benchmark, tasks),
            Self::Texts(classifier, texts) => {
                let name = classifier.task_name();
                let heard = &mut |done, all| progress(&name, done, all);
                let figures = classifier.run(model, texts, heard)?;
                return Ok((vec![classifier.task_result(texts, &figures)], Vec::new()));
            }
        };
        let mut results = Vec::new();
        for task in tasks {
            let heard = &mut |done, all| progress(&task.name, done, all);
            results.push(evaluate(task, model, limit, heard)?);
        }
        let groups = match benchmark {
            Benchmark::Mmlu => mmlu::groups(&results),
            Benchmark::Ceval => ceval::groups(&results),
            Benchmark::Agieval => agieval::groups(&results),
            Benchmark::Gsm8k | Benchmark::Belle | Benchmark::Classify => Vec::new(),
        };
        Ok((results, groups))
    }

    /// BELLE's questions, where this is BELLE.
    pub(super) fn belle(&self) -> Option<&Task> {
        match self {
            Self::Tasks(Benchmark::Belle, tasks) => tasks.first(),
            _ => None,
        }
    }
}
