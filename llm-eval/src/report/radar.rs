//! The plot of categories around a centre.

use std::f64::consts::TAU;
use std::fmt;

use super::svg::{Label, Mark, SERIES, Scale, Ticks, begin};

/// Figures of several models by category.
pub(super) struct Radar {
    pub(super) title: String,
    pub(super) axes: Vec<String>,
    pub(super) series: Vec<RadarSeries>,
    /// The ends of the axes; 0 and what the data need where there are none.
    pub(super) range: Option<(f64, f64)>,
}

pub(super) struct RadarSeries {
    pub(super) name: String,
    /// Which colour and mark it has, in all plots.
    pub(super) series: usize,
    /// By axis.
    pub(super) values: Vec<Option<f64>>,
}

const WIDTH: f64 = 480.0;
const CENTRE: (f64, f64) = (240.0, 170.0);
const RADIUS: f64 = 130.0;
const LEGEND: f64 = 20.0;
const LEGEND_TOP: f64 = 352.0;

impl Radar {
    fn ticks(&self) -> Ticks {
        let values = self.series.iter().flat_map(|one| &one.values).flatten();
        Ticks::holding(self.range, values.copied().chain([0.0]), 5)
    }

    /// The place at a distance from the centre on an axis, the first of which points up.
    fn at(&self, axis: usize, distance: f64) -> (f64, f64) {
        let angle = TAU * axis as f64 / self.axes.len() as f64;
        (
            CENTRE.0 + distance * angle.sin(),
            CENTRE.1 - distance * angle.cos(),
        )
    }

    fn web(&self, f: &mut fmt::Formatter<'_>, ticks: &Ticks, scale: Scale) -> fmt::Result {
        for tick in &ticks.values {
            let ring = (0..self.axes.len()).map(|axis| self.at(axis, scale.at(*tick)));
            write!(f, r#"<path class="grid" d="{}z"/>"#, path(ring))?;
        }
        for axis in 0..self.axes.len() {
            let spoke = [CENTRE, self.at(axis, RADIUS)];
            write!(f, r#"<path class="grid" d="{}"/>"#, path(spoke))?;
        }
        for tick in &ticks.values {
            let y = CENTRE.1 - scale.at(*tick) + 4.0;
            write!(
                f,
                r#"<text class="tick" x="{:.1}" y="{y:.1}" text-anchor="end">{}</text>"#,
                CENTRE.0 - 4.0,
                ticks.label(*tick)
            )?;
        }
        Ok(())
    }

    fn names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (axis, text) in self.axes.iter().enumerate() {
            let (x, y) = self.at(axis, RADIUS + 12.0);
            let right = x - CENTRE.0;
            let (anchor, room) = match right.abs() < 1.0 {
                true => ("middle", WIDTH),
                false if right > 0.0 => ("start", WIDTH - x),
                false => ("end", x),
            };
            // Below the centre a text hangs, above it stands.
            let y = y + 4.0 + 5.0 * (y - CENTRE.1) / RADIUS;
            let label = Label {
                names: &[text],
                x,
                y,
                anchor,
                room,
            };
            write!(f, "{label}")?;
        }
        Ok(())
    }

    fn one(&self, f: &mut fmt::Formatter<'_>, one: &RadarSeries, scale: Scale) -> fmt::Result {
        let RadarSeries { series, values, .. } = one;
        let series = *series;
        let points: Vec<_> = values
            .iter()
            .enumerate()
            .filter_map(|(axis, value)| Some(self.at(axis, scale.at((*value)?))))
            .collect();
        let class = series % SERIES;
        // A line past an axis without a value would show one there.
        if points.len() == self.axes.len() {
            let line = path(points.iter().copied());
            write!(f, r#"<path class="line s{class}" d="{line}z"/>"#)?;
        }
        for (x, y) in points {
            write!(f, "{}", Mark { series, x, y })?;
        }
        Ok(())
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, one) in self.series.iter().enumerate() {
            let (x, y) = (40.0, LEGEND_TOP + LEGEND * place as f64);
            let series = one.series;
            let class = series % SERIES;
            write!(
                f,
                r#"<path class="line s{class}" d="M{:.1} {:.1}h36"/>"#,
                x - 18.0,
                y - 4.0
            )?;
            let mark = Mark {
                series,
                x,
                y: y - 4.0,
            };
            let label = Label {
                names: &[&one.name],
                x: x + 26.0,
                y,
                anchor: "start",
                room: WIDTH - 80.0,
            };
            write!(f, "{mark}{label}")?;
        }
        Ok(())
    }
}

fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let command = if path.is_empty() { 'M' } else { 'L' };
        path += &format!("{command}{x:.1} {y:.1}");
    }
    path
}

impl fmt::Display for Radar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks = self.ticks();
        let scale = ticks.scale(0.0, RADIUS);
        let height = LEGEND_TOP + LEGEND * self.series.len() as f64 - 6.0;
        begin(f, WIDTH, height, &self.title)?;
        self.web(f, &ticks, scale)?;
        self.names(f)?;
        for one in &self.series {
            self.one(f, one, scale)?;
        }
        self.legend(f)?;
        f.write_str("</svg>")
    }
}
