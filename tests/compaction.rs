//! Compaction of a running broker, over real sockets: of a client's topic, and of `__consumer_offsets`.

mod support;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::protocol::records::BatchRecords;
use ottla::types::Timestamp;
use support::topics::{self, fetch, topic_name};
use support::{Broker, Client};

const TOPIC: &str = "t";
const NONE: i16 = 0;
const PATIENCE: Duration = Duration::from_secs(20);
/// Batches of a few hundred bytes fill a segment; whatever is dirty is cleaned at once.
const OVERRIDES: [&str; 4] = [
    "log.cleaner.backoff.ms=20",
    "log.cleaner.min.cleanable.ratio=0.01",
    "offsets.topic.num.partitions=1",
    "offsets.topic.segment.bytes=1048576",
];

fn create_compacted(client: &mut Client) {
    let config = |(name, value): (&'static str, &'static str)| {
        let (name, value) = (StrBytes::from_static_str(name), StrBytes::from_static_str(value));
        CreatableTopicConfig::default().with_name(name).with_value(Some(value))
    };
    let configs = [("cleanup.policy", "compact"), ("internal.segment.bytes", "1000"), ("file.delete.delay.ms", "0")];
    let topic = CreatableTopic::default()
        .with_name(topic_name(TOPIC))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs.into_iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    assert_eq!(client.request(7, &request).topics[0].error_code, NONE);
}

fn put(client: &mut Client, key: &str, value: &str) -> i64 {
    let batch = BatchBuilder::new(Timestamp::now()).record(Some(key.as_bytes()), Some(value.as_bytes()));
    let produced = topics::produce(client, TOPIC, batch.build().unwrap().bytes);
    assert_eq!(produced.error_code, NONE);
    produced.base_offset
}

/// All that a consumer finds from offset 0 on: offset, key, value.
fn consume(client: &mut Client) -> Vec<(i64, String, String)> {
    let (mut offset, mut seen) = (0, Vec::new());
    loop {
        let response = client.request::<FetchRequest>(12, &fetch(TOPIC, offset));
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, NONE);
        let mut bytes: Bytes = partition.records.clone().unwrap_or_default();
        if bytes.is_empty() {
            assert_eq!(offset, partition.high_watermark);
            return seen;
        }
        while !bytes.is_empty() {
            let batch = Batch::split_from(&mut bytes).unwrap();
            batch.check_crc().unwrap();
            offset = batch.header.next_offset().0;
            let records = BatchRecords::open(&batch, 1 << 20).unwrap();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            for record in records.iter().map(Result::unwrap) {
                seen.push((records.offset(&record).0, text(record.key), text(record.value)));
            }
        }
    }
}

/// Looks again until `holds`, or panics with what was seen last.
fn eventually<T: std::fmt::Debug>(mut look: impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn newest(seen: &[(i64, String, String)]) -> BTreeMap<String, (i64, String)> {
    seen.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

#[test]
fn a_compacted_topic_is_cleaned_while_it_is_written_and_keeps_the_newest_of_each_key() {
    let broker = Broker::start_with(&OVERRIDES);
    let mut client = broker.connect();
    create_compacted(&mut client);
    let mut expected = BTreeMap::new();
    for round in 0..100 {
        for key in ["a", "b", "c", "d", "e"] {
            let value = format!("{round}-{}", "v".repeat(40));
            expected.insert(key.to_owned(), (put(&mut client, key, &value), value));
        }
        if round % 10 == 0 {
            assert_eq!(newest(&consume(&mut client)), expected);
        }
    }
    // 500 were written; what is left is in the active segment, or the newest before it.
    let seen = eventually(|| consume(&mut client), |seen| seen.len() < 30);
    assert_eq!(newest(&seen), expected);
    let checkpoint = broker.data().path().join("cleaner-offset-checkpoint");
    let cleaned_to = || -> i64 {
        let text = std::fs::read_to_string(&checkpoint).unwrap();
        text.trim().rsplit(' ').next().unwrap().parse().unwrap()
    };
    eventually(cleaned_to, |offset| *offset > 450);

    let data = broker.data().clone();
    drop(client);
    assert!(broker.stop().success());
    let broker = Broker::start_on(&data, &OVERRIDES);
    assert_eq!(newest(&consume(&mut broker.connect())), expected);
    broker.kill();
    let broker = Broker::start_on(&data, &OVERRIDES);
    assert_eq!(newest(&consume(&mut broker.connect())), expected);
}

#[test]
fn a_broker_that_is_killed_while_it_cleans_loses_nothing() {
    let data = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    let mut expected = BTreeMap::new();
    for life in 0..6 {
        let broker = Broker::start_on(&data, &OVERRIDES);
        let mut client = broker.connect();
        if life == 0 {
            create_compacted(&mut client);
        }
        assert_eq!(newest(&consume(&mut client)), expected);
        for round in 0..40 {
            for key in ["a", "b", "c"] {
                let value = format!("{life}-{round}-{}", "v".repeat(100));
                expected.insert(key.to_owned(), (put(&mut client, key, &value), value));
            }
        }
        broker.kill();
    }
}

#[test]
fn without_the_cleaner_nothing_is_cleaned() {
    let broker = Broker::start_with(&[&OVERRIDES[..], &["log.cleaner.enable=false"]].concat());
    let mut client = broker.connect();
    create_compacted(&mut client);
    for _ in 0..50 {
        put(&mut client, "a", "v");
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(consume(&mut client).len(), 50);
    assert!(!broker.data().path().join("cleaner-offset-checkpoint").exists());
}

#[test]
fn committed_offsets_are_compacted_and_found_again() {
    let broker = Broker::start_with(&OVERRIDES);
    let mut client = broker.connect();
    topics::create_topic(&mut client, TOPIC);
    // Makes the offsets topic.
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![group().0]);
    eventually(|| client.request(4, &find).coordinators[0].error_code, |code| *code == NONE);
    for offset in 0..700 {
        commit(&mut client, offset);
    }
    let folder = broker.data().path().join("__consumer_offsets-0");
    let bytes = || -> u64 {
        let files = std::fs::read_dir(&folder).unwrap().filter_map(|entry| entry.ok());
        files
            .filter(|file| file.path().extension().is_some_and(|it| it == "log"))
            .map(|file| file.metadata().map_or(0, |m| m.len()))
            .sum()
    };
    // 700 commits of more than 4,000 bytes each were written, and one segment is active.
    eventually(bytes, |bytes| *bytes < 1_200_000);
    assert_eq!(committed(&mut client), 699);
    let data = broker.data().clone();
    drop(client);
    broker.kill();
    let broker = Broker::start_on(&data, &OVERRIDES);
    assert_eq!(committed(&mut broker.connect()), 699);
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

fn commit(client: &mut Client, offset: i64) {
    let metadata = StrBytes::from_string("m".repeat(4000));
    let partition =
        OffsetCommitRequestPartition::default().with_committed_offset(offset).with_committed_metadata(Some(metadata));
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response = client.request(8, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, NONE);
}

fn committed(client: &mut Client) -> i64 {
    let topic = OffsetFetchRequestTopic::default().with_name(topic_name(TOPIC)).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    let response = eventually(|| client.request(7, &request), |response| response.error_code == NONE);
    response.topics[0].partitions[0].committed_offset
}
