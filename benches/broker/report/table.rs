//! The rows as text.

use crate::measure::{Run, Side, Spread};
use crate::scenario::{FigureUnit, Row};

/// Each figure beside its target, and below what was compared.
pub fn print(row: &Row) {
    println!("{}", verdict(row));
    for side in &row.sides {
        println!("    {}", context(side));
    }
    row.notes.iter().for_each(|note| println!("    {note}"));
}

fn verdict(row: &Row) -> String {
    let Some(reached) = row.reached else {
        return format!("{:<46} {}: not measured", row.load, row.figure);
    };
    let target = row.target.map_or(String::new(), |target| {
        let verdict = if target.is_met(reached.median) { "met" } else { "NOT MET" };
        format!("{} {}{}: {verdict}", target.sign(), target.bound(), row.unit.suffix())
    });
    format!("{:<46} {:<40} {:<28} {target}", row.load, row.figure, figure(reached, row.unit))
}

/// The median, and between what the single values lie.
pub fn figure(reached: Spread, unit: FigureUnit) -> String {
    let digits = if unit == FigureUnit::Ratio { 2 } else { 1 };
    let Spread { median, min, max } = reached;
    let spread = if min == max { String::new() } else { format!(" ({min:.digits$}–{max:.digits$})") };
    format!("{median:.digits$}{}{spread}", unit.suffix())
}

fn context(side: &Side) -> String {
    let median =
        |value: &dyn Fn(&Run) -> Option<f64>| Spread::of(side.runs.iter().filter_map(value)).map(|it| it.median);
    let unit = side.runs[0].work.unit;
    let throughput = median(&|run| Some(run.throughput())).unwrap();
    let mut text = format!("{:<24} {throughput:>10.0} {}", side.name, unit.throughput_label());
    let user = median(&|run| Some(run.per_unit(run.cpu?.user)));
    let system = median(&|run| Some(run.per_unit(run.cpu?.system)));
    if let Some((user, system)) = user.zip(system) {
        text += &format!(", CPU {:.3} user + {:.3} system {}", user, system, unit.cpu_label());
    }
    if let Some(resident) = median(&|run| run.resident_kib) {
        text += &format!(", {:.1} MiB resident", resident / 1024.0);
    }
    text
}
