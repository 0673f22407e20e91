//! The start after an unclean stop, with recovery points near the logs' ends and without any.

use crate::client::frames::Shape;
use crate::data::{self, Topic};
use crate::lab::Lab;
use crate::measure::Spread;
use crate::scenario::{FigureUnit, Row, Scenario};

use super::startup;

const PARTITIONS: i32 = 4;
/// How many batches lie behind a recovery point that is near the end.
const NEAR: i64 = 8;

pub const UNCLEAN: Scenario = Scenario {
    name: "recovery",
    about: "the start after an unclean stop, with recovery points near the logs' ends, and without",
    own_broker: true,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let data = lab.scratch();
    let shape = Shape::of_batch(1 << 20);
    let mib = 4 * (lab.run_bytes() >> 20);
    let topic = Topic {
        name: "recovery".to_owned(),
        partitions: PARTITIONS,
        batches: mib / PARTITIONS as u64,
        batch: shape.batch(),
    };
    data::make(data.path(), &[topic]);
    startup::start(lab, data.path()).0.stop();
    let ways = [("recovery points near the ends", NEAR * shape.records as i64), ("no recovery points", i64::MAX)];
    let row = |(name, behind_end)| {
        let starts = (0..lab.full_or_short(5, 2)).map(|_| {
            data::soil(data.path(), behind_end);
            let (broker, milliseconds) = startup::start(lab, data.path());
            broker.stop();
            milliseconds
        });
        Row {
            load: format!("start after an unclean stop, {mib} MiB, {name}"),
            figure: "spawn to first answered ApiVersions".to_owned(),
            reached: Spread::of(starts),
            unit: FigureUnit::Milliseconds,
            target: None,
            sides: vec![],
            notes: vec![],
        }
    };
    ways.map(row).into()
}
