//! Small requests beside a server that only answers them.

use crate::client::frames::Shape;
use crate::lab::Lab;
use crate::measure::{Act, Compared, Side, Work};
use crate::raw::{self, Duty};
use crate::report;
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

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
        let duties = [GATHERING].into_iter().chain(OTHERS).collect::<Vec<_>>();
        let compared = beside_echoes(lab, load, lab.run_requests(), &duties);
        let over = |side: &Side| {
            let ratio = compared.cpu_ratio_over(side)?;
            Some(format!("over {}: {}", side.name, report::figure(ratio, FigureUnit::Ratio)))
        };
        let notes = compared.others[1..].iter().filter_map(over).collect();
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

/// The echo server that the figure goes by.
pub const GATHERING: (&str, Duty) = ("echo, answers gathered", Duty { gathers: true, stores: false });
/// What tells where the distance to it comes from.
const OTHERS: [(&str, Duty); 2] = [
    ("echo, each in a file first", Duty { gathers: true, stores: true }),
    ("echo, a write for each", Duty { gathers: false, stores: false }),
];

/// Sends so many requests to the broker and to echo servers, in turn.
pub fn beside_echoes(lab: &Lab, load: Load, requests: u64, duties: &[(&str, Duty)]) -> Compared {
    let (broker, topic, dir) = (lab.broker(), lab.topic_name(), lab.scratch());
    let answer_bytes = load.answer_bytes(&broker);
    let echoes: Vec<Server> = duties.iter().map(|(_, duty)| raw::echo(dir.path(), answer_bytes, *duty)).collect();
    let work = Work::requests(requests);
    let limits = duties.iter().zip(&echoes).map(|((name, _), echo)| {
        let act: Act<'_> = (name, Box::new(|| load.run_limit(echo, &topic, requests, work)));
        act
    });
    Compared::alternate(lab.rounds(), ("broker", Box::new(|| load.run(&broker, requests, work))), limits)
}
