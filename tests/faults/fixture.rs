//! Log dirs whose content is known, as a stop leaves them, to be damaged and opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ottla::config::{RawConfig, TopicConfig};
use ottla::log::inspect::{Finding, Severity, Watch, verify_log_dir};
use ottla::log::manager::{LogManager, ManagerError, ManagerOptions};
use ottla::log::{LogReader, LogWriter};
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::records::EndTxnMarker;
use ottla::types::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicPartition};
use parking_lot::Mutex;
use tempfile::TempDir;

pub const NOW: i64 = 1_700_000_000_000;
/// The idempotent producer of `data-0`.
pub const PRODUCER: ProducerId = ProducerId(5);
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub const CLEAN_MARK: &str = ".kafka_cleanshutdown";

/// How the last run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Clean,
    /// By `kill -9`, a minute after the last segment was begun: the recovery points are at its base.
    Killed,
    /// By `kill -9` before any recovery point was checkpointed: all is recovered.
    KilledEarly,
    /// After a clean stop the mark was taken away: the recovery points are at the end.
    Unmarked,
}

pub const STOPS: [Stop; 4] = [Stop::Clean, Stop::Killed, Stop::KilledEarly, Stop::Unmarked];

/// What was acknowledged in one partition.
#[derive(Debug, Clone)]
pub struct Model {
    pub partition: TopicPartition,
    pub id: TopicId,
    /// As they were appended.
    pub batches: Vec<Batch>,
    /// Base offsets of the batches whose transaction was aborted.
    pub aborted: BTreeSet<Offset>,
}

impl Model {
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |last| last.header.next_offset())
    }

    pub fn last_base(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |last| last.header.base_offset)
    }

    /// First offset of the earliest transaction still open, else the end.
    pub fn last_stable_offset(&self) -> Offset {
        let mut open = BTreeMap::new();
        for header in self.batches.iter().map(|batch| &batch.header) {
            if header.attributes.is_control() {
                open.remove(&header.producer_id.0);
            } else if header.attributes.is_transactional() {
                open.entry(header.producer_id.0).or_insert(header.base_offset);
            }
        }
        open.into_values().min().unwrap_or_else(|| self.end())
    }

    /// As if the last batch had never come.
    pub fn without_last(&self) -> Model {
        let mut model = self.clone();
        model.batches.pop();
        model
    }
}

/// The files of a log dir, and what is in them.
#[derive(Debug, Clone)]
pub struct Template {
    pub stop: Stop,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub models: Vec<Model>,
}

impl Template {
    /// `data-0`: batches of an idempotent producer and of others, two leader epochs; `txn-0`: interleaved transactions,
    /// committed and aborted; `other-0`, which no drill damages. Segments of a few batches, an index entry for each.
    pub fn of(stop: Stop) -> Template {
        let root = temp_dir();
        let manager = open_manager(root.path()).unwrap();
        let data = write(&manager, "data", data_batches(), stop);
        let txn = write(&manager, "txn", transactions(), stop);
        let other = write(&manager, "other", data_batches().into_iter().take(4).collect(), stop);
        match stop {
            Stop::Clean | Stop::Unmarked => manager.close().unwrap(),
            Stop::Killed => manager.checkpoint().unwrap(),
            Stop::KilledEarly => {}
        }
        drop(manager);
        let mut files = BTreeMap::new();
        read_tree(root.path(), Path::new(""), &mut files);
        if stop == Stop::Unmarked {
            files.remove(Path::new(CLEAN_MARK)).unwrap();
        }
        Template { stop, files, models: vec![data, txn, other] }
    }

    pub fn model(&self, topic: &str) -> &Model {
        self.models.iter().find(|model| &*model.partition.topic == topic).unwrap()
    }

    /// Files of a partition with that ending, in order.
    pub fn files_of(&self, topic: &str, ending: &str) -> Vec<PathBuf> {
        let folder = format!("{topic}-0");
        let wanted =
            self.files.keys().filter(|path| path.starts_with(&folder) && path.to_string_lossy().ends_with(ending));
        wanted.cloned().collect()
    }

    /// Where the batches of a log file start, and where the last one ends.
    pub fn batch_bounds(&self, path: &Path) -> Vec<usize> {
        let bytes = &self.files[path];
        let (mut bounds, mut position) = (vec![0], 0);
        while position < bytes.len() {
            let length = i32::from_be_bytes(bytes[position + 8..position + 12].try_into().unwrap());
            position += 12 + length as usize;
            bounds.push(position);
        }
        bounds
    }

    /// The directory with some files changed (`None`: removed).
    pub fn lay_out(&self, changes: &[(PathBuf, Option<Vec<u8>>)]) -> TempDir {
        let root = temp_dir();
        let mut files: BTreeMap<&PathBuf, &Vec<u8>> = self.files.iter().collect();
        for (path, content) in changes {
            match content {
                Some(content) => drop(files.insert(path, content)),
                None => drop(files.remove(path)),
            }
        }
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }
}

