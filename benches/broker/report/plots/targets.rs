//! How far each figure is from what it must reach.

use super::*;
use crate::report::table;
use crate::scenario::{Row, Target};

const WIDTH: u32 = 960;
const LABELS: i32 = 350;
const FIGURES: i32 = 190;
const ROW: i32 = 30;
const TOP: i32 = 50;
/// Of the target, at the ends of the axis.
const RANGE: (f64, f64) = (0.05, 20.0);

/// A line for each row that has a target, on one axis: 1 is the target, left of it is better. The bar reaches from the
/// best pair to the worst.
pub fn targets(rows: &[Row]) -> String {
    let judged: Vec<_> = rows.iter().filter_map(|row| Some((row, row.target?, row.reached?))).collect();
    let height = TOP + ROW * judged.len() as i32 + 20;
    let mut svg = String::new();
    let canvas = canvas(&mut svg, WIDTH, height as u32);
    for (value, name) in [(0.1, "a tenth of it"), (1.0, "target"), (10.0, "ten times it")] {
        let is_target = value == 1.0;
        let (colour, width) = if is_target { (INK, 2) } else { (GRID, 1) };
        line(&canvas, (x_of(value), TOP - 16), (x_of(value), height - 10), colour, width);
        centre(&canvas, name, (x_of(value), TOP - 28), if is_target { INK } else { FAINT });
    }
    centre(&canvas, "← better", (x_of(0.4), TOP - 28), FAINT);
    centre(&canvas, "worse →", (x_of(2.5), TOP - 28), FAINT);
    for (index, (row, target, reached)) in judged.into_iter().enumerate() {
        let y = TOP + ROW * index as i32 + ROW / 2;
        let is_met = target.is_met(reached.median);
        let colour = if is_met { MET } else { MISSED };
        right(&canvas, &row.load, (LABELS - 14, y), INK);
        line(&canvas, (x_of(RANGE.0), y), (x_of(RANGE.1), y), GRID, 1);
        let [low, high] = [reached.min, reached.max].map(|value| x_of(share(target, value)));
        bar(&canvas, (low.min(high), y - 3), (low.max(high), y + 3), faded(colour));
        dot(&canvas, (x_of(share(target, reached.median)), y), colour);
        let figure = format!("{} ({})", table::value(reached.median, row.unit), table::target(row));
        left(&canvas, &figure, (WIDTH as i32 - FIGURES + 14, y), colour);
    }
    drop(canvas);
    svg
}

/// How much of what is allowed was used.
fn share(target: Target, value: f64) -> f64 {
    match target {
        Target::AtMost(bound) | Target::Below(bound) => value / bound,
        Target::AtLeast(bound) => bound / value,
    }
}

fn x_of(share: f64) -> i32 {
    let (low, high) = RANGE;
    let along = (share.clamp(low, high) / low).ln() / (high / low).ln();
    LABELS + (along * f64::from(WIDTH as i32 - LABELS - FIGURES)) as i32
}
