//! A paced producer and a consumer that tails it: how long an answer takes, and how long a record is under way.
//!
//! The broker's time is what the client saw, from when the request was due: an upper bound, for it holds the network, the
//! generator's own lateness, and what the scheduler made of all of them. The echo server's figure, of the same requests,
//! tells how much that is.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::frames::{self, Position, Session, Shape};
use crate::client::pace::{self, Schedule};
use crate::client::{Consumer, Control};
use crate::lab::{Broker, Lab};
use crate::measure::{self, Latency, Run, Side, Spread, Work};
use crate::raw;
use crate::report::figure;
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

use super::requests;

const PERIOD: Duration = Duration::from_millis(1);
const BATCH: Shape = Shape { record_bytes: 1 << 10, records: 20 };

pub const PACED: Scenario = Scenario {
    name: "end-to-end",
    about: "20,000 records/s, paced, acks=all: 99th percentile of the answers",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let (broker, topic) = (lab.broker(), lab.topic_name());
    let frame = frames::produce(&topic, 0, &BATCH.batch());
    let echo = raw::echo(Path::new(""), answer_bytes(&broker), requests::GATHERING.1);
    let mut pacing = Pacing::new(lab.run_time(), frames::produce_error_at(&topic));
    let mut sides = ["broker, answer", "broker, record to consumer", "echo, answer"]
        .map(|name| Side { name: name.to_owned(), runs: vec![] });
    for _ in 0..lab.rounds() {
        let (answers, records) = pacing.beside_consumer(&broker);
        let limit = pacing.run(&echo, &frame, |_| ());
        sides.iter_mut().zip([answers, records, limit]).for_each(|(side, run)| side.runs.push(run));
    }
    let p99 = |run: &Run| run.latency.as_ref().unwrap().at(0.99);
    let [broker, _, echo] = sides.each_ref().map(|side| Spread::of(side.runs.iter().map(p99)));
    let late = pacing.lateness.value_at_quantile(0.99) as f64 / 1e6;
    vec![Row {
        load: "end to end, paced 20,000 records/s".to_owned(),
        figure: "99th percentile of the answers".to_owned(),
        reached: broker,
        unit: FigureUnit::Milliseconds,
        target: Some(Target::Below(1.0)),
        sides: sides.into(),
        notes: vec![
            format!("the echo server's: {}", figure(echo.unwrap(), FigureUnit::Milliseconds)),
            format!("the generator itself was late by {late:.2} ms (99th percentile)"),
        ],
    }]
}

fn answer_bytes(broker: &Broker<'_>) -> usize {
    let topic = broker.topic(1);
    Control::connect(broker.server.address).exchange(&frames::produce(&topic.name, 0, &BATCH.batch())).len()
}

/// How requests are paced.
struct Pacing {
    time: Duration,
    /// Where the error code stands in an answer.
    error_at: usize,
    /// Of the generator, in all runs.
    lateness: Histogram<u64>,
}

impl Pacing {
    fn new(time: Duration, error_at: usize) -> Pacing {
        Pacing { time, error_at, lateness: pace::histogram() }
    }

    /// A run as the producer saw it, and as the consumer did.
    fn beside_consumer(&mut self, broker: &Broker<'_>) -> (Run, Run) {
        let topic = broker.topic(1);
        let batch = BATCH.batch();
        let frame = frames::produce(&topic.name, 0, &batch);
        let mut consumer = Consumer::connect(broker.server.address);
        let mut records = pace::histogram();
        let run = std::thread::scope(|scope| {
            let (schedule, starts) = std::sync::mpsc::channel();
            let (records, topic, batch_bytes) = (&mut records, &topic.name, batch.bytes.len() as u64);
            scope.spawn(move || tail(&mut consumer, topic, batch_bytes, starts.recv().unwrap(), records));
            self.run(&broker.server, &frame, |start| schedule.send(start).unwrap())
        });
        (run.clone(), Run { latency: Some(Latency::of(&records)), ..run })
    }

    /// `starts` is told the schedule as it begins.
    fn run(&mut self, server: &Server, frame: &[u8], starts: impl FnOnce(Schedule)) -> Run {
        let mut answers = None;
        let run = measure::run(server, || {
            let schedule = Schedule::of(PERIOD, self.time);
            starts(schedule);
            let paced = pace::exchange(server.address, frame, self.error_at, schedule);
            self.lateness.add(&paced.lateness).unwrap();
            answers = Some(Latency::of(&paced.answers));
            Work::requests(schedule.count.into())
        });
        Run { latency: answers, ..run }
    }
}

/// Reads the batches as they come, until all have.
fn tail(consumer: &mut Consumer, topic: &str, batch_bytes: u64, schedule: Schedule, records: &mut Histogram<u64>) {
    let mut seen = 0;
    while seen < schedule.count {
        let position = Position::new(0, i64::from(seen) * BATCH.records as i64);
        let mut came = 0;
        consumer.fetch(&frames::fetch(topic, Session::NONE, &[position]), |fetched| came += fetched.bytes);
        let now = Instant::now();
        for _ in 0..came / batch_bytes {
            pace::record(records, now.saturating_duration_since(schedule.due(seen)));
            seen += 1;
        }
    }
}
