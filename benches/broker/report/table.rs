//! The rows as text: each with what was compared when it has been measured, and all beside their targets at the end.

use crate::measure::{Run, Side, Spread};
use crate::scenario::{FigureUnit, Row};

pub fn print(row: &Row) {
    let reached = row.reached.map_or("not measured".to_owned(), |reached| figure(reached, row.unit));
    println!("{}: {} {reached}", row.load, row.figure);
    for side in &row.sides {
        println!("  {:<28} {}", side.name, context(side));
    }
    row.notes.iter().for_each(|note| println!("  {note}"));
    println!();
}

/// Scenario, figure, reached, target, met or not met.
pub fn summary(rows: &[Row]) {
    for row in rows {
        let reached = row.reached.map_or("not measured".to_owned(), |reached| figure(reached, row.unit));
        let verdict = match (row.target, row.reached) {
            (Some(target), Some(reached)) if target.is_met(reached.median) => "met",
            (Some(_), Some(_)) => "NOT MET",
            _ => "",
        };
        println!("{:<46} {:<42} {reached:<26} {:>10}  {verdict}", row.load, row.figure, target(row));
    }
}

pub fn target(row: &Row) -> String {
    row.target.map_or(String::new(), |target| format!("{} {}{}", target.sign(), target.bound(), row.unit.suffix()))
}

/// The median, and between what the single values lie.
pub fn figure(reached: Spread, unit: FigureUnit) -> String {
    let digits = if unit == FigureUnit::Ratio { 2 } else { 1 };
    let Spread { median, min, max } = reached;
    let spread = if min == max { String::new() } else { format!(" ({min:.digits$}–{max:.digits$})") };
    format!("{median:.digits$}{}{spread}", unit.suffix())
}

fn context(side: &Side) -> String {
    let unit = side.runs[0].work.unit;
    let throughput = side.median(|run| Some(run.throughput())).unwrap();
    let mut text = format!("{throughput:>9.0} {}", unit.throughput_label());
    let [user, system] = [side.cpu_per_unit(|cpu| cpu.user), side.cpu_per_unit(|cpu| cpu.system)];
    if let Some((user, system)) = user.zip(system) {
        text += &format!(", CPU {user:.3} user + {system:.3} system {}", unit.cpu_label());
    }
    if let Some(latency) = side.latency() {
        let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
        text += &format!(", p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms", at(0.5), at(0.99), at(0.999));
    }
    if let Some(resident) = side.median(|run: &Run| run.resident_kib) {
        text += &format!(", {:.1} MiB resident", resident / 1024.0);
    }
    text
}
