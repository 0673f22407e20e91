//! `flush.messages=1`: every record is on the disk before it is acknowledged.
//!
//! The bound is that of a group commit: a sync carries at most what each of the producers has outstanding, one batch, and the
//! disk syncs no faster than a bare loop does that writes as much and syncs it. How much of the distance to it is the way
//! to the producers and back tells a bare server beside it.

use std::time::Duration;

use crate::client::frames::{self, Shape};
use crate::client::{Control, Lanes};
use crate::lab::Lab;
use crate::measure::{self, Compared, Run, Side, Spread, Work};
use crate::raw::{self, Syncs};
use crate::report;
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Server;

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
    let requests = (batches_per_second * lab.run_time().as_secs_f64() / 2.0) as usize;
    // As many of each producer, which the bare server counts on.
    let requests = requests.next_multiple_of(PRODUCERS) as u64;
    let (name, frame) = (lab.topic_name(), |name: &str| frames::produce(name, 0, &BATCH.batch()));
    let answer_bytes = {
        let topic = broker.topic(1);
        Control::connect(broker.server.address).exchange(&frame(&topic.name)).len()
    };
    let group = raw::group(dir.path(), PRODUCERS, frame(&name).len(), answer_bytes);
    let compared = Compared::alternate(
        lab.rounds(),
        (
            "broker",
            Box::new(|| produce(&broker.server, &broker.topic_with(1, &[("flush.messages", "1")]).name, requests)),
        ),
        [
            (
                "pwrite + fdatasync",
                Box::new(|| bound(raw::sync_loop(dir.path(), &batch, PRODUCERS, lab.run_time() / 2))) as _,
            ),
            ("recv + pwrite + fdatasync + send", Box::new(|| produce(&group, &name, requests)) as _),
        ],
    );
    let over = |side: &Side| {
        let pairs = compared.ours.runs.iter().zip(&side.runs);
        Spread::of(pairs.map(|(ours, other)| ours.throughput() / other.throughput()))
    };
    let syncs = Spread::of(compared.others[0].runs.iter().map(Run::throughput)).unwrap();
    let syncs = syncs.median / (PRODUCERS * BATCH.records) as f64;
    let over_server = over(&compared.others[1]).map(|ratio| report::figure(ratio, FigureUnit::Ratio));
    let notes = vec![
        format!("the disk takes {syncs:.0} syncs/s of {PRODUCERS} batches"),
        format!("records/s over the bare server's: {}", over_server.unwrap_or_default()),
    ];
    vec![Row {
        load: "produce, fsync for each ack, 16 producers".to_owned(),
        figure: "records/s over the group commit's bound".to_owned(),
        reached: over(&compared.others[0]),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtLeast(0.8)),
        notes,
        sides: compared.into_sides(),
    }]
}

fn produce(server: &Server, topic: &str, requests: u64) -> Run {
    let frames = vec![frames::produce(topic, 0, &BATCH.batch())];
    let mut lanes = Lanes::connect(server.address, PRODUCERS, 1, frames, frames::produce_error_at(topic));
    measure::run(server, || {
        lanes.exchange(requests);
        Work::records(requests * BATCH.records as u64)
    })
}

fn bound(syncs: Syncs) -> Run {
    let work = Work::records(syncs.count * (PRODUCERS * BATCH.records) as u64);
    Run { work, seconds: syncs.elapsed.as_secs_f64(), cpu: None, resident_kib: None, latency: None }
}
