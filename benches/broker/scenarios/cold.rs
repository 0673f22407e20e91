//! Whether a consumer that reads old data from the disk holds up everybody else: the 99th percentile of a paced producer's
//! answers with such a consumer beside it, over that without.
//!
//! The consumer is paced too, and gives way to everybody else: flat out, client and broker would have every processor of a
//! small machine, and the figure would be the scheduler's. A third kind of phase, in which it reads the same data from the page cache, tells the disk's share from
//! that of the processors.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::client::Consumer;
use crate::client::frames::{self, Position, Session, Shape};
use crate::client::pace::{self, Schedule};
use crate::data::{self, Topic};
use crate::lab::Lab;
use crate::measure::{self, Latency, Run, Side, Spread, Work};
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

use super::startup;

const OLD: &str = "old";
const PACED: &str = "paced";
const PERIOD: Duration = Duration::from_millis(2);
const SMALL: Shape = Shape { record_bytes: 100, records: 10 };
const BYTES_PER_SECOND: f64 = (200 << 20) as f64;

pub const READERS: Scenario = Scenario {
    name: "cold",
    about: "a paced producer beside a consumer that reads from the disk: 99th percentile of its answers over that alone",
    own_broker: true,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let data = lab.scratch();
    let old = Old { batches: 4 * (lab.run_bytes() >> 20), shape: Shape::of_batch(1 << 20) };
    let topic = |name: &str, batches, shape: Shape| Topic {
        name: name.to_owned(),
        partitions: 1,
        batches,
        batch: shape.batch(),
    };
    data::make(data.path(), &[topic(OLD, old.batches, old.shape), topic(PACED, 1, SMALL)]);
    let (broker, _) = startup::start(lab, data.path());
    // Many short phases and not few long ones: what disturbs the machine for a while is in few of the pairs then.
    let time = lab.full_or_short(Duration::from_secs(4), Duration::from_secs(2));
    let mut sides = ["alone", "beside a catch-up from the cache", "beside a cold catch-up"]
        .map(|name| Side { name: name.to_owned(), runs: vec![] });
    for _ in 0..lab.rounds() + 2 {
        nix::unistd::sync();
        sides[0].runs.push(paced(&broker, time));
        remember(data.path());
        sides[1].runs.push(beside(&broker, &old, time, || ()));
        forget(data.path());
        sides[2].runs.push(beside(&broker, &old, time, || forget(data.path())));
    }
    let p99 = |run: &Run| run.latency.as_ref().unwrap().at(0.99);
    let pairs = sides[2].runs.iter().zip(&sides[0].runs);
    vec![Row {
        load: "paced producer beside a cold catch-up".to_owned(),
        figure: "99th percentile of the answers over that alone".to_owned(),
        reached: Spread::of(pairs.map(|(cold, alone)| p99(cold) / p99(alone))),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtMost(1.5)),
        sides: sides.into(),
        notes: vec![],
    }]
}

/// The producer beside a consumer that begins anew whenever it has come to the end.
fn beside(broker: &Server, old: &Old, time: Duration, again: impl Fn() + Sync) -> Run {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            step_back();
            while !stop.load(Ordering::Relaxed) {
                old.read(broker, &stop);
                again();
            }
        });
        let run = paced(broker, time);
        stop.store(true, Ordering::Relaxed);
        run
    })
}

/// What the consumer itself does with the data is not what is measured: its thread runs where nobody else wants the
/// processor, as if it were on another machine.
fn step_back() {
    let thread = nix::unistd::gettid().to_string();
    let done = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    assert!(done.is_ok_and(|status| status.success()), "chrt (util-linux) must be there");
}

fn paced(broker: &Server, time: Duration) -> Run {
    let frame = frames::produce(PACED, 0, &SMALL.batch());
    let mut answers = None;
    let run = measure::run_beside(broker, || {
        let schedule = Schedule::of(PERIOD, time);
        answers = Some(Latency::of(
            &pace::exchange(broker.address, &frame, frames::produce_error_at(PACED), schedule).answers,
        ));
        Work::requests(schedule.count.into())
    });
    Run { latency: answers, ..run }
}

/// The topic of old data.
struct Old {
    batches: u64,
    shape: Shape,
}

impl Old {
    /// Reads it from the beginning, at its pace, until the end or until told to stop.
    fn read(&self, broker: &Server, stop: &AtomicBool) {
        let mut consumer = Consumer::connect(broker.address);
        let batch_bytes = self.shape.batch().bytes.len() as u64;
        let (started, mut batches) = (Instant::now(), 0);
        while batches < self.batches && !stop.load(Ordering::Relaxed) {
            let position = Position::new(0, batches as i64 * self.shape.records as i64);
            let mut bytes = 0;
            consumer.fetch(&frames::fetch(OLD, Session::NONE, &[position]), |fetched| bytes += fetched.bytes);
            batches += bytes / batch_bytes;
            let due = Duration::from_secs_f64((batches * batch_bytes) as f64 / BYTES_PER_SECOND);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
}

/// Has the kernel read the old topic's files: not through the broker, which would have it forget what it has sent.
fn remember(data: &Path) {
    for mut file in old_files(data) {
        std::io::copy(&mut file, &mut std::io::sink()).unwrap();
    }
}

/// Has the kernel forget the old topic's files.
fn forget(data: &Path) {
    nix::unistd::sync();
    for file in old_files(data) {
        posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
    }
}

fn old_files(data: &Path) -> impl Iterator<Item = File> {
    std::fs::read_dir(data.join(format!("{OLD}-0"))).unwrap().map(|entry| File::open(entry.unwrap().path()).unwrap())
}
