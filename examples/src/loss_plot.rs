//! The losses of a run as a picture.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::types::{RangedCoordf64, RangedCoordu32};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use llm_lora::Event;

mod curves;

use curves::{Curves, Point};

/// Of the drawing. Plotters rounds to whole units, so that one is to be half a pixel.
pub(crate) const SIZE: (u32, u32) = (1600, 900);
/// Of the curves from the picture's right side: half a step's label has room.
pub(crate) const RIGHT: u32 = 64;
/// The text's height in Plotters' measure, 1.24 times the font size.
pub(crate) const TEXT: u32 = 32;
pub(crate) const TITLE: u32 = 40;
/// The mean width of a letter of a legend, where fonts run wide.
pub(crate) const LETTER: i32 = 16;
/// Letters of the title that have room.
const TITLE_LETTERS: usize = 72;
/// Evaluations that are drawn as points; more would crowd.
const MAX_POINTS: usize = 100;

/// Blue and vermilion of Okabe and Ito's palette, which the colour-blind can tell apart too.
pub(crate) const TRAINING: RGBColor = RGBColor(0, 114, 178);
pub(crate) const EVALUATION: RGBColor = RGBColor(213, 94, 0);
pub(crate) const INK: RGBColor = RGBColor(51, 51, 51);
const EPOCH: RGBColor = RGBColor(170, 170, 170);
pub(crate) const GRID: RGBColor = RGBColor(232, 232, 232);

pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordu32, RangedCoordf64>>;

/// Draws a run's losses over its steps, as an SVG document: the training loss, faint, and smoothed;
/// the evaluation loss; the ends of the epochs. The events are in the order of their steps.
///
/// The smoothed curve is TensorBoard's: an exponential moving average, corrected for its start
/// ([Kingma and Ba](https://arxiv.org/abs/1412.6980), section 3). The weight of what came before is
/// TensorBoard's default, 0.6, in a short run; in a longer one the average spans a fiftieth of the
/// run, up to TensorBoard's greatest weight, 0.999.
///
/// Losses far outside the range of the others are drawn, and smoothed, as if they were on the
/// picture's edge; a note counts them. It also counts as missing the losses that are not finite and
/// the steps that were skipped, which are gaps in the curves.
///
/// # Errors
///
/// When Plotters fails, which it does not on a picture in memory.
pub fn svg(events: &[Event], title: &str) -> Result<String> {
    let curves = Curves::new(events);
    let mut document = String::new();
    {
        let canvas = SVGBackend::with_string(&mut document, SIZE).into_drawing_area();
        canvas.fill(&WHITE)?;
        let font = ("sans-serif", TITLE).into_font().color(&INK);
        canvas.draw_text(&fit(title), &font, (40, 28))?;
        draw_legend(&canvas, &curves)?;
        draw_note(&canvas, &curves)?;
        draw_chart(&canvas, &curves)?;
        canvas.present()?;
    }
    let (width, height) = SIZE;
    let drawn = format!("width=\"{width}\" height=\"{height}\"");
    let shown = format!("width=\"{}\" height=\"{}\"", width / 2, height / 2);
    Ok(document.replacen(&drawn, &shown, 1))
}

fn draw_chart<'a>(canvas: &Canvas<'a>, curves: &Curves) -> Result<()> {
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(140)
        .margin_right(RIGHT)
        .margin_bottom(16)
        .margin_left(24)
        .x_label_area_size(96)
        .y_label_area_size(150)
        .build_cartesian_2d(curves.x.clone(), curves.y.clone())?;
    let font = ("sans-serif", TEXT).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(INK.stroke_width(2))
        .label_style(font.clone())
        .axis_desc_style(font.clone())
        .x_labels(9)
        .y_labels(9)
        .y_label_formatter(&|loss| loss_label(*loss, &curves.y))
        .x_desc("step")
        .y_desc("loss")
        .draw()?;
    for &step in &curves.epochs {
        let line = [(step, curves.y.start), (step, curves.y.end)];
        chart.draw_series([PathElement::new(line, EPOCH.stroke_width(2))])?;
    }
    draw_curve(
        &mut chart,
        &curves.pieces(&curves.training),
        TRAINING.mix(0.3).stroke_width(2),
    )?;
    draw_curve(
        &mut chart,
        &curves.pieces(&curves.smoothed),
        TRAINING.stroke_width(4),
    )?;
    let evaluation = curves.pieces(&curves.evaluation);
    draw_curve(&mut chart, &evaluation, EVALUATION.stroke_width(4))?;
    if curves.evaluation.len() <= MAX_POINTS {
        let points = evaluation.into_iter().flatten();
        chart.draw_series(points.map(|point| Circle::new(point, 7, EVALUATION.filled())))?;
    }
    if curves.training.is_empty() && curves.evaluation.is_empty() {
        let (left, top) = chart.plotting_area().get_base_pixel();
        let (width, height) = chart.plotting_area().dim_in_pixel();
        let middle = (left + width as i32 / 2, top + height as i32 / 2);
        let font = font.pos(Pos::new(HPos::Center, VPos::Center));
        canvas.draw_text("no losses", &font, middle)?;
    }
    Ok(())
}

