//! Whether a consumer that reads old data from the disk holds up everybody else: the 99th percentile of a paced producer's
//! answers with such a consumer beside it, over that without. Phases alternate; the medians of the rounds are compared.
//!
//! The consumer is paced too: flat out, client and broker would have every processor of a small machine, and the figure would
//! be the scheduler's. A third kind of phase, in which it reads the same data from the page cache, tells the disk's share from
//! that of the processors.

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

pub fn run(mib: u64, mib_per_second: f64, rounds: usize) {
    let data = tempfile::tempdir_in(process::scratch_dir()).unwrap();
    let port = process::free_port();
    let broker = Process::broker(port, data.path());
    let mut client = Client::connect_until_up(port);
    [OLD, PACED].into_iter().for_each(|topic| client.create_topic(topic));
    client.produce(OLD, mib);

    let (mut alone, mut cached, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    let mut read_mib = 0;
    for _ in 0..rounds {
        alone.push(p99(&paced(port)));
        // What fits is in the page cache after this.
        client.consume(OLD, mib);
        cached.push(beside(port, mib, mib_per_second, || ()).0);
        forget(data.path());
        let (answers, read) = beside(port, mib, mib_per_second, || forget(data.path()));
        cold.push(answers);
        read_mib += read;
    }
    drop(broker);
    let (alone, cached, cold) = (median(alone), median(cached), median(cold));
    let speed = read_mib as f64 / (PHASE.as_secs_f64() * rounds as f64);
    let row = |name: &str, p99: Duration| {
        let ratio = p99.as_secs_f64() / alone.as_secs_f64();
        println!("{name:<38}{:.2} ms, ratio {ratio:.2}", p99.as_secs_f64() * 1e3);
    };
    row("paced producer, p99 alone", alone);
    row("  beside a catch-up from the cache", cached);
    row("  beside a cold catch-up", cold);
    println!("  the cold catch-up read {speed:.0} MiB/s, {read_mib} MiB in all\n");
}

/// The paced producer's 99th percentile beside a consumer, and the MiB that this one read. It begins anew at the end.
fn beside(port: u16, mib: u64, mib_per_second: f64, again: impl Fn() + Sync) -> (Duration, u64) {
    let (stop, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let answers = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                Client::connect_until_up(port).consume_until(OLD, mib, mib_per_second, &stop, &bytes);
                again();
            }
        });
        let answers = paced(port);
        stop.store(true, Ordering::Relaxed);
        answers
    });
    (p99(&answers), bytes.load(Ordering::Relaxed) >> 20)
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
