//! How large a log is: what is appended to it, and what is read somewhere in it.

use crate::client::Consumer;
use crate::client::frames::{self, Position, Session, Shape};
use crate::lab::{Lab, Topic};
use crate::measure::{self, Run, Side, Work};
use crate::scenarios::produce::{IN_FLIGHT, Load};
use crate::server::Server;

use super::{Axis, Curve, Growth, Part, Sweep};

const GIB: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 20.0];
const LOAD: Load =
    Load { partitions: 1, connections: 1, in_flight: IN_FLIGHT, shape: Shape { record_bytes: 1 << 10, records: 15 } };
/// One batch, however small.
const FETCH_BYTES: i32 = 1;

pub const SWEEP: Sweep = Sweep {
    name: "growth-log",
    about: "CPU per append and per fetch at a random offset against the size of the log, 0.1 GiB to --log-gib",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Growth {
    let gib_max = lab.log_gib();
    let sizes: Vec<f64> = GIB.into_iter().filter(|gib| *gib < gib_max).chain([gib_max]).collect();
    let broker = lab.broker();
    let topic = broker.topic(1);
    let batch_bytes = LOAD.shape.batch().bytes.len() as u64;
    let [mut appends, mut fetches] =
        [("append of a batch of 16 KiB", Part::Broker), ("fetch of one at a random offset", Part::Other)]
            .map(|(name, part)| Curve::new(name, part));
    let mut batches = 0;
    for gib in &sizes {
        let wanted = (gib * (1u64 << 30) as f64) as u64 / batch_bytes;
        let requests = lab.full_or_short(8_000, 1_000);
        append(&broker.server, &topic, wanted.saturating_sub(batches + requests * lab.rounds() as u64));
        let runs = (0..lab.rounds()).map(|_| append(&broker.server, &topic, requests)).collect();
        appends.push_cpu(&Side { name: String::new(), runs });
        batches = wanted;
        let runs = (0..lab.rounds()).map(|_| seek(&broker.server, &topic, wanted, requests)).collect();
        fetches.push_cpu(&Side { name: String::new(), runs });
    }
    Growth {
        name: "log".to_owned(),
        title: "CPU against the size of the log".to_owned(),
        x: Axis::new("GiB in one partition", &sizes, |gib| gib, |gib| gib.to_string()),
        y: "CPU µs per request".to_owned(),
        curves: vec![appends, fetches],
    }
}

fn append(server: &Server, topic: &Topic<'_>, requests: u64) -> Run {
    let mut lanes = LOAD.connect(server, &topic.name);
    measure::run(server, || {
        lanes.exchange(requests);
        Work::requests(requests)
    })
}

fn seek(server: &Server, topic: &Topic<'_>, batches: u64, requests: u64) -> Run {
    let mut random = fastrand::Rng::with_seed(7);
    let mut consumer = Consumer::connect(server.address);
    measure::run(server, || {
        for _ in 0..requests {
            let offset = random.i64(0..batches as i64 * LOAD.shape.records as i64);
            let position = Position { partition: 0, offset, bytes_max: FETCH_BYTES };
            consumer
                .fetch(&frames::fetch(&topic.name, Session::NONE, &[position]), |fetched| assert!(fetched.bytes > 0));
        }
        Work::requests(requests)
    })
}
