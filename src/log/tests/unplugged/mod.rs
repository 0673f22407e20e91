//! Power losses at random moments, also in the middle of a step, over many seeds, against a model that knows what was appended
//! and what was made durable: no loss takes the partition offline, what was made durable is there, and what is there is what was
//! appended, in order. Of what was compacted the newest record of each key is there.
//!
//! `OTTLA_TEST_SEED` starts elsewhere, `OTTLA_TEST_SEEDS` is how many.

mod model;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use self::model::Model;
use super::*;
use crate::log::cleaner::{Cleaning, Limits, Plan, Stop, Throttler};
use crate::log::manager::{LogManager, ManagerOptions};
use crate::sys::power_loss;
use crate::types::{NodeId, ProducerEpoch, ProducerId, TopicPartition};

const GENERATIONS: usize = 5;
const STEPS: usize = 25;
const TOPIC_ID: TopicId = TopicId(uuid::Uuid::from_u128(7));
const LOG_DIRS: [&str; 2] = ["a", "b"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn id() -> TopicPartition {
    TopicPartition::new("topic", 0)
}

fn config(compact: bool) -> TopicConfig {
    TopicConfig { segment_bytes: 6_000, index_interval_bytes: 500, compact, delete: !compact, ..TopicConfig::default() }
}

fn make_log_dirs(root: &Path) {
    LOG_DIRS.iter().for_each(|dir| std::fs::create_dir_all(root.join(dir)).unwrap());
}

/// A broker's part of it, that runs until the power goes.
struct Running<'a> {
    root: &'a Path,
    manager: LogManager,
    writer: Mutex<LogWriter>,
    reader: LogReader,
    runtime: tokio::runtime::Runtime,
}

impl Running<'_> {
    fn start(root: &Path, compact: bool) -> Result<Running<'_>, LogError> {
        let options = ManagerOptions {
            node_id: NodeId(1),
            cluster_id: None,
            producer_id_expiration: Duration::MAX,
            open_files_max: 100,
        };
        let manager = LogManager::open(&LOG_DIRS.map(|dir| root.join(dir)), &options).unwrap();
        let (writer, reader) = manager.open_log(&id(), TOPIC_ID, config(compact))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Ok(Running { root, manager, writer: Mutex::new(writer), reader, runtime })
    }

    fn has_power(&self) -> bool {
        power_loss::has_power(self.root)
    }

    fn step(&mut self, model: &mut Model, random: &mut fastrand::Rng) {
        match random.u8(..14) {
            0 => {
                self.reader.shared.flush().unwrap();
                self.all_durable(model);
            }
            1 => self.manager.checkpoint().unwrap(),
            2 => self.remove_before(Offset(random.usize(model.start..=model.records.len()) as i64), model),
            3 | 4 => {
                // What `flush.messages=1` has an acknowledgement wait for.
                if let Some(wait) = self.reader.group_commit(self.reader.end_offset(), 1) {
                    self.runtime.block_on(wait.done()).unwrap();
                }
                self.all_durable(model);
            }
            5 | 6 if model.compacts => self.compact(model),
            7 => self.change_log_dir(model, random),
            _ => self.append(model, random),
        }
    }

    fn all_durable(&self, model: &mut Model) {
        if self.has_power() {
            model.durable = model.records.len();
        }
    }

    fn append(&mut self, model: &mut Model, random: &mut fastrand::Rng) {
        append(self.writer.get_mut(), model.batch(random));
    }

    fn remove_before(&mut self, start: Offset, model: &mut Model) {
        let writer = self.writer.get_mut();
        writer.advance_start(start).unwrap();
        self.manager.checkpoint_start(&id()).unwrap();
        // As `Partition::remove_before` does it.
        if self.reader.recovery_point() <= start {
            self.reader.flush_base().unwrap();
        }
        writer.remove_before(start, Instant::now()).unwrap();
        if self.has_power() {
            model.start = start.0 as usize;
        }
    }

    fn compact(&mut self, model: &mut Model) {
        let plan = Plan::of(&self.reader, self.manager.cleaned_to(&id()), &config(true), NOW).unwrap();
        let Some(plan) = plan.filter(|plan| plan.cleanable_bytes > 0) else { return };
        let cleaning = Cleaning {
            log: &self.reader,
            writer: &self.writer,
            config: &config(true),
            limits: &Limits { keys_max: 1000, load_factor: 0.9, buffer_bytes: 2000 },
            throttler: &Throttler::new(None),
            stop: &Stop::default(),
            now: NOW,
        };
        let cleaned = cleaning.run(&plan).unwrap();
        model.cleaned = model.cleaned.max(cleaned.to.0 as usize);
        self.manager.set_cleaned_to(&id(), TOPIC_ID, cleaned.to).unwrap();
    }

    fn change_log_dir(&mut self, model: &mut Model, random: &mut fastrand::Rng) {
        let here = self.manager.dir_of(&id()).unwrap();
        let there = LOG_DIRS.map(|dir| self.root.join(dir)).into_iter().find(|dir| *dir != here).unwrap();
        let mut future = self.manager.begin_move(&id(), &self.reader, &there, Arc::default()).unwrap();
        future.catch_up().unwrap();
        if random.bool() {
            self.append(model, random);
        }
        let switched = self.manager.switch(&id(), self.writer.get_mut(), &mut future, u64::MAX).unwrap().unwrap();
        self.reader = switched.reader.unwrap();
        self.all_durable(model);
        switched.leftover.iter().for_each(|folder| sys::remove_dir_all(folder).unwrap());
    }
}

