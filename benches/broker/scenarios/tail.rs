//! A consumer that has a thousand partitions in its fetch session (KIP-227), of which five get records: what a fetch costs
//! over one of a consumer that has only the five.
//!
//! The fetches wait for the records, so a paced producer runs beside them. What it costs by itself is measured too, and taken
//! off both.

use std::time::Duration;

use crate::client::frames::{self, Position, Session, Shape};
use crate::client::pace::Schedule;
use crate::client::{Consumer, Control};
use crate::lab::{Broker, Lab, Topic};
use crate::measure::{self, Compared, Run, Side, Work};
use crate::scenario::{FigureUnit, Row, Scenario, Target};
use crate::server::Cpu;

const ACTIVE: i32 = 5;
const SUBSCRIBED: i32 = 1_000;
const PERIOD: Duration = Duration::from_millis(1);
const BATCH: Shape = Shape { record_bytes: 100, records: 1 };

pub const SUBSCRIPTION: Scenario = Scenario {
    name: "tail",
    about: "1,000 partitions subscribed, 5 active, incremental fetches: CPU per fetch over 5 subscribed",
    own_broker: false,
    run,
};

fn run(lab: &Lab) -> Vec<Row> {
    let compared = beside_few(lab, SUBSCRIBED);
    let each = |side: &Side| {
        let fetches: f64 = side.runs.iter().map(|run| run.work.amount).sum();
        fetches / (lab.rounds() as f64 * lab.run_time().as_secs_f64() / PERIOD.as_secs_f64())
    };
    let (ours, few) = (each(&compared.ours), each(&compared.others[0]));
    vec![Row {
        load: "consume, tail, 1,000 subscribed, 5 active".to_owned(),
        figure: "CPU per fetch over 5 subscribed, 5 active".to_owned(),
        reached: compared.cpu_ratio(),
        unit: FigureUnit::Ratio,
        target: Some(Target::AtMost(1.3)),
        sides: compared.into_sides(),
        notes: vec![format!("fetches for each produce to the five: {ours:.2} and {few:.2}")],
    }]
}

/// So many subscribed partitions beside the active ones alone.
fn beside_few(lab: &Lab, many: i32) -> Compared {
    let broker = lab.broker();
    let [mut ours, mut few] = [many, ACTIVE].map(side);
    for _ in 0..lab.rounds() {
        let producer = producer_alone(lab, &broker, ACTIVE);
        ours.runs.push(without(tail(lab, &broker, many), &producer));
        few.runs.push(without(tail(lab, &broker, ACTIVE), &producer));
    }
    Compared { ours, others: vec![few] }
}

/// So many subscribed partitions by themselves.
pub fn subscribed(lab: &Lab, count: i32) -> Side {
    let broker = lab.broker();
    let runs = (0..lab.rounds()).map(|_| {
        let producer = producer_alone(lab, &broker, count);
        without(tail(lab, &broker, count), &producer)
    });
    Side { runs: runs.collect(), ..side(count) }
}

fn side(subscribed: i32) -> Side {
    Side { name: format!("{subscribed} subscribed"), runs: vec![] }
}

fn producer_alone(lab: &Lab, broker: &Broker<'_>, partitions: i32) -> Run {
    produce(broker, &broker.topic(partitions), lab.run_time(), || 0)
}

/// What is left of a run when the producer's share is taken off.
fn without(run: Run, producer: &Run) -> Run {
    let cpu = run.cpu.zip(producer.cpu).map(|(cpu, producer)| Cpu {
        user: (cpu.user - producer.user).max(0.0),
        system: (cpu.system - producer.system).max(0.0),
    });
    Run { cpu, ..run }
}

fn active(topic: &Topic<'_>) -> impl Iterator<Item = i32> + use<> {
    let count = ACTIVE.min(topic.partitions);
    let step = topic.partitions / count;
    (0..count).map(move |index| index * step)
}

/// One record for each active partition, in one request, whenever it is due. `consume` runs beside it, and tells how often
/// it fetched.
fn produce(broker: &Broker<'_>, topic: &Topic<'_>, time: Duration, consume: impl FnOnce() -> u64 + Send) -> Run {
    let frame = frames::produce_to(&topic.name, active(topic), &BATCH.batch());
    let mut producer = Control::connect(broker.server.address);
    measure::run(&broker.server, || {
        let fetches = std::thread::scope(|scope| {
            let fetches = scope.spawn(consume);
            Schedule::of(PERIOD, time).keep(|| producer.produce(&frame));
            fetches.join().unwrap()
        });
        Work::fetches(fetches)
    })
}

fn tail(lab: &Lab, broker: &Broker<'_>, subscribed: i32) -> Run {
    let (topic, time) = (broker.topic(subscribed), lab.run_time());
    let mut consumer = Consumer::connect(broker.server.address);
    let all: Vec<Position> = (0..topic.partitions).map(|partition| Position::new(partition, 0)).collect();
    let id = consumer.fetch(&frames::fetch(&topic.name, Session::NEW, &all), |_| ());
    let batch_bytes = BATCH.batch().bytes.len() as u64;
    let left = u64::from(Schedule::of(PERIOD, time).count) * active(&topic).count() as u64;
    produce(broker, &topic, time, || read(&mut consumer, &topic.name, id, batch_bytes, left))
}

/// Fetches until so many batches have come. Each fetch names the partitions whose offset the one before has moved.
fn read(consumer: &mut Consumer, topic: &str, id: i32, batch_bytes: u64, mut left: u64) -> u64 {
    let mut offsets = std::collections::BTreeMap::<i32, i64>::new();
    let (mut moved, mut epoch) = (Vec::new(), 0);
    while left > 0 {
        epoch += 1;
        let request = frames::fetch(topic, Session { id, epoch }, &moved);
        moved.clear();
        consumer.fetch(&request, |fetched| {
            let batches = fetched.bytes / batch_bytes;
            let offset = offsets.entry(fetched.partition).or_default();
            *offset += batches as i64 * BATCH.records as i64;
            left -= batches;
            moved.push(Position::new(fetched.partition, *offset));
        });
    }
    epoch as u64
}
