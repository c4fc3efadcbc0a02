//! What charts are drawn with: scales, ticks, labels, markers.

use std::borrow::Cow;
use std::fmt;

use super::content::fixed;
use super::escape::Escaped;

/// The size of letters, in the units of the drawing.
pub(super) const LETTERS: f64 = 12.0;

/// Values from `low` to `high`, drawn from `from` to `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

/// The most digits behind the point.
const PLACES: usize = 12;

/// Axes end there, so that no distance is infinite.
const FARTHEST: f64 = 1e300;

/// Ticks at round numbers: 1, 2 or 5 times a power of ten apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    pub(super) values: Vec<f64>,
    places: usize,
}

impl Ticks {
    /// The fewest intervals between round numbers that hold all values, `most` at most. Values that are
    /// the same in all places that are shown get room around them.
    pub(super) fn around(low: f64, high: f64, most: usize) -> Self {
        let [low, high] = [low, high].map(|end| match end.is_nan() {
            true => 0.0,
            false => end.clamp(-FARTHEST, FARTHEST),
        });
        let finest = 0.1_f64.powi(PLACES as i32);
        let room = match high - low > most as f64 * finest {
            true => 0.0,
            false => 0.5 * low.abs().max(1.0),
        };
        let (low, high) = (low - room, high + room);
        let raw = (high - low) / most as f64;
        let power = 10_f64.powf(raw.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0, 20.0].map(|step| step * power);
        // Rounding must not add an interval.
        let span = |step: f64| ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let fits = |step: &&f64| span(**step).1 - span(**step).0 <= most as f64;
        let step = *steps.iter().find(fits).unwrap_or(&steps[4]);
        let (first, last) = span(step);
        let count = (last - first).max(1.0) as usize;
        Self {
            values: (0..=count).map(|at| (first + at as f64) * step).collect(),
            places: PLACES.min((-step.log10().floor()).max(0.0) as usize),
        }
    }

    /// The same for a range, or where there is none for what holds all values.
    pub(super) fn holding(
        range: Option<(f64, f64)>,
        values: impl Iterator<Item = f64>,
        most: usize,
    ) -> Self {
        let (low, high) = range.unwrap_or_else(|| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        });
        Self::around(low, high, most)
    }

    /// From the first tick, drawn at `from`, to the last.
    pub(super) fn scale(&self, from: f64, to: f64) -> Scale {
        let (low, high) = self.range();
        Scale {
            low,
            high,
            from,
            to,
        }
    }

    fn range(&self) -> (f64, f64) {
        (self.values[0], self.values[self.values.len() - 1])
    }

    pub(super) fn label(&self, value: f64) -> String {
        fixed(value, self.places)
    }
}

/// Begins a chart's drawing.
pub(super) fn begin(
    f: &mut fmt::Formatter<'_>,
    width: f64,
    height: f64,
    title: &str,
) -> fmt::Result {
    let title = Escaped(title);
    write!(
        f,
        r#"<svg role="img" viewBox="0 0 {width} {height}"><title>{title}</title>"#
    )
}

/// A name, or several against each other; those for which there is no room are cut off, and whole in
/// the `<title>`.
pub(super) struct Label<'a> {
    pub(super) names: &'a [&'a str],
    pub(super) x: f64,
    pub(super) y: f64,
    /// `start`, `middle` or `end`.
    pub(super) anchor: &'static str,
    pub(super) room: f64,
}

/// What stands between names.
const AGAINST: &str = " against ";

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            names,
            x,
            y,
            anchor,
            room,
        } = self;
        write!(f, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">"#)?;
        let whole = names.join(AGAINST);
        if width(&whole) <= *room {
            return write!(f, "{}</text>", Escaped(&whole));
        }
        let between = width(AGAINST) * (names.len() - 1) as f64;
        let room = (room - between) / names.len() as f64;
        let names: Vec<_> = names.iter().map(|name| cut(name, room)).collect();
        let short = names.join(AGAINST);
        let (short, whole) = (Escaped(&short), Escaped(&whole));
        write!(f, "{short}<title>{whole}</title></text>")
    }
}

