//! What the pictures share: size, colours, title, notes.

use anyhow::Result;
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Of the drawing. Plotters rounds to whole units, so that one is to be half a pixel.
pub(crate) const SIZE: (u32, u32) = (1600, 900);
/// Of the curves from the picture's right side: half a step's label has room.
pub(crate) const RIGHT: u32 = 64;
/// The text's height in Plotters' measure, 1.24 times the font size.
const TEXT: u32 = 32;
const TITLE: u32 = 40;
/// The mean width of a letter of a legend, where fonts run wide.
pub(crate) const LETTER: i32 = 16;
/// Letters of the title that have room.
const TITLE_LETTERS: usize = 72;

/// Blue and vermilion of Okabe and Ito's palette, which the colour-blind can tell apart too.
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(crate) const INK: RGBColor = RGBColor(51, 51, 51);
pub(crate) const GRID: RGBColor = RGBColor(232, 232, 232);

pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An SVG document with a title above what `draw` puts on the canvas.
pub(crate) fn document(
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(&Canvas) -> Result<()>,
) -> Result<String> {
    let mut document = String::new();
    {
        let canvas = SVGBackend::with_string(&mut document, size).into_drawing_area();
        canvas.fill(&WHITE)?;
        let font = ("sans-serif", TITLE).into_font().color(&INK);
        canvas.draw_text(&fit(title), &font, (40, 28))?;
        draw(&canvas)?;
        canvas.present()?;
    }
    let (width, height) = size;
    let drawn = format!("width=\"{width}\" height=\"{height}\"");
    let shown = format!("width=\"{}\" height=\"{}\"", width / 2, height / 2);
    Ok(document.replacen(&drawn, &shown, 1))
}

pub(crate) fn font(horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    let font = ("sans-serif", TEXT).into_font().color(&INK);
    font.pos(Pos::new(horizontal, vertical))
}

/// A chart below title and legend, with room for the axes' labels.
pub(crate) fn chart_on<'a, 'b>(canvas: &'a Canvas<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(canvas);
    chart
        .margin_top(140)
        .margin_right(RIGHT)
        .margin_bottom(16)
        .margin_left(24)
        .x_label_area_size(96)
        .y_label_area_size(150);
    chart
}

/// Says in the middle of a chart that there is nothing in it.
pub(crate) fn draw_nothing<'a, C: CoordTranslate>(
    canvas: &Canvas<'a>,
    chart: &ChartContext<SVGBackend<'a>, C>,
    text: &str,
) -> Result<()> {
    let (left, top) = chart.plotting_area().get_base_pixel();
    let (width, height) = chart.plotting_area().dim_in_pixel();
    let middle = (left + width as i32 / 2, top + height as i32 / 2);
    Ok(canvas.draw_text(text, &font(HPos::Center, VPos::Center), middle)?)
}

/// A note in the lower right corner of a picture of the usual size.
pub(crate) fn draw_note(canvas: &Canvas, text: &str) -> Result<()> {
    let place = ((SIZE.0 - RIGHT) as i32, SIZE.1 as i32 - 16);
    Ok(canvas.draw_text(text, &font(HPos::Right, VPos::Bottom), place)?)
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
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    /// The texts of a picture.
    pub(crate) fn labels(document: &str) -> Vec<&str> {
        let text = |element| str::split_once(element, '>').unwrap().1;
        let elements = document
            .split("</text>")
            .filter_map(|part| part.split_once("<text"));
        elements.map(|(_, element)| text(element).trim()).collect()
    }
}
