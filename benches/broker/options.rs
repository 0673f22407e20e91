//! What the instrument is asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

/// Measures a broker beside what the machine can do at best.
///
/// Broker and raw limit run in turn, on the same bytes and the same number of sockets; ratios are the result, absolute
/// figures depend on the machine.
#[derive(Debug, Parser)]
#[command(name = "broker", bin_name = "cargo bench --bench broker --", after_help = crate::scenarios::help())]
pub struct Options {
    /// Scenarios to run; without any, all that have a target. `growth` stands for all sweeps.
    pub names: Vec<String>,
    /// A minute or two, to see whether the instrument works: few rounds of little work. Its figures mean nothing.
    #[arg(long)]
    pub short: bool,
    /// Measure this ottla and not the one that was just built.
    #[arg(long, value_name = "PATH", conflicts_with = "against")]
    pub broker: Option<PathBuf>,
    /// Measure any broker that runs already. What needs a broker of ours is skipped.
    #[arg(long, value_name = "HOST:PORT")]
    pub against: Option<SocketAddr>,
    /// Its process, whose CPU time and memory are then accounted.
    #[arg(long, value_name = "PID", requires = "against")]
    pub pid: Option<i32>,
    /// Pairs of broker and limit in each scenario.
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// How much each run of a bulk scenario moves.
    #[arg(long, value_name = "MIB")]
    pub mib: Option<u64>,
    /// The largest log that growth-log measures: 20, or 1 in the short form.
    #[arg(long, value_name = "GIB")]
    pub log_gib: Option<f64>,
    /// Where data directories are made; it should be on a disk. Without it, in cargo's target directory.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Write all that was measured, every run of it.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure everything and write performance.md with its plots, into the project's docs or into DIR.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = DOCS)]
    #[arg(conflicts_with = "names")]
    pub docs: Option<PathBuf>,
    /// Measure nothing, and report what an earlier --json wrote.
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    pub from: Option<PathBuf>,
    /// Cargo says so of every bench.
    #[arg(long, hide = true)]
    bench: bool,
}
