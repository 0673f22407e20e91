//! A fetch at a random offset of a partition of 1,000,000 small batches, beside one of 1,000.

use std::time::Instant;

use crate::client::frames::{self, Position, Session};
use crate::client::{Consumer, pace};
use crate::data::{self, Topic};
use crate::lab::Lab;
use crate::measure::{self, Compared, Latency, Run, Work};
use crate::scenario::{FigureUnit, Row, Scenario};
use crate::server::Server;

use super::requests::RECORD;
use super::startup;

const FETCH_BYTES: i32 = 4096;
const MANY: u64 = 1_000_000;
const FEW: u64 = 1_000;

pub const RANDOM: Scenario = Scenario {
    name: "seeks",
    about: "fetches at random offsets of 1,000,000 small batches: CPU per fetch over 1,000 batches",
    own_broker: true,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let data = lab.scratch();
    let topic = |batches| Topic { name: name(batches), partitions: 1, batches, batch: RECORD.batch() };
    data::make(data.path(), &[MANY, FEW].map(topic));
    let (broker, _) = startup::start(lab, data.path());
    let fetches = lab.full_or_short(20_000, 2_000);
    let compared = Compared::alternate(
        lab.rounds(),
        ("1,000,000 batches", Box::new(|| seek(&broker, MANY, fetches))),
        [("1,000 batches", Box::new(|| seek(&broker, FEW, fetches)) as _)],
    );
    vec![Row {
        load: "fetch at random offsets".to_owned(),
        figure: "CPU per fetch over 1,000 batches".to_owned(),
        reached: compared.cpu_ratio(),
        unit: FigureUnit::Ratio,
        target: None,
        sides: compared.into_sides(),
        notes: vec![],
    }]
}

fn name(batches: u64) -> String {
    format!("batches-{batches}")
}

fn seek(broker: &Server, batches: u64, fetches: u64) -> Run {
    let (topic, mut random) = (name(batches), fastrand::Rng::with_seed(7));
    let mut consumer = Consumer::connect(broker.address);
    let mut latency = pace::histogram();
    let run = measure::run(broker, || {
        for _ in 0..fetches {
            let position = Position { partition: 0, offset: random.i64(0..batches as i64), bytes_max: FETCH_BYTES };
            let (asked, mut bytes) = (Instant::now(), 0);
            consumer.fetch(&frames::fetch(&topic, Session::NONE, &[position]), |fetched| bytes += fetched.bytes);
            pace::record(&mut latency, asked.elapsed());
            assert!(bytes > 0, "nothing at {position:?}");
        }
        Work::fetches(fetches)
    });
    Run { latency: Some(Latency::of(&latency)), ..run }
}
