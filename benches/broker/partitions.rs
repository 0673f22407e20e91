//! `-- partitions`: what 10,000 partitions with data cost at start and at rest (`--partitions N`).

use std::time::Instant;

use crate::client::{Client, small_batch};
use crate::data::{self, Topic};
use crate::process::{self, Process};

const PER_TOPIC: i32 = 100;
const BATCHES: u64 = 3;
const STARTS: usize = 9;

pub fn run(partitions: u64) {
    let data = tempfile::tempdir_in(process::scratch_dir()).unwrap();
    let topics: Vec<Topic> = (0..partitions / PER_TOPIC as u64)
        .map(|index| Topic {
            name: format!("topic-{index}"),
            partitions: PER_TOPIC,
            batches: BATCHES,
            batch: small_batch(),
        })
        .collect();
    let started = Instant::now();
    data::make(data.path(), &topics);
    println!("{partitions} partitions of {BATCHES} batches, made in {:.1} s", started.elapsed().as_secs_f64());
    // Adopts the topics.
    start(&data).0.stop();

    let mut times = Vec::new();
    for _ in 0..STARTS {
        let (broker, _, milliseconds) = start(&data);
        times.push(milliseconds);
        broker.stop();
    }
    times.sort_by(f64::total_cmp);
    let (median, slowest) = (times[STARTS / 2], times[STARTS - 1]);
    println!("spawn to first answered ApiVersions   median {median:.0} ms, slowest of {STARTS} {slowest:.0} ms");

    let (broker, mut client, _) = start(&data);
    println!("resident memory after the start       {:.1} MiB", broker.resident_mib());
    let started = Instant::now();
    for topic in &topics {
        for partition in 0..PER_TOPIC {
            assert!(client.fetch(&topic.name, partition, 0, 1 << 20).bytes > 0);
        }
    }
    let each = started.elapsed().as_secs_f64() * 1e6 / partitions as f64;
    println!("first fetch of each partition         {each:.0} µs");
    println!("resident memory after touching all    {:.1} MiB", broker.resident_mib());
    let started = Instant::now();
    broker.stop();
    println!("stop                                  {:.0} ms\n", started.elapsed().as_secs_f64() * 1e3);
}

fn start(data: &tempfile::TempDir) -> (Process, Client, f64) {
    let port = process::free_port();
    let started = Instant::now();
    let broker = Process::broker(port, data.path());
    let mut client = Client::connect_until_up(port);
    client.api_versions();
    (broker, client, started.elapsed().as_secs_f64() * 1e3)
}
