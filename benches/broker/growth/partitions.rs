//! How many partitions there are: written in turn, and subscribed by a consumer that tails a few of them.

use crate::lab::Lab;
use crate::report::grouped;
use crate::scenarios::{partitions, tail};

use super::{Axis, Curve, Growth, Part, Sweep};

const PARTITIONS: [i32; 5] = [1, 10, 100, 1_000, 10_000];

pub const SWEEP: Sweep = Sweep {
    name: "growth-partitions",
    about: "CPU per request and per tailing fetch against partitions, 1 to 10,000",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Growth {
    let mut write = Curve::new("produce of a record to each in turn", Part::Broker);
    let mut read = Curve::new("fetch of a consumer that tails five of them", Part::Other);
    // Ten thousand take their time to be made and removed.
    let counts = lab.full_or_short(&PARTITIONS[..], &PARTITIONS[..4]);
    for &count in counts {
        let (broker, [topic]) = lab.broker_holding([count]);
        partitions::write(&broker.server, &topic, count as u64);
        let write_runs = (0..lab.rounds()).map(|_| partitions::write(&broker.server, &topic, lab.run_requests() / 2));
        write.push_cpu(&crate::measure::Side { name: String::new(), runs: write_runs.collect() });
        read.push_cpu(&tail::subscribed(lab, count));
    }
    Growth {
        name: "partitions".to_owned(),
        title: "CPU against partitions".to_owned(),
        x: Axis::new("partitions, written in turn or subscribed", counts, |it| it.into(), |it| grouped(it as u64)),
        y: "CPU µs per request".to_owned(),
        curves: vec![write, read],
    }
}
