//! Curves: latencies by quantile, and what a unit of work costs as something grows.

use super::*;
use crate::growth::{Growth, Part};
use crate::measure::Side;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 400;
const MARGIN_LEFT: i32 = 70;
const MARGIN_RIGHT: i32 = 30;
const TOP: i32 = 64;
const BOTTOM: i32 = 60;
/// What an axis shows at least, from its lower end to its upper one.
const DECADE: f64 = 10.0;

/// The place of a picture's axes, both logarithmic, or the lower one even steps.
struct Frame<'a> {
    canvas: Canvas<'a>,
    y_range: (f64, f64),
}

impl<'a> Frame<'a> {
    fn new(svg: &'a mut String, title: &str, y_label: &str, values: impl Iterator<Item = f64>) -> Frame<'a> {
        let canvas = canvas(svg, WIDTH, HEIGHT);
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        // What is nearly flat is to look flat.
        let room = (DECADE / (high / low)).sqrt().max(1.3);
        let frame = Frame { canvas, y_range: (low / room, high * room) };
        left(&frame.canvas, title, (MARGIN_LEFT, 16), INK);
        left(&frame.canvas, y_label, (MARGIN_LEFT, 40), FAINT);
        for tick in frame.ticks() {
            let y = frame.y(tick);
            line(&frame.canvas, (MARGIN_LEFT, y), (WIDTH as i32 - MARGIN_RIGHT, y), GRID, 1);
            right(&frame.canvas, &tick.to_string(), (MARGIN_LEFT - 8, y), FAINT);
        }
        frame
    }

    /// 1, 2, 5, 10, … or, where that would be many, 1, 10, 100, ….
    fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.y_range;
        let steps: &[f64] = if high / low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = (-6..9).map(|decade: i32| format!("1e{decade}").parse::<f64>().unwrap());
        let ticks = decades.flat_map(|decade| steps.iter().map(move |step| format!("{}", step * decade)));
        // By way of text, for 0.1 * 3 is not 0.3.
        ticks
            .map(|tick| (tick.parse::<f64>().unwrap() * 1e6).round() / 1e6)
            .filter(|it| (low..=high).contains(it))
            .collect()
    }

    fn y(&self, value: f64) -> i32 {
        let (low, high) = self.y_range;
        let along = (value.clamp(low, high) / low).ln() / (high / low).ln();
        HEIGHT as i32 - BOTTOM - (along * f64::from(HEIGHT as i32 - BOTTOM - TOP)) as i32
    }

    fn x_names(&self, label: &str, names: &[String]) {
        let y = HEIGHT as i32 - BOTTOM + 16;
        names
            .iter()
            .enumerate()
            .for_each(|(index, name)| centre(&self.canvas, name, (x(index, names.len()), y), FAINT));
        centre(&self.canvas, label, ((MARGIN_LEFT + WIDTH as i32 - MARGIN_RIGHT) / 2, HEIGHT as i32 - 16), FAINT);
    }

    fn curve(&self, points: &[(i32, i32)], colour: RGBColor) {
        self.canvas.draw(&PathElement::new(points.to_vec(), colour.stroke_width(2))).unwrap();
        points.iter().for_each(|point| dot(&self.canvas, *point, colour));
    }

    fn legend(&self, names: &[(&str, RGBColor)]) {
        let mut end = WIDTH as i32 - MARGIN_RIGHT;
        for (name, colour) in names.iter().rev() {
            end -= name.chars().count() as i32 * LETTER;
            left(&self.canvas, name, (end, 40), INK);
            dot(&self.canvas, (end - 12, 40), *colour);
            end -= 36;
        }
    }
}

fn x(index: usize, count: usize) -> i32 {
    let room = WIDTH as i32 - MARGIN_LEFT - MARGIN_RIGHT - 80;
    MARGIN_LEFT + 40 + room * index as i32 / (count.max(2) - 1) as i32
}

/// With the spread of the runs at each point.
pub fn growth(growth: &Growth) -> String {
    let mut svg = String::new();
    let spreads = growth.curves.iter().flat_map(|curve| curve.points.iter().flatten());
    let frame = Frame::new(&mut svg, &growth.title, &growth.y, spreads.flat_map(|spread| [spread.min, spread.max]));
    frame.x_names(&growth.x.label, &growth.x.names);
    let colour = |part| match part {
        Part::Broker => OURS,
        Part::Other => OTHER,
        Part::Limit => LIMIT,
    };
    for curve in &growth.curves {
        let measured = curve
            .points
            .iter()
            .enumerate()
            .filter_map(|(index, point)| Some((x(index, curve.points.len()), (*point)?)));
        let measured: Vec<_> = measured.collect();
        for (x, spread) in &measured {
            line(&frame.canvas, (*x, frame.y(spread.min)), (*x, frame.y(spread.max)), colour(curve.part), 1);
        }
        let points: Vec<_> = measured.iter().map(|(x, spread)| (*x, frame.y(spread.median))).collect();
        frame.curve(&points, colour(curve.part));
    }
    let names: Vec<_> = growth.curves.iter().map(|curve| (curve.name.as_str(), colour(curve.part))).collect();
    frame.legend(&names);
    drop(frame);
    svg
}

/// Milliseconds at each quantile of the sides, the rarer the farther to the right.
pub fn latency(title: &str, sides: &[Side]) -> String {
    let latencies: Vec<_> = sides.iter().filter_map(|side| Some((side.name.as_str(), side.latency()?))).collect();
    let shown = |quantile: f64| (0.25..1.0).contains(&quantile);
    let values =
        latencies.iter().flat_map(|(_, latency)| latency.0.iter().filter(|(at, _)| shown(*at)).map(|(_, ms)| *ms));
    let mut svg = String::new();
    let frame = Frame::new(&mut svg, title, "ms", values);
    let names: Vec<String> = latencies[0].1.0.iter().map(|(at, _)| *at).filter(|at| shown(*at)).map(percent).collect();
    frame.x_names("of the requests were answered, and of the records had arrived, within", &names);
    let colours = [OURS, OTHER, LIMIT];
    for ((_, latency), colour) in latencies.iter().zip(colours) {
        let points = latency.0.iter().filter(|(at, _)| shown(*at)).enumerate();
        let points: Vec<_> = points.map(|(index, (_, ms))| (x(index, names.len()), frame.y(*ms))).collect();
        frame.curve(&points, colour);
    }
    let legend: Vec<_> = latencies.iter().zip(colours).map(|((name, _), colour)| (*name, colour)).collect();
    frame.legend(&legend);
    drop(frame);
    svg
}

fn percent(quantile: f64) -> String {
    format!("{}%", (quantile * 1e6).round() / 1e4)
}
