//! What connections cost that have nothing to say.

use crate::client::Control;
use crate::lab::Lab;
use crate::measure::Spread;
use crate::report::grouped;
use crate::scenario::{FigureUnit, Row, Scenario, Target};

pub const IDLE: Scenario = Scenario {
    name: "connections",
    about: "5,000 idle connections, each of which has asked for ApiVersions once: resident memory of each",
    // Memory that had been used before would hide it.
    own_broker: true,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let connections = lab.full_or_short(5_000, 1_000);
    let each = (0..lab.full_or_short(3, 1)).map(|_| memory_of_each(lab, connections));
    vec![Row {
        load: format!("{} idle connections", grouped(connections as u64)),
        figure: "resident memory of each".to_owned(),
        reached: Spread::of(each),
        unit: FigureUnit::KiB,
        target: Some(Target::AtMost(8.0)),
        sides: vec![],
        notes: vec![],
    }]
}

fn memory_of_each(lab: &Lab, connections: usize) -> f64 {
    let broker = lab.broker();
    let account = broker.server.account.expect("a broker of ours");
    broker.server.settle();
    let before = account.resident_kib();
    let connected = || {
        let mut connection = Control::connect(broker.server.address);
        connection.api_versions();
        connection
    };
    let idle: Vec<Control> = (0..connections).map(|_| connected()).collect();
    broker.server.settle();
    let each = (account.resident_kib() - before) / connections as f64;
    drop(idle);
    each
}
