//! How many connections take part.

use crate::lab::Lab;
use crate::report::grouped;
use crate::scenarios::produce::Load;
use crate::scenarios::requests::{self, RECORD};

use super::{Axis, Growth, Sweep};

const CONNECTIONS: [usize; 5] = [1, 10, 100, 1_000, 5_000];
const PARTITIONS: i32 = 10;

pub const SWEEP: Sweep = Sweep {
    name: "growth-connections",
    about: "produce of single records: CPU per request against connections, 1 to 5,000",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Growth {
    let compare = |connections: usize| {
        let load = Load { partitions: PARTITIONS, connections, in_flight: 1, shape: RECORD };
        requests::beside_echoes(lab, load, lab.run_requests() / 2, &[requests::GATHERING])
    };
    Growth {
        name: "connections".to_owned(),
        title: "Produce, 100 B records: CPU against connections".to_owned(),
        x: Axis::new(
            "connections, one request in flight on each",
            &CONNECTIONS,
            |it| it as f64,
            |it| grouped(it as u64),
        ),
        y: "CPU µs per request".to_owned(),
        curves: super::beside_limit(&CONNECTIONS, "tokio echo", compare),
    }
}
