//! Whether a consumer that reads old data from the disk holds up everybody else: the 99th percentile of a paced producer's
//! answers with such a consumer beside it, over that without. Phases alternate; the medians of the rounds are compared.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::process::{self, Process};

const OLD: &str = "old";
const PACED: &str = "paced";
/// From one request to the next.
const PACE: Duration = Duration::from_millis(2);
const PHASE: Duration = Duration::from_secs(10);

pub fn run(mib: u64, rounds: usize) {
    let data = tempfile::tempdir_in(process::scratch_dir()).unwrap();
    let port = process::free_port();
    let broker = Process::broker(port, data.path());
    let mut client = Client::connect_until_up(port);
    [OLD, PACED].into_iter().for_each(|topic| client.create_topic(topic));
    client.produce(OLD, mib);

    let (mut alone, mut beside, mut read_mib) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        alone.push(p99(&paced(port)));
        forget(data.path());
        let stop = AtomicBool::new(false);
        let bytes = AtomicU64::new(0);
        let answers = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    Client::connect_until_up(port).consume_until(OLD, mib, &stop, &bytes);
                    forget(data.path());
                }
            });
            let answers = paced(port);
            stop.store(true, Ordering::Relaxed);
            answers
        });
        beside.push(p99(&answers));
        read_mib += bytes.load(Ordering::Relaxed) >> 20;
    }
    drop(broker);
    let (alone, beside) = (median(alone), median(beside));
    let speed = read_mib as f64 / (PHASE.as_secs_f64() * rounds as f64);
    println!("paced producer, p99                   {:.2} ms alone", alone.as_secs_f64() * 1e3);
    println!(
        "  with a cold catch-up beside it      {:.2} ms ({speed:.0} MiB/s from {mib} MiB)",
        beside.as_secs_f64() * 1e3
    );
    println!("  ratio                               {:.2}\n", beside.as_secs_f64() / alone.as_secs_f64());
}

/// The answer times of one phase, each from when its request was due: a late answer makes those behind it late too.
fn paced(port: u16) -> Vec<Duration> {
    let mut client = Client::connect_until_up(port);
    let started = Instant::now();
    let requests = PHASE.as_nanos() / PACE.as_nanos();
    let answer = |number: u32| {
        let due = started + PACE * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        client.produce_small(PACED);
        due.elapsed()
    };
    (0..requests as u32).map(answer).collect()
}

/// Has the kernel forget the old topic's files.
fn forget(data: &Path) {
    nix::unistd::sync();
    for entry in std::fs::read_dir(data.join(format!("{OLD}-0"))).unwrap() {
        let file = File::open(entry.unwrap().path()).unwrap();
        nix::fcntl::posix_fadvise(file.as_fd(), 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }
}

fn p99(answers: &[Duration]) -> Duration {
    let mut sorted = answers.to_vec();
    sorted.sort();
    sorted[sorted.len() * 99 / 100]
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}