/// Pieces of one point are dots.
fn draw_curve(chart: &mut Chart, pieces: &[Vec<Point>], style: ShapeStyle) -> Result<()> {
    for piece in pieces {
        match piece[..] {
            [point] => {
                chart.draw_series([Circle::new(point, style.stroke_width + 1, style.filled())])?
            }
            _ => chart.draw_series([PathElement::new(piece.clone(), style)])?,
        };
    }
    Ok(())
}

fn draw_legend(canvas: &Canvas, curves: &Curves) -> Result<()> {
    let weight = format!("{:.3}", curves.weight);
    let smoothed = format!("smoothed (weight {})", weight.trim_end_matches('0'));
    let entries = [
        (
            !curves.training.is_empty(),
            "training loss",
            TRAINING.mix(0.3).stroke_width(4),
        ),
        (
            !curves.training.is_empty(),
            &*smoothed,
            TRAINING.stroke_width(5),
        ),
        (
            !curves.evaluation.is_empty(),
            "evaluation loss",
            EVALUATION.stroke_width(5),
        ),
        (
            !curves.epochs.is_empty(),
            "end of an epoch",
            EPOCH.stroke_width(2),
        ),
    ];
    let font = ("sans-serif", TEXT).into_font().color(&INK);
    let font = font.pos(Pos::new(HPos::Left, VPos::Center));
    let (mut x, y) = (40, 100);
    for (_, text, style) in entries.into_iter().filter(|entry| entry.0) {
        let line = match style.color == EPOCH.to_rgba() {
            true => vec![(x + 22, y - 18), (x + 22, y + 18)],
            false => vec![(x, y), (x + 44, y)],
        };
        canvas.draw(&PathElement::new(line, style))?;
        if style.color == EVALUATION.to_rgba() {
            canvas.draw(&Circle::new((x + 22, y), 7, style.filled()))?;
        }
        canvas.draw_text(text, &font, (x + 60, y))?;
        x += 60 + LETTER * text.len() as i32 + 40;
    }
    Ok(())
}

