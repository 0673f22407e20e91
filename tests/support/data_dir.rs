//! Data directories to look into: Kafka's own, and one as the broker leaves it, with ways to damage it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use ottla::config::{RawConfig, TopicConfig};
use ottla::log::manager::{LogManager, ManagerOptions};
use ottla::metadata::LocalStore;
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::records::EndTxnMarker;
use ottla::types::{LeaderEpoch, NodeId, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicPartition};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const NOW: i64 = 1_700_000_000_000;

pub fn ottla(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ottla")).args(args).current_dir(dir).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn json_lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Kafka's log dir in `kafka-data`, and what its tool printed in `dumps`.
pub fn kafka_data() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for archive in ["kafka-data.tar.gz", "dumps.tar.gz"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(archive);
        tar::Archive::new(flate2::read::GzDecoder::new(File::open(path).unwrap())).unpack(root.path()).unwrap();
    }
    root
}

/// Every file and folder with its content's hash and time of change.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let modified = path.metadata().unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, (None, modified));
        } else {
            let hash = Sha256::digest(fs::read(&path).unwrap()).to_vec();
            found.insert(path, (Some(hash), modified));
        }
    }
    found
}

/// A data directory as the broker leaves it after a clean stop: `orders-0` with segments of three batches of two records,
/// two leader epochs; `txn-0` with an aborted and a committed transaction.
pub struct Data {
    root: TempDir,
}

impl Data {
    pub fn new() -> Data {
        let data = Data { root: tempfile::tempdir().unwrap() };
        let dirs = [data.root.path().to_owned()];
        let options = ManagerOptions {
            node_id: NodeId(1),
            cluster_id: Some("cluster"),
            producer_id_expiration: Duration::from_secs(1 << 32),
            open_files_max: 1000,
        };
        let manager = LogManager::open(&dirs, &options).unwrap();
        let topic = TopicId::random();
        data.write(&manager, "orders", topic, (0..9).map(|index| (data_batch(index), index / 5)));
        data.write(&manager, "txn", TopicId::random(), transactions().into_iter().map(|batch| (batch, 0)));
        manager.close().unwrap();
        drop(LocalStore::open(&data.root.path().join("__metadata")).unwrap());
        data
    }

    fn write(&self, manager: &LogManager, topic: &str, id: TopicId, batches: impl Iterator<Item = (Batch, i32)>) {
        let (config, _) = RawConfig::default().validate().unwrap();
        let config = TopicConfig::resolve(&config.broker, &BTreeMap::new());
        let config = TopicConfig { segment_bytes: 400, index_interval_bytes: 1, ..config };
        let (mut writer, _) = manager.open_log(&TopicPartition::new(topic, 0), id, config).unwrap();
        for (batch, epoch) in batches {
            writer.append(&mut [batch], LeaderEpoch(epoch), Timestamp(NOW)).unwrap();
        }
        writer.close().unwrap();
    }

    pub fn dir(&self) -> &Path {
        self.root.path()
    }

    /// Where each batch of a segment starts.
    pub fn batch_positions(&self, partition: &str, base_offset: i64) -> Vec<u64> {
        let bytes = fs::read(self.dir().join(partition).join(format!("{base_offset:020}.log"))).unwrap();
        let (mut positions, mut position) = (Vec::new(), 0);
        while position < bytes.len() {
            positions.push(position as u64);
            let length = i32::from_be_bytes(bytes[position + 8..position + 12].try_into().unwrap());
            position += 12 + length as usize;
        }
        positions
    }

    /// Damage and notes as `verify --json` gives them; nothing has changed then.
    pub fn verify(&self) -> (Option<i32>, Vec<Value>) {
        let before = tree(self.dir());
        let output = ottla(&["verify", "--json", "."], self.dir());
        assert_eq!(tree(self.dir()), before);
        assert_eq!(text(&output.stderr), "");
        (output.status.code(), json_lines(&output))
    }
}

pub fn data_batch(index: i32) -> Batch {
    let timestamp = |record| Timestamp(NOW + i64::from(index) * 10 + record);
    let builder = BatchBuilder::new(timestamp(0)).record_at(timestamp(0), Some(b"key"), Some(&[b'v'; 20]), &[]);
    builder.record_at(timestamp(1), Some(b"key"), Some(&[b'v'; 20]), &[]).build().unwrap()
}

/// Offsets 0–1 aborted by the marker at 2, 3–4 committed by that at 5.
pub fn transactions() -> Vec<Batch> {
    let (id, epoch) = (ProducerId(7), ProducerEpoch(0));
    let records = |sequence| {
        let builder = BatchBuilder::new(Timestamp(NOW)).producer(id, epoch, sequence).transactional();
        builder.record(Some(b"k"), Some(b"v")).record(Some(b"k"), Some(b"w")).build().unwrap()
    };
    let marker = |committed| {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        BatchBuilder::end_txn_marker(Timestamp(NOW), id, epoch, marker).build().unwrap()
    };
    vec![records(0), marker(false), records(2), marker(true)]
}

pub fn flip(path: &Path, position: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position as usize] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

pub fn overwrite(path: &Path, position: usize, with: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position..position + with.len()].copy_from_slice(with);
    fs::write(path, bytes).unwrap();
}

pub fn append(path: &Path, more: &[u8]) {
    let bytes = [fs::read(path).unwrap().as_slice(), more].concat();
    fs::write(path, bytes).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

pub fn cut(path: &Path, bytes: usize) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..content.len() - bytes]).unwrap();
}

pub fn forget_recovery_points(dir: &Path) {
    fs::remove_file(dir.join("recovery-point-offset-checkpoint")).unwrap();
}
