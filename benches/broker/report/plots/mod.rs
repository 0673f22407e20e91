//! The pictures of the page, as SVG.

mod bars;
mod lines;
mod targets;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use bars::cpu;
pub use lines::{growth, latency};
pub use targets::targets;

const INK: RGBColor = RGBColor(31, 41, 51);
const FAINT: RGBColor = RGBColor(123, 135, 148);
const GRID: RGBColor = RGBColor(228, 231, 235);
/// The broker's.
const OURS: RGBColor = RGBColor(29, 98, 184);
/// The broker's, where it does something else too.
const OTHER: RGBColor = RGBColor(217, 119, 6);
const LIMIT: RGBColor = RGBColor(154, 165, 177);
const MET: RGBColor = RGBColor(21, 128, 61);
const MISSED: RGBColor = RGBColor(190, 40, 30);

const FONT: &str = "sans-serif";
const TEXT_SIZE: i32 = 16;
/// About, of one letter: what shows the picture has the font.
const LETTER: i32 = 7;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A white canvas: pages may be dark.
fn canvas(svg: &mut String, width: u32, height: u32) -> Canvas<'_> {
    let canvas = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
    canvas.fill(&WHITE).unwrap();
    canvas
}

fn text(canvas: &Canvas<'_>, words: &str, at: (i32, i32), colour: RGBColor, anchor: HPos) {
    let style = (FONT, TEXT_SIZE).into_font().color(&colour).pos(Pos::new(anchor, VPos::Center));
    canvas.draw(&Text::new(words.to_owned(), at, style)).unwrap();
}

fn left(canvas: &Canvas<'_>, words: &str, at: (i32, i32), colour: RGBColor) {
    text(canvas, words, at, colour, HPos::Left);
}

fn right(canvas: &Canvas<'_>, words: &str, at: (i32, i32), colour: RGBColor) {
    text(canvas, words, at, colour, HPos::Right);
}

fn centre(canvas: &Canvas<'_>, words: &str, at: (i32, i32), colour: RGBColor) {
    text(canvas, words, at, colour, HPos::Center);
}

fn line(canvas: &Canvas<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor, width: u32) {
    canvas.draw(&PathElement::new(vec![from, to], colour.stroke_width(width))).unwrap();
}

fn bar(canvas: &Canvas<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) {
    canvas.draw(&Rectangle::new([from, to], colour.filled())).unwrap();
}

fn dot(canvas: &Canvas<'_>, at: (i32, i32), colour: RGBColor) {
    canvas.draw(&Circle::new(at, 5, colour.filled())).unwrap();
}

/// Half way to white.
fn faded(colour: RGBColor) -> RGBColor {
    let mixed = |part: u8| 255 - (255 - part) / 2;
    RGBColor(mixed(colour.0), mixed(colour.1), mixed(colour.2))
}
