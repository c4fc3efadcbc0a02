//! Pictures of a report: how long records are, and in which languages.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use llm_data::{Histogram, language_name};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::drawing::{
    BLUE, Canvas, GRID, INK, LETTER, SIZE, VERMILION, chart_on, document, draw_note, draw_nothing,
    fit, font,
};

mod bins;

use bins::{Bins, compact, count_ticks, length_ticks};

/// Languages that have a bar of their own; the rest shares one.
const LANGUAGES: usize = 12;
/// Letters of a language's name that have room.
const NAME_LETTERS: usize = 15;
/// Of a language's bars, and of what is around all of them.
const ROW: u32 = 72;
const AROUND: u32 = 140 + 16 + 96;
/// Of the bars' labels, to the right of the longest.
const LABELS: u32 = 360;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// An axis with ticks at these places.
struct Axis {
    range: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

/// What is drawn of the records before and, where there is one, after the cleaning.
type Sets<'a, T> = Vec<(&'static str, RGBColor, &'a T)>;

fn sets<'a, T>(before: &'a T, after: Option<&'a T>) -> Sets<'a, T> {
    let name = if after.is_some() { "before" } else { "" };
    let mut sets = vec![(name, BLUE, before)];
    sets.extend(after.map(|after| ("after", VERMILION, after)));
    sets
}

/// Draws how many records are how long, as an SVG document: `unit` is what lengths are counted in,
/// such as "characters"; the axis is logarithmic. A note counts records of length 0, which has no
/// place there.
///
/// # Errors
/// When Plotters fails, which it does not on a picture in memory.
pub fn lengths(
    title: &str,
    unit: &str,
    before: &Histogram,
    after: Option<&Histogram>,
) -> Result<String> {
    let sets = sets(before, after);
    let histograms: Vec<&Histogram> = sets.iter().map(|set| set.2).collect();
    let bins = Bins::new(&histograms);
    document(SIZE, title, |canvas| {
        let legend = sets.iter().map(|(name, color, histogram)| {
            let (count, median) = (histogram.count(), histogram.percentile(50));
            let text = match count {
                0 => "no records".to_owned(),
                _ => format!("{}, median {}", counted(count), compact(median as f64)),
            };
            (named(name, &text), *color)
        });
        draw_legend(canvas, legend.collect())?;
        let top = bins.heights.iter().flatten().copied().fold(0.0, f64::max);
        let (ticks, end) = count_ticks(top);
        let mut chart = chart_on(canvas).build_cartesian_2d(
            axis(bins.range(), length_ticks(&bins.edges)),
            axis(0.0..end, ticks),
        )?;
        draw_mesh(&mut chart, &fit(unit), |place| {
            compact(10_f64.powf(*place).round())
        })?;
        for (heights, (_, color, _)) in bins.heights.iter().zip(&sets) {
            draw_steps(&mut chart, &bins.edges, heights, *color)?;
        }
        if top == 0.0 {
            draw_nothing(canvas, &chart, "no records")?;
        }
        draw_zeros(canvas, &sets)
    })
}

/// Draws how many records are in which language, as an SVG document. The languages are given by
/// their codes, as [`Survey::languages`](llm_data::Survey::languages) has them; the most frequent
/// ones have a bar of their own.
///
/// # Errors
/// When Plotters fails, which it does not on a picture in memory.
pub fn languages(
    title: &str,
    before: &BTreeMap<String, usize>,
    after: Option<&BTreeMap<String, usize>>,
) -> Result<String> {
    let sets = sets(before, after);
    let rows = language_rows(&sets);
    let totals: Vec<usize> = sets.iter().map(|set| set.2.values().sum()).collect();
    let size = (SIZE.0, AROUND + ROW * rows.len().max(3) as u32);
    document(size, title, |canvas| {
        let legend = sets.iter().zip(&totals);
        let legend =
            legend.map(|((name, color, _), total)| (named(name, &counted(*total)), *color));
        draw_legend(canvas, legend.collect())?;
        let longest = rows.iter().flat_map(|row| &row.1).copied().max();
        let (ticks, _) = count_ticks(longest.unwrap_or(0) as f64);
        let end = longest.filter(|&longest| longest > 0).unwrap_or(1) as f64;
        let mut chart = chart_on(canvas)
            .margin_right(LABELS)
            .y_label_area_size(LETTER as u32 * (NAME_LETTERS as u32 + 2))
            .build_cartesian_2d(
                axis(0.0..end, ticks),
                axis(rows.len().max(3) as f64..0.0, Vec::new()),
            )?;
        draw_grid(&mut chart)?;
        for (place, (name, counts)) in rows.iter().enumerate() {
            draw_bars(canvas, &chart, place, name, &bars(counts, &totals, &sets))?;
        }
        if rows.is_empty() {
            draw_nothing(canvas, &chart, "no records")?;
        }
        Ok(())
    })
}

fn axis(range: Range<f64>, ticks: Vec<f64>) -> Axis {
    let range = range.into();
    Axis { range, ticks }
}

fn named(name: &str, text: &str) -> String {
    match name {
        "" => text.to_owned(),
        name => format!("{name}: {text}"),
    }
}

fn counted(records: usize) -> String {
    let noun = if records == 1 { "record" } else { "records" };
    format!("{} {noun}", compact(records as f64))
}

fn draw_legend(canvas: &Canvas, entries: Vec<(String, RGBColor)>) -> Result<()> {
    let (mut x, y) = (40, 100);
    for (text, color) in entries {
        let place = [(x, y - 12), (x + 44, y + 12)];
        canvas.draw(&Rectangle::new(place, color.mix(0.3).filled()))?;
        canvas.draw(&Rectangle::new(place, color.stroke_width(3)))?;
        canvas.draw_text(&text, &font(HPos::Left, VPos::Center), (x + 60, y))?;
        x += 60 + LETTER * text.chars().count() as i32 + 40;
    }
    Ok(())
}

fn draw_mesh(chart: &mut Chart, unit: &str, label: impl Fn(&f64) -> String) -> Result<()> {
    let font = font(HPos::Left, VPos::Top);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(INK.stroke_width(2))
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_label_formatter(&label)
        .y_label_formatter(&|count| compact(*count))
        .x_desc(unit)
        .y_desc("records")
        .draw()?;
    Ok(())
}

fn draw_grid(chart: &mut Chart) -> Result<()> {
    let font = font(HPos::Left, VPos::Top);
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(INK.stroke_width(2))
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_label_formatter(&|count| compact(*count))
        .x_desc("records")
        .draw()?;
    Ok(())
}

/// A histogram's outline, and its area faintly. Lengths that do not occur are left white.
fn draw_steps(chart: &mut Chart, edges: &[usize], heights: &[f64], color: RGBColor) -> Result<()> {
    let place = |edge: usize| (edge as f64).log10();
    let bins = || edges.windows(2).zip(heights);
    let filled = bins().filter(|(_, height)| **height > 0.0);
    chart.draw_series(filled.map(|(edges, &height)| {
        let corners = [(place(edges[0]), 0.0), (place(edges[1]), height)];
        Rectangle::new(corners, color.mix(0.2).filled())
    }))?;
    let corners =
        bins().flat_map(|(edges, &height)| [(place(edges[0]), height), (place(edges[1]), height)]);
    let start = [(place(edges[0]), 0.0)];
    let end = [(place(edges[edges.len() - 1]), 0.0)];
    let outline: Vec<_> = start.into_iter().chain(corners).chain(end).collect();
    chart.draw_series([PathElement::new(outline, color.stroke_width(3))])?;
    Ok(())
}

/// A language's bars: how long, in which colour, and what is written behind.
struct Bar {
    length: f64,
    color: RGBColor,
    label: String,
}

fn bars<T>(counts: &[usize], totals: &[usize], sets: &Sets<T>) -> Vec<Bar> {
    let all = counts.iter().zip(totals).zip(sets);
    all.map(|((&count, &total), &(_, color, _))| {
        let share = 100.0 * count as f64 / total.max(1) as f64;
        Bar {
            length: count as f64,
            color,
            label: format!("{} ({share:.1} %)", compact(count as f64)),
        }
    })
    .collect()
}

fn draw_bars(canvas: &Canvas, chart: &Chart, row: usize, name: &str, bars: &[Bar]) -> Result<()> {
    let height = (ROW as i32 - 8) / bars.len().max(2) as i32;
    let (left, middle) = chart.backend_coord(&(0.0, row as f64 + 0.5));
    let mut top = middle - height * bars.len() as i32 / 2;
    canvas.draw_text(name, &font(HPos::Right, VPos::Center), (left - 16, middle))?;
    for bar in bars {
        let (right, _) = chart.backend_coord(&(bar.length, 0.0));
        let place = [(left, top + 1), (right, top + height - 1)];
        canvas.draw(&Rectangle::new(place, bar.color.mix(0.3).filled()))?;
        canvas.draw(&Rectangle::new(place, bar.color.stroke_width(3)))?;
        let label = (right + 16, top + height / 2);
        canvas.draw_text(&bar.label, &font(HPos::Left, VPos::Center), label)?;
        top += height;
    }
    Ok(())
}

/// The most frequent languages by the first set, with their records in each.
fn language_rows(sets: &Sets<BTreeMap<String, usize>>) -> Vec<(String, Vec<usize>)> {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, (.., languages)) in sets.iter().enumerate() {
        for (code, count) in *languages {
            rows.entry(code).or_insert_with(|| vec![0; sets.len()])[place] += count;
        }
    }
    let mut rows: Vec<(&str, Vec<usize>)> = rows.into_iter().collect();
    rows.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let rest = rows.split_off(rows.len().min(LANGUAGES));
    let name = |code| shortened(language_name(code).unwrap_or(code));
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(code, counts)| (name(code), counts))
        .collect();
    if !rest.is_empty() {
        let sum = |place: usize| rest.iter().map(|(_, counts)| counts[place]).sum();
        let sums = (0..sets.len()).map(sum).collect();
        rows.push((format!("{} others", rest.len()), sums));
    }
    rows
}

