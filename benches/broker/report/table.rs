//! The rows as text: each with what was compared when it has been measured, and all beside their targets at the end.

use super::Report;
use crate::growth::Growth;
use crate::measure::{Side, Spread};
use crate::scenario::{FigureUnit, Row};

pub fn print(row: &Row) {
    println!("{}: {} {}", row.load, row.figure, reached(row));
    for side in &row.sides {
        println!("  {:<28} {}", side.name, context(side));
    }
    row.notes.iter().for_each(|note| println!("  {note}"));
    println!();
}

pub fn print_growth(growth: &Growth) {
    println!("{}: {} against {}", growth.title, growth.y, growth.x.label);
    let line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        println!("  {name:<44}{}", cells.map(|cell| format!("{cell:>10}")).collect::<String>());
    };
    line("", &mut growth.x.names.iter().cloned());
    for curve in &growth.curves {
        line(&curve.name, &mut curve.points.iter().map(|point| median(*point)));
    }
    println!();
}

/// Scenario, figure, reached, target, met or not met.
pub fn summary(report: &Report) {
    let cells = |row: &Row| [row.load.clone(), row.figure.clone(), reached(row), target(row), verdict(row).to_owned()];
    let rows: Vec<[String; 5]> = report.rows.iter().map(cells).collect();
    let mut widths = [0; 5];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    for [load, figure, reached, target, verdict] in &rows {
        let [load_width, figure_width, reached_width, target_width, _] = widths;
        println!(
            "{load:<load_width$}  {figure:<figure_width$}  {reached:<reached_width$}  {target:>target_width$}  {verdict}"
        );
    }
}

pub fn verdict(row: &Row) -> &'static str {
    match (row.target, row.reached) {
        (Some(target), Some(reached)) if target.is_met(reached.median) => "met",
        (Some(_), Some(_)) => "not met",
        _ => "",
    }
}

pub fn target(row: &Row) -> String {
    row.target.map_or(String::new(), |target| format!("{} {}{}", target.sign(), target.bound(), row.unit.suffix()))
}

pub fn reached(row: &Row) -> String {
    row.reached.map_or("not measured".to_owned(), |reached| figure(reached, row.unit))
}

/// The median, and between what the single values lie.
pub fn figure(reached: Spread, unit: FigureUnit) -> String {
    let digits = decimals(unit);
    let Spread { median, min, max } = reached;
    let spread = if min == max { String::new() } else { format!(" ({min:.digits$}–{max:.digits$})") };
    format!("{}{spread}", value(median, unit))
}

pub fn value(value: f64, unit: FigureUnit) -> String {
    format!("{value:.*}{}", decimals(unit), unit.suffix())
}

fn decimals(unit: FigureUnit) -> usize {
    if unit == FigureUnit::Ratio { 2 } else { 1 }
}

pub fn median(spread: Option<Spread>) -> String {
    spread.map_or("–".to_owned(), |spread| digits(spread.median))
}

/// Three digits.
pub fn digits(value: f64) -> String {
    let decimals = (2 - value.abs().max(1e-3).log10().floor() as i32).clamp(0, 4) as usize;
    format!("{value:.decimals$}")
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
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| latency.at(quantile));
        text += &format!(", p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2} ms");
    }
    if let Some(resident) = side.median(|run| run.resident_kib) {
        text += &format!(", {:.1} MiB resident", resident / 1024.0);
    }
    text
}

/// 12,000 as people write it.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}
