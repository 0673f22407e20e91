//! A log dir that Apache Kafka 4.3.1 wrote, opened as our own: after its clean stop, and as if it had been killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ottla::config::TopicConfig;
use ottla::log::cleaner::{Cleaning, Limits, Plan, Stop, Throttler};
use ottla::log::manager::{LogManager, ManagerOptions};
use ottla::log::{AbortedTxn, LogReader, ReadLimit};
use ottla::protocol::batch::Batch;
use ottla::protocol::records::{BatchRecords, EndTxnMarker};
use ottla::sys;
use ottla::types::{LeaderEpoch, NodeId, Offset, Timestamp, TopicId, TopicPartition};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

const LIMIT_BYTES: usize = 64 << 20;

struct KafkaData {
    root: tempfile::TempDir,
    expected: Value,
}

impl KafkaData {
    fn unpack() -> KafkaData {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let gunzip = |name: &str| flate2::read::GzDecoder::new(File::open(data.join(name)).unwrap());
        let root = tempfile::tempdir().unwrap();
        tar::Archive::new(gunzip("kafka-data.tar.gz")).unpack(root.path()).unwrap();
        KafkaData { root, expected: serde_json::from_reader(gunzip("expected.json.gz")).unwrap() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("kafka-data")
    }

    fn partitions(&self) -> Vec<(TopicPartition, TopicId, &Value)> {
        let mut partitions = Vec::new();
        for (topic, description) in self.expected["topics"].as_object().unwrap() {
            // The client that told used the other alphabet of base64.
            let id = description["topic_id"].as_str().unwrap().replace('+', "-").replace('/', "_");
            let id = TopicId::parse(&id).unwrap();
            for (partition, content) in description["partitions"].as_object().unwrap() {
                partitions.push((TopicPartition::new(topic.as_str(), partition.parse::<i32>().unwrap()), id, content));
            }
        }
        partitions
    }

    fn manager(&self) -> LogManager {
        let cluster_id = self.expected["cluster_id"].as_str().unwrap();
        // Kafka's producers of those days are not to expire under the test.
        let forever = Duration::from_millis(i64::MAX as u64);
        let options = ManagerOptions {
            node_id: NodeId(1),
            cluster_id: Some(cluster_id),
            producer_id_expiration: forever,
            open_files_max: 1000,
        };
        LogManager::open(&[self.dir()], &options).unwrap()
    }

    fn pretend_it_was_killed(&self) {
        fs::remove_file(self.dir().join(".kafka_cleanshutdown")).unwrap();
        fs::remove_file(self.dir().join("recovery-point-offset-checkpoint")).unwrap();
    }

    /// Opens every partition and hands its reader, with what Kafka's clients saw in it, to `check`.
    fn with_each(&self, check: impl Fn(&str, &LogReader, &Value)) {
        let manager = self.manager();
        for (partition, id, expected) in self.partitions() {
            let (_writer, reader) = manager.open_log(&partition, id, config()).unwrap();
            check(&partition.to_string(), &reader, expected);
        }
    }
}

fn config() -> TopicConfig {
    TopicConfig::default()
}

/// All batches from the log start on, `bytes_max` at a time, and the aborted transactions that the reads named.
fn read_all(reader: &LogReader, bytes_max: u32) -> (Vec<Batch>, Vec<AbortedTxn>) {
    let limit = ReadLimit { upper: reader.last_stable_offset(), bytes_max, at_least_one_batch: true };
    let (mut batches, mut aborted) = (Vec::new(), Vec::<AbortedTxn>::new());
    let mut offset = reader.start_offset();
    loop {
        let read = reader.read(offset, limit, true).unwrap();
        let Some(slice) = read.slice else { return (batches, aborted) };
        aborted.extend(read.aborted);
        let mut bytes = vec![0; slice.length as usize];
        sys::pread_exact(&slice.file, &mut bytes, slice.position).unwrap();
        let mut bytes = Bytes::from(bytes);
        while !bytes.is_empty() {
            let batch = Batch::split_from(&mut bytes).unwrap();
            batch.check_crc().unwrap();
            offset = batch.header.next_offset();
            batches.push(batch);
        }
    }
}

/// (offset, timestamp, hash of the value) of data records from `start` on.
fn data_records(batches: &[Batch], start: Offset) -> Vec<(i64, i64, Option<String>)> {
    let mut seen = Vec::new();
    for batch in batches.iter().filter(|batch| !batch.header.attributes.is_control()) {
        let records = BatchRecords::open(batch, LIMIT_BYTES).unwrap();
        for record in &records {
            let record = record.unwrap();
            let hash = record.value.map(|value| BASE64.encode(Sha256::digest(value)));
            seen.push((records.offset(&record).0, records.timestamp(&record).0, hash));
        }
    }
    seen.retain(|(offset, ..)| *offset >= start.0);
    seen
}

fn expected_records(expected: &Value) -> Vec<(i64, i64, Option<String>)> {
    let from_hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let record = |record: &Value| {
        let hash = record["value_sha256"].as_str().map(|hex| BASE64.encode(from_hex(hex)));
        (record["offset"].as_i64().unwrap(), record["timestamp"].as_i64().unwrap(), hash)
    };
    expected["records"].as_array().unwrap().iter().map(record).collect()
}

/// What a read_committed consumer keeps: it drops a producer's records from an aborted transaction's first offset on,
/// until the producer's abort marker.
fn committed_offsets(batches: &[Batch], mut aborted: Vec<AbortedTxn>, start: Offset) -> Vec<i64> {
    aborted.sort_by_key(|txn| txn.first_offset);
    aborted.dedup();
    let mut aborting = Vec::new();
    let mut seen = Vec::new();
    for batch in batches {
        let (producer_id, last) = (batch.header.producer_id, batch.header.last_offset());
        aborting.extend(aborted.extract_if(.., |txn| txn.first_offset <= last).map(|txn| txn.producer_id));
        if batch.header.attributes.is_control() {
            if EndTxnMarker::of(batch, LIMIT_BYTES).is_some_and(|marker| !marker.committed) {
                aborting.retain(|id| *id != producer_id);
            }
        } else if !(batch.header.attributes.is_transactional() && aborting.contains(&producer_id)) {
            seen.extend(data_records(std::slice::from_ref(batch), start).into_iter().map(|(offset, ..)| offset));
        }
    }
    seen
}

fn check_records(name: &str, reader: &LogReader, expected: &Value) {
    assert_eq!(reader.start_offset().0, expected["log_start"].as_i64().unwrap(), "{name}");
    assert_eq!(reader.end_offset().0, expected["high_watermark"].as_i64().unwrap(), "{name}");
    assert_eq!(reader.last_stable_offset(), reader.end_offset(), "{name}: no transaction is open");
    let committed: Vec<i64> =
        expected["read_committed_offsets"].as_array().unwrap().iter().map(|offset| offset.as_i64().unwrap()).collect();
    for bytes_max in [1, 300, 1000, u32::MAX] {
        let (batches, aborted) = read_all(reader, bytes_max);
        let seen = data_records(&batches, reader.start_offset());
        assert_eq!(seen, expected_records(expected), "{name} by {bytes_max} bytes");
        assert_eq!(
            committed_offsets(&batches, aborted, reader.start_offset()),
            committed,
            "{name} by {bytes_max} bytes"
        );
    }
}

#[test]
fn every_record_is_read_after_a_clean_stop() {
    assert!(KafkaData::unpack().manager().was_clean());
    KafkaData::unpack().with_each(check_records);
}

#[test]
fn every_record_is_read_after_recovery() {
    let data = KafkaData::unpack();
    data.pretend_it_was_killed();
    data.with_each(check_records);
}

#[test]
fn recovery_rebuilds_the_indexes_that_kafka_wrote() {
    let data = KafkaData::unpack();
    let before = index_files(&data.dir());
    assert!(before.len() > 20);
    data.pretend_it_was_killed();
    data.with_each(|_, _, _| ());
    for (path, content) in index_files(&data.dir()) {
        assert_eq!(Some(&content), before.get(&path), "{path}");
    }
}

fn index_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|ending| ending == "index" || ending == "timeindex" || ending == "txnindex")
            {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_producer_goes_on_where_kafka_saw_it_last() {
    for killed in [false, true] {
        let data = KafkaData::unpack();
        if killed {
            data.pretend_it_was_killed();
        }
        let manager = data.manager();
        let mut producers = 0;
        for (partition, id, _) in data.partitions() {
            let (mut writer, reader) = manager.open_log(&partition, id, config()).unwrap();
            let (batches, _) = read_all(&reader, u32::MAX);
            let is_known = |batch: &&Batch| batch.header.has_producer_id() && !batch.header.attributes.is_control();
            let Some(last) = batches.iter().rfind(is_known).cloned() else { continue };
            let end = reader.end_offset();
            let mut append = |batch: &Batch| writer.append(&mut [batch.clone()], LeaderEpoch(0), Timestamp::now());
            let again = append(&last).unwrap();
            assert_eq!((again.duplicate, again.base_offset), (true, last.header.base_offset), "{partition}");
            let mut next = last.clone();
            next.header.base_sequence = last.header.last_sequence() + 2;
            assert!(append(&next).is_err(), "{partition}: a sequence is missing");
            next.header.base_sequence -= 1;
            assert_eq!(append(&next).unwrap().base_offset, end, "{partition}");
            producers += 1;
        }
        assert_eq!(producers, 7, "of codecs and txn");
    }
}

#[test]
fn timestamps_lead_to_the_first_record_that_is_not_older() {
    KafkaData::unpack().with_each(|name, reader, _| {
        let (batches, _) = read_all(reader, u32::MAX);
        let mut records = Vec::new();
        for batch in &batches {
            let opened = BatchRecords::open(batch, LIMIT_BYTES).unwrap();
            for record in &opened {
                let record = record.unwrap();
                records.push((opened.offset(&record), opened.timestamp(&record)));
            }
        }
        records.retain(|(offset, _)| *offset >= reader.start_offset());
        for (_, timestamp) in &records {
            for target in [timestamp.0, timestamp.0 + 1] {
                let expected = records.iter().find(|(_, timestamp)| timestamp.0 >= target).copied();
                let found = reader.offset_for_timestamp(Timestamp(target)).unwrap();
                assert_eq!(found.map(|found| (found.offset, found.timestamp)), expected, "{name} at {target}");
            }
        }
        let newest = records.iter().map(|(_, timestamp)| *timestamp).max().unwrap();
        let expected = records.iter().find(|(_, timestamp)| *timestamp == newest).copied();
        let found = reader.offset_of_max_timestamp().unwrap();
        assert_eq!(found.map(|found| (found.offset, found.timestamp)), expected, "{name}");
    });
}

#[test]
fn leader_epochs_are_kafkas() {
    KafkaData::unpack().with_each(|name, reader, expected| {
        let end = Offset(expected["high_watermark"].as_i64().unwrap());
        assert_eq!(reader.latest_epoch(), Some(LeaderEpoch(0)), "{name}");
        assert_eq!(reader.epoch_at(reader.start_offset()), Some(LeaderEpoch(0)), "{name}");
        assert_eq!(reader.end_of_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), end)), "{name}");
    });
}

