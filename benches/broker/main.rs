//! What a broker costs, beside what the machine can do at best, measured in the same run.
//!
//! `cargo bench --bench broker -- --help` lists what there is; `docs/performance.md` tells how it is measured, and why so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(dead_code, reason = "scenarios to come")]

mod client;
mod lab;
mod measure;
mod options;
mod raw;
mod report;
mod scenario;
mod scenarios;
mod server;

use clap::Parser;

use lab::Lab;
use options::Options;

fn main() {
    raw::run_if_asked();
    let lab = Lab::new(Options::parse());
    for scenario in scenarios::TARGETED {
        let named = &lab.options.names;
        if named.is_empty() || named.iter().any(|name| name == scenario.name) {
            (scenario.run)(&lab).iter().for_each(report::print);
        }
    }
}
