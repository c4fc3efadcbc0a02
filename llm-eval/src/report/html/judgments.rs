//! The judgments, question by question, to be read.

use std::collections::HashSet;
use std::fmt;

use crate::judge::{Game, Judged, Judgment, Order};
use crate::report::Report;
use crate::report::escape::{Escaped, EscapedText};
use crate::report::lines::category;
use crate::report::questions::{Asked, Meeting};
use crate::stats::Outcome;
use crate::verdict::{Preference, Verdict};

/// What judgments can be chosen by, with the words for it; the names stand in `data-o`.
const OUTCOMES: [(&str, &str); 8] = [
    ("", "any"),
    ("won", "won by the model (by any, without one)"),
    ("lost", "lost by the model (by any, without one)"),
    ("tie", "a tie"),
    ("disagree", "the orders disagree"),
    ("split", "the judges disagree"),
    ("unscored", "no verdict"),
    ("again", "asked a second time"),
];

pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    report: &Report<'_>,
    questions: &[Asked<'_>],
) -> fmt::Result {
    f.write_str(
        "<section id=\"judgments\" aria-labelledby=\"judgments-title\">\n<h2 id=\"judgments-title\">Judgments</h2>\n",
    )?;
    if report.questions.is_empty() || report.answers.is_empty() {
        let what = match (report.questions.is_empty(), report.answers.is_empty()) {
            (true, true) => "questions and answers",
            (true, false) => "questions",
            _ => "answers",
        };
        writeln!(f, "<p>The texts of the {what} were not given.</p>")?;
    }
    filter(f, report)?;
    for (number, asked) in questions.iter().enumerate() {
        question(f, report, number, asked)?;
    }
    f.write_str("</section>\n")
}