/// What of a name there is room for, with the sign of omission where that is not all.
fn cut(name: &str, room: f64) -> Cow<'_, str> {
    if width(name) <= room {
        return Cow::Borrowed(name);
    }
    let mut left = room - LETTERS;
    let fits = |c: &char| {
        left -= LETTERS * width_of(*c);
        left >= 0.0
    };
    let start: String = name.chars().take_while(fits).collect();
    Cow::Owned(format!("{}…", start.trim_end()))
}

/// A text's width at most.
fn width(text: &str) -> f64 {
    text.chars().map(|c| LETTERS * width_of(c)).sum()
}

/// A letter's width at most, in heights.
fn width_of(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' | '-' | ' ' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.95,
        'A'..='Z' => 0.72,
        '\u{1100}'.. => 1.05,
        _ => 0.6,
    }
}

/// A series' mark: a shape of its own, so that colours are not needed to tell it.
pub(super) struct Mark {
    pub(super) series: usize,
    pub(super) x: f64,
    pub(super) y: f64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { series, x, y } = self;
        let shape = match series % SERIES {
            0 => {
                return write!(
                    f,
                    r#"<circle class="mark s0" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#
                );
            }
            1 => "m-4-4h8v8h-8z",
            2 => "m0-5.5 5 9.5h-10z",
            3 => "m0-5.8 5.8 5.8-5.8 5.8-5.8-5.8z",
            4 => "m0 5.5 5-9.5h-10z",
            _ => "m-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
        };
        let series = series % SERIES;
        write!(
            f,
            r#"<path class="mark s{series}" d="M{x:.1} {y:.1}{shape}"/>"#
        )
    }
}

/// How many series have colours and marks of their own.
pub(super) const SERIES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        for (low, high) in [
            (0.0, 10.0),
            (-0.3, 0.2),
            (7.0, 7.0),
            (0.0, 0.0),
            (1e-7, 3e-7),
        ] {
            let ticks = Ticks::around(low, high, 8);
            let (first, last) = ticks.range();
            assert!(first <= low && high <= last + 1e-9, "{ticks:?}");
            assert!((2..=9).contains(&ticks.values.len()), "{ticks:?}");
        }
        let ticks = Ticks::around(0.0, 100.0, 5);
        assert_eq!(ticks.values, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks.label(20.0), "20");
        let ticks = Ticks::around(6.13, 7.48, 5);
        assert_eq!(ticks.values, [6.0, 6.5, 7.0, 7.5]);
        assert_eq!(ticks.label(6.5), "6.5");
    }

    #[test]
    fn values_at_the_ends_of_floats_have_ticks() {
        for (low, high) in [
            (0.0, 5e-324),
            (0.0, 1e-15),
            (1.0, 1.0 + f64::EPSILON),
            (f64::MIN, f64::MAX),
            (f64::NAN, f64::INFINITY),
            (1e16, 1e16 + 2.0),
        ] {
            let ticks = Ticks::around(low, high, 6);
            let (first, last) = ticks.range();
            assert!(first < last && (last - first).is_finite(), "{ticks:?}");
            assert!((2..=7).contains(&ticks.values.len()), "{ticks:?}");
            for tick in &ticks.values {
                let label = ticks.label(*tick);
                let places = label.split_once('.').map_or(0, |(_, digits)| digits.len());
                assert!(places <= PLACES, "{label}");
            }
        }
    }

    #[test]
    fn long_names_are_cut_and_whole_in_the_title() {
        let label = |names: &[&str], room| {
            let (x, y, anchor) = (0.0, 0.0, "end");
            let label = Label {
                names,
                x,
                y,
                anchor,
                room,
            };
            label.to_string()
        };
        assert!(label(&["vicuna"], 100.0).ends_with(">vicuna</text>"));
        let long = "模型".repeat(40);
        let text = label(&[&long], 100.0);
        assert!(text.contains(&format!("<title>{long}</title>")));
        assert!(text.contains("模型模型模型…<title>"), "{text}");
        let two = label(&["a-rather-long-name", "another-rather-long-name"], 200.0);
        assert!(two.contains("a-rather-… against another-…<title>"), "{two}");
        assert!(label(&["<b>"], 100.0).contains("&lt;b&gt;"));
    }
}