fn draw_note(canvas: &Canvas, curves: &Curves) -> Result<()> {
    let losses = || {
        curves
            .training
            .iter()
            .chain(&curves.evaluation)
            .map(|point| point.1)
    };
    let missing = losses().filter(|loss| !loss.is_finite()).count();
    let outside = losses()
        .filter(|loss| loss.is_finite() && !(curves.y.start..=curves.y.end).contains(loss))
        .count();
    let parts = [(outside, "off the scale"), (missing, "missing")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !parts.is_empty() {
        let font = ("sans-serif", TEXT).into_font().color(&INK);
        let font = font.pos(Pos::new(HPos::Right, VPos::Bottom));
        let place = ((SIZE.0 - RIGHT) as i32, SIZE.1 as i32 - 16);
        canvas.draw_text(&format!("losses: {}", parts.join(", ")), &font, place)?;
    }
    Ok(())
}

/// With the digits that tell neighbouring labels apart.
fn loss_label(loss: f64, range: &Range<f64>) -> String {
    let size = range.start.abs().max(range.end.abs());
    if !(1e-2..1e5).contains(&size) {
        return format!("{loss:.3e}");
    }
    let decimals = (0.7 - (range.end - range.start).log10()).ceil().max(0.0);
    format!("{loss:.*}", decimals as usize)
}

/// A title that has room in a line, without what XML forbids. Letters beyond ASCII may be wide.
pub(crate) fn fit(title: &str) -> String {
    let mut room = TITLE_LETTERS;
    let mut fitted = String::new();
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    for letter in title.chars() {
        let letter = if forbidden(letter) { ' ' } else { letter };
        let width = if letter.is_ascii() { 1 } else { 2 };
        if width > room {
            fitted.push('…');
            break;
        }
        room -= width;
        fitted.push(letter);
    }
    fitted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::curves::tests::{evaluation, noise, run, step};
    use super::*;
    use plotters::coord::ranged1d::Ranged;

    fn labels(document: &str) -> Vec<&str> {
        let text = |element| str::split_once(element, '>').unwrap().1;
        let elements = document
            .split("</text>")
            .filter_map(|part| part.split_once("<text"));
        elements.map(|(_, element)| text(element).trim()).collect()
    }

    #[test]
    fn a_note_counts_what_is_not_in_the_picture() {
        let mut losses = noise(500);
        (losses[250], losses[400], losses[401]) = (1e6, 1e30, f64::NAN);
        let document = svg(&run(&losses), "").unwrap();
        assert!(labels(&document).contains(&"losses: 2 off the scale, 1 missing"));
        let document = svg(&run(&noise(500)), "").unwrap();
        assert!(
            !labels(&document)
                .iter()
                .any(|label| label.contains("losses"))
        );
    }

    #[test]
    fn long_runs_make_small_files() {
        let mut losses = noise(100_000);
        losses
            .iter_mut()
            .step_by(3)
            .for_each(|loss| *loss = f64::NAN);
        let mut events = run(&losses);
        events
            .extend((1..=100_000).map(|i| evaluation(i, if i % 2 == 0 { f64::NAN } else { 2.5 })));
        let length = svg(&events, "").unwrap().len();
        assert!(length < 100_000, "{length}");
    }

    #[test]
    fn labels_of_losses_differ() {
        for range in [
            0.0..1e-7,
            0.0..0.7,
            2.3..2.304,
            0.0..9.9,
            1e7..1.01e7,
            -0.05..0.05,
        ] {
            let ticks = RangedCoordf64::from(range.clone()).key_points(9);
            let labels: Vec<_> = ticks.iter().map(|loss| loss_label(*loss, &range)).collect();
            assert!(labels.len() >= 4, "{labels:?}");
            assert!(
                labels.windows(2).all(|pair| pair[0] != pair[1]),
                "{labels:?}"
            );
            assert!(labels.iter().all(|label| label.len() < 9), "{labels:?}");
        }
    }

    #[test]
    fn titles_are_escaped_and_cut() {
        let document = svg(&[], "a <b> & \u{0}c\u{ffff}\n").unwrap();
        assert_eq!(labels(&document)[0], "a &lt;b&gt; &amp;  c");
        let long = "損失".repeat(100);
        assert_eq!(labels(&svg(&[], &long).unwrap())[0].chars().count(), 37);
    }

    /// Whatever a file of metrics says.
    #[test]
    fn no_event_panics() {
        let extremes = [
            0.0,
            -1.0,
            5e-324,
            1e-17,
            2.0,
            3e38,
            f64::MAX,
            f64::MIN,
            f64::NAN,
            f64::INFINITY,
        ];
        let steps = [0, 1, 7, 123_456, u32::MAX as usize, usize::MAX];
        let mut runs = vec![vec![]];
        for (i, loss) in extremes.into_iter().enumerate() {
            for (j, at) in steps.into_iter().enumerate() {
                runs.push(vec![step(at, loss, loss)]);
                runs.push(vec![evaluation(at, loss)]);
                let (other, later) = (
                    extremes[(i + j) % extremes.len()],
                    steps[(i + 1) % steps.len()],
                );
                runs.push(vec![
                    step(at, loss, loss),
                    step(later, other, other),
                    evaluation(at, other),
                ]);
            }
        }
        for events in runs {
            let document = svg(&events, "title").unwrap();
            assert!(document.starts_with("<svg width=\"800\" height=\"450\""));
            assert!(document.ends_with("</svg>\n"));
            assert!(
                !document.contains("NaN") && !document.contains("inf"),
                "{events:?}"
            );
            assert_eq!(document.contains("no losses"), events.is_empty());
        }
    }
}
