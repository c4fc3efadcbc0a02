//! Figures one a line, whatever they are of: as tables by category and turn, as plots.

use std::collections::BTreeMap;

use super::Report;
use super::content::{Table, fixed, number};
use super::forest::{Forest, ForestRow};
use super::radar::{Radar, RadarSeries};
use super::svg::SERIES;
use crate::judge::{Comparisons, ScoreFigures, Scores};
use crate::stats::Estimate;

/// Figures of one kind.
pub(super) struct Lines {
    /// What they are.
    what: &'static str,
    /// Their unit, behind a comma.
    unit: &'static str,
    places: usize,
    range: Option<(f64, f64)>,
    null: Option<f64>,
    judges: Vec<String>,
    models: Vec<String>,
    categories: Vec<String>,
    turns: Vec<usize>,
    pub(super) lines: Vec<Line>,
}

/// The figures of a model, or of a pair of models, by a judge.
pub(super) struct Line {
    /// Its place among the report's figures of the kind.
    pub(super) place: usize,
    /// The model, or both.
    names: Vec<String>,
    pub(super) judge: String,
    pub(super) overall: Value,
    categories: BTreeMap<String, Value>,
    turns: BTreeMap<usize, Value>,
}

/// A figure, in the unit in which it is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Value {
    value: Option<f64>,
    interval: Option<(f64, f64)>,
    places: usize,
}

impl Value {
    fn new(value: Option<f64>, estimate: Option<&Estimate>, factor: f64, places: usize) -> Self {
        let interval = estimate.map(|estimate| estimate.interval);
        // An interval that is a point says less than nothing.
        let interval = interval.filter(|ends| ends.low < ends.high);
        Self {
            value: value.map(|value| factor * value),
            interval: interval.map(|ends| (factor * ends.low, factor * ends.high)),
            places,
        }
    }

    pub(super) fn value(&self) -> String {
        number(self.value, self.places)
    }

    pub(super) fn interval(&self) -> String {
        let places = self.places;
        self.interval.map_or_else(
            || "–".to_owned(),
            |(low, high)| format!("{} to {}", fixed(low, places), fixed(high, places)),
        )
    }

    fn with_interval(&self) -> String {
        match self.interval {
            Some(_) => format!("{} ({})", self.value(), self.interval()),
            None => self.value(),
        }
    }
}

impl Line {
    pub(super) fn name(&self) -> String {
        self.names.join(" against ")
    }
}

impl From<&Scores> for Value {
    fn from(scores: &Scores) -> Self {
        Self::new(scores.mean, scores.estimate.as_ref(), 1.0, 2)
    }
}

impl From<&Comparisons> for Value {
    fn from(games: &Comparisons) -> Self {
        let rate = games.adjusted_win_rate;
        Self::new(rate, games.estimate.as_ref(), 100.0, 1)
    }
}

