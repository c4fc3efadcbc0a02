//! Replies of several numbered tasks, split at `###` into instruction, input and output.

use super::prompts::Language;
use crate::record::AlpacaRecord;

/// The three parts' names, in order.
const LABELS: [[&str; 3]; 2] = [["Instruction", "Input", "Output"], ["指令", "输入", "输出"]];

/// How a reply says that there is no input.
const NO_INPUT: [&str; 2] = ["<noinput>", "无输入"];

/// The text of an input that is not there, as prompts show it.
pub(crate) fn no_input(language: Language) -> &'static str {
    match language {
        Language::En => "<noinput>",
        Language::Zh => "<无输入>",
    }
}

/// The tasks of a prompt: `###`, then `1. Instruction: …`, `1. Input:`, `1. Output:`.
pub(crate) fn write_tasks(language: Language, tasks: &[&AlpacaRecord]) -> String {
    let [instruction, input, output] = LABELS[language as usize];
    let mut text = String::new();
    for (index, task) in tasks.iter().enumerate() {
        let number = index + 1;
        let words: Vec<&str> = task.instruction.split_whitespace().collect();
        let asked = words.join(" ");
        let asked = asked.trim_end_matches([':', '：']);
        let given = if task.input.is_empty() {
            no_input(language)
        } else {
            &task.input
        };
        text.push_str(&format!(
            "###\n{number}. {instruction}: {asked}\n{number}. {input}:\n{given}\n\
             {number}. {output}:\n{}\n",
            task.output
        ));
    }
    text.push_str("###");
    text
}

/// The tasks of a reply, each whole or with the reason why it is none. `next` is the number of the
/// first one where the reply goes on right after the prompt; `cut_off` drops the last one.
pub(crate) fn read_tasks(
    language: Language,
    reply: &str,
    next: usize,
    cut_off: bool,
) -> Vec<Result<AlpacaRecord, &'static str>> {
    let first = LABELS[language as usize][0];
    let head = reply.trim_start().trim_start_matches('#').trim_start();
    let head: String = head.chars().take(first.chars().count() + 10).collect();
    let labelled = find(&head, first).is_some();
    let text = if labelled {
        reply.to_owned()
    } else {
        format!("{next}. {first}:{reply}")
    };
    let blocks: Vec<&str> = text.split("###").collect();
    let last = blocks.len() - 1;
    let tasks = blocks
        .into_iter()
        .enumerate()
        .filter(|(_, block)| !block.trim().is_empty());
    tasks
        .map(
            |(index, block)| match (index == last && cut_off, language) {
                (true, _) => Err("cut_off"),
                (false, Language::En) => english(block).ok_or("format"),
                (false, Language::Zh) => chinese(block).ok_or("format"),
            },
        )
        .collect()
}

/// A label in a text: where it begins with its number, where it ends, the number.
#[derive(Debug, Clone, Copy)]
struct Label<'a> {
    start: usize,
    end: usize,
    number: &'a str,
}

/// The first `label:` or `label：`.
fn find<'a>(text: &'a str, label: &str) -> Option<Label<'a>> {
    all(text, label).into_iter().next()
}

/// All of them, with the `4. ` before them, where there is one.
fn all<'a>(text: &'a str, label: &str) -> Vec<Label<'a>> {
    let labelled = text.match_indices(label).filter_map(|(start, _)| {
        let after = &text[start + label.len()..];
        let colon = after.chars().next().filter(|c| matches!(c, ':' | '：'))?;
        let before = text[..start].trim_end();
        let digits = before.strip_suffix('.').map(|before| {
            let begin = before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            (begin, &before[begin..])
        });
        let (start, number) = digits
            .filter(|(_, digits)| !digits.is_empty())
            .unwrap_or((start, ""));
        Some(Label {
            start,
            end: text.len() - after.len() + colon.len_utf8(),
            number,
        })
    });
    labelled.collect()
}

/// Alpaca's rule: each label once, in order, with one number.
fn english(block: &str) -> Option<AlpacaRecord> {
    let number = all(block, "Instruction")
        .iter()
        .find(|label| !label.number.is_empty())?
        .number;
    let numbered = |label| -> Option<Label<'_>> {
        let mut labels = all(block, label)
            .into_iter()
            .filter(|found| found.number == number);
        let first = labels.next()?;
        labels.next().is_none().then_some(first)
    };
    let [instruction, input, output] = LABELS[0].map(numbered);
    record(block, Language::En, [instruction?, input?, output?])
}

/// BELLE's rule: the labels in order, numbers or not; what follows a further task is cut away.
fn chinese(block: &str) -> Option<AlpacaRecord> {
    let [first, second, third] = LABELS[1];
    let after = |label: &str, from: usize| {
        all(block, label)
            .into_iter()
            .find(|found| found.start >= from)
    };
    let instruction = after(first, 0)?;
    let input = after(second, instruction.end)?;
    let output = after(third, input.end)?;
    let further = after(first, output.end).filter(|label| {
        after(second, label.end).is_some_and(|label| after(third, label.end).is_some())
    });
    let end = further.map_or(block.len(), |label| label.start);
    record(&block[..end], Language::Zh, [instruction, input, output])
}

fn record(block: &str, language: Language, labels: [Label<'_>; 3]) -> Option<AlpacaRecord> {
    let [instruction, input, output] = labels;
    let asked = block.get(instruction.end..input.start)?.trim();
    let given = block.get(input.end..output.start)?.trim();
    let empty = NO_INPUT[language as usize];
    let none = match language {
        Language::En => given.eq_ignore_ascii_case(empty),
        Language::Zh => given.contains(empty),
    };
    Some(AlpacaRecord {
        instruction: asked.to_owned(),
        input: if none {
            String::new()
        } else {
            given.to_owned()
        },
        output: block.get(output.end..)?.trim().to_owned(),
        ..AlpacaRecord::default()
    })
}
