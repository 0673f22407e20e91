//! Catching up beside the raw `sendfile`: what a fetch costs over the slice of a cached file that it needs.

use crate::client::Consumer;
use crate::client::frames::{self, Position, Session, Shape};
use crate::lab::{Broker, Lab, Topic};
use crate::measure::{self, Compared, Run, Work};
use crate::raw;
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

use super::produce::{IN_FLIGHT, Load};

pub const CATCH_UP: Scenario = Scenario {
    name: "consume",
    about: "catch-up of 1 and 6 partitions by 1 and 8 consumers: CPU per GiB over the raw sendfile's",
    own_broker: false,
    run: |lab| [(1, 1), (6, 1), (1, 8), (6, 8)].map(|(partitions, consumers)| row(lab, partitions, consumers)).into(),
};

fn row(lab: &Lab, partitions: i32, consumers: usize) -> Row {
    // Many consumers of the same data move enough if each reads less.
    let bytes = lab.run_bytes().min(2 * lab.run_bytes() / consumers as u64);
    let compared = beside_sendfile(lab, partitions, consumers, bytes);
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    Row {
        load: format!("consume, {}, {}", count(partitions as usize, "partition"), count(consumers, "consumer")),
        figure: "CPU per GiB over the raw sendfile's".to_owned(),
        reached: compared.cpu_ratio(),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtMost(1.15)),
        sides: compared.into_sides(),
        notes: vec![],
    }
}

/// Each of the consumers reads all of about so many bytes, from the broker and from the raw source, in turn.
pub fn beside_sendfile(lab: &Lab, partitions: i32, consumers: usize, bytes: u64) -> Compared {
    let (broker, dir) = (lab.broker(), lab.scratch());
    let topic = broker.topic(partitions);
    let log = Log::fill(&broker, &topic, bytes);
    let (file, slice_bytes) = (dir.path().join("source"), log.batch_bytes as usize * partitions as usize);
    raw::write_source(&file, slice_bytes, log.batches);
    let source = raw::source(&file, slice_bytes);
    let work = log.work(consumers);
    let ours = || consume(&broker.server, consumers, work, |consumer| log.read(&topic.name, consumer));
    let limit = || consume(&source, consumers, work, |consumer| log.read_limit(&topic.name, consumer));
    Compared::alternate(lab.rounds(), ("broker", Box::new(ours)), [("sendfile", Box::new(limit) as _)])
}

fn consume(server: &Server, consumers: usize, work: Work, read: impl Fn(&mut Consumer) + Sync) -> Run {
    let mut consumers: Vec<Consumer> = (0..consumers).map(|_| Consumer::connect(server.address)).collect();
    measure::run(server, || {
        std::thread::scope(|scope| consumers.iter_mut().for_each(|consumer| drop(scope.spawn(|| read(consumer)))));
        work
    })
}

/// A topic that has been filled, with as many batches in each partition.
struct Log {
    partitions: i32,
    batches: u64,
    batch_bytes: u64,
    batch_records: i64,
}

impl Log {
    fn fill(broker: &Broker<'_>, topic: &Topic<'_>, bytes: u64) -> Log {
        let shape = Shape::of_batch(1 << 20);
        let load = Load { partitions: topic.partitions, connections: 1, in_flight: IN_FLIGHT, shape };
        let batch_bytes = shape.batch().bytes.len() as u64;
        let batches = (bytes / batch_bytes / topic.partitions as u64).max(1);
        load.connect(&broker.server, &topic.name).exchange(batches * topic.partitions as u64);
        Log { partitions: topic.partitions, batches, batch_bytes, batch_records: shape.records as i64 }
    }

    fn work(&self, consumers: usize) -> Work {
        Work::bytes(self.batches * self.batch_bytes * self.partitions as u64 * consumers as u64)
    }

    /// Reads all partitions from beginning to end, as many of them in one fetch as have something left.
    fn read(&self, topic: &str, consumer: &mut Consumer) {
        let end = self.batches as i64 * self.batch_records;
        let mut positions: Vec<Position> = (0..self.partitions).map(|partition| Position::new(partition, 0)).collect();
        while !positions.is_empty() {
            consumer.fetch(&frames::fetch(topic, Session::NONE, &positions), |fetched| {
                let position = positions.iter_mut().find(|position| position.partition == fetched.partition);
                position.unwrap().offset += (fetched.bytes / self.batch_bytes) as i64 * self.batch_records;
            });
            positions.retain(|position| position.offset < end);
        }
    }

    /// Asks the source as often as the broker would be.
    fn read_limit(&self, topic: &str, consumer: &mut Consumer) {
        let positions: Vec<Position> = (0..self.partitions).map(|partition| Position::new(partition, 0)).collect();
        let request = frames::fetch(topic, Session::NONE, &positions);
        for _ in 0..self.batches {
            consumer.exchange(&request);
        }
    }
}
