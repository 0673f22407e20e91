//! What a broker costs, beside what the machine can do at best, measured in the same run.
//!
//! `cargo bench --bench broker -- --help` lists what there is; `performance.md` beside this file tells how it is measured, and
//! why so. With `--docs` it becomes `docs/performance.md`, with the figures in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod client;
mod data;
mod growth;
mod lab;
mod machine;
mod measure;
mod options;
mod raw;
mod report;
mod scenario;
mod scenarios;
mod server;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use lab::Lab;
use machine::Machine;
use options::Options;
use report::Report;
use scenarios::Selection;

/// What is asked for. Only root gets more than the system's hard limit.
const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    raw::run_if_asked();
    raise_descriptor_limit();
    let lab = Lab::new(Options::parse());
    let report = match &lab.options.from {
        Some(path) => Report::read(path),
        None => match selection(&lab.options) {
            Ok(selection) => measure(&lab, &selection),
            Err(unknown) => {
                eprintln!("no scenario '{unknown}'; --help lists them");
                return ExitCode::from(2);
            }
        },
    };
    report::summary(&report);
    if let Some(path) = &lab.options.json {
        report.write(path);
    }
    if let Some(dir) = &lab.options.docs {
        report::write_docs(&report, dir);
    }
    ExitCode::SUCCESS
}

fn selection(options: &Options) -> Result<Selection, String> {
    if options.docs.is_some() { Ok(Selection::everything()) } else { Selection::of(&options.names) }
}

fn measure(lab: &Lab, selection: &Selection) -> Report {
    let started = Instant::now();
    let progress = |name: &str| eprintln!("{:>5.0} s  {name}", started.elapsed().as_secs_f64());
    let machine = Machine::here(lab.scratch_root());
    println!("{}\n", machine.describe());
    let mut report = Report { machine, short: lab.options.short, rows: vec![], growth: vec![] };
    for scenario in &selection.scenarios {
        if runs_here(lab, scenario.name, scenario.own_broker) {
            progress(scenario.name);
            let rows = (scenario.run)(lab);
            rows.iter().for_each(report::print);
            report.rows.extend(rows);
        }
    }
    for sweep in &selection.sweeps {
        if runs_here(lab, sweep.name, sweep.own_broker) {
            progress(sweep.name);
            let growth = (sweep.run)(lab);
            report::print_growth(&growth);
            report.growth.push(growth);
        }
    }
    progress("done");
    report
}

fn runs_here(lab: &Lab, name: &str, own_broker: bool) -> bool {
    let runs = !own_broker || lab.options.against.is_none();
    if !runs {
        println!("{name}: skipped, for it needs a broker that it starts itself\n");
    }
    runs
}

/// For this process and those that it starts: thousands of connections, and three files of thousands of partitions.
fn raise_descriptor_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < DESCRIPTORS && setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS).is_ok() {
        return;
    }
    let wanted = hard.min(DESCRIPTORS);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
}
