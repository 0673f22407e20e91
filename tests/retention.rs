//! Records that go, as clients see it: by retention, by DeleteRecords, and with their topic.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    AlterConfigsRequest, BrokerId, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
    FetchResponse, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;
use support::topics::{self, topic_name};
use support::{Broker, Client};

const TOPIC: &str = "t";
const NONE: i16 = 0;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const POLICY_VIOLATION: i16 = 44;
const UNKNOWN_TOPIC_ID: i16 = 100;

const LONG: Duration = Duration::from_secs(30);
/// Retention comes often, and files go at once.
const EAGER: [&str; 2] = ["log.retention.check.interval.ms=50", "log.segment.delete.delay.ms=0"];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn create_topic(client: &mut Client, name: &str, configs: &[(&str, &str)]) {
    let config = |(key, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    assert_eq!(client.request(7, &request).topics[0].error_code, NONE);
}

fn alter(client: &mut Client, configs: &[(&str, &str)]) {
    let config =
        |(key, value): &(&str, &str)| AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(TOPIC))
        .with_configs(configs.iter().map(config).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(client.request(2, &request).responses[0].error_code, NONE);
}

fn batch(timestamp: Timestamp, value_bytes: usize) -> Bytes {
    BatchBuilder::new(timestamp).record(Some(b"key"), Some(&vec![b'v'; value_bytes])).build().unwrap().bytes
}

fn produce(client: &mut Client, timestamp: Timestamp) -> i64 {
    let produced = topics::produce(client, TOPIC, batch(timestamp, 20));
    assert_eq!(produced.error_code, NONE);
    produced.base_offset
}

fn an_hour_ago() -> Timestamp {
    Timestamp(Timestamp::now().0 - 3_600_000)
}

/// The error, the log start, and the base offsets of the batches.
fn fetched(response: FetchResponse) -> (i16, i64, Vec<i64>) {
    let partition = &response.responses[0].partitions[0];
    let mut records = partition.records.clone().unwrap_or_default();
    let mut offsets = Vec::new();
    while !records.is_empty() {
        let batch = Batch::split_from(&mut records).unwrap();
        batch.check_crc().unwrap();
        offsets.push(batch.header.base_offset.0);
    }
    (partition.error_code, partition.log_start_offset, offsets)
}

fn fetch(client: &mut Client, offset: i64) -> (i16, i64, Vec<i64>) {
    fetched(client.request(12, &topics::fetch(TOPIC, offset)))
}

fn earliest(client: &mut Client) -> i64 {
    let partition = ListOffsetsPartition::default().with_timestamp(-2);
    let topic = ListOffsetsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    client.request(5, &request).topics[0].partitions[0].offset
}

/// Waits for retention to have moved the log start there; what is asked is answered at once, so this is no load.
fn await_earliest(client: &mut Client, expected: i64) {
    let deadline = Instant::now() + LONG;
    loop {
        let found = earliest(client);
        assert!(found <= expected, "the log starts at {found}, behind {expected}");
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "the log still starts at {found}, not at {expected}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the partition's folder holds so many files with that ending.
fn await_files(broker: &Broker, extension: &str, expected: usize) {
    let count = || {
        let entries = std::fs::read_dir(broker.data().path().join("t-0")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == extension)).count()
    };
    let deadline = Instant::now() + LONG;
    while count() != expected {
        assert!(Instant::now() < deadline, "{} files with .{extension}, not {expected}", count());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn files_whose_delay_a_stop_cut_short_go_after_the_next_start_though_nobody_asks_for_the_partition() {
    let broker = Broker::start_with(&["log.retention.check.interval.ms=50", "log.segment.delete.delay.ms=3600000"]);
    let mut client = broker.connect();
    create_topic(&mut client, TOPIC, &[("segment.ms", "1"), ("retention.ms", "1000")]);
    let produced = produce(&mut client, an_hour_ago());
    await_earliest(&mut client, produced + 1);
    let set_aside = |extension: &std::ffi::OsStr| extension == "deleted";
    let any_set_aside = |broker: &Broker| {
        let mut entries = std::fs::read_dir(broker.data().path().join("t-0")).unwrap();
        entries.any(|entry| entry.unwrap().path().extension().is_some_and(set_aside))
    };
    let deadline = Instant::now() + LONG;
    while !any_set_aside(&broker) {
        assert!(Instant::now() < deadline, "nothing was set aside");
        std::thread::sleep(Duration::from_millis(10));
    }
    let data = broker.data().clone();
    assert!(broker.stop().success());
    let broker = Broker::start_on(&data, &["log.initial.task.delay.ms=0", "log.retention.check.interval.ms=50"]);
    await_files(&broker, "deleted", 0);
}

/// Error and low watermark of each partition answered, by topic.
fn delete_records(client: &mut Client, version: i16, asked: &[(&str, i32, i64)]) -> Vec<(String, i32, i16, i64)> {
    let topic = |(name, index, offset): &(&str, i32, i64)| {
        let partition = DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset);
        DeleteRecordsTopic::default().with_name(topic_name(name)).with_partitions(vec![partition])
    };
    let request = DeleteRecordsRequest::default().with_topics(asked.iter().map(topic).collect()).with_timeout_ms(5000);
    let mut answered = Vec::new();
    for topic in client.request(version, &request).topics {
        for it in topic.partitions {
            answered.push((topic.name.to_string(), it.partition_index, it.error_code, it.low_watermark));
        }
    }
    answered
}

/// A topic with a batch to a segment, and five of them.
fn five_records(broker: &Broker) -> Client {
    let mut client = broker.connect();
    create_topic(&mut client, TOPIC, &[("internal.segment.bytes", "100")]);
    for offset in 0..5 {
        assert_eq!(produce(&mut client, Timestamp::now()), offset);
    }
    client
}

#[test]
fn what_is_older_than_retention_ms_goes_and_a_change_of_it_counts_from_the_next_round_on() {
    let broker = Broker::start_with(&EAGER);
    let mut client = broker.connect();
    create_topic(&mut client, TOPIC, &[("internal.segment.bytes", "100"), ("retention.ms", "7200000")]);
    for timestamp in [an_hour_ago(), an_hour_ago(), Timestamp::now()] {
        produce(&mut client, timestamp);
    }
    assert_eq!(fetch(&mut client, 0), (NONE, 0, vec![0]), "one segment at a time");
    alter(&mut client, &[("internal.segment.bytes", "100"), ("retention.ms", "60000")]);
    await_earliest(&mut client, 2);
    assert_eq!(fetch(&mut client, 1).0, OFFSET_OUT_OF_RANGE);
    assert_eq!(fetch(&mut client, 2), (NONE, 2, vec![2]));
    await_files(&broker, "log", 1);
    await_files(&broker, "deleted", 0);

    // All of it; the log goes on where it was.
    alter(&mut client, &[("internal.segment.bytes", "100"), ("retention.bytes", "0")]);
    await_earliest(&mut client, 3);
    // Files go once the start is on disk.
    await_files(&broker, "log", 1);
    await_files(&broker, "deleted", 0);
    let data = broker.data().clone();
    broker.kill();
    let broker = Broker::start_on(&data, &[]);
    let mut client = broker.connect();
    assert_eq!((earliest(&mut client), produce(&mut client, Timestamp::now())), (3, 3));
}

#[test]
fn retention_comes_to_partitions_that_nobody_has_asked_for_since_the_start() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_topic(&mut client, TOPIC, &[("retention.ms", "60000"), ("internal.segment.bytes", "100")]);
    for offset in 0..3 {
        assert_eq!(produce(&mut client, an_hour_ago()), offset);
    }
    let data = broker.data().clone();
    assert!(broker.stop().success());
    let broker = Broker::start_on(&data, &EAGER);
    await_files(&broker, "log", 1);
    assert_eq!(earliest(&mut broker.connect()), 3);
}

#[test]
fn deleted_records_stay_deleted_whether_the_broker_stops_or_is_killed() {
    let broker = Broker::start();
    let mut client = five_records(&broker);
    let data = broker.data().clone();
    assert_eq!(delete_records(&mut client, 2, &[(TOPIC, 0, 2)]), [(TOPIC.into(), 0, NONE, 2)]);
    broker.kill();

    let broker = Broker::start_on(&data, &[]);
    let mut client = broker.connect();
    assert_eq!(fetch(&mut client, 1), (OFFSET_OUT_OF_RANGE, -1, vec![]));
    assert_eq!(fetch(&mut client, 2), (NONE, 2, vec![2]));
    assert_eq!(delete_records(&mut client, 2, &[(TOPIC, 0, 3)]), [(TOPIC.into(), 0, NONE, 3)]);
    assert!(broker.stop().success());

    let broker = Broker::start_on(&data, &EAGER);
    let mut client = broker.connect();
    assert_eq!(earliest(&mut client), 3);
    await_files(&broker, "log", 2);
    assert_eq!(fetch(&mut client, 3), (NONE, 3, vec![3]));
}

#[test]
fn every_version_of_delete_records_answers_the_low_watermark_or_what_is_wrong() {
    let broker = Broker::start();
    let mut client = five_records(&broker);
    create_topic(&mut client, "compacted", &[("cleanup.policy", "compact")]);
    let made = client.request(3, &FindCoordinatorRequest::default().with_key(text("group")));
    assert_eq!(made.error_code, NONE, "the internal topic is there");
    for version in 0..=2 {
        let floor = i64::from(version);
        let mut delete = |asked: &[_]| delete_records(&mut client, version, asked);
        let on_topic = |error, low_watermark| (TOPIC.to_owned(), 0, error, low_watermark);
        assert_eq!(delete(&[(TOPIC, 0, floor)]), [on_topic(NONE, floor)]);
        assert_eq!(delete(&[(TOPIC, 0, 0)]), [on_topic(NONE, floor)], "below the log start there is nothing to do");
        for wrong in [6, -2] {
            assert_eq!(delete(&[(TOPIC, 0, wrong)]), [on_topic(OFFSET_OUT_OF_RANGE, -1)]);
        }
        let others = [("compacted", 0, -1), ("__consumer_offsets", 0, -1), (TOPIC, 1, 0), ("absent", 0, 0)];
        let codes: Vec<_> = delete(&others).into_iter().map(|(name, _, code, low)| (name, code, low)).collect();
        let expected = [
            ("__consumer_offsets", INVALID_TOPIC_EXCEPTION),
            ("absent", UNKNOWN_TOPIC_OR_PARTITION),
            ("compacted", POLICY_VIOLATION),
            (TOPIC, UNKNOWN_TOPIC_OR_PARTITION),
        ];
        assert_eq!(codes, expected.map(|(name, code)| (name.to_owned(), code, -1)));
    }
    let twice = [(TOPIC, 0, 5), (TOPIC, 0, 3)];
    assert_eq!(delete_records(&mut client, 2, &twice), [(TOPIC.into(), 0, NONE, 3)], "what is said last counts");
    assert_eq!(delete_records(&mut client, 2, &[(TOPIC, 0, -1)]), [(TOPIC.into(), 0, NONE, 5)]);
    assert_eq!(fetch(&mut client, 5), (NONE, 5, vec![]));
    assert_eq!(produce(&mut client, Timestamp::now()), 5);
}

/// A topic of 32 MiB, more than sockets buffer, and a fetch of most of it whose answer has begun.
fn client_in_the_middle_of_a_slice(broker: &Broker, configs: &[(&str, &str)]) -> (Client, i32) {
    const BATCH_BYTES: usize = 512 * 1024;
    let (mut producer, mut consumer) = (broker.connect(), broker.connect());
    create_topic(&mut producer, TOPIC, configs);
    for _ in 0..64 {
        assert_eq!(topics::produce(&mut producer, TOPIC, batch(an_hour_ago(), BATCH_BYTES)).error_code, NONE);
    }
    let mut request = topics::fetch(TOPIC, 0).with_max_bytes(i32::MAX);
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    let asked = consumer.send(12, &request);
    assert!(consumer.has_bytes(LONG), "the answer has begun");
    (consumer, asked)
}

/// Every batch that the answer was to hold, whole.
fn expect_whole(consumer: &mut Client, asked: i32) {
    let (error, _, offsets) = fetched(consumer.response::<FetchRequest>(12, asked));
    assert_eq!((error, offsets), (NONE, (0..64).collect()));
}

#[test]
fn a_consumer_in_the_middle_of_a_slice_gets_it_whole_though_its_topic_is_deleted() {
    let broker = Broker::start();
    let mut admin = broker.connect();
    let (mut consumer, asked) = client_in_the_middle_of_a_slice(&broker, &[("retention.ms", "-1")]);
    let metadata = admin.request(12, &MetadataRequest::default().with_topics(None));
    let id = metadata.topics.iter().find(|topic| topic.name == Some(topic_name(TOPIC))).unwrap().topic_id;
    let topic = DeleteTopicState::default().with_name(Some(topic_name(TOPIC)));
    let deleted =
        admin.request(6, &DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000)).responses;
    assert_eq!(deleted[0].error_code, NONE);
    expect_whole(&mut consumer, asked);
    assert_eq!(fetch(&mut consumer, 64).0, UNKNOWN_TOPIC_OR_PARTITION);
    let mut by_id = topics::fetch(TOPIC, 64);
    by_id.topics[0].topic_id = id;
    by_id.topics[0].topic = Default::default();
    assert_eq!(fetched(consumer.request(13, &by_id)).0, UNKNOWN_TOPIC_ID);
}

#[test]
fn a_consumer_in_the_middle_of_a_slice_gets_it_whole_though_retention_takes_the_segment() {
    let broker = Broker::start_with(&EAGER);
    let mut admin = broker.connect();
    let (mut consumer, asked) = client_in_the_middle_of_a_slice(&broker, &[("retention.ms", "-1")]);
    alter(&mut admin, &[("retention.ms", "60000")]);
    await_earliest(&mut admin, 64);
    await_files(&broker, "deleted", 0);
    expect_whole(&mut consumer, asked);
    assert_eq!(fetch(&mut consumer, 10).0, OFFSET_OUT_OF_RANGE);
}