fn shortened(name: &str) -> String {
    let name = fit(name);
    match name.chars().nth(NAME_LETTERS) {
        Some(_) => name.chars().take(NAME_LETTERS - 1).chain(['…']).collect(),
        None => name,
    }
}

fn draw_zeros(canvas: &Canvas, sets: &Sets<Histogram>) -> Result<()> {
    let zeros = sets.iter().filter_map(|(name, _, histogram)| {
        let (range, count) = histogram.buckets().next()?;
        (range.start == 0).then(|| named(name, &compact(count as f64)))
    });
    let zeros: Vec<String> = zeros.collect();
    if !zeros.is_empty() {
        draw_note(canvas, &format!("of length 0: {}", zeros.join(", ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::drawing::tests::labels;

    fn histogram(lengths: &[usize]) -> Histogram {
        let mut histogram = Histogram::default();
        lengths.iter().for_each(|&length| histogram.add(length));
        histogram
    }

    fn counts(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
        let counts = counts.iter();
        counts
            .map(|(key, count)| ((*key).to_owned(), *count))
            .collect()
    }

    #[test]
    fn any_lengths_can_be_drawn() {
        let sets: [&[usize]; 7] = [
            &[],
            &[0],
            &[1],
            &[700],
            &[0, 3, 3],
            &[9; 40],
            &[1, usize::MAX],
        ];
        for before in sets {
            for after in sets {
                let after = histogram(after);
                let document =
                    lengths("title", "tokens", &histogram(before), Some(&after)).unwrap();
                assert!(document.starts_with("<svg width=\"800\" height=\"450\""));
                assert!(document.ends_with("</svg>\n"));
                assert!(
                    !document.contains("NaN") && !document.contains("inf"),
                    "{before:?}"
                );
                assert!(document.len() < 40_000);
            }
        }
    }

    #[test]
    fn lengths_say_what_is_drawn() {
        let document = lengths("", "tokens", &histogram(&[0, 0, 5, 7]), None).unwrap();
        let shown = labels(&document);
        for label in ["4 records, median 0", "tokens", "records", "of length 0: 2"] {
            assert!(shown.contains(&label), "{label}: {shown:?}");
        }
        let document = lengths("", "tokens", &histogram(&[0]), Some(&histogram(&[]))).unwrap();
        let shown = labels(&document);
        assert!(shown.contains(&"no records") && shown.contains(&"of length 0: before: 1"));
    }

    #[test]
    fn languages_are_named_and_the_rare_ones_share_a_bar() {
        let before = counts(&[("eng", 30), ("cmn", 60), ("<b>", 10)]);
        let document = languages("a & b", &before, Some(&counts(&[("eng", 30)]))).unwrap();
        let shown = labels(&document);
        for label in [
            "a &amp; b",
            "Mandarin",
            "60 (60.0 %)",
            "30 (100.0 %)",
            "&lt;b&gt;",
        ] {
            assert!(shown.contains(&label), "{label}: {shown:?}");
        }
        let many: Vec<String> = (0..40)
            .map(|number| format!("language {number:>20}"))
            .collect();
        let many: BTreeMap<String, usize> = many.into_iter().map(|name| (name, 5)).collect();
        let document = languages("", &many, None).unwrap();
        let shown = labels(&document);
        assert!(
            shown.contains(&"28 others") && shown.contains(&"140 (70.0 %)"),
            "{shown:?}"
        );
        assert!(labels(&languages("", &counts(&[]), None).unwrap()).contains(&"no records"));
    }
}
