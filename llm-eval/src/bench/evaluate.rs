//! Runs a task through a model.

use serde_json::{Map, Value, json};

use super::filter::{INVALID, Reader};
use super::metric::{Estimate, find};
use super::model::{Generation, LanguageModel, LogLikelihood, truncate_at};
use super::task::{ChoiceGold, Gold, Item, Output, Prompt, Task};
use crate::{Error, Result};

/// Questions that go to the model at once.
const CHUNK: usize = 64;

/// One question, what the model said, and how it was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its number in the data, from 0.
    pub doc_id: usize,
    /// The question as it is in the data.
    pub doc: Value,
    /// The right answer, as the harness writes it.
    pub target: String,
    /// The requests' arguments: context and continuation, or context and generation settings.
    pub arguments: Vec<[Value; 2]>,
    /// The model's responses to each request.
    pub resps: Value,
    /// What the filter made of them.
    pub filtered_resps: Value,
    /// The filter.
    pub filter: &'static str,
    /// Metrics and values; none where the right answer is withheld.
    pub metrics: Vec<(&'static str, f64)>,
    /// The choice that was taken, where choices were scored.
    pub predicted: Option<usize>,
    /// Whether an answer was found in the reply.
    pub parsed: bool,
}

impl Sample {
    /// Whether no reply came; the question is in no figure then.
    pub fn unanswered(&self) -> bool {
        self.resps == json!([[null]])
    }
}

/// What a task comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResult {
    /// The task.
    pub name: String,
    /// Its short name in tables.
    pub alias: String,
    /// What the task was, as the results file keeps it.
    pub config: Value,
    /// The version of the task.
    pub version: f64,
    /// Shots before each question.
    pub num_fewshot: usize,
    /// Questions there are.
    pub original: usize,
    /// Questions answered.
    pub sample_len: usize,
    /// Questions to which no reply came; they are in no figure.
    pub no_reply: usize,
    /// `metric,filter` and its value.
    pub metrics: Vec<(String, Estimate)>,
    /// For each filter, how many replies held no answer.
    pub unparsable: Vec<(&'static str, usize)>,
    /// Further figures, which the results file keeps among the task's.
    pub extra: Map<String, Value>,
    /// The questions one by one, filter by filter.
    pub samples: Vec<Sample>,
}

impl TaskResult {
    /// The metric of a key such as `acc,none`.
    pub fn metric(&self, key: &str) -> Option<Estimate> {
        find(&self.metrics, key)
    }
}