/// Shown by the script, without which it does nothing.
fn filter(f: &mut fmt::Formatter<'_>, report: &Report<'_>) -> fmt::Result {
    let numbered = |names: Vec<String>| -> Vec<(String, String)> {
        let all = std::iter::once((String::new(), "any".to_owned()));
        let names = names.into_iter().enumerate();
        all.chain(names.map(|(number, name)| (number.to_string(), name)))
            .collect()
    };
    let categories = report
        .judged
        .categories
        .iter()
        .map(|name| category(name))
        .collect();
    let outcomes = OUTCOMES.map(|(value, name)| (value.to_owned(), name.to_owned()));
    f.write_str("<form id=\"filter\" hidden>\n")?;
    for (id, name, options) in [
        ("model", "Model", numbered(report.judged.models.clone())),
        (
            "other",
            "Other model",
            numbered(report.judged.models.clone()),
        ),
        ("category", "Category", numbered(categories)),
        ("outcome", "Outcome", outcomes.to_vec()),
    ] {
        writeln!(f, r#"<label>{name} <select id="{id}">"#)?;
        for (value, name) in options {
            writeln!(f, r#"<option value="{value}">{}</option>"#, Escaped(&name))?;
        }
        f.write_str("</select></label>\n")?;
    }
    f.write_str("<output id=\"count\"></output>\n</form>\n")
}

fn question(
    f: &mut fmt::Formatter<'_>,
    report: &Report<'_>,
    number: usize,
    asked: &Asked<'_>,
) -> fmt::Result {
    let categories = &report.judged.categories;
    let place = categories.iter().position(|one| one == asked.category);
    let first = asked.question.and_then(|question| question.turns.first());
    let rows: usize = asked
        .meetings
        .iter()
        .map(|meeting| meeting.rows.len())
        .sum();
    writeln!(
        f,
        r#"<details class="question" data-c="{}">
<summary><b><bdi>{}</bdi></b> <span class="tag"><bdi>{}</bdi></span> <span class="small">{rows} judgments</span> <bdi class="start">{}</bdi></summary>"#,
        place.unwrap_or_default(),
        Escaped(&asked.id.to_string()),
        Escaped(&category(asked.category)),
        Escaped(&start(first.map_or("", String::as_str))),
    )?;
    if let Some(question) = asked.question {
        said(f, "Question", &question.turns)?;
        if asked.referenced {
            said(f, "Reference, which judges were shown", &question.reference)?;
        }
    }
    for (model, turns) in &asked.answers {
        let name = Escaped(&report.judged.models[*model]);
        // A link into closed details opens them, one to them does not.
        writeln!(
            f,
            r#"<details class="answer"><summary><bdi>{name}</bdi>’s answer</summary>
<div id="q{number}m{model}">"#
        )?;
        said(f, "", turns)?;
        f.write_str("</div>\n</details>\n")?;
    }
    for meeting in &asked.meetings {
        meeting_of(f, report, (number, asked), meeting)?;
    }
    f.write_str("</details>\n")
}

/// The first words of a text, in one line.
fn start(text: &str) -> String {
    let line = text
        .split_whitespace()
        .take(30)
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(90) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What is said turn by turn.
fn said(f: &mut fmt::Formatter<'_>, what: &str, turns: &[String]) -> fmt::Result {
    for (turn, text) in turns.iter().enumerate() {
        let name = match (what.is_empty(), turns.len()) {
            (false, 1) => what.to_owned(),
            (false, _) => format!("{what}, turn {}", turn + 1),
            (true, 1) => String::new(),
            (true, _) => format!("Turn {}", turn + 1),
        };
        if !name.is_empty() {
            writeln!(f, r#"<p class="name">{name}</p>"#)?;
        }
        write_text(f, text)?;
    }
    Ok(())
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let lang = language(text);
    let text = EscapedText(text);
    writeln!(
        f,
        r#"<div class="text" dir="auto" lang="{lang}">{text}</div>"#
    )
}

/// Of a text in Han characters the language that they are most likely in, so that browsers choose
/// the right shapes; otherwise none is claimed.
fn language(text: &str) -> &'static str {
    let has = |low: char, high: char| text.chars().any(|c| low <= c && c <= high);
    match has('\u{4e00}', '\u{9fff}') {
        false => "",
        true if has('\u{3041}', '\u{30ff}') => "ja",
        true if has('\u{ac00}', '\u{d7a3}') => "ko",
        true => "zh",
    }
}

fn meeting_of(
    f: &mut fmt::Formatter<'_>,
    report: &Report<'_>,
    (number, asked): (usize, &Asked<'_>),
    meeting: &Meeting<'_>,
) -> fmt::Result {
    let models = &report.judged.models;
    let names: Vec<&str> = meeting
        .models
        .iter()
        .map(|model| &*models[*model])
        .collect();
    let numbers: Vec<String> = meeting.models.iter().map(usize::to_string).collect();
    writeln!(
        f,
        r#"<details class="meeting" data-m="{}" data-o="{}" data-t="{}" data-q="{number}">
<summary>Turn {}: <bdi>{}</bdi> <span class="said">{}</span></summary>"#,
        numbers.join(" "),
        outcomes(meeting).join(" "),
        meeting.turn,
        meeting.turn,
        Escaped(&names.join(" against ")),
        Escaped(&in_short(meeting, &names)),
    )?;
    let answered = |model: &&usize| asked.answers.iter().any(|(one, _)| one == *model);
    let links = meeting.models.iter().filter(answered).map(|model| {
        let name = Escaped(&models[*model]);
        format!(r##"<a href="#q{number}m{model}"><bdi>{name}</bdi></a>"##)
    });
    let links: Vec<String> = links.collect();
    if !links.is_empty() {
        writeln!(
            f,
            r#"<div class="both"><p>What is judged: {}</p></div>"#,
            links.join(", ")
        )?;
    }
    let mut seen = HashSet::new();
    for row in &meeting.rows {
        let again = !seen.insert(row.identity());
        reply(f, row, again)?;
    }
    f.write_str("</details>\n")
}

fn outcomes(meeting: &Meeting<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for winner in meeting.winners() {
        found.push(format!("w{winner}"));
        let losers = meeting.models.iter().filter(|model| **model != winner);
        found.extend(losers.map(|model| format!("l{model}")));
    }
    let any = |test: &dyn Fn(&&Judgment) -> bool| meeting.rows.iter().any(test);
    let tie = |game: &Game| game.outcome == Some(Outcome::Tie);
    for (name, holds) in [
        ("tie", meeting.games.iter().any(tie)),
        ("disagree", meeting.games.iter().any(Game::is_inconsistent)),
        ("split", meeting.is_split()),
        ("unscored", any(&|row| row.verdict.is_none())),
        ("again", any(&|row| row.attempt > 0)),
    ] {
        if holds {
            found.push(name.to_owned());
        }
    }
    found
}

/// What each judge says.
fn in_short(meeting: &Meeting<'_>, names: &[&str]) -> String {
    let game = |game: &Game| {
        let outcome = match game.outcome {
            Some(Outcome::First) => format!("{} is better", names[0]),
            Some(Outcome::Second) => format!("{} is better", names[1]),
            Some(Outcome::Tie) if game.is_inconsistent() => "a tie, the orders disagree".to_owned(),
            Some(Outcome::Tie) => "a tie".to_owned(),
            None => "no verdict".to_owned(),
        };
        format!("{}: {outcome}", game.judge)
    };
    let score = |row: &&Judgment| match row.score {
        Some(score) => format!("{}: {}", row.judge, short(score)),
        None => format!("{}: no verdict", row.judge),
    };
    let said: Vec<String> = match meeting.models.len() {
        1 => meeting.rows.iter().map(score).collect(),
        _ => meeting.games.iter().map(game).collect(),
    };
    said.join("; ")
}

/// A number without needless digits.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A judgment.
fn reply(f: &mut fmt::Formatter<'_>, row: &Judgment, duplicate: bool) -> fmt::Result {
    let order = match &row.judged {
        Judged::Two { model_a, order, .. } => {
            let order = match order {
                Order::Given => "order given",
                Order::Swapped => "answers exchanged",
            };
            format!(", {model_a} shown first ({order})")
        }
        Judged::One { .. } => String::new(),
    };
    let verdict = match (&row.verdict, &row.unscored) {
        (Some(verdict), _) => verdict_of(row, verdict),
        (None, Some(reason)) => format!("no verdict: {reason}"),
        (None, None) => "no verdict".to_owned(),
    };
    let mut notes = Vec::new();
    if row.attempt > 0 {
        notes.push("asked a second time");
    }
    if row.reference {
        notes.push("with the reference in view");
    }
    if duplicate {
        notes.push("a duplicate, which does not count");
    }
    let notes = match notes.is_empty() {
        true => String::new(),
        false => format!(" ({})", notes.join("; ")),
    };
    writeln!(
        f,
        r#"<div class="judgment"><p class="name"><b><bdi>{}</bdi></b><bdi>{}</bdi>: <b><bdi>{}</bdi></b>{notes}</p>"#,
        Escaped(&row.judge),
        Escaped(&order),
        Escaped(&verdict),
    )?;
    match &row.reply {
        Some(reply) => write_text(f, reply)?,
        None => f.write_str("<p class=\"small\">There is no reply.</p>\n")?,
    }
    if let Some(first) = &row.first_reply {
        f.write_str("<details><summary>The reply before, without a verdict</summary>\n")?;
        write_text(f, first)?;
        f.write_str("</details>\n")?;
    }
    f.write_str("</div>\n")
}

/// A verdict in words.
fn verdict_of(row: &Judgment, verdict: &Verdict) -> String {
    let [a, b] = match &row.judged {
        Judged::Two {
            model_a, model_b, ..
        } => [model_a, model_b],
        Judged::One { model } => [model; 2],
    };
    match verdict {
        Verdict::Score(score) => short(*score),
        Verdict::Scores(scores) => {
            let each = scores.iter();
            let each = each.map(|(name, score)| format!("{name} {}", short(*score)));
            let mean = row.score.map_or_else(String::new, short);
            format!("{} → {mean}", each.collect::<Vec<_>>().join(", "))
        }
        Verdict::Pair(first, second) => {
            format!("{a} {}, {b} {}", short(*first), short(*second))
        }
        Verdict::Preference(preference) => match preference {
            Preference::MuchA => format!("{a} is much better"),
            Preference::A => format!("{a} is better"),
            Preference::Tie => "a tie".to_owned(),
            Preference::B => format!("{b} is better"),
            Preference::MuchB => format!("{b} is much better"),
        },
    }
}
