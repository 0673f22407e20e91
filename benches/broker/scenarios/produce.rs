//! Batches beside the raw sink: what a produce costs over the `recv`, the checksum and the `pwrite` that it needs.

use bytes::Bytes;

use crate::client::frames::{self, Shape};
use crate::client::{Control, Lanes};
use crate::lab::{Broker, Lab};
use crate::measure::{self, Compared, Run, Work};
use crate::raw;
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

/// Kafka's `max.in.flight.requests.per.connection`.
pub const IN_FLIGHT: usize = 5;

pub const LARGE: Scenario = Scenario {
    name: "produce",
    about: "batches of 1 MiB, one connection, 1 and 6 partitions: CPU per GiB over the raw sink's",
    own_broker: false,
    run: |lab| {
        let row = |partitions, load_name: &str| {
            let load = Load { partitions, connections: 1, in_flight: IN_FLIGHT, shape: Shape::of_batch(1 << 20) };
            row(lab, load_name, load, 1.25)
        };
        vec![row(1, "produce, 1 MiB batches, 1 partition"), row(6, "produce, 1 MiB batches, 6 partitions")]
    },
};

pub const SMALL: Scenario = Scenario {
    name: "produce-16k",
    about: "batches of 16 KiB, 4 connections with 5 requests in flight each: CPU per GiB over the raw sink's",
    own_broker: false,
    run: |lab| {
        let load = Load { partitions: 4, connections: 4, in_flight: IN_FLIGHT, shape: Shape::of_batch(16 << 10) };
        vec![row(lab, "produce, 16 KiB batches, 4 connections", load, 2.0)]
    },
};

/// What is produced, and over how many sockets. Connection i of n writes to partitions i, i + n, ….
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub partitions: i32,
    pub connections: usize,
    pub in_flight: usize,
    pub shape: Shape,
}

impl Load {
    pub fn frames(&self, topic: &str) -> Vec<Bytes> {
        let batch = self.shape.batch();
        (0..self.partitions).map(|partition| frames::produce(topic, partition, &batch)).collect()
    }

    pub fn connect(&self, server: &Server, topic: &str) -> Lanes {
        let error_at = frames::produce_error_at(topic);
        Lanes::connect(server.address, self.connections, self.in_flight, self.frames(topic), error_at)
    }

    /// A topic of its own, and so many requests to it.
    pub fn run(&self, broker: &Broker<'_>, requests: u64, work: Work) -> Run {
        let topic = broker.topic(self.partitions);
        let mut lanes = self.connect(&broker.server, &topic.name);
        measure::run(&broker.server, || {
            lanes.exchange(requests);
            work
        })
    }

    /// As many to a limit, which does not care where they would go.
    pub fn run_limit(&self, limit: &Server, topic: &str, requests: u64, work: Work) -> Run {
        let mut lanes = self.connect(limit, topic);
        let run = measure::run(limit, || {
            lanes.exchange(requests);
            work
        });
        // It removes its files when the connections are gone.
        drop(lanes);
        limit.settle();
        run
    }

    /// How long the broker's answer to one of the requests is.
    pub fn answer_bytes(&self, broker: &Broker<'_>) -> usize {
        let topic = broker.topic(self.partitions);
        let request = &self.frames(&topic.name)[0];
        Control::connect(broker.server.address).exchange(request).len()
    }
}

fn row(lab: &Lab, name: &str, load: Load, at_most: f64) -> Row {
    let compared = beside_sink(lab, load, lab.run_bytes());
    Row {
        load: name.to_owned(),
        figure: "CPU per GiB over the raw sink's".to_owned(),
        reached: compared.cpu_ratio(),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtMost(at_most)),
        sides: compared.into_sides(),
        notes: vec![],
    }
}

/// Moves about so many bytes of batches into the broker and into the sink, in turn.
pub fn beside_sink(lab: &Lab, load: Load, bytes: u64) -> Compared {
    let broker = lab.broker();
    let (dir, topic) = (lab.scratch(), lab.topic_name());
    let files = load.partitions as usize / load.connections;
    let frame_bytes = load.frames(&topic)[0].len();
    let sink = raw::sink(dir.path(), files, frame_bytes, load.answer_bytes(&broker));
    let batch_bytes = load.shape.batch().bytes.len() as u64;
    let requests = (bytes / batch_bytes).max(1);
    let work = Work::bytes(requests * batch_bytes);
    Compared::alternate(
        lab.rounds(),
        ("broker", Box::new(|| load.run(&broker, requests, work))),
        [("recv + crc32c + pwrite", Box::new(|| load.run_limit(&sink, &topic, requests, work)) as _)],
    )
}
