//! Partitions in several log dirs, as clients see them: where they are, and moving them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, DeleteTopicsRequest, DescribeLogDirsRequest};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::records::BatchRecords;
use ottla::types::Timestamp;
use support::topics::{self, topic_name};
use support::{Broker, Client};
use tempfile::TempDir;

const TOPIC: &str = "t";
const LONG: Duration = Duration::from_secs(30);
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const KAFKA_STORAGE_ERROR: i16 = 56;
const LOG_DIR_NOT_FOUND: i16 = 57;

/// A partition in a log dir.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replica {
    dir: PathBuf,
    bytes: i64,
    lag: i64,
    is_future: bool,
}

fn dirs(data: &TempDir) -> [PathBuf; 2] {
    ["a", "b"].map(|name| data.path().join(name))
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn start(data: &Arc<TempDir>) -> Broker {
    Broker::start_in(data, &dirs(data), &[])
}

fn describe(client: &mut Client, version: i16, topics: Option<Vec<DescribableLogDirTopic>>) -> Vec<Replica> {
    let request = DescribeLogDirsRequest::default().with_topics(topics);
    let mut replicas = Vec::new();
    for dir in client.request(version, &request).results {
        assert_eq!(dir.error_code, 0);
        if version >= 4 {
            assert!(0 < dir.usable_bytes && dir.usable_bytes <= dir.total_bytes);
        }
        let here = dir.topics.iter().filter(|topic| *topic.name == *TOPIC).flat_map(|topic| &topic.partitions);
        replicas.extend(here.map(|it| Replica {
            dir: PathBuf::from(dir.log_dir.as_str()),
            bytes: it.partition_size,
            lag: it.offset_lag,
            is_future: it.is_future_key,
        }));
    }
    replicas
}

fn alter(client: &mut Client, version: i16, topic: &str, target: &Path) -> i16 {
    let moved = AlterReplicaLogDirTopic::default().with_name(topic_name(topic)).with_partitions(vec![0]);
    let path = StrBytes::from_string(target.to_str().unwrap().to_owned());
    let dir = AlterReplicaLogDir::default().with_path(path).with_topics(vec![moved]);
    let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
    client.request(version, &request).results[0].partitions[0].error_code
}

fn other_dir(data: &TempDir, dir: &Path) -> PathBuf {
    dirs(data).into_iter().find(|other| other != dir).unwrap()
}

fn await_move(client: &mut Client, target: &Path) {
    let deadline = Instant::now() + LONG;
    loop {
        let replicas = describe(client, 4, None);
        if let [Replica { dir, is_future: false, .. }] = replicas.as_slice()
            && dir == target
        {
            return;
        }
        assert!(Instant::now() < deadline, "{replicas:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn batch() -> Bytes {
    BatchBuilder::new(Timestamp::now()).record(None, Some(&[b'v'; 1000])).build().unwrap().bytes
}

/// Base offsets of all batches.
fn consume(client: &mut Client) -> Vec<i64> {
    let (mut next, mut offsets) = (0, Vec::new());
    loop {
        let response = client.request(12, &topics::fetch(TOPIC, next));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let mut records = partition.records.clone().unwrap_or_default();
        if records.is_empty() {
            return offsets;
        }
        while !records.is_empty() {
            let batch = Batch::split_from(&mut records).unwrap();
            batch.check_crc().unwrap();
            offsets.push(batch.header.base_offset.0);
            next = batch.header.next_offset().0;
        }
    }
}

#[test]
fn a_partition_is_where_it_is_said_to_be_and_unknown_dirs_and_partitions_are_refused() {
    let data = Arc::new(TempDir::new().unwrap());
    let broker = start(&data);
    let mut client = broker.connect();
    topics::create_topic(&mut client, TOPIC);
    topics::produce(&mut client, TOPIC, batch());
    for version in 1..=4 {
        let replicas = describe(&mut client, version, None);
        let [replica] = replicas.as_slice() else { panic!("{replicas:?}") };
        let log = replica.dir.join("t-0").join("00000000000000000000.log");
        assert_eq!(replica.bytes as u64, log.metadata().unwrap().len());
        let asked = |index| {
            Some(vec![DescribableLogDirTopic::default().with_topic(topic_name(TOPIC)).with_partitions(vec![index])])
        };
        assert_eq!(describe(&mut client, version, asked(0)), replicas);
        assert_eq!(describe(&mut client, version, asked(1)), []);
        assert_eq!(describe(&mut client, version, Some(Vec::new())), []);
    }
    for version in 1..=2 {
        assert_eq!(alter(&mut client, version, TOPIC, Path::new("/absent")), LOG_DIR_NOT_FOUND);
        assert_eq!(alter(&mut client, version, "absent", &dirs(&data)[0]), UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[test]
fn a_partition_moves_while_it_is_produced_to_and_stays_there_after_a_restart() {
    let data = Arc::new(TempDir::new().unwrap());
    let broker = start(&data);
    let mut client = broker.connect();
    topics::create_configured_topic(&mut client, TOPIC, &[("segment.bytes", "1048576")]);
    topics::produce(&mut client, TOPIC, batch());
    let is_over = AtomicBool::new(false);
    let (acknowledged, home) = std::thread::scope(|scope| {
        let mut producer = broker.connect();
        let is_over = &is_over;
        let producing = scope.spawn(move || {
            let mut next = 1;
            while !is_over.load(Ordering::Acquire) {
                let produced = topics::produce(&mut producer, TOPIC, batch());
                assert_eq!((produced.error_code, produced.base_offset), (0, next));
                next += 1;
            }
            next
        });
        // Also where an assertion fails: the producer would never end.
        let over = OnDrop(is_over);
        let mut home = describe(&mut client, 4, None)[0].dir.clone();
        for version in [1, 2, 2] {
            home = other_dir(&data, &home);
            assert_eq!(alter(&mut client, version, TOPIC, &home), 0);
            await_move(&mut client, &home);
        }
        drop(over);
        (producing.join().unwrap(), home)
    });
    assert_eq!(consume(&mut client), (0..acknowledged).collect::<Vec<_>>());
    assert!(broker.stop().success());
    let broker = start(&data);
    let mut client = broker.connect();
    assert_eq!(describe(&mut client, 4, None)[0].dir, home);
    assert_eq!(consume(&mut client), (0..acknowledged).collect::<Vec<_>>());
}

/// The newest value of each key, and how many records there are.
fn newest(client: &mut Client) -> (BTreeMap<Vec<u8>, u64>, u64) {
    let (mut next, mut newest, mut count) = (0, BTreeMap::new(), 0);
    loop {
        let response = client.request(12, &topics::fetch(TOPIC, next));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let mut records = partition.records.clone().unwrap_or_default();
        if records.is_empty() {
            return (newest, count);
        }
        while !records.is_empty() {
            let batch = Batch::split_from(&mut records).unwrap();
            batch.check_crc().unwrap();
            assert!(batch.header.base_offset.0 >= next);
            next = batch.header.next_offset().0;
            for record in BatchRecords::open(&batch, 1 << 20).unwrap().iter().map(Result::unwrap) {
                let value = u64::from_be_bytes(record.value.unwrap().try_into().unwrap());
                newest.insert(record.key.unwrap().to_vec(), value);
                count += 1;
            }
        }
    }
}

#[test]
fn a_partition_that_moves_while_it_is_compacted_keeps_the_newest_of_each_key() {
    const KEYS: u64 = 50;
    let data = Arc::new(TempDir::new().unwrap());
    let cleaning = ["log.cleaner.backoff.ms=1", "log.cleaner.min.cleanable.ratio=0.01"];
    let broker = Broker::start_in(&data, &dirs(&data), &cleaning);
    let mut client = broker.connect();
    let compacted = [("cleanup.policy", "compact"), ("internal.segment.bytes", "4000"), ("file.delete.delay.ms", "0")];
    topics::create_configured_topic(&mut client, TOPIC, &compacted);
    let put = |client: &mut Client, number: u64| {
        let (key, value) = ((number % KEYS).to_be_bytes(), number.to_be_bytes());
        let batch = BatchBuilder::new(Timestamp::now()).record(Some(&key), Some(&value)).build().unwrap();
        let produced = topics::produce(client, TOPIC, batch.bytes);
        assert_eq!((produced.error_code, produced.base_offset), (0, number as i64));
    };
    let mut produced = 0;
    let mut produce = |client: &mut Client| {
        // Cleaned while it moves, and not for longer than that takes.
        (0..200).for_each(|number| put(client, produced + number));
        produced += 200;
    };
    produce(&mut client);
    let mut home = describe(&mut client, 4, None)[0].dir.clone();
    for _ in 0..20 {
        home = other_dir(&data, &home);
        assert_eq!(alter(&mut client, 2, TOPIC, &home), 0);
        produce(&mut client);
        await_move(&mut client, &home);
    }
    let of_key = |key: u64| (key.to_be_bytes().to_vec(), key + (produced - 1 - key) / KEYS * KEYS);
    let expected: BTreeMap<_, _> = (0..KEYS).map(of_key).collect();
    let (found, count) = newest(&mut client);
    assert_eq!(found, expected);
    assert!(count < produced, "nothing was cleaned of {count}");
    assert!(broker.stop().success());
    let broker = start(&data);
    assert_eq!(newest(&mut broker.connect()).0, expected);
}

#[test]
fn a_kill_in_the_middle_of_moves_loses_nothing() {
    let data = Arc::new(TempDir::new().unwrap());
    let mut acknowledged = 0;
    for round in 0..4 {
        let broker = start(&data);
        let mut client = broker.connect();
        if round == 0 {
            topics::create_configured_topic(&mut client, TOPIC, &[("segment.bytes", "1048576")]);
        }
        for _ in 0..300 {
            let produced = topics::produce(&mut client, TOPIC, batch());
            assert_eq!((produced.error_code, produced.base_offset), (0, acknowledged));
            acknowledged += 1;
        }
        let home = describe(&mut client, 4, None)[0].dir.clone();
        assert_eq!(alter(&mut client, 2, TOPIC, &other_dir(&data, &home)), 0);
        // At another moment of the move in each round.
        std::thread::sleep(Duration::from_millis(2 * round));
        broker.kill();
    }
    let broker = start(&data);
    let mut client = broker.connect();
    assert_eq!(describe(&mut client, 4, None).len(), 1);
    assert_eq!(consume(&mut client), (0..acknowledged).collect::<Vec<_>>());
}

/// A broker that was stopped with a topic in each of its two log dirs, the one of its second named last.
fn stopped_with_a_topic_in_each(data: &Arc<TempDir>) -> [&'static str; 2] {
    let broker = start(data);
    let mut client = broker.connect();
    for topic in ["t", "u"] {
        topics::create_topic(&mut client, topic);
        assert_eq!(topics::produce(&mut client, topic, batch()).base_offset, 0);
    }
    assert!(broker.stop().success());
    let is_in_second = |topic: &&str| dirs(data)[1].join(format!("{topic}-0")).exists();
    let second = ["t", "u"].into_iter().find(is_in_second).unwrap();
    [if second == "t" { "u" } else { "t" }, second]
}

fn error_of_produce(client: &mut Client, topic: &str) -> i16 {
    topics::produce(client, topic, batch()).error_code
}

#[test]
fn what_is_in_a_log_dir_that_is_missing_is_offline_until_it_is_back() {
    for is_mount_point in [false, true] {
        let data = Arc::new(TempDir::new().unwrap());
        let [in_first, in_second] = stopped_with_a_topic_in_each(&data);
        let [_, second] = dirs(&data);
        let away = data.path().join("away");
        fs::rename(&second, &away).unwrap();
        if is_mount_point {
            fs::create_dir(&second).unwrap();
        }
        let broker = start(&data);
        let mut client = broker.connect();
        assert_eq!(error_of_produce(&mut client, in_second), KAFKA_STORAGE_ERROR);
        assert_eq!(error_of_produce(&mut client, in_first), 0);
        topics::create_topic(&mut client, "new");
        assert_eq!(error_of_produce(&mut client, "new"), 0, "it cannot have been there");
        assert!(broker.stop().success());
        let left_in = fs::read_dir(&second).map_or(0, |entries| entries.count());
        assert_eq!((second.exists(), left_in), (is_mount_point, 0), "nothing is made under a mount");

        if is_mount_point {
            fs::remove_dir(&second).unwrap();
        }
        fs::rename(&away, &second).unwrap();
        let broker = start(&data);
        let mut client = broker.connect();
        for topic in [in_first, in_second, "new"] {
            let produced_before = if topic == in_first { 2 } else { 1 };
            assert_eq!(topics::produce(&mut client, topic, batch()).base_offset, produced_before, "{topic}");
        }
    }
}

#[test]
fn a_log_dir_that_is_gone_for_good_is_begun_anew_when_the_broker_is_told_so() {
    let data = Arc::new(TempDir::new().unwrap());
    let [in_first, in_second] = stopped_with_a_topic_in_each(&data);
    let [first, second] = dirs(&data);
    fs::remove_dir_all(&second).unwrap();
    fs::remove_file(first.join("log-dirs-checkpoint")).unwrap();
    let broker = start(&data);
    let mut client = broker.connect();
    assert_eq!(topics::produce(&mut client, in_first, batch()).base_offset, 1);
    assert_eq!(topics::produce(&mut client, in_second, batch()).base_offset, 0);
    assert!(second.join("meta.properties").exists());
}

#[test]
fn a_topic_that_is_deleted_while_its_log_dir_is_missing_does_not_come_back_with_it() {
    let data = Arc::new(TempDir::new().unwrap());
    let [_, in_second] = stopped_with_a_topic_in_each(&data);
    let [_, second] = dirs(&data);
    let away = data.path().join("away");
    fs::rename(&second, &away).unwrap();
    let broker = start(&data);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic_name(in_second)]).with_timeout_ms(5000);
    assert_eq!(broker.connect().request(3, &delete).responses[0].error_code, 0);
    assert!(broker.stop().success());
    fs::rename(&away, &second).unwrap();
    let broker = start(&data);
    assert_eq!(error_of_produce(&mut broker.connect(), in_second), UNKNOWN_TOPIC_OR_PARTITION);
    assert!(!second.join(format!("{in_second}-0")).exists());
}