#[test]
fn found_partitions_are_those_of_the_topics_with_their_ids() {
    let data = KafkaData::unpack();
    let found = data.manager().found();
    for (partition, id, _) in data.partitions() {
        assert_eq!(found.get(&partition), Some(&Some(id)), "{partition}");
    }
    assert!(found.contains_key(&TopicPartition::new("__consumer_offsets", 0)));
    assert!(!found.contains_key(&TopicPartition::new("__cluster_metadata", 0)));
}

#[test]
fn kafkas_clean_log_is_left_as_it_was() {
    let data = KafkaData::unpack();
    let before = index_files(&data.dir());
    data.with_each(|_, reader, _| drop(read_all(reader, u32::MAX)));
    assert_eq!(index_files(&data.dir()), before.into_iter().filter(|(path, _)| !path.ends_with("deleted")).collect());
}

/// Cleans the topic that Kafka has cleaned, from its start on, as of `now`.
fn clean_again(data: &KafkaData, now: Timestamp, check: impl FnOnce(&LogReader, &Value)) {
    let manager = data.manager();
    let (partition, id, expected) =
        data.partitions().into_iter().find(|(partition, ..)| partition.topic.as_ref() == "compacted").unwrap();
    assert_eq!(manager.cleaned_to(&partition), Some(Offset(300)), "as Kafka's checkpoint has it");
    let config = TopicConfig { compact: true, delete: false, ..config() };
    let (writer, reader) = manager.open_log(&partition, id, config.clone()).unwrap();
    let plan = Plan::of(&reader, None, &config, now).unwrap().unwrap();
    let cleaning = Cleaning {
        log: &reader,
        writer: &Mutex::new(writer),
        config: &config,
        limits: &Limits { keys_max: 1000, load_factor: 0.9, buffer_bytes: 1 << 16 },
        throttler: &Throttler::new(None),
        stop: &Stop::default(),
        now,
    };
    assert_eq!(cleaning.run(&plan).unwrap().to, Offset(300));
    check(&reader, expected);
}

#[test]
fn what_kafka_has_cleaned_is_cleaned_again_without_a_change() {
    let data = KafkaData::unpack();
    let log = data.dir().join("compacted-0/00000000000000000000.log");
    let before = fs::read(&log).unwrap();
    clean_again(&data, Timestamp(1_700_000_400_000), |reader, expected| check_records("compacted", reader, expected));
    assert_eq!(fs::read(&log).unwrap(), before);
}

#[test]
fn tombstones_that_kafka_has_kept_go_when_the_horizon_that_it_set_has_passed() {
    let data = KafkaData::unpack();
    // What Kafka wrote into the one batch.
    let horizon = 1_795_281_930_632;
    clean_again(&data, Timestamp(horizon), |reader, expected| {
        let (batches, _) = read_all(reader, u32::MAX);
        let mut without_tombstones = expected_records(expected);
        without_tombstones.retain(|(offset, _, value)| value.is_some() || *offset >= 300);
        assert!(without_tombstones.len() < expected_records(expected).len());
        assert_eq!(data_records(&batches, Offset::ZERO), without_tombstones);
        assert_eq!(reader.end_offset(), Offset(301));
    });
}