fn values<'a, K: Ord + Clone, F>(figures: &'a BTreeMap<K, F>) -> BTreeMap<K, Value>
where
    Value: From<&'a F>,
{
    let value = |(key, figure): (&K, &'a F)| (key.clone(), Value::from(figure));
    figures.iter().map(value).collect()
}

impl Lines {
    /// Models' mean scores.
    pub(super) fn scores(report: &Report<'_>) -> Self {
        let scores = &report.figures.scores;
        let mixed = scores.iter().any(|one| one.grammar != scores[0].grammar);
        let name = |one: &ScoreFigures| match mixed {
            true => format!("{} ({})", one.model, one.grammar),
            false => one.model.clone(),
        };
        let lines = scores.iter().enumerate().map(|(place, one)| Line {
            place,
            names: vec![name(one)],
            judge: one.judge.clone(),
            overall: Value::from(&one.overall),
            categories: values(&one.categories),
            turns: values(&one.turns),
        });
        Self::new(report, "Mean score", lines.collect(), None)
    }

    /// Models' adjusted win rates against all others.
    pub(super) fn standings(report: &Report<'_>) -> Self {
        let lines = report.standings.iter().enumerate();
        let lines = lines.map(|(place, one)| Line {
            place,
            names: vec![one.model.clone()],
            judge: one.judge.clone(),
            overall: Value::from(&one.overall),
            categories: values(&one.categories),
            turns: values(&one.turns),
        });
        let what = "Adjusted win rate against all others";
        Self::new(report, what, lines.collect(), Some(50.0))
    }

    /// Pairs' adjusted win rates.
    pub(super) fn pairs(report: &Report<'_>) -> Self {
        let lines = report.figures.pairs.iter().enumerate();
        let lines = lines.map(|(place, one)| Line {
            place,
            names: vec![one.model_1.clone(), one.model_2.clone()],
            judge: one.judge.clone(),
            overall: Value::from(&one.overall),
            categories: values(&one.categories),
            turns: values(&one.turns),
        });
        let what = "Adjusted win rate of the first";
        Self::new(report, what, lines.collect(), Some(50.0))
    }

    fn new(
        report: &Report<'_>,
        what: &'static str,
        mut lines: Vec<Line>,
        null: Option<f64>,
    ) -> Self {
        let judges = report.judged.judges.clone();
        lines.sort_by(|one, other| {
            let place = |line: &Line| judges.iter().position(|judge| *judge == line.judge);
            let value = |line: &Line| line.overall.value.unwrap_or(f64::NEG_INFINITY);
            place(one)
                .cmp(&place(other))
                .then(value(other).total_cmp(&value(one)))
        });
        let mut turns: Vec<usize> = lines
            .iter()
            .flat_map(|line| line.turns.keys().copied())
            .collect();
        turns.sort_unstable();
        turns.dedup();
        Self {
            what,
            unit: if null.is_some() { ", %" } else { "" },
            places: if null.is_some() { 1 } else { 2 },
            range: null.map(|_| (0.0, 100.0)),
            null,
            judges,
            models: report.judged.models.clone(),
            categories: report.judged.categories.clone(),
            turns,
            lines,
        }
    }

    /// The plot of intervals; `None` without figures.
    pub(super) fn forest(&self) -> Option<Forest> {
        let several = self.judges.len() > 1;
        let row = |line: &Line| {
            Some(ForestRow {
                names: line.names.clone(),
                series: self.judges.iter().position(|one| *one == line.judge)?,
                value: line.overall.value?,
                interval: line.overall.interval,
            })
        };
        let rows: Vec<ForestRow> = self.lines.iter().filter_map(row).collect();
        (!rows.is_empty()).then(|| Forest {
            title: format!("{} with its interval", self.what),
            axis: format!("{}{}", self.what, self.unit),
            rows,
            series: if several {
                self.judges.clone()
            } else {
                Vec::new()
            },
            range: self.range,
            null: self.null,
            places: self.places,
        })
    }

    /// The plots of categories, one for each judge: of its best models. None with fewer than three
    /// categories.
    pub(super) fn radars(&self) -> Vec<Radar> {
        if self.categories.len() < 3 {
            return Vec::new();
        }
        let radar = |judge: &String| {
            let lines = self.lines.iter().filter(|line| line.judge == *judge);
            let all = lines.clone().count();
            let series = lines.take(SERIES).enumerate();
            let series = series.map(|(place, line)| RadarSeries {
                name: line.name(),
                series: self.series(line).unwrap_or(place),
                values: self.in_categories(line).map(|value| value?.value).collect(),
            });
            let series: Vec<_> = series.collect();
            let best = match all > SERIES {
                true => format!(", the best {SERIES} of {all}"),
                false => String::new(),
            };
            (!series.is_empty()).then(|| Radar {
                title: format!("{} by category{}, says {judge}{best}", self.what, self.unit),
                axes: self.categories.iter().map(|name| category(name)).collect(),
                series,
                range: self.range,
            })
        };
        self.judges.iter().filter_map(radar).collect()
    }

    /// A model's colour and mark in all plots, where there are enough of them.
    fn series(&self, line: &Line) -> Option<usize> {
        let [model] = &line.names[..] else {
            return None;
        };
        let place = self.models.iter().position(|one| one == model);
        place.filter(|_| self.models.len() <= SERIES)
    }

    fn in_categories<'a>(&'a self, line: &'a Line) -> impl Iterator<Item = Option<&'a Value>> {
        let names = self.categories.iter();
        names.map(|name| line.categories.get(name))
    }

    /// The table by category; `None` with one category only.
    pub(super) fn by_category(&self) -> Option<Table> {
        let names = self.categories.iter().map(|name| category(name));
        self.by("category", names, |line| self.in_categories(line).collect())
    }

    /// The table by turn; `None` with one turn only.
    pub(super) fn by_turn(&self) -> Option<Table> {
        let names = self.turns.iter().map(|turn| format!("turn {turn}"));
        let of = |line| {
            let line: &Line = line;
            self.turns.iter().map(|turn| line.turns.get(turn)).collect()
        };
        self.by("turn", names, of)
    }

    fn by<'a>(
        &'a self,
        what: &str,
        names: impl ExactSizeIterator<Item = String>,
        of: impl Fn(&'a Line) -> Vec<Option<&'a Value>>,
    ) -> Option<Table> {
        if names.len() < 2 || self.lines.is_empty() {
            return None;
        }
        let caption = format!("{} by {what}{}, with its interval", self.what, self.unit);
        let mut table = Table::new(caption, ["", "judge"]).numbers(names);
        for line in &self.lines {
            let cells = of(line).into_iter();
            let cells =
                cells.map(|value| value.map_or_else(|| "–".to_owned(), Value::with_interval));
            table.push([line.name(), line.judge.clone()].into_iter().chain(cells));
        }
        Some(table.without_idle(&["judge"]))
    }
}

/// A category's name, to be read.
pub(super) fn category(name: &str) -> String {
    match name.is_empty() {
        true => "(none)".to_owned(),
        false => name.to_owned(),
    }
}
