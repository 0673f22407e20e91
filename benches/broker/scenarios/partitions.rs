//! Small requests to ten thousand partitions in turn, beside the same to ten.

use crate::lab::{Held, Lab};
use crate::measure::{self, Compared, Run, Work};
use crate::report::grouped;
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
    let count = lab.full_or_short(MANY, MANY / 10);
    let (broker, [many, few]) = lab.broker_holding([count, FEW]);
    // The first append opens a log, which is another matter.
    [&many, &few].into_iter().for_each(|topic| drop(write(&broker.server, topic, topic.partitions as u64)));
    let (name, requests) = (format!("{} partitions", grouped(count as u64)), lab.run_requests());
    let compared = Compared::alternate(
        lab.rounds(),
        (&name, Box::new(|| write(&broker.server, &many, requests))),
        [("10 partitions", Box::new(|| write(&broker.server, &few, requests)) as _)],
    );
    vec![Row {
        load: format!("produce, {name} in turn"),
        figure: "CPU per request over 10 partitions".to_owned(),
        reached: compared.cpu_ratio(),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtMost(1.5)),
        sides: compared.into_sides(),
        notes: vec![],
    }]
}

pub fn write(server: &Server, topic: &Held, requests: u64) -> Run {
    let load = Load { partitions: topic.partitions, connections: CONNECTIONS, in_flight: IN_FLIGHT, shape: RECORD };
    let mut lanes = load.connect(server, &topic.name);
    measure::run(server, || {
        lanes.exchange(requests);
        Work::requests(requests)
    })
}