fn run(root: &Path, model: &mut Model, random: &mut fastrand::Rng, seed: u64) {
    let mut log = Running::start(root, model.compacts).unwrap_or_else(|error| panic!("seed {seed}: offline: {error}"));
    model.check(&log.reader, seed);
    for _ in 0..random.usize(..STEPS) {
        if random.u8(..10) == 0 {
            power_loss::cut_after(root, random.usize(..100));
        }
        log.step(model, random);
        if !log.has_power() {
            return;
        }
    }
    if random.u8(..4) == 0 {
        log.writer.get_mut().close().unwrap();
        log.manager.close().unwrap();
        log.all_durable(model);
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
        let mut model = Model { compacts: seed % 2 == 0, ..Model::default() };
        let mut root = dir.path().join("0");
        make_log_dirs(&root);
        for generation in 1..=GENERATIONS {
            power_loss::watch(&root);
            run(&root, &mut model, &mut random, seed);
            let left = dir.path().join(generation.to_string());
            power_loss::lose_power(&root, &left, &mut random);
            root = left;
        }
        appended += model.records.len() + model.lost;
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
        make_log_dirs(&root);
        power_loss::watch(&root);
        let Running { manager, writer, reader, .. } = Running::start(&root, false).unwrap();
        let mut writer = writer.into_inner();
        append(&mut writer, Model::default().batch(&mut random));
        writer.settle().unwrap();
        let end = writer.settle().unwrap().unwrap();
        reader.flush().unwrap();
        writer.settled(end);
        let config = TopicConfig { retention: Some(Duration::ZERO), ..TopicConfig::default() };
        let expired = reader.expired(&config, end, Timestamp(NOW.0 + 1)).unwrap().unwrap();
        assert_eq!(writer.expire(expired, NOW).unwrap(), end);
        manager.checkpoint_start(&id()).unwrap();
        reader.flush_base().unwrap();
        writer.remove_before(end, Instant::now()).unwrap();
        power_loss::lose_power(&root, &left, &mut random);
        let Running { manager: _manager, writer, reader, .. } = Running::start(&left, false).unwrap();
        assert_eq!((reader.start_offset(), reader.end_offset()), (end, end), "seed {seed}");
        assert_eq!(writer.lock().producers.entries().len(), 1, "seed {seed}");
    }
}
