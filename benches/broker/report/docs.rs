//! `docs/performance.md`: the text of `performance.md` beside this directory, with what was measured put in its places.
//!
//! A place is a line `{{name}}` of its own.

use std::fmt::Write;
use std::path::Path;

use super::{Report, plots, table};
use crate::growth::{Curve, Growth};
use crate::measure::Side;
use crate::scenario::Row;

const TEXT: &str = include_str!("../performance.md");
const PAGE: &str = "performance.md";
/// Of pictures, and of what they were made from.
const FOLDER: &str = "performance";

pub fn write(report: &Report, docs: &Path) {
    let folder = docs.join(FOLDER);
    std::fs::create_dir_all(&folder).unwrap();
    report.write(&folder.join("measured.json"));
    let save = |name: &str, svg: String| std::fs::write(folder.join(format!("{name}.svg")), svg).unwrap();
    save("targets", plots::targets(&report.rows));
    save("cpu", plots::cpu(&limited(report)));
    if let Some(paced) = report.rows.iter().find(|row| row.sides.len() > 2 && row.sides[0].latency().is_some()) {
        save("latency", plots::latency(&paced.load, &paced.sides));
    }
    report.growth.iter().for_each(|growth| save(&growth.name, plots::growth(growth)));
    let page: String = TEXT.lines().map(|line| place(line, report).unwrap_or(line.to_owned()) + "\n").collect();
    std::fs::write(docs.join(PAGE), page).unwrap();
}

/// What stands in a place; None for any other line.
fn place(line: &str, report: &Report) -> Option<String> {
    let name = line.strip_prefix("{{")?.strip_suffix("}}")?;
    let text = match name {
        "machine" => machine(report),
        "targets" => judged(report),
        "others" => unjudged(report),
        "notes" => noted(report),
        "sides" => compared(report),
        "latency" => latencies(report),
        _ => {
            let growth = report.growth.iter().find(|growth| growth.name == name);
            growth.map(grown).unwrap_or_else(|| format!("Not measured: {name}."))
        }
    };
    Some(text.trim_end().to_owned())
}

fn machine(report: &Report) -> String {
    let short = "**Measured in the short form, whose figures mean nothing.** ";
    format!("{}{}.", if report.short { short } else { "" }, report.machine.describe())
}

/// The rows that a raw limit stands beside.
fn limited(report: &Report) -> Vec<Row> {
    let is_limited = |row: &&Row| row.sides.len() > 1 && row.sides[0].name == super::BROKER;
    report.rows.iter().filter(is_limited).cloned().collect()
}

fn judged(report: &Report) -> String {
    let mut text = "| scenario | figure | reached | target | |\n|---|---|---:|---:|---|\n".to_owned();
    for row in report.rows.iter().filter(|row| row.target.is_some()) {
        let (reached, target) = (table::reached(row), table::target(row));
        writeln!(text, "| {} | {} | {reached} | {target} | {} |", row.load, row.figure, table::verdict(row)).unwrap();
    }
    text
}

fn unjudged(report: &Report) -> String {
    let mut text = "| scenario | figure | reached |\n|---|---|---:|\n".to_owned();
    for row in report.rows.iter().filter(|row| row.target.is_none()) {
        writeln!(text, "| {} | {} | {} |", row.load, row.figure, table::reached(row)).unwrap();
    }
    text
}

fn noted(report: &Report) -> String {
    let notes = report.rows.iter().flat_map(|row| row.notes.iter().map(|note| format!("- {}: {note}\n", row.load)));
    notes.collect()
}

fn compared(report: &Report) -> String {
    let mut text =
        "| scenario | | throughput | CPU user | system | | resident |\n|---|---|---:|---:|---:|---|---:|\n".to_owned();
    for row in &report.rows {
        for (index, side) in row.sides.iter().enumerate() {
            let load = if index == 0 { &row.load } else { "" };
            writeln!(text, "| {load} | {} | {} |", side.name, side_cells(side)).unwrap();
        }
    }
    text
}

fn side_cells(side: &Side) -> String {
    let unit = side.runs[0].work.unit;
    let number = |value: Option<f64>| value.map_or("–".to_owned(), table::digits);
    let throughput = format!("{} {}", number(side.median(|run| Some(run.throughput()))), unit.throughput_label());
    let [user, system] = [side.cpu_per_unit(|cpu| cpu.user), side.cpu_per_unit(|cpu| cpu.system)].map(number);
    let resident =
        side.median(|run| run.resident_kib).map_or("–".to_owned(), |kib| format!("{:.1} MiB", kib / 1024.0));
    format!("{throughput} | {user} | {system} | {} | {resident}", unit.cpu_label())
}

fn latencies(report: &Report) -> String {
    let mut text = "| scenario | | p50 | p99 | p99.9 |\n|---|---|---:|---:|---:|\n".to_owned();
    for row in &report.rows {
        for side in &row.sides {
            let Some(latency) = side.latency() else { continue };
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| table::digits(latency.at(quantile)));
            writeln!(text, "| {} | {} | {p50} ms | {p99} ms | {p999} ms |", row.load, side.name).unwrap();
        }
    }
    text
}

fn grown(growth: &Growth) -> String {
    let mut text = format!("![{}]({FOLDER}/{}.svg)\n\n", growth.title, growth.name);
    let row = |name: &str, cells: Vec<String>| format!("| {name} | {} |\n", cells.join(" | "));
    let names = growth.x.names.iter().cloned().chain(["last over first".to_owned()]);
    text += &row(&growth.y, names.collect());
    text += &format!("|---|{}\n", "---:|".repeat(growth.x.names.len() + 1));
    for curve in &growth.curves {
        let points = curve.points.iter().map(|point| table::median(*point));
        text += &row(&curve.name, points.chain([grown_by(curve)]).collect());
    }
    text
}

fn grown_by(curve: &Curve) -> String {
    let ends = curve.points.first().zip(curve.points.last());
    let ends = ends.and_then(|(first, last)| Some((first.as_ref()?.median, last.as_ref()?.median)));
    ends.map_or("–".to_owned(), |(first, last)| format!("× {}", table::digits(last / first)))
}
