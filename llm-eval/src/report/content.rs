//! What a report says, apart from how it is written down.

use super::forest::Forest;
use super::radar::Radar;

/// A part with a title.
pub(super) struct Section {
    /// Its name in links.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

pub(super) enum Block {
    Text(String),
    Warnings(Vec<String>),
    Table(Table),
    Forest(Forest),
    Radar(Radar),
}

/// A table; the first cell of a row says what the row is about.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) head: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Words,
    Numbers,
}

impl Table {
    /// A table without rows. A column's name that begins with `#` is of numbers.
    pub(super) fn new<'a>(
        caption: impl Into<String>,
        head: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let column = |name: &str| match name.strip_prefix('#') {
            Some(name) => Column {
                name: name.to_owned(),
                kind: Kind::Numbers,
            },
            None => Column {
                name: name.to_owned(),
                kind: Kind::Words,
            },
        };
        Self {
            caption: caption.into(),
            head: head.into_iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// More columns, of numbers, whose names come from the data.
    pub(super) fn numbers(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let kind = Kind::Numbers;
        let columns = names.into_iter().map(|name| Column { name, kind });
        self.head.extend(columns);
        self
    }

    pub(super) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        let row: Vec<String> = row.into_iter().collect();
        debug_assert_eq!(row.len(), self.head.len());
        self.rows.push(row);
    }

    /// Without the columns of these names that say the same, or nothing, in every row.
    pub(super) fn without_idle(mut self, names: &[&str]) -> Self {
        for name in names {
            let Some(place) = self.head.iter().position(|column| column.name == *name) else {
                continue;
            };
            let mut cells = self.rows.iter().map(|row| &row[place]);
            let first = cells.next();
            if cells.all(|cell| Some(cell) == first) {
                self.head.remove(place);
                self.rows.iter_mut().for_each(|row| {
                    row.remove(place);
                });
            }
        }
        self
    }
}

/// A number with so many places behind the point, and a sign that is not a hyphen.
pub(super) fn fixed(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().any(|c| matches!(c, '1'..='9')) => format!("−{digits}"),
        Some(digits) => digits.to_owned(),
        None => text,
    }
}

/// A figure with so many places behind the point; a dash where there is none.
pub(super) fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| fixed(value, places))
}

/// A share in per cent.
pub(super) fn percent(share: Option<f64>) -> String {
    number(share.map(|share| 100.0 * share), 1)
}
