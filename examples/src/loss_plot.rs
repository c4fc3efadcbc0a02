//! The losses of a run as a picture.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::types::{RangedCoordf64, RangedCoordu32};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use llm_lora::Event;

use crate::drawing::{
    BLUE, Canvas, GRID, INK, LETTER, SIZE, VERMILION, chart_on, document, draw_note, draw_nothing,
    font,
};

mod curves;

use curves::{Curves, Point};

/// Evaluations that are drawn as points; more would crowd.
const MAX_POINTS: usize = 100;

const TRAINING: RGBColor = BLUE;
const EVALUATION: RGBColor = VERMILION;
const EPOCH: RGBColor = RGBColor(170, 170, 170);

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
    document(SIZE, title, |canvas| {
        draw_legend(canvas, &curves)?;
        draw_losses_beside(canvas, &curves)?;
        draw_chart(canvas, &curves)
    })
}

fn draw_chart<'a>(canvas: &Canvas<'a>, curves: &Curves) -> Result<()> {
    let mut chart = chart_on(canvas).build_cartesian_2d(curves.x.clone(), curves.y.clone())?;
    let font = font(HPos::Left, VPos::Top);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(2))
        .axis_style(INK.stroke_width(2))
        .label_style(font.clone())
        .axis_desc_style(font)
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
        draw_nothing(canvas, &chart, "no losses")?;
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
    let font = font(HPos::Left, VPos::Center);
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

/// Counts the losses that are not in the picture.
fn draw_losses_beside(canvas: &Canvas, curves: &Curves) -> Result<()> {
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
        draw_note(canvas, &format!("losses: {}", parts.join(", ")))?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::curves::tests::{evaluation, noise, run, step};
    use super::*;
    use crate::drawing::tests::labels;
    use plotters::coord::ranged1d::Ranged;

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
