//! Where the CPU time goes: user and system, of the broker and of its limit.

use super::*;
use crate::measure::Side;
use crate::report::table;
use crate::scenario::Row;

const WIDTH: u32 = 960;
const LABELS: i32 = 350;
const FIGURES: i32 = 150;
const TOP: i32 = 40;
const PAIR: i32 = 50;
const BAR: i32 = 14;

/// A pair of bars for each row whose sides are the broker and a limit. The limit's are all as long.
pub fn cpu(rows: &[Row]) -> String {
    let pairs: Vec<_> =
        rows.iter().filter_map(|row| Some((row, totals(row.sides.first()?)?, totals(row.sides.get(1)?)?))).collect();
    let longest = pairs.iter().map(|(_, ours, limit)| ours.total() / limit.total()).fold(1.0, f64::max);
    let height = TOP + PAIR * pairs.len() as i32 + 10;
    let scale = f64::from(WIDTH as i32 - LABELS - FIGURES) / longest;
    let mut svg = String::new();
    let canvas = canvas(&mut svg, WIDTH, height as u32);
    let mut legend = LABELS;
    for (words, colour) in
        [("broker, user", OURS), ("broker, system", faded(OURS)), ("limit, user", faded(INK)), ("limit, system", LIMIT)]
    {
        bar(&canvas, (legend, 12), (legend + 14, 26), colour);
        left(&canvas, words, (legend + 20, 19), INK);
        legend += 130;
    }
    for (index, (row, ours, limit)) in pairs.iter().enumerate() {
        let y = TOP + PAIR * index as i32 + 6;
        right(&canvas, &row.load, (LABELS - 14, y + BAR), INK);
        for (place, parts, colours) in [(0, ours, (OURS, faded(OURS))), (1, limit, (faded(INK), LIMIT))] {
            let top = y + place * (BAR + 2);
            let user = LABELS + (parts.user / limit.total() * scale) as i32;
            let end = LABELS + (parts.total() / limit.total() * scale) as i32;
            bar(&canvas, (LABELS, top), (user, top + BAR), colours.0);
            bar(&canvas, (user, top), (end, top + BAR), colours.1);
            let words = format!("{} {}", table::digits(parts.total()), row.sides[0].runs[0].work.unit.cpu_label());
            left(&canvas, &words, (end + 8, top + BAR / 2), FAINT);
        }
    }
    drop(canvas);
    svg
}

fn totals(side: &Side) -> Option<crate::server::Cpu> {
    let [user, system] = [side.cpu_per_unit(|cpu| cpu.user)?, side.cpu_per_unit(|cpu| cpu.system)?];
    Some(crate::server::Cpu { user, system })
}
