//! The way back to Kafka: what Kafka 4.3.1 had appended is appended again by our own writer, and every file that comes of
//! it is, by name and byte for byte, the one that Kafka wrote. What differs is listed in docs/operating.md.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ottla::config::{RawConfig, TopicConfig};
use ottla::log::checkpoint::{self, LOG_START_OFFSET_CHECKPOINT, META_PROPERTIES, RECOVERY_POINT_CHECKPOINT};
use ottla::log::checkpoint::{PARTITION_METADATA, REPLICATION_OFFSET_CHECKPOINT};
use ottla::log::manager::{LogManager, ManagerOptions};
use ottla::log::names::{FileName, FileState};
use ottla::types::{LeaderEpoch, NodeId, Offset, Timestamp, TopicId, TopicPartition};
use support::kafka;

/// Kafka's cleaner rewrote it: there are no batches from which the same files would come.
const COMPACTED: &str = "compacted";
/// Without a record: our folder comes with the first batch.
const EMPTY: &str = "__transaction_state-0";
const FOREVER: Duration = Duration::from_millis(i64::MAX as u64);

struct Written {
    kafkas: tempfile::TempDir,
    ours: tempfile::TempDir,
    partitions: Vec<TopicPartition>,
}

fn manager(dir: &Path) -> LogManager {
    let cluster_id = kafka::expected()["cluster_id"].as_str().unwrap().to_owned();
    let options = ManagerOptions {
        node_id: NodeId(1),
        cluster_id: Some(&cluster_id),
        producer_id_expiration: FOREVER,
        open_files_max: 100,
    };
    LogManager::open(&[dir.to_owned()], &options).unwrap()
}

fn topic_config(topic: &str) -> TopicConfig {
    let broker = RawConfig::default().validate().unwrap().0.broker;
    let expected = kafka::expected();
    let configs = expected["topics"][topic]["configs"].as_object().cloned().unwrap_or_default();
    let configs = configs.into_iter().map(|(key, value)| (key, value.as_str().unwrap().to_owned())).collect();
    TopicConfig::resolve(&broker, &configs)
}

fn topic_id(folder: &Path) -> TopicId {
    checkpoint::read_partition_metadata(&folder.join(PARTITION_METADATA)).unwrap().unwrap()
}

/// Appends what Kafka had appended, one batch at a time, and stops cleanly; then goes through a second life, in which the
/// log starts are known that DeleteRecords had moved in Kafka's.
fn write_again() -> Written {
    let (kafkas, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    kafka::unpack_log_dir(kafkas.path());
    let recovery_points = checkpoint::read_offsets(&kafkas.path().join(RECOVERY_POINT_CHECKPOINT)).unwrap();
    let mut partitions: Vec<_> = recovery_points.into_iter().map(|(partition, _)| partition).collect();
    partitions.retain(|partition| *partition.topic != *COMPACTED && partition.to_string() != EMPTY);
    for life in 0..2 {
        let manager = manager(ours.path());
        for partition in &partitions {
            let folder = kafkas.path().join(partition.to_string());
            let config = topic_config(&partition.topic);
            let (mut writer, _) = manager.open_log(partition, topic_id(&folder), config).unwrap();
            let batches = kafka::batches(Bytes::from(kafka::log_bytes(&folder)));
            for batch in batches.into_iter().filter(|_| life == 0) {
                let expected = batch.header.base_offset;
                let appended = writer.append(&mut [batch], LeaderEpoch(0), Timestamp::now()).unwrap();
                assert_eq!(appended.base_offset, expected, "{partition}");
            }
            writer.close().unwrap();
        }
        manager.close().unwrap();
        drop(manager);
        let log_starts = LOG_START_OFFSET_CHECKPOINT;
        fs::copy(kafkas.path().join(log_starts), ours.path().join(log_starts)).unwrap();
    }
    Written { kafkas, ours, partitions }
}

/// The live files of a partition.
fn files(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut files = kafka::tree(folder);
    let is_live = |name: &str| FileName::parse(name).is_none_or(|name| name.state == FileState::Live);
    files.retain(|name, _| is_live(name.to_str().unwrap()));
    files
}

#[test]
fn every_file_of_a_partition_is_the_one_that_kafka_wrote() {
    let written = write_again();
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for partition in &written.partitions {
        let [kafkas, ours] = [&written.kafkas, &written.ours].map(|dir| files(&dir.path().join(partition.to_string())));
        assert_eq!(ours.keys().collect::<Vec<_>>(), kafkas.keys().collect::<Vec<_>>(), "{partition}");
        for (name, content) in kafkas {
            assert!(ours[&name] == content, "{partition}: {}: {:?}\nKafka's: {content:?}", name.display(), ours[&name]);
            *endings
                .entry(name.to_str().unwrap().trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
                .or_default() += 1;
        }
    }
    assert_eq!(written.partitions.len(), 18);
    // Four segments of one of them, and in two of them an aborted transaction.
    for (ending, count) in [(".log", 21), (".index", 21), (".timeindex", 21), (".txnindex", 2), (".snapshot", 21)] {
        assert_eq!(endings[ending], count, "{ending}");
    }
    for ending in ["leader-epoch-checkpoint", "partition.metadata"] {
        assert_eq!(endings[ending], 18, "{ending}");
    }
    assert_eq!(endings.len(), 7, "{endings:?}");
}

#[test]
fn the_checkpoints_say_of_each_partition_what_kafkas_say() {
    let written = write_again();
    for name in [RECOVERY_POINT_CHECKPOINT, REPLICATION_OFFSET_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT] {
        let [kafkas, ours] = [&written.kafkas, &written.ours].map(|dir| {
            // Kafka writes them in the order of a hash map.
            let offsets = checkpoint::read_offsets(&dir.path().join(name)).unwrap();
            let known = |(partition, _): &(TopicPartition, Offset)| written.partitions.contains(partition);
            offsets.into_iter().filter(known).collect::<BTreeMap<_, _>>()
        });
        assert_eq!(ours, kafkas, "{name}");
        assert!(!ours.is_empty());
    }
}

#[test]
fn the_marks_of_the_directory_are_kafkas_but_for_what_is_of_one_run() {
    let written = write_again();
    let [kafkas, ours] = [&written.kafkas, &written.ours]
        .map(|dir| fs::read_to_string(dir.path().join(".kafka_cleanshutdown")).unwrap());
    assert_eq!(kafkas, r#"{"version":0,"brokerEpoch":14}"#);
    assert_eq!(ours, r#"{"version":0,"brokerEpoch":-1}"#);
    let [kafkas, ours] = [&written.kafkas, &written.ours].map(|dir| {
        let text = fs::read_to_string(dir.path().join(META_PROPERTIES)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with(['#']) && !line.starts_with("directory.id="));
        lines.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(ours, kafkas);
    // Beside the partitions there is nothing of a name that Kafka does not know.
    let kafkas = kafka::tree(written.kafkas.path());
    let is_unknown = |name: &PathBuf| !kafkas.contains_key(name) && name != Path::new(".lock");
    let unknown: Vec<PathBuf> = kafka::tree(written.ours.path()).into_keys().filter(is_unknown).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
