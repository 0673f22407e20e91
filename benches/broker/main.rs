//! What the broker costs, beside what the machine can do at best, measured in the same run.
//!
//! `cargo bench --bench broker` starts the release binary on a fresh data directory and prints: the time from spawn to
//! the first answered ApiVersions, idle resident memory, and for produce and consume the throughput and the broker's CPU
//! seconds per GiB next to those of a bare loop in a process of its own: a `read` into a file, and a `sendfile` of a
//! cached file. Broker and limit run in turn (A B A B …); the medians are compared. Ratios are the result; absolute
//! figures depend on the machine.
//!
//! The scenarios: `startup`, `throughput`, `cold`, `partitions`, `seeks`, `recovery`; those named on the command line, else
//! the first three.
//!
//! `-- --mib N` sets the data moved in each run (default 1024), `--rounds N` the number of pairs (default 3), `--cold-mib N`
//! how much old data the cold scenario has (default 4096), `--cold-speed N` how many MiB of it are read in a second (200).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod client;
mod cold;
mod data;
mod partitions;
mod process;
mod raw;
mod recovery;
mod seeks;

use std::time::{Duration, Instant};

use client::Client;
use process::Process;

const BATCH_BYTES: usize = 1 << 20;
const RECORD_BYTES: usize = 1 << 10;
const TOPIC: &str = "bench";

struct Options {
    mib: u64,
    rounds: usize,
}

/// Throughput and the serving process' CPU time of one run.
#[derive(Clone, Copy)]
struct Measure {
    mib_per_second: f64,
    cpu_seconds_per_gib: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(role) = args.iter().position(|arg| arg == raw::ROLE_FLAG) {
        return raw::run(&args[role + 1], &args[role + 2]);
    }
    let number = |flag: &str, default: u64| {
        let at = args.iter().position(|arg| arg == flag);
        at.map_or(default, |at| args[at + 1].parse().expect("a number"))
    };
    let options = Options { mib: number("--mib", 1024), rounds: number("--rounds", 3) as usize };
    let is_named = |name: &str| args.iter().any(|arg| arg == name);
    match () {
        () if is_named("partitions") => return partitions::run(number("--partitions", 10_000)),
        () if is_named("seeks") => return seeks::run(),
        () if is_named("recovery") => return recovery::run(number("--mib", 4096)),
        () => {}
    }
    println!("{} MiB in each run, {} rounds, batches of 1 MiB of 1 KiB records\n", options.mib, options.rounds);
    let scenarios: [(&str, &dyn Fn()); 3] = [
        ("startup", &startup),
        ("throughput", &|| throughput(&options)),
        ("cold", &|| cold::run(number("--cold-mib", 4096), number("--cold-speed", 200) as f64, options.rounds)),
    ];
    let is_named = |name: &str| args.iter().any(|arg| arg == name);
    let any_named = scenarios.iter().any(|(name, _)| is_named(name));
    scenarios.iter().filter(|(name, _)| !any_named || is_named(name)).for_each(|(_, scenario)| scenario());
}

fn startup() {
    let mut times: Vec<f64> = (0..20)
        .map(|_| {
            let data = tempfile::tempdir().unwrap();
            let port = process::free_port();
            let started = Instant::now();
            let _broker = Process::broker(port, data.path());
            Client::connect_until_up(port).api_versions();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("spawn to first answered ApiVersions   median {:.1} ms, slowest of 20 {:.1} ms", times[10], times[19]);
    let data = tempfile::tempdir().unwrap();
    let port = process::free_port();
    let broker = Process::broker(port, data.path());
    Client::connect_until_up(port).api_versions();
    // Idle means idle: let what the start left behind settle.
    std::thread::sleep(Duration::from_secs(1));
    println!("idle resident memory                  {:.1} MiB", broker.resident_mib());
    println!("release binary                        {:.1} MiB\n", process::binary_mib());
}

fn throughput(options: &Options) {
    let mut rows: [(&str, Vec<Measure>); 4] = [
        ("produce, broker", vec![]),
        ("  limit: read into a file", vec![]),
        ("consume, broker", vec![]),
        ("  limit: sendfile", vec![]),
    ];
    let mut resident_max: f64 = 0.0;
    for _ in 0..options.rounds {
        let data = tempfile::tempdir_in(process::scratch_dir()).unwrap();
        let port = process::free_port();
        let broker = Process::broker(port, data.path());
        let mut client = Client::connect_until_up(port);
        client.create_topic(TOPIC);
        rows[0].1.push(measure(&broker, options.mib, || client.produce(TOPIC, options.mib)));
        resident_max = resident_max.max(broker.resident_mib());

        let file = data.path().join("sink");
        let sink = Process::raw(raw::SINK, &file);
        rows[1].1.push(measure(&sink, options.mib, || raw::pour(sink.port(), options.mib)));
        drop(sink);

        rows[2].1.push(measure(&broker, options.mib, || client.consume(TOPIC, options.mib)));

        let source = Process::raw(raw::SOURCE, &file);
        rows[3].1.push(measure(&source, options.mib, || raw::drain(source.port(), options.mib)));
    }
    println!("{:<28} {:>10} {:>14}", "medians", "MiB/s", "CPU s per GiB");
    for (name, measures) in &rows {
        let median = median(measures);
        println!("{name:<28} {:>10.0} {:>14.3}", median.mib_per_second, median.cpu_seconds_per_gib);
    }
    for (name, broker, limit) in [("produce", 0, 1), ("consume", 2, 3)] {
        let (broker, limit) = (median(&rows[broker].1), median(&rows[limit].1));
        println!("{name}: CPU per GiB over the limit's: {:.2}", broker.cpu_seconds_per_gib / limit.cpu_seconds_per_gib);
    }
    println!("resident memory after producing: {resident_max:.1} MiB");
}

fn measure(process: &Process, mib: u64, work: impl FnOnce()) -> Measure {
    // What the run before left to be written back must not be paid for by this one.
    nix::unistd::sync();
    let (cpu, started) = (process.cpu_seconds(), Instant::now());
    work();
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), process.cpu_seconds() - cpu);
    Measure { mib_per_second: mib as f64 / elapsed, cpu_seconds_per_gib: cpu * 1024.0 / mib as f64 }
}

fn median(measures: &[Measure]) -> Measure {
    let middle = |value: fn(&Measure) -> f64| {
        let mut values: Vec<f64> = measures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Measure { mib_per_second: middle(|it| it.mib_per_second), cpu_seconds_per_gib: middle(|it| it.cpu_seconds_per_gib) }
}
