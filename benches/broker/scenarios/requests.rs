//! Small requests beside a server that only answers them.

use crate::client::frames::Shape;
use crate::lab::Lab;
use crate::measure::{Compared, Work};
use crate::raw;
use crate::report;
use crate::scenario::{FigureUnit, Row, Scenario, Target};

use super::produce::{IN_FLIGHT, Load};

const CONNECTIONS: usize = 16;
pub const RECORD: Shape = Shape { record_bytes: 100, records: 1 };

pub const SINGLE: Scenario = Scenario {
    name: "requests",
    about: "single records of 100 B, 16 connections, pipelined: CPU per request over a tokio echo server's",
    own_broker: false,
    run: |lab| {
        let load =
            Load { partitions: CONNECTIONS as i32, connections: CONNECTIONS, in_flight: IN_FLIGHT, shape: RECORD };
        let compared = beside_echo(lab, load, lab.run_requests());
        let over_single =
            compared.cpu_ratio_over(&compared.others[1]).map(|ratio| report::figure(ratio, FigureUnit::Ratio));
        let notes = over_single.map(|ratio| format!("over the echo with a write for each answer: {ratio}"));
        let notes = notes.into_iter().collect();
        vec![Row {
            load: "produce, single 100 B records, 16 connections".to_owned(),
            figure: "CPU per request over the echo server's".to_owned(),
            reached: compared.cpu_ratio(),
            unit: FigureUnit::Ratio,
            target: Some(Target::AtMost(2.5)),
            sides: compared.into_sides(),
            notes,
        }]
    },
};

/// Sends so many requests to the broker and to the echo servers, in turn.
pub fn beside_echo(lab: &Lab, load: Load, requests: u64) -> Compared {
    let (broker, topic) = (lab.broker(), lab.topic_name());
    let answer_bytes = load.answer_bytes(&broker);
    let [gathering, single] = [true, false].map(|gathers| raw::echo(answer_bytes, gathers));
    let work = Work::requests(requests);
    Compared::alternate(
        lab.rounds(),
        ("broker", Box::new(|| load.run(&broker, requests, work))),
        [
            ("echo, answers gathered", Box::new(|| load.run_limit(&gathering, &topic, requests, work)) as _),
            ("echo, a write for each", Box::new(|| load.run_limit(&single, &topic, requests, work)) as _),
        ],
    )
}
