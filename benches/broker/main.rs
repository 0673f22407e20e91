//! What a broker costs, beside what the machine can do at best, measured in the same run.
//!
//! `cargo bench --bench broker -- --help` lists what there is; `docs/performance.md` tells how it is measured, and why so.
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
mod lab;
mod measure;
mod options;
mod raw;
mod report;
mod scenario;
mod scenarios;
mod server;

use std::process::ExitCode;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use lab::Lab;
use options::Options;

/// What is asked for. Only root gets more than the system's hard limit.
const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    raw::run_if_asked();
    raise_descriptor_limit();
    let lab = Lab::new(Options::parse());
    let scenarios = match scenarios::named(&lab.options.names) {
        Ok(scenarios) => scenarios,
        Err(unknown) => {
            eprintln!("no scenario '{unknown}'; --help lists them");
            return ExitCode::from(2);
        }
    };
    let mut rows = Vec::new();
    for scenario in scenarios {
        if scenario.own_broker && lab.options.against.is_some() {
            println!("{}: skipped, for it needs a broker that it starts itself\n", scenario.name);
            continue;
        }
        let measured = (scenario.run)(&lab);
        measured.iter().for_each(report::print);
        rows.extend(measured);
    }
    report::summary(&rows);
    ExitCode::SUCCESS
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
