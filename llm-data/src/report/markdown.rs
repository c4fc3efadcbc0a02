//! A report as a page of Markdown.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::plain::{block, cell, code};
use super::{Report, ReportFile};
use crate::clean::{Account, StepAccount, Tally};
use crate::survey::{Histogram, Survey, language_name};

/// Languages and first words that are shown.
const SHOWN: usize = 20;

/// What languages are headed by.
const LANGUAGE: &str = "language";

type Page = String;

pub(super) fn page(report: &Report) -> String {
    let mut page = Page::new();
    line(
        &mut page,
        format_args!("# Report of {}\n", code(&report.command)),
    );
    line(
        &mut page,
        format_args!("llm-data {}\n", code(&report.version)),
    );
    summary(&mut page, report);
    files(&mut page, "Inputs", &report.inputs);
    files(&mut page, "Outputs", &report.outputs);
    losses(&mut page, &report.outputs);
    options(&mut page, report);
    bad(&mut page, report);
    for account in &report.cleaning {
        cleaning(&mut page, account);
    }
    surveys(&mut page, report);
    if let Some(statistics) = &report.encoding {
        line(&mut page, "## Encoding\n");
        line(&mut page, block(&statistics.to_string()));
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

/// Writing to a string cannot fail.
fn line(page: &mut Page, text: impl Display) {
    let _ = writeln!(page, "{text}");
}

/// A table; of the columns all but the first are numbers.
fn table(page: &mut Page, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    line(page, format_args!("| {} |", header.join(" | ")));
    let numbers = " ---: |".repeat(header.len() - 1);
    line(page, format_args!("| --- |{numbers}"));
    for row in rows {
        line(page, format_args!("| {} |", row.join(" | ")));
    }
    line(page, "");
}

fn summary(page: &mut Page, report: &Report) {
    let sum = |files: &[ReportFile]| -> usize { files.iter().flat_map(|file| file.records).sum() };
    let mut rows = vec![vec!["read".to_owned(), number(sum(&report.inputs))]];
    if !report.bad.is_empty() {
        rows.push(vec!["bad".to_owned(), number(report.bad.records)]);
    }
    for account in &report.cleaning {
        let parts = [
            ("cleaned", account.records),
            ("kept by cleaning", account.kept),
            ("of these changed", account.changed),
            ("dropped by cleaning", account.dropped),
        ];
        rows.extend(parts.map(|(what, records)| vec![what.to_owned(), number(records)]));
    }
    rows.push(vec!["written".to_owned(), number(sum(&report.outputs))]);
    table(page, &["", "records"], rows);
}

fn files(page: &mut Page, title: &str, files: &[ReportFile]) {
    if files.is_empty() {
        return;
    }
    line(page, format_args!("## {title}\n"));
    let rows = files.iter().map(|file| {
        let records = file.records.map(number).unwrap_or_default();
        vec![
            cell(&file.path),
            records,
            number(file.bytes as usize),
            cell(&file.blake3),
        ]
    });
    table(page, &["file", "records", "bytes", "BLAKE3"], rows);
}

fn losses(page: &mut Page, files: &[ReportFile]) {
    let rows = files.iter().flat_map(|file| {
        let row = |what: &str, kind: &str, records: usize| {
            vec![
                format!("{} {what} {}", cell(&file.path), cell(kind)),
                number(records),
            ]
        };
        let lost = file
            .losses
            .iter()
            .map(move |(kind, &n)| row("lost", kind, n));
        let left_out = file.left_out.iter();
        lost.chain(left_out.map(move |(kind, &n)| row("left out:", kind, n)))
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        line(page, "## Losses\n");
        table(page, &["", "records"], rows);
    }
}

fn options(page: &mut Page, report: &Report) {
    if !report.options.is_null() {
        line(page, "## Options\n");
        line(page, block(&format!("{:#}", report.options)));
    }
}

fn bad(page: &mut Page, report: &Report) {
    let bad = &report.bad;
    if bad.is_empty() {
        return;
    }
    line(page, "## Bad records\n");
    let reasons = bad.reasons.iter();
    table(
        page,
        &["reason", "records"],
        reasons.map(|(reason, &records)| vec![cell(reason), number(records)]),
    );
    for place in &bad.places {
        let field = match &*place.field {
            "" => String::new(),
            field => format!(", field {}", code(field)),
        };
        let (file, message) = (code(&place.file), code(&place.message));
        let (row, record) = (place.line, place.record);
        line(
            page,
            format_args!("- {file}, line {row}, record {record}{field}: {message}"),
        );
    }
    line(page, "");
}

fn cleaning(page: &mut Page, account: &Account) {
    line(page, "## Cleaning\n");
    let steps = account.steps.iter().map(|step| {
        let numbers = [
            step.records,
            step.kept,
            step.changed,
            step.records.saturating_sub(step.kept),
        ];
        let numbers = numbers.into_iter().map(number);
        std::iter::once(cell(&step.step)).chain(numbers).collect()
    });
    table(page, &["step", "in", "kept", "changed", "dropped"], steps);
    let reasons: Vec<_> = account.steps.iter().flat_map(reasons).collect();
    if reasons.is_empty() {
        return;
    }
    let rows = reasons.iter().map(|(step, what, reason, tally)| {
        let title = format!("{} {what} {}", cell(&step.step), cell(reason));
        vec![title, number(tally.records)]
    });
    table(page, &["step and reason", "records"], rows);
    for (step, what, reason, tally) in reasons {
        if tally.examples.is_empty() {
            continue;
        }
        line(
            page,
            format_args!("{} {what} {}:\n", code(&step.step), code(reason)),
        );
        for example in &tally.examples {
            line(
                page,
                format_args!("- record {}: {}", example.record, code(&example.text)),
            );
        }
        line(page, "");
    }
}

fn reasons(step: &StepAccount) -> Vec<(&StepAccount, &'static str, &str, &Tally)> {
    let changes = step
        .changes
        .iter()
        .map(|(reason, tally)| (step, "changed", &**reason, tally));
    let dropped = step
        .dropped
        .iter()
        .map(|(reason, tally)| (step, "dropped", &**reason, tally));
    changes.chain(dropped).collect()
}

fn surveys(page: &mut Page, report: &Report) {
    let both = [("before", &report.before), ("after", &report.after)];
    let both = both
        .into_iter()
        .filter_map(|(name, survey)| Some((name, survey.as_ref()?)));
    let both: Vec<(&str, &Survey)> = both.collect();
    if both.is_empty() {
        return;
    }
    line(page, "## Records\n");
    kinds(page, &both);
    lengths(page, &both);
    shares(page, LANGUAGE, &both, |survey| {
        let languages = survey.languages.iter();
        languages
            .map(|(code, &records)| (&**code, records))
            .collect()
    });
    shares(page, "first word", &both, |survey| {
        survey.first_words.top(usize::MAX)
    });
}

fn kinds(page: &mut Page, both: &[(&str, &Survey)]) {
    type Count = fn(&Survey) -> usize;
    fn of(counts: &BTreeMap<String, usize>, key: &str) -> usize {
        counts.get(key).copied().unwrap_or(0)
    }
    let counts: [(&str, Count); 15] = [
        ("records", |survey| survey.records),
        ("conversations", |survey| of(&survey.kinds, "conversation")),
        ("preferences", |survey| of(&survey.kinds, "preference")),
        ("plain texts", |survey| of(&survey.kinds, "text")),
        ("system messages", |survey| of(&survey.messages, "system")),
        ("user messages", |survey| of(&survey.messages, "user")),
        ("assistant messages", |survey| {
            of(&survey.messages, "assistant")
        }),
        ("function calls", |survey| {
            of(&survey.messages, "function_call")
        }),
        ("observations", |survey| of(&survey.messages, "observation")),
        ("records with a system text", |survey| survey.with_system),
        ("records with functions", |survey| survey.with_tools),
        ("records with function calls", |survey| {
            survey.with_tool_calls
        }),
        ("conversations without input", |survey| survey.without_input),
        ("first words, different ones", |survey| {
            survey.first_words.distinct()
        }),
        ("records not encoded", |survey| {
            survey.tokens.not_encoded.values().sum()
        }),
    ];
    let rows = counts.iter().filter_map(|(name, count)| {
        let counts: Vec<usize> = both.iter().map(|(_, survey)| count(survey)).collect();
        let any = *name == "records" || counts.iter().any(|&count| count > 0);
        let numbers = counts.into_iter().map(number);
        any.then(|| std::iter::once((*name).to_owned()).chain(numbers).collect())
    });
    table(page, &header("", both), rows);
}

fn lengths(page: &mut Page, both: &[(&str, &Survey)]) {
    type Of = fn(&Survey) -> &Histogram;
    let units: [(&str, Of); 9] = [
        ("turns", |survey| &survey.turns),
        ("characters of a record", |survey| {
            &survey.characters.records
        }),
        ("characters of an answer", |survey| {
            &survey.characters.answers
        }),
        ("words of a record", |survey| &survey.words.records),
        ("words of an answer", |survey| &survey.words.answers),
        ("bytes of a record", |survey| &survey.bytes.records),
        ("bytes of an answer", |survey| &survey.bytes.answers),
        ("tokens of a record", |survey| &survey.tokens.records),
        ("supervised tokens", |survey| &survey.tokens.supervised),
    ];
    let rows = units.iter().flat_map(|(unit, histogram)| {
        let filled = both
            .iter()
            .filter(move |(_, survey)| histogram(survey).count() > 0);
        filled.map(move |(name, survey)| {
            let histogram = histogram(survey);
            let lengths = histogram.lengths();
            let parts = [
                lengths.min,
                lengths.p50,
                lengths.p90,
                lengths.p95,
                lengths.p99,
                lengths.max,
                histogram.sum(),
            ];
            let title = [
                format!("{unit}, {name}"),
                format!("{:.1}", histogram.mean()),
            ];
            title.into_iter().chain(parts.map(number)).collect()
        })
    });
    let header = ["", "mean", "min", "p50", "p90", "p95", "p99", "max", "sum"];
    table(page, &header, rows);
}

/// The most frequent ones, by the first survey, and the share of the records that were looked at.
fn shares<'a>(
    page: &mut Page,
    what: &str,
    both: &[(&str, &'a Survey)],
    counts: impl Fn(&'a Survey) -> Vec<(&'a str, usize)>,
) {
    let all: Vec<BTreeMap<&str, usize>> = both
        .iter()
        .map(|(_, survey)| counts(survey).into_iter().collect())
        .collect();
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, count) in all.iter().flatten() {
        *sums.entry(key).or_insert(0) += count;
    }
    let mut keys: Vec<(&str, usize)> = sums.into_iter().collect();
    keys.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    if keys.is_empty() {
        return;
    }
    let more = keys.len().saturating_sub(SHOWN);
    let rows = keys.into_iter().take(SHOWN).map(|(key, _)| {
        let name = if what == LANGUAGE {
            language_name(key)
        } else {
            None
        };
        let title = name.map_or_else(|| cell(key), |name| format!("{name} {}", cell(key)));
        let numbers = all.iter().zip(both).map(|(counts, (_, survey))| {
            let count = counts.get(key).copied().unwrap_or(0);
            let of = match what {
                LANGUAGE => survey.languages.values().sum(),
                _ => survey.records,
            };
            let share = 100.0 * count as f64 / of.max(1) as f64;
            format!("{} ({share:.1} %)", number(count))
        });
        std::iter::once(title).chain(numbers).collect()
    });
    let one_in = both.iter().map(|(_, survey)| survey.languages_one_in).max();
    let sampled = one_in.filter(|one_in| what == LANGUAGE && *one_in > 1);
    let what = match sampled {
        Some(one_in) => format!("{what}, of one record in {one_in}"),
        None => what.to_owned(),
    };
    table(page, &header(&what, both), rows);
    if more > 0 {
        line(page, format_args!("And {} more.\n", number(more)));
    }
}

fn header<'a>(first: &'a str, both: &[(&'a str, &Survey)]) -> Vec<&'a str> {
    let names = both.iter().map(|(name, _)| *name);
    std::iter::once(first).chain(names).collect()
}

/// With a space between groups of three digits, from five digits on.
fn number(number: usize) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}
