//! Resident memory, and the size of the binary.

use std::time::Duration;

use crate::client::frames::Shape;
use crate::lab::Lab;
use crate::measure::{Spread, Work};
use crate::scenario::{FigureUnit, Row, Scenario, Target};

use super::produce::{IN_FLIGHT, Load};

const PRODUCERS: usize = 16;

pub const RESIDENT: Scenario = Scenario {
    name: "memory",
    about: "resident memory idle, and producing flat out (16 connections, 1 MiB batches)",
    own_broker: true,
    run: |lab| vec![idle(lab), producing(lab)],
};

pub const BINARY: Scenario = Scenario {
    name: "binary",
    about: "size of the release binary, stripped",
    own_broker: true,
    run: |lab| vec![binary(lab)],
};

fn idle(lab: &Lab) -> Row {
    let resident = (0..lab.full_or_short(5, 2)).map(|_| {
        let broker = lab.broker();
        // Idle means idle: let what the start left behind settle.
        std::thread::sleep(Duration::from_secs(1));
        broker.server.account.unwrap().resident_kib() / 1024.0
    });
    row("resident memory, idle", "VmRSS after a second", Spread::of(resident), 12.0)
}

fn producing(lab: &Lab) -> Row {
    let load = Load {
        partitions: PRODUCERS as i32,
        connections: PRODUCERS,
        in_flight: IN_FLIGHT,
        shape: Shape::of_batch(1 << 20),
    };
    let resident = (0..lab.full_or_short(3, 1)).map(|_| {
        let broker = lab.broker();
        load.run(&broker, lab.run_bytes() >> 20, Work::bytes(lab.run_bytes()));
        broker.server.account.unwrap().resident_peak_kib() / 1024.0
    });
    row("resident memory, producing flat out", "VmHWM, 16 connections, 1 MiB batches", Spread::of(resident), 64.0)
}

fn binary(lab: &Lab) -> Row {
    let bytes = std::fs::metadata(lab.binary()).unwrap().len();
    let reached = Some(Spread::exactly(bytes as f64 / 1e6));
    Row { unit: FigureUnit::MB, ..row("release binary", "size, stripped", reached, 12.0) }
}

fn row(load: &str, figure: &str, reached: Option<Spread>, below: f64) -> Row {
    Row {
        load: load.to_owned(),
        figure: figure.to_owned(),
        reached,
        unit: FigureUnit::MiB,
        target: Some(Target::Below(below)),
        sides: vec![],
        notes: vec![],
    }
}
