//! The report as Markdown.

use std::fmt;

use super::Report;
use super::content::{Block, Kind, Table};
use super::escape::Plain;
use super::html::title;
use super::sections::sections;

pub(super) struct Document<'a>(pub(super) &'a Report<'a>);

impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", Plain(&title(self.0)))?;
        for section in sections(self.0) {
            writeln!(f, "\n## {}", Plain(section.title))?;
            for block in &section.blocks {
                match block {
                    Block::Text(text) => writeln!(f, "\n{}", Plain(text))?,
                    Block::Warnings(texts) => {
                        writeln!(f)?;
                        for text in texts {
                            writeln!(f, "- **Warning:** {}", Plain(text))?;
                        }
                    }
                    Block::Table(table) => write_table(f, table)?,
                    // Their figures are in the tables.
                    Block::Forest(_) | Block::Radar(_) => {}
                }
            }
        }
        Ok(())
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &Table) -> fmt::Result {
    write!(f, "\n{}\n\n|", Plain(&table.caption))?;
    for column in &table.head {
        write!(f, " {} |", Plain(&column.name))?;
    }
    write!(f, "\n|")?;
    for column in &table.head {
        f.write_str(match column.kind {
            Kind::Words => " --- |",
            Kind::Numbers => " ---: |",
        })?;
    }
    writeln!(f)?;
    for row in &table.rows {
        f.write_str("|")?;
        for cell in row {
            write!(f, " {} |", Plain(cell))?;
        }
        writeln!(f)?;
    }
    Ok(())
}
