//! Power losses at random moments, over many seeds, against a model that knows what was appended and what was made durable:
//! no loss takes the partition offline, what was made durable is there, and what is there is what was appended, in order.
//!
//! `OTTLA_TEST_SEED` starts elsewhere, `OTTLA_TEST_SEEDS` is how many.

use std::path::Path;

use super::*;
use crate::log::manager::{LogManager, ManagerOptions};
use crate::sys::power_loss;
use crate::types::{NodeId, ProducerEpoch, ProducerId, TopicPartition};

const GENERATIONS: usize = 5;
const STEPS: usize = 25;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// What the log must hold.
#[derive(Debug, Default)]
struct Model {
    /// Of each record, by offset; those below the log start may be gone.
    values: Vec<Vec<u8>>,
    /// Records before this offset were made durable.
    durable: usize,
    /// A log start that was made durable.
    start: usize,
    lost: usize,
}

impl Model {
    /// A batch of records that no other batch has.
    fn batch(&self, random: &mut fastrand::Rng) -> (Batch, Vec<Vec<u8>>) {
        let first = self.values.len();
        let mut values = Vec::new();
        for index in first..first + random.usize(1..=3) {
            let mut value = format!("record {index} ").into_bytes();
            value.resize(random.usize(20..=1500), b'x');
            values.push(value);
        }
        let batch = values.iter().fold(BatchBuilder::new(NOW), |batch, value| batch.record(None, Some(value)));
        // The writer refuses a sequence that does not go on where the log ends.
        let batch = batch.producer(ProducerId(1), ProducerEpoch(0), first as i32);
        (batch.build().unwrap(), values)
    }

    /// Holds what is there after a start against what may be there, and goes on from it.
    fn check(&mut self, reader: &LogReader, seed: u64) {
        let (start, end) = (reader.start_offset().0 as usize, reader.end_offset().0 as usize);
        assert!(start >= self.start, "seed {seed}: the log start went back from {} to {start}", self.start);
        assert!((self.durable..=self.values.len()).contains(&end), "seed {seed}: {} durable, end {end}", self.durable);
        assert_eq!(values(reader), self.values[start..end], "seed {seed}: something else than what was appended");
        self.lost += self.values.len() - end;
        self.values.truncate(end);
        (self.start, self.durable) = (start, end);
    }
}

/// The values of all records; their offsets must be dense.
fn values(reader: &LogReader) -> Vec<Vec<u8>> {
    let (mut offset, mut values) = (reader.start_offset(), Vec::new());
    while let Some(slice) = reader.read(offset, UNLIMITED, false).unwrap().slice {
        let mut bytes = vec![0; slice.length as usize];
        sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            let batch = Batch::split_from(&mut bytes).unwrap();
            assert!(batch.header.base_offset <= offset);
            let records = BatchRecords::open(&batch, 1 << 20).unwrap();
            for record in records.iter().map(Result::unwrap) {
                // The log start may lie inside the first batch.
                if records.offset(&record) >= offset {
                    assert_eq!(records.offset(&record), offset);
                    values.push(record.value.unwrap().to_vec());
                    offset = offset.plus(1);
                }
            }
        }
    }
    values
}

fn open_in(root: &Path) -> (LogManager, Result<(LogWriter, LogReader), LogError>) {
    let options = ManagerOptions {
        node_id: NodeId(1),
        cluster_id: None,
        producer_id_expiration: Duration::MAX,
        open_files_max: 100,
    };
    let manager = LogManager::open(&[root.to_owned()], &options).unwrap();
    let config = TopicConfig { segment_bytes: 20_000, index_interval_bytes: 500, ..TopicConfig::default() };
    let opened = manager.open_log(&id(), TopicId(uuid::Uuid::from_u128(7)), config);
    (manager, opened)
}

fn id() -> TopicPartition {
    TopicPartition::new("topic", 0)
}

fn run(root: &Path, model: &mut Model, random: &mut fastrand::Rng, seed: u64) {
    let (manager, opened) = open_in(root);
    let (mut writer, reader) = opened.unwrap_or_else(|error| panic!("seed {seed}: offline: {error}"));
    model.check(&reader, seed);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..random.usize(..STEPS) {
        match random.u8(..10) {
            0 => {
                reader.shared.flush().unwrap();
                model.durable = model.values.len();
            }
            // What `flush.messages=1` has an acknowledgement wait for.
            3 | 4 => {
                if let Some(wait) = reader.group_commit(reader.end_offset(), 1) {
                    runtime.block_on(wait.done()).unwrap();
                }
                model.durable = model.values.len();
            }
            1 => manager.checkpoint().unwrap(),
            2 => {
                let start = Offset(random.usize(model.start..=model.values.len()) as i64);
                writer.advance_start(start).unwrap();
                manager.checkpoint_start(&id()).unwrap();
                model.start = start.0 as usize;
                writer.remove_before(start, std::time::Instant::now()).unwrap();
            }
            _ => {
                let (batch, values) = model.batch(random);
                append(&mut writer, batch);
                model.values.extend(values);
            }
        }
    }
    if random.u8(..4) == 0 {
        writer.close().unwrap();
        manager.close().unwrap();
        model.durable = model.values.len();
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "tells who runs many seeds how much was tried")]
fn a_power_loss_takes_nothing_that_was_made_durable_and_no_partition_offline() {
    let (first, count) = (number("OTTLA_TEST_SEED", 1), number("OTTLA_TEST_SEEDS", 30));
    let (mut appended, mut lost) = (0, 0);
    for seed in first..first + count {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let mut root = dir.path().join("0");
        std::fs::create_dir(&root).unwrap();
        for generation in 1..=GENERATIONS {
            power_loss::watch(&root);
            run(&root, &mut model, &mut random, seed);
            let left = dir.path().join(generation.to_string());
            power_loss::lose_power(&root, &left, &mut random);
            root = left;
        }
        appended += model.values.len() + model.lost;
        lost += model.lost;
    }
    println!(
        "{} power losses, {appended} records appended, {lost} not durable and gone, durable and lost 0",
        count * GENERATIONS as u64
    );
    assert!(lost > 0, "the losses were none");
}

#[test]
fn producers_outlast_their_records_that_have_expired_where_the_log_had_been_settled() {
    for seed in 1..=20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let (root, left) = (dir.path().join("before"), dir.path().join("after"));
        std::fs::create_dir(&root).unwrap();
        power_loss::watch(&root);
        let (manager, opened) = open_in(&root);
        let (mut writer, reader) = opened.unwrap();
        append(&mut writer, Model::default().batch(&mut random).0);
        writer.settle().unwrap();
        let end = writer.settle().unwrap().unwrap();
        reader.flush().unwrap();
        writer.settled(end);
        let config = TopicConfig { retention: Some(Duration::ZERO), ..TopicConfig::default() };
        let expired = reader.expired(&config, end, Timestamp(NOW.0 + 1)).unwrap().unwrap();
        assert_eq!(writer.expire(expired, NOW).unwrap(), end);
        manager.checkpoint_start(&id()).unwrap();
        reader.flush_base().unwrap();
        writer.remove_before(end, std::time::Instant::now()).unwrap();
        power_loss::lose_power(&root, &left, &mut random);
        let (_manager, opened) = open_in(&left);
        let (writer, reader) = opened.unwrap();
        assert_eq!((reader.start_offset(), reader.end_offset()), (end, end), "seed {seed}");
        assert_eq!(writer.producers.entries().len(), 1, "seed {seed}");
    }
}
