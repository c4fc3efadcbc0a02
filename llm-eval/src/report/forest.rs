//! The plot of intervals.

use std::fmt;

use super::content::fixed;
use super::svg::{Label, Mark, Scale, Ticks, begin};

/// Figures with their intervals, one a line.
pub(super) struct Forest {
    pub(super) title: String,
    /// What the axis shows.
    pub(super) axis: String,
    pub(super) rows: Vec<ForestRow>,
    /// The names of the series, of which each has its mark.
    pub(super) series: Vec<String>,
    /// The axis' ends; those of the data where there are none.
    pub(super) range: Option<(f64, f64)>,
    /// A value to be told from.
    pub(super) null: Option<f64>,
    /// Digits behind the point.
    pub(super) places: usize,
}

pub(super) struct ForestRow {
    /// The model, or two.
    pub(super) names: Vec<String>,
    pub(super) series: usize,
    pub(super) value: f64,
    pub(super) interval: Option<(f64, f64)>,
}

const WIDTH: f64 = 690.0;
const LEFT: f64 = 240.0;
const RIGHT: f64 = 540.0;
const TOP: f64 = 14.0;
const LINE: f64 = 24.0;
const LEGEND: f64 = 20.0;

impl Forest {
    fn ticks(&self) -> Ticks {
        let ends = self.rows.iter().flat_map(|row| {
            let (low, high) = row.interval.unwrap_or((row.value, row.value));
            [low, high, row.value]
        });
        Ticks::holding(self.range, ends.chain(self.null), 6)
    }

    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        row: &ForestRow,
        scale: Scale,
        y: f64,
    ) -> fmt::Result {
        let names: Vec<&str> = row.names.iter().map(String::as_str).collect();
        let label = Label {
            names: &names,
            x: LEFT - 14.0,
            y: y + 4.0,
            anchor: "end",
            room: LEFT - 20.0,
        };
        write!(f, "{label}")?;
        let value = |value: f64| fixed(value, self.places);
        let mut text = value(row.value);
        if let Some((low, high)) = row.interval {
            let (from, to) = (scale.at(low), scale.at(high));
            let series = row.series % super::svg::SERIES;
            write!(
                f,
                r#"<path class="whisker s{series}" d="M{from:.1} {y:.1}H{to:.1}M{from:.1} {:.1}v8M{to:.1} {:.1}v8"/>"#,
                y - 4.0,
                y - 4.0
            )?;
            text += &format!(" ({} to {})", value(low), value(high));
        }
        let mark = Mark {
            series: row.series,
            x: scale.at(row.value),
            y,
        };
        write!(f, "{mark}")?;
        write!(
            f,
            r#"<text x="{:.1}" y="{:.1}">{text}</text>"#,
            RIGHT + 14.0,
            y + 4.0
        )
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>, top: f64) -> fmt::Result {
        for (series, name) in self.series.iter().enumerate() {
            let y = top + LEGEND * series as f64;
            let mark = Mark {
                series,
                x: LEFT,
                y: y - 4.0,
            };
            let label = Label {
                names: &[name],
                x: LEFT + 12.0,
                y,
                anchor: "start",
                room: WIDTH - LEFT - 20.0,
            };
            write!(f, "{mark}{label}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Forest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks = self.ticks();
        let scale = ticks.scale(LEFT, RIGHT);
        let bottom = TOP + LINE * self.rows.len() as f64;
        let height = bottom + 48.0 + LEGEND * self.series.len() as f64;
        begin(f, WIDTH, height, &self.title)?;
        for tick in &ticks.values {
            let x = scale.at(*tick);
            write!(
                f,
                r#"<path class="grid" d="M{x:.1} {TOP}V{bottom:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 15.0,
                ticks.label(*tick)
            )?;
        }
        if let Some(null) = self.null {
            let x = scale.at(null);
            write!(f, r#"<path class="null" d="M{x:.1} {TOP}V{bottom:.1}"/>"#)?;
        }
        write!(f, r#"<path class="axis" d="M{LEFT} {bottom:.1}H{RIGHT}"/>"#)?;
        for (place, row) in self.rows.iter().enumerate() {
            self.row(f, row, scale, TOP + LINE * (place as f64 + 0.5))?;
        }
        let axis = Label {
            names: &[&self.axis],
            x: (LEFT + RIGHT) / 2.0,
            y: bottom + 33.0,
            anchor: "middle",
            room: WIDTH,
        };
        write!(f, "{axis}")?;
        self.legend(f, bottom + 56.0)?;
        f.write_str("</svg>")
    }
}
