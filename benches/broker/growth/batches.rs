//! The size of batches.

use crate::client::frames::Shape;
use crate::lab::Lab;
use crate::scenarios::produce::{self, IN_FLIGHT, Load};

use super::{Axis, Growth, Sweep};

/// A record of 100 B and what stands around it, up to the largest that fits `max.message.bytes`.
const BYTES: [usize; 6] = [172, 1 << 10, 4 << 10, 16 << 10, 128 << 10, 1 << 20];
/// Of the smallest batches a gibibyte would be millions.
const REQUESTS_MAX: u64 = 100_000;

pub const SWEEP: Sweep = Sweep {
    name: "growth-batches",
    about: "produce: CPU per GiB against the size of batches, 100 B to 1 MiB",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Growth {
    let compare = |bytes: usize| {
        let load = Load { partitions: 4, connections: 4, in_flight: IN_FLIGHT, shape: Shape::of_batch(bytes) };
        let moved = (lab.run_bytes() / 2).min(bytes as u64 * REQUESTS_MAX);
        produce::beside_sink(lab, load, moved)
    };
    let name = |bytes: usize| match bytes {
        172 => "100 B".to_owned(),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    };
    Growth {
        name: "batches".to_owned(),
        title: "Produce: CPU against the size of batches".to_owned(),
        x: Axis::new("size of a batch", &BYTES, |bytes| bytes as f64, name),
        y: "CPU s per GiB".to_owned(),
        curves: super::beside_limit(&BYTES, "recv + crc32c + pwrite", compare),
    }
}