/// In memory where the system has a file system for that: a drill makes thousands of them.
pub fn temp_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub fn open_manager(dir: &Path) -> Result<LogManager, ManagerError> {
    let options = ManagerOptions {
        node_id: NodeId(1),
        cluster_id: Some("cluster"),
        producer_id_expiration: Duration::from_secs(1 << 32),
        open_files_max: 1000,
    };
    LogManager::open(&[dir.to_owned()], &options)
}

pub fn config() -> TopicConfig {
    let (config, _) = RawConfig::default().validate().unwrap();
    let config = TopicConfig::resolve(&config.broker, &BTreeMap::new());
    TopicConfig { segment_bytes: 700, index_interval_bytes: 1, ..config }
}

pub fn open_log(manager: &LogManager, model: &Model) -> Result<(LogWriter, LogReader), ottla::log::LogError> {
    manager.open_log(&model.partition, model.id, config())
}

/// A batch to write, its leader epoch, and whether its transaction will be aborted.
type Planned = (Batch, i32, bool);

fn write(manager: &LogManager, topic: &str, planned: Vec<Planned>, stop: Stop) -> Model {
    let partition = TopicPartition::new(topic, 0);
    let mut model = Model { partition, id: TopicId::random(), batches: Vec::new(), aborted: BTreeSet::new() };
    let (mut writer, _) = open_log(manager, &model).unwrap();
    for (batch, epoch, aborted) in planned {
        let mut batch = [batch];
        writer.append(&mut batch, LeaderEpoch(epoch), Timestamp(NOW)).unwrap();
        let [batch] = batch;
        model.aborted.extend(aborted.then_some(batch.header.base_offset));
        model.batches.push(batch);
    }
    if matches!(stop, Stop::Clean | Stop::Unmarked) {
        writer.close().unwrap();
    }
    model
}

/// Of two records each, at their own times.
pub fn batch(builder: impl FnOnce(BatchBuilder) -> BatchBuilder, index: i64) -> Batch {
    let at = |record| Timestamp(NOW + index * 10 + record);
    let value = |record: i64| format!("value {index} {record}");
    let builder = builder(BatchBuilder::new(at(0))).record_at(at(0), Some(b"key"), Some(value(0).as_bytes()), &[]);
    builder.record_at(at(1), Some(b"key"), Some(value(1).as_bytes()), &[]).build().unwrap()
}

/// The idempotent producer's batch number `number`.
pub fn sequenced(number: i32, index: i64) -> Batch {
    batch(|builder| builder.producer(PRODUCER, ProducerEpoch(0), number * 2), index)
}

fn data_batches() -> Vec<Planned> {
    let planned = |index: i64| {
        let batch = if index % 2 == 1 { sequenced(index as i32 / 2, index) } else { batch(|builder| builder, index) };
        (batch, index as i32 / 8, false)
    };
    (0..16).map(planned).collect()
}

fn transactions() -> Vec<Planned> {
    let epoch = ProducerEpoch(0);
    let records = |id: i64, sequence: i32, index: i64, aborted| {
        let in_transaction = |builder: BatchBuilder| builder.producer(ProducerId(id), epoch, sequence).transactional();
        (batch(in_transaction, index), 0, aborted)
    };
    let marker = |id: i64, index: i64, aborted: bool| {
        let marker = EndTxnMarker { committed: !aborted, coordinator_epoch: 0 };
        let at = Timestamp(NOW + index * 10);
        (BatchBuilder::end_txn_marker(at, ProducerId(id), epoch, marker).build().unwrap(), 0, false)
    };
    let round = |round: i64| {
        let (seven_aborts, index) = (round % 2 == 1, round * 6);
        let sequence = round as i32 * 4;
        [
            records(7, sequence, index, seven_aborts),
            records(8, sequence, index + 1, !seven_aborts),
            records(7, sequence + 2, index + 2, seven_aborts),
            marker(7, index + 3, seven_aborts),
            records(8, sequence + 2, index + 4, !seven_aborts),
            marker(8, index + 5, !seven_aborts),
        ]
    };
    (0..4).flat_map(round).collect()
}

pub fn read_tree(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            read_tree(root, &path, files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

/// What `ottla verify` calls damage.
pub fn verify(dir: &Path) -> Vec<Finding> {
    struct Found(Vec<Finding>);
    impl Watch for Found {
        fn found(&mut self, finding: Finding) {
            self.0.push(finding);
        }
        fn progressed(&mut self, _: u64, _: u64) {}
    }
    let mut found = Found(Vec::new());
    verify_log_dir(dir, &mut found).unwrap();
    found.0.retain(|finding| finding.severity == Severity::Damage);
    found.0
}

/// Runs `work`, and gives what it said in the broker's log.
pub fn listening<T>(work: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let said = Said::default();
    let writer = said.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).without_time().finish();
    let done = tracing::subscriber::with_default(subscriber, work);
    let text = String::from_utf8_lossy(&said.0.lock()).into_owned();
    (done, text)
}
