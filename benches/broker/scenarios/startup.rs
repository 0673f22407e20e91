//! From spawn to the first answered ApiVersions.

use std::path::Path;
use std::time::Instant;

use crate::client::Control;
use crate::data::{self, Topic};
use crate::lab::Lab;
use crate::measure::Spread;
use crate::report::grouped;
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

const PARTITIONS: i32 = 10_000;
const PER_TOPIC: i32 = 100;
const BATCHES: u64 = 3;

pub const START: Scenario = Scenario {
    name: "startup",
    about: "from spawn to the first answered ApiVersions, on an empty directory and with 10,000 partitions",
    own_broker: true,
    run: |lab| vec![empty(lab), full(lab)],
};

fn empty(lab: &Lab) -> Row {
    let starts = (0..lab.full_or_short(20, 5)).map(|_| {
        let data = lab.scratch();
        start(lab, data.path()).1
    });
    row("start on an empty directory", Spread::of(starts), 8.0)
}

fn full(lab: &Lab) -> Row {
    let data = lab.scratch();
    let partitions = lab.full_or_short(PARTITIONS, PARTITIONS / 10);
    let topic = |index| Topic {
        name: format!("topic-{index}"),
        partitions: PER_TOPIC,
        batches: BATCHES,
        batch: super::requests::RECORD.batch(),
    };
    data::make(data.path(), &(0..partitions / PER_TOPIC).map(topic).collect::<Vec<_>>());
    // Adopts the topics.
    start(lab, data.path()).0.stop();
    let starts = (0..lab.full_or_short(9, 3)).map(|_| {
        let (broker, milliseconds) = start(lab, data.path());
        broker.stop();
        milliseconds
    });
    row(&format!("start with {} partitions", grouped(partitions as u64)), Spread::of(starts), 300.0)
}

fn row(load: &str, reached: Option<Spread>, below: f64) -> Row {
    Row {
        load: load.to_owned(),
        figure: "spawn to first answered ApiVersions".to_owned(),
        reached,
        unit: FigureUnit::Milliseconds,
        target: Some(Target::Below(below)),
        sides: vec![],
        notes: vec![],
    }
}

pub fn start(lab: &Lab, data: &Path) -> (Server, f64) {
    let started = Instant::now();
    let broker = Server::broker(&lab.binary(), data);
    Control::connect(broker.address).api_versions();
    (broker, started.elapsed().as_secs_f64() * 1e3)
}
