//! What a broker costs that nobody uses.

use std::time::Duration;

use crate::lab::Lab;
use crate::measure::Spread;
use crate::scenario::{FigureUnit, Row, Scenario, Target};

use super::partitions;

const PARTITIONS: i32 = 1_000;
const MINUTE: Duration = Duration::from_secs(60);

pub const ALONE: Scenario = Scenario {
    name: "idle",
    about: "no clients, 1,000 partitions with a record each: CPU over 60 s",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let (broker, [topic]) = lab.broker_holding([PARTITIONS]);
    // Their logs are open, as they are after any use.
    partitions::write(&broker.server, &topic, PARTITIONS as u64);
    broker.server.settle();
    let time = lab.full_or_short(MINUTE, Duration::from_secs(5));
    let used = broker.server.account.map(|account| {
        let before = account.total();
        std::thread::sleep(time);
        account.total() - before
    });
    let over_a_minute = |used: Duration| used.as_secs_f64() * 1e3 * MINUTE.as_secs_f64() / time.as_secs_f64();
    vec![Row {
        load: "idle, no clients, 1,000 partitions".to_owned(),
        figure: "CPU over 60 s".to_owned(),
        reached: used.map(over_a_minute).map(Spread::exactly),
        unit: FigureUnit::Milliseconds,
        target: Some(Target::Below(10.0)),
        sides: vec![],
        notes: if time < MINUTE { vec![format!("{} s, scaled", time.as_secs())] } else { vec![] },
    }]
}
