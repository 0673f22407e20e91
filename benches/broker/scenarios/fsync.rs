//! `flush.messages=1`: every record is on the disk before it is acknowledged.
//!
//! The bound is that of a group commit: a sync carries at most what each of the producers has outstanding, one batch, and the
//! disk syncs no faster than a bare loop does that writes as much and syncs it.

use std::time::Duration;

use crate::client::Lanes;
use crate::client::frames::{self, Shape};
use crate::lab::{Broker, Lab};
use crate::measure::{self, Compared, Run, Spread, Work};
use crate::raw::{self, Syncs};
use crate::scenario::{FigureUnit, Row, Scenario, Target};

const PRODUCERS: usize = 16;
const BATCH: Shape = Shape { record_bytes: 1 << 10, records: 10 };
/// What a first look at the disk takes.
const LOOK: Duration = Duration::from_millis(500);

pub const GROUP_COMMIT: Scenario = Scenario {
    name: "fsync",
    about: "flush.messages=1, 16 producers of one partition: records/s over the bound of a group commit",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let (broker, dir) = (lab.broker(), lab.scratch());
    let batch = BATCH.batch().bytes;
    let look = raw::sync_loop(dir.path(), &batch, PRODUCERS, LOOK);
    let batches_per_second = (look.count as usize * PRODUCERS) as f64 / look.elapsed.as_secs_f64();
    let requests = (batches_per_second * lab.run_time().as_secs_f64() / 2.0) as u64;
    let compared = Compared::alternate(
        lab.rounds(),
        ("broker", Box::new(|| produce(&broker, requests))),
        [(
            "pwrite + fdatasync",
            Box::new(|| bound(raw::sync_loop(dir.path(), &batch, PRODUCERS, lab.run_time() / 2))) as _,
        )],
    );
    let ratios = compared.ours.runs.iter().zip(&compared.others[0].runs);
    let syncs = Spread::of(compared.others[0].runs.iter().map(Run::throughput)).unwrap();
    let syncs = syncs.median / (PRODUCERS * BATCH.records) as f64;
    vec![Row {
        load: "produce, fsync for each ack, 16 producers".to_owned(),
        figure: "records/s over the group commit's bound".to_owned(),
        reached: Spread::of(ratios.map(|(ours, bound)| ours.throughput() / bound.throughput())),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtLeast(0.8)),
        sides: compared.into_sides(),
        notes: vec![format!("the disk takes {syncs:.0} syncs/s of {PRODUCERS} batches")],
    }]
}

fn produce(broker: &Broker<'_>, requests: u64) -> Run {
    let topic = broker.topic_with(1, &[("flush.messages", "1")]);
    let frames = vec![frames::produce(&topic.name, 0, &BATCH.batch())];
    let error_at = frames::produce_error_at(&topic.name);
    let mut lanes = Lanes::connect(broker.server.address, PRODUCERS, 1, frames, error_at);
    measure::run(&broker.server, || {
        lanes.exchange(requests);
        Work::records(requests * BATCH.records as u64)
    })
}

fn bound(syncs: Syncs) -> Run {
    let work = Work::records(syncs.count * (PRODUCERS * BATCH.records) as u64);
    Run { work, seconds: syncs.elapsed.as_secs_f64(), cpu: None, resident_kib: None, latency: None }
}
