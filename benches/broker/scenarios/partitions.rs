//! Small requests to ten thousand partitions in turn, beside the same to ten.

use crate::lab::{Lab, Topic};
use crate::measure::{self, Compared, Run, Work};
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

use super::produce::{IN_FLIGHT, Load};
use super::requests::RECORD;

const FEW: i32 = 10;
const MANY: i32 = 10_000;
const CONNECTIONS: usize = 10;

pub const ROUND_ROBIN: Scenario = Scenario {
    name: "partitions",
    about: "10,000 partitions written in turn, 100 B records: CPU per request over 10 partitions",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let broker = lab.broker();
    let [many, few] = [MANY, FEW].map(|partitions| broker.topic(partitions));
    // The first record of a partition makes its files, which is another matter.
    [&many, &few].into_iter().for_each(|topic| drop(write(&broker.server, topic, topic.partitions as u64)));
    let requests = lab.run_requests() / 2;
    let compared = Compared::alternate(
        lab.rounds(),
        ("10,000 partitions", Box::new(|| write(&broker.server, &many, requests))),
        [("10 partitions", Box::new(|| write(&broker.server, &few, requests)) as _)],
    );
    vec![Row {
        load: "produce, 10,000 partitions in turn".to_owned(),
        figure: "CPU per request over 10 partitions".to_owned(),
        reached: compared.cpu_ratio(),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtMost(1.5)),
        sides: compared.into_sides(),
        notes: vec![],
    }]
}

pub fn write(server: &Server, topic: &Topic<'_>, requests: u64) -> Run {
    let load = Load { partitions: topic.partitions, connections: CONNECTIONS, in_flight: IN_FLIGHT, shape: RECORD };
    let mut lanes = load.connect(server, &topic.name);
    measure::run(server, || {
        lanes.exchange(requests);
        Work::requests(requests)
    })
}
