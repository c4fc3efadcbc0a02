//! The report as one page of HTML.

mod judgments;

use std::fmt::{self, Display};

use super::Report;
use super::content::{Block, Kind, Section, Table};
use super::escape::{Escaped, Sentence};
use super::questions::by_question;
use super::sections::sections;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

pub(super) struct Page<'a>(pub(super) &'a Report<'a>);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let names = names(report);
        let title = title(report);
        let heading = Sentence {
            text: &title,
            names: &names,
        };
        let title = Escaped(&title);
        let nonce = nonce(report);
        write!(
            f,
            r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style nonce="{nonce}">
{STYLE}</style>
</head>
<body>
<header>
<h1>{heading}</h1>
</header>
"#
        )?;
        let sections = sections(report);
        contents(f, &sections)?;
        f.write_str("<main>\n")?;
        for section in &sections {
            part(f, section, &names)?;
        }
        judgments::write(f, report, &by_question(report))?;
        write!(
            f,
            "</main>\n<script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n"
        )
    }
}

/// What the page is about.
pub(super) fn title(report: &Report<'_>) -> String {
    let some = |names: &[String]| match names.len() {
        0 => "nobody".to_owned(),
        1..=4 => names.join(", "),
        all => format!("{} and {} more", names[..3].join(", "), all - 3),
    };
    let judged = &report.judged;
    format!(
        "{}, judged by {}",
        some(&judged.models),
        some(&judged.judges)
    )
}

/// Names of others that stand in sentences.
fn names<'a>(report: &'a Report<'_>) -> Vec<&'a str> {
    let judged = &report.judged;
    let names = [&judged.models, &judged.judges, &judged.categories];
    names.into_iter().flatten().map(String::as_str).collect()
}

/// A mark that the page's own style and script bear, and no judged text can: it depends on all of
/// them.
fn nonce(report: &Report<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    for row in &report.judgments.rows {
        hasher.update(&serde_json::to_vec(row).unwrap_or_default());
    }
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    let questions = report.questions.iter();
    questions
        .flat_map(|one| one.turns.iter().chain(&one.reference))
        .for_each(|text| add(text));
    let answers = report.answers.iter().flat_map(|one| one.turns.values());
    answers.flatten().for_each(|text| add(text));
    hasher.finalize().to_hex()[..32].to_owned()
}

fn contents(f: &mut fmt::Formatter<'_>, sections: &[Section]) -> fmt::Result {
    f.write_str("<nav aria-label=\"Contents\">\n<ul>\n")?;
    let own = sections.iter().map(|section| (section.id, section.title));
    for (id, title) in own.chain([("judgments", "Judgments")]) {
        writeln!(f, r##"<li><a href="#{id}">{title}</a></li>"##)?;
    }
    f.write_str("</ul>\n</nav>\n")
}

fn part(f: &mut fmt::Formatter<'_>, section: &Section, names: &[&str]) -> fmt::Result {
    let sentence = |text| Sentence { text, names };
    let Section { id, title, blocks } = section;
    writeln!(
        f,
        r#"<section id="{id}" aria-labelledby="{id}-title">
<h2 id="{id}-title">{title}</h2>"#
    )?;
    for block in blocks {
        match block {
            Block::Text(text) => writeln!(f, "<p>{}</p>", sentence(text))?,
            Block::Warnings(texts) => {
                f.write_str("<ul class=\"warnings\">\n")?;
                for text in texts {
                    writeln!(f, "<li>{}</li>", sentence(text))?;
                }
                f.write_str("</ul>\n")?;
            }
            Block::Table(table) => write_table(f, table, names)?,
            Block::Forest(forest) => figure(f, "forest", sentence(&forest.title), forest)?,
            Block::Radar(radar) => figure(f, "radar", sentence(&radar.title), radar)?,
        }
    }
    f.write_str("</section>\n")
}

fn figure(
    f: &mut fmt::Formatter<'_>,
    class: &str,
    title: Sentence<'_>,
    plot: &impl Display,
) -> fmt::Result {
    let label = Escaped(title.text);
    writeln!(
        f,
        r#"<figure class="{class}">
<div class="scroll" role="group" tabindex="0" aria-label="{label}">{plot}</div>
<figcaption>{title}</figcaption>
</figure>"#
    )
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &Table, names: &[&str]) -> fmt::Result {
    let label = Escaped(&table.caption);
    let caption = Sentence {
        text: &table.caption,
        names,
    };
    writeln!(
        f,
        r#"<div class="scroll" role="group" tabindex="0" aria-label="{label}">
<table>
<caption>{caption}</caption>
<thead>
<tr>"#
    )?;
    for column in &table.head {
        let (name, class) = (Escaped(&column.name), class(column.kind));
        match column.name.is_empty() {
            true => writeln!(f, "<td></td>")?,
            false => writeln!(f, r#"<th scope="col"{class}>{name}</th>"#)?,
        }
    }
    f.write_str("</tr>\n</thead>\n<tbody>\n")?;
    for row in &table.rows {
        f.write_str("<tr>")?;
        for (place, (cell, column)) in row.iter().zip(&table.head).enumerate() {
            let (cell, class) = (Escaped(cell), class(column.kind));
            match place {
                0 => write!(f, r#"<th scope="row"><bdi>{cell}</bdi></th>"#)?,
                _ => write!(f, "<td{class}><bdi>{cell}</bdi></td>")?,
            }
        }
        f.write_str("</tr>\n")?;
    }
    f.write_str("</tbody>\n</table>\n</div>\n")
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Words => "",
        Kind::Numbers => r#" class="n""#,
    }
}
