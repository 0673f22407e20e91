//! How many consumers read the same data.

use crate::lab::Lab;
use crate::report::grouped;
use crate::scenarios::consume;

use super::{Axis, Growth, Sweep};

const CONSUMERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

pub const SWEEP: Sweep = Sweep {
    name: "growth-consumers",
    about: "consume: CPU per GiB against consumers of the same data, 1 to 64",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Growth {
    let compare = |consumers: usize| consume::beside_sendfile(lab, 6, consumers, lab.run_bytes() / 4);
    Growth {
        name: "consumers".to_owned(),
        title: "Consume: CPU against consumers of the same data".to_owned(),
        x: Axis::new(
            "consumers, each of which reads 6 partitions",
            &CONSUMERS,
            |it| it as f64,
            |it| grouped(it as u64),
        ),
        y: "CPU s per GiB".to_owned(),
        curves: super::beside_limit(&CONSUMERS, "sendfile", compare),
    }
}