/// Runs the first `limit` questions of a task (all where `None`). `progress` hears how many of how many
/// are done.
///
/// # Errors
/// When there are too few shots, or the model fails or cannot do what the task needs.
pub fn evaluate(
    task: &Task,
    model: &dyn LanguageModel,
    limit: Option<usize>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<TaskResult> {
    task.check(model)?;
    let mut prompts = task.prompts(limit)?;
    if task.fewer_shots_to_fit {
        fit(&mut prompts, model)?;
    }
    let mut samples = Vec::new();
    for (done, chunk) in prompts.chunks(CHUNK).enumerate() {
        let first = done * CHUNK;
        match &task.output {
            Output::Choices => samples.extend(choose(task, chunk, first, model)?),
            Output::Generate { reader, .. } => {
                let requests = requests(task, chunk);
                samples.extend(generate(*reader, chunk, &requests, first, model)?);
            }
        }
        progress(first + chunk.len(), prompts.len());
    }
    Ok(result(task, samples, prompts.len()))
}

/// What a model would be asked to generate for the first `limit` questions of a task; nothing where choices
/// are compared.
///
/// # Errors
/// When there are too few shots.
pub fn generations(task: &Task, limit: Option<usize>) -> Result<Vec<Generation>> {
    Ok(requests(task, &task.prompts(limit)?))
}

fn requests(task: &Task, prompts: &[Prompt<'_>]) -> Vec<Generation> {
    let Output::Generate {
        until, max_tokens, ..
    } = &task.output
    else {
        return Vec::new();
    };
    let request = |prompt: &Prompt<'_>| Generation {
        context: prompt.text(),
        until: until.clone(),
        max_tokens: *max_tokens,
    };
    prompts.iter().map(request).collect()
}

/// Leaves out shots, from the last, until each prompt fits the model's window.
fn fit(prompts: &mut [Prompt<'_>], model: &dyn LanguageModel) -> Result<()> {
    let Some(tokens) = model.tokens() else {
        return Ok(());
    };
    for prompt in prompts {
        while !prompt.shots.is_empty()
            && tokens.encode(&prompt.text(), true)?.len() > tokens.max_length()
        {
            prompt.shots.pop();
        }
    }
    Ok(())
}

fn choose(
    task: &Task,
    prompts: &[Prompt<'_>],
    first: usize,
    model: &dyn LanguageModel,
) -> Result<Vec<Sample>> {
    let mut pairs = Vec::new();
    for prompt in prompts {
        let context = prompt.text();
        let continuation = |choice| format!("{}{choice}", task.target_delimiter);
        let choices = prompt.item.choices.iter().map(continuation);
        pairs.extend(choices.map(|choice| (context.clone(), choice)));
    }
    let scores = model.loglikelihood(&pairs)?;
    check_count("log-likelihoods", pairs.len(), scores.len())?;
    let (mut pairs, mut scores) = (&pairs[..], &scores[..]);
    let mut samples = Vec::new();
    for (doc_id, prompt) in (first..).zip(prompts) {
        let count = prompt.item.choices.len();
        let (asked, got);
        (asked, pairs) = pairs.split_at(count);
        (got, scores) = scores.split_at(count);
        let arguments = asked.iter().map(|(c, k)| [json!(c), json!(k)]).collect();
        samples.push(choice_sample(doc_id, prompt.item, arguments, got));
    }
    Ok(samples)
}

fn choice_sample(
    doc_id: usize,
    item: &Item,
    arguments: Vec<[Value; 2]>,
    scores: &[LogLikelihood],
) -> Sample {
    let by = |length: fn(&str) -> usize| {
        let normed = scores.iter().zip(&item.choices);
        argmax(normed.map(|(score, choice)| score.sum / length(choice) as f64))
    };
    let best = argmax(scores.iter().map(|score| score.sum));
    let predictions = [
        ("acc", best),
        ("acc_norm", by(|choice| choice.chars().count())),
        ("acc_bytes", by(str::len)),
    ];
    let right = |index: usize| match &item.gold {
        Gold::Choice(ChoiceGold::One(gold)) => Some(index == *gold),
        Gold::Choice(ChoiceGold::AnyOf(gold)) => Some(gold.contains(&index)),
        Gold::Text(_) | Gold::Unknown => None,
    };
    let metric = |(name, index)| right(index).map(|right| (name, f64::from(u8::from(right))));
    let greedy = |is| if is { "True" } else { "False" };
    let written = scores
        .iter()
        .map(|s| json!([format!("{:?}", s.sum), greedy(s.greedy)]));
    let written: Vec<Value> = written.collect();
    Sample {
        doc_id,
        doc: item.doc.clone(),
        target: target(&item.gold),
        arguments,
        resps: written.iter().map(|answer| json!([answer])).collect(),
        filtered_resps: Value::Array(written),
        filter: "none",
        metrics: predictions.into_iter().filter_map(metric).collect(),
        predicted: Some(best),
        parsed: true,
    }
}

/// The first of the largest, as numpy takes it.
fn argmax(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

fn generate(
    reader: Reader,
    prompts: &[Prompt<'_>],
    requests: &[Generation],
    first: usize,
    model: &dyn LanguageModel,
) -> Result<Vec<Sample>> {
    let texts = model.generate(requests)?;
    check_count("generated texts", requests.len(), texts.len())?;
    let mut samples = Vec::new();
    for (doc_id, ((prompt, request), text)) in
        (first..).zip(prompts.iter().zip(requests).zip(&texts))
    {
        let settings = json!({
            "until": request.until,
            "do_sample": false,
            "temperature": 0.0,
            "max_gen_toks": request.max_tokens,
        });
        let arguments = [json!(request.context), settings];
        samples.extend(read(
            reader,
            doc_id,
            prompt.item,
            arguments,
            text.as_deref()
                .map(|text| truncate_at(text, &request.until)),
        ));
    }
    Ok(samples)
}

/// The samples of a generated text, one for each filter; without a score where there is no text.
fn read(
    reader: Reader,
    doc_id: usize,
    item: &Item,
    arguments: [Value; 2],
    text: Option<&str>,
) -> Vec<Sample> {
    let readings = reader.read(text.unwrap_or(""), item).into_iter();
    let readings = readings.map(|reading| super::filter::Reading {
        answer: reading.answer.filter(|_| text.is_some()),
        score: reading.score.filter(|_| text.is_some()),
        ..reading
    });
    let sample = |reading: super::filter::Reading| Sample {
        doc_id,
        doc: item.doc.clone(),
        target: target(&item.gold),
        arguments: vec![arguments.clone()],
        resps: json!([[text]]),
        // AGIEval's MATH and texts that are not scored have no filter.
        filtered_resps: match reader {
            Reader::AgievalMath | Reader::Free => json!([text]),
            _ if text.is_none() => json!([null]),
            _ => json!([reading.answer.as_deref().unwrap_or(INVALID)]),
        },
        filter: reading.filter,
        metrics: reading
            .score
            .map(|score| (reading.metric, score))
            .into_iter()
            .collect(),
        predicted: None,
        parsed: reading.answer.is_some(),
    };
    readings.map(sample).collect()
}

/// The samples of completions made elsewhere.
pub(super) fn read_all(task: &Task, completions: &[String]) -> Result<TaskResult> {
    let Output::Generate { until, reader, .. } = &task.output else {
        return Err(Error::Input(format!(
            "task `{}` generates nothing",
            task.name
        )));
    };
    check_count("completions", task.items.len(), completions.len())?;
    let pairs = task.items.iter().zip(completions).enumerate();
    let samples = pairs.flat_map(|(doc_id, (item, text))| {
        let arguments = [json!(item.text), json!({"until": until})];
        let text = Some(truncate_at(text, until));
        read(*reader, doc_id, item, arguments, text)
    });
    Ok(result(task, samples.collect(), completions.len()))
}

fn check_count(what: &str, expected: usize, got: usize) -> Result<()> {
    match expected == got {
        true => Ok(()),
        false => Err(Error::Count {
            what: what.to_owned(),
            expected,
            got,
        }),
    }
}

/// As the harness writes `str(target)`.
fn target(gold: &Gold) -> String {
    match gold {
        Gold::Choice(ChoiceGold::One(index)) => index.to_string(),
        Gold::Choice(ChoiceGold::AnyOf(indices)) => format!("{indices:?}"),
        Gold::Text(text) => text.clone(),
        Gold::Unknown => String::new(),
    }
}

fn result(task: &Task, mut samples: Vec<Sample>, asked: usize) -> TaskResult {
    let mut filters: Vec<&'static str> = Vec::new();
    for sample in &samples {
        if !filters.contains(&sample.filter) {
            filters.push(sample.filter);
        }
    }
    samples.sort_by_key(|sample| filters.iter().position(|filter| *filter == sample.filter));
    let mut metrics: Vec<(String, Vec<f64>)> = Vec::new();
    let mut unparsable: Vec<_> = filters.iter().map(|filter| (*filter, 0)).collect();
    let (unanswered, answered): (Vec<_>, Vec<_>) = samples.iter().partition(|s| s.unanswered());
    // Each question has a sample of each filter.
    let no_reply = unanswered.len() / filters.len().max(1);
    for sample in answered {
        for (name, value) in &sample.metrics {
            let key = format!("{name},{}", sample.filter);
            match metrics.iter_mut().find(|(k, _)| *k == key) {
                Some((_, values)) => values.push(*value),
                None => metrics.push((key, vec![*value])),
            }
        }
        if let Some((_, count)) = unparsable.iter_mut().find(|(f, _)| *f == sample.filter) {
            *count += usize::from(!sample.parsed);
        }
    }
    TaskResult {
        name: task.name.clone(),
        alias: task.alias.clone(),
        config: config(task),
        version: task.version,
        num_fewshot: task.num_fewshot,
        original: task.items.len(),
        sample_len: asked - no_reply,
        no_reply,
        metrics: metrics
            .into_iter()
            .map(|(key, values)| (key, Estimate::of(&values)))
            .collect(),
        unparsable,
        extra: Map::new(),
        samples,
    }
}

fn config(task: &Task) -> Value {
    let mut config = json!({
        "task": task.name,
        "task_alias": task.alias,
        "prompt_variant": task.variant.name(),
        "output_type": "multiple_choice",
        "description": task.description,
        "target_delimiter": task.target_delimiter,
        "fewshot_delimiter": task.fewshot_delimiter,
        "num_fewshot": task.num_fewshot,
        "metadata": {"version": task.version},
    });
    if let Output::Generate {
        until, max_tokens, ..
    } = &task.output
    {
        config["output_type"] = json!("generate_until");
        config["generation_kwargs"] = json!({
            "until": until, "do_sample": false, "temperature": 0.0, "max_gen_toks": max_tokens,
        });
    }
    config
}
