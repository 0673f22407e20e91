//! `-- seeks`: a fetch at a random offset of a partition of 1,000,000 small batches, beside one of 1,000.

use std::time::Instant;

use crate::client::{Client, small_batch};
use crate::data::{self, Topic};
use crate::process::{self, Process};

const FETCHES: u64 = 20_000;
const ROUNDS: usize = 3;
const FETCH_BYTES: i32 = 4096;
const SIZES: [u64; 2] = [1_000, 1_000_000];

/// Of one fetch.
struct Cost {
    cpu_us: f64,
    median_us: f64,
    p99_us: f64,
}

pub fn run() {
    let data = tempfile::tempdir_in(process::scratch_dir()).unwrap();
    let topic = |batches| Topic { name: name(batches), partitions: 1, batches, batch: small_batch() };
    data::make(data.path(), &SIZES.map(topic));
    let port = process::free_port();
    let broker = Process::broker(port, data.path());
    let mut client = Client::connect_until_up(port);
    let mut costs: [Vec<Cost>; 2] = [vec![], vec![]];
    for _ in 0..ROUNDS {
        for (costs, batches) in costs.iter_mut().zip(SIZES) {
            costs.push(measure(&broker, &mut client, batches));
        }
    }
    println!("{:<28} {:>10} {:>10} {:>10}", "fetch at random offsets", "CPU µs", "median µs", "p99 µs");
    let medians = costs.map(|costs| {
        let median = |value: fn(&Cost) -> f64| {
            let mut values: Vec<f64> = costs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[ROUNDS / 2]
        };
        Cost { cpu_us: median(|it| it.cpu_us), median_us: median(|it| it.median_us), p99_us: median(|it| it.p99_us) }
    });
    for (cost, batches) in medians.iter().zip(SIZES) {
        println!("{batches:>20} batches {:>10.1} {:>10.1} {:>10.1}", cost.cpu_us, cost.median_us, cost.p99_us);
    }
    let [few, many] = medians;
    println!("ratio: CPU {:.2}, median {:.2}\n", many.cpu_us / few.cpu_us, many.median_us / few.median_us);
}

fn name(batches: u64) -> String {
    format!("batches-{batches}")
}

fn measure(broker: &Process, client: &mut Client, batches: u64) -> Cost {
    let (name, mut random) = (name(batches), fastrand::Rng::with_seed(7));
    let (cpu, mut times) = (broker.cpu_seconds(), Vec::new());
    for _ in 0..FETCHES {
        let (offset, asked) = (random.i64(0..batches as i64), Instant::now());
        let found = client.fetch(&name, 0, offset, FETCH_BYTES);
        times.push(asked.elapsed().as_secs_f64() * 1e6);
        assert_eq!(found.first_offset, Some(offset));
    }
    let cpu_us = (broker.cpu_seconds() - cpu) * 1e6 / FETCHES as f64;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    Cost { cpu_us, median_us: at(0.5), p99_us: at(0.99) }
}
