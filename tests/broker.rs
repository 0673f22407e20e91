//! The broker as a whole, over real sockets: starting, stopping, crashing, waiting, and its limits.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiVersionsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::types::{ProducerEpoch, ProducerId, Timestamp};
use support::topics::{self, create_topic};
use support::{Answer, Broker, Client};

const TOPIC: &str = "t";
const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;

fn produce(client: &mut Client, records: Bytes) -> PartitionProduceResponse {
    topics::produce(client, TOPIC, records)
}

fn one_record(value: &str) -> Bytes {
    BatchBuilder::new(Timestamp::now()).record(None, Some(value.as_bytes())).build().unwrap().bytes
}

fn fetch_request(offset: i64, max_wait: Duration) -> FetchRequest {
    topics::fetch(TOPIC, offset).with_max_wait_ms(max_wait.as_millis() as i32).with_min_bytes(1)
}

/// The error and the base offsets of the batches.
fn fetched(response: FetchResponse) -> (i16, Vec<i64>) {
    let partition = &response.responses[0].partitions[0];
    let mut records = partition.records.clone().unwrap_or_default();
    let mut offsets = Vec::new();
    while !records.is_empty() {
        let batch = Batch::split_from(&mut records).unwrap();
        batch.check_crc().unwrap();
        offsets.push(batch.header.base_offset.0);
    }
    (partition.error_code, offsets)
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_fetch_that_waits_is_woken_by_the_append_itself() {
    let broker = Broker::start();
    let (mut producer, mut consumer) = (broker.connect(), broker.connect());
    create_topic(&mut producer, TOPIC);
    let asked = Instant::now();
    let fetch = consumer.send(12, &fetch_request(0, LONG));
    assert_eq!(consumer.receive(Duration::from_millis(200)), Answer::Silence);
    assert_eq!(produce(&mut producer, one_record("news")).error_code, NONE);
    assert_eq!(fetched(consumer.response::<FetchRequest>(12, fetch)), (NONE, vec![0]));
    assert!(asked.elapsed() < LONG / 2);
}

#[test]
fn a_batch_over_the_limit_that_came_first_stays_while_the_fetch_waits_for_more() {
    let broker = Broker::start();
    let mut client = broker.connect();
    for topic in [TOPIC, "beside"] {
        create_topic(&mut client, topic);
        assert_eq!(topics::produce(&mut client, topic, one_record("news")).error_code, NONE);
    }
    let mut request = topics::fetch(TOPIC, 0).with_min_bytes(1 << 20).with_max_wait_ms(200);
    request.topics[0].partitions[0].partition_max_bytes = 1;
    request.topics.extend(topics::fetch("beside", 0).topics);
    let response = client.request(12, &request);
    let has_records = response.responses.iter().map(|topic| !topic.partitions[0].records.as_ref().unwrap().is_empty());
    assert_eq!(has_records.collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_topic_that_is_deleted_wakes_the_fetches_that_wait_for_it() {
    let broker = Broker::start();
    let (mut admin, mut consumer) = (broker.connect(), broker.connect());
    create_topic(&mut admin, TOPIC);
    let fetch = consumer.send(12, &fetch_request(0, LONG));
    assert_eq!(consumer.receive(Duration::from_millis(200)), Answer::Silence);
    let topic = DeleteTopicState::default().with_name(Some(StrBytes::from_static_str(TOPIC).into()));
    admin.request(6, &DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000));
    assert_eq!(fetched(consumer.response::<FetchRequest>(12, fetch)), (UNKNOWN_TOPIC_OR_PARTITION, vec![]));
}

#[test]
fn a_partition_that_does_not_exist_is_no_reason_to_answer_at_once_beside_one_that_does() {
    let broker = Broker::start();
    let (mut producer, mut consumer) = (broker.connect(), broker.connect());
    create_topic(&mut producer, TOPIC);
    let mut request = fetch_request(0, LONG);
    let unknown = FetchPartition::default().with_partition(9).with_partition_max_bytes(1 << 20);
    request.topics[0].partitions.push(unknown.clone());
    let fetch = consumer.send(12, &request);
    assert_eq!(consumer.receive(Duration::from_millis(200)), Answer::Silence);
    produce(&mut producer, one_record("news"));
    let response = consumer.response::<FetchRequest>(12, fetch);
    let errors: Vec<i16> = response.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
    assert_eq!(errors, [NONE, UNKNOWN_TOPIC_OR_PARTITION]);

    request.topics[0].partitions = vec![unknown];
    assert_eq!(fetched(consumer.request(12, &request)).0, UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn a_stop_answers_what_waits_and_the_next_start_finds_everything() {
    let broker = Broker::start();
    let (mut producer, mut consumer) = (broker.connect(), broker.connect());
    create_topic(&mut producer, TOPIC);
    for value in ["a", "b", "c"] {
        produce(&mut producer, one_record(value));
    }
    let fetch = consumer.send(12, &fetch_request(3, LONG));
    assert_eq!(consumer.receive(Duration::from_millis(200)), Answer::Silence);
    let (data, asked) = (broker.data().clone(), Instant::now());
    assert!(broker.stop().success());
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(fetched(consumer.response::<FetchRequest>(12, fetch)), (NONE, vec![]));
    assert!(data.path().join(".kafka_cleanshutdown").exists());

    let broker = Broker::start_on(&data, &[]);
    assert!(!data.path().join(".kafka_cleanshutdown").exists(), "a mark that stays would vouch for a crash");
    let mut client = broker.connect();
    assert_eq!(produce(&mut client, one_record("d")).base_offset, 3);
    assert_eq!(fetched(client.request(12, &fetch_request(0, LONG))), (NONE, vec![0, 1, 2, 3]));
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let data = Broker::start().data().clone();
    for round in 0..3 {
        let broker = Broker::start_on(&data, &[]);
        let mut client = broker.connect();
        if round == 0 {
            create_topic(&mut client, TOPIC);
        }
        assert_eq!(fetched(client.request(12, &fetch_request(0, Duration::ZERO))), (NONE, (0..round * 5).collect()));
        for nth in 0..5 {
            assert_eq!(produce(&mut client, one_record("x")).base_offset, round * 5 + nth);
        }
        broker.kill();
    }
}

#[test]
fn an_idempotent_producer_is_answered_the_same_twice_across_a_restart() {
    let broker = Broker::start();
    let mut client = broker.connect();
    create_topic(&mut client, TOPIC);
    let id = client.request(4, &InitProducerIdRequest::default().with_transactional_id(None));
    assert_eq!((id.error_code, id.producer_epoch), (NONE, 0));
    let batch = |epoch: i16, sequence| {
        let producer = (ProducerId(id.producer_id.0), ProducerEpoch(epoch));
        let batch =
            BatchBuilder::new(Timestamp::now()).producer(producer.0, producer.1, sequence).record(None, Some(b"x"));
        batch.build().unwrap().bytes
    };
    for sequence in 0..6 {
        assert_eq!(produce(&mut client, batch(0, sequence)).base_offset, i64::from(sequence));
    }
    // The last five are remembered (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
    assert_eq!(produce(&mut client, batch(0, 1)).base_offset, 1);
    assert_eq!(produce(&mut client, batch(0, 7)).error_code, OUT_OF_ORDER_SEQUENCE_NUMBER);

    let data = broker.data().clone();
    broker.kill();
    let broker = Broker::start_on(&data, &[]);
    let mut client = broker.connect();
    assert_eq!(produce(&mut client, batch(0, 5)).base_offset, 5);
    assert_eq!(produce(&mut client, batch(1, 0)).base_offset, 6, "an epoch begins anew at 0");
    assert_eq!(produce(&mut client, batch(0, 6)).error_code, INVALID_PRODUCER_EPOCH);
    let other = client.request(4, &InitProducerIdRequest::default().with_transactional_id(None));
    assert_ne!(other.producer_id, id.producer_id, "an id is never handed out again");
    assert_eq!(fetched(client.request(12, &fetch_request(0, Duration::ZERO))).1, (0..7).collect::<Vec<_>>());
}

#[test]
fn pipelined_requests_are_answered_in_order_also_behind_a_fetch_that_waits() {
    let broker = Broker::start();
    let (mut client, mut other) = (broker.connect(), broker.connect());
    create_topic(&mut client, TOPIC);
    let fetch = client.send(12, &fetch_request(0, LONG));
    let versions = client.send(0, &ApiVersionsRequest::default());
    let metadata = client.send(12, &MetadataRequest::default().with_topics(None));
    produce(&mut other, one_record("x"));
    assert_eq!(fetched(client.response::<FetchRequest>(12, fetch)), (NONE, vec![0]));
    assert_eq!(client.response::<ApiVersionsRequest>(0, versions).error_code, NONE);
    assert_eq!(client.response::<MetadataRequest>(12, metadata).topics.len(), 1);
}

#[test]
fn a_data_directory_in_use_is_refused_by_the_name_of_its_holder() {
    let broker = Broker::start();
    let mut second = Command::new(env!("CARGO_BIN_EXE_ottla"));
    second.args(["--listen", "127.0.0.1:0", "--data"]).arg(broker.data().path());
    let output = second.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&format!("pid {}", broker.pid())), "{message}");
}

#[test]
fn a_silent_connection_is_closed_and_a_waiting_one_is_not() {
    let broker = Broker::start_with(&["connections.max.idle.ms=300"]);
    let (mut silent, mut waiting) = (broker.connect(), broker.connect());
    create_topic(&mut waiting, TOPIC);
    let fetch = waiting.send(12, &fetch_request(0, Duration::from_millis(1500)));
    silent.expect_closed();
    assert_eq!(fetched(waiting.response::<FetchRequest>(12, fetch)), (NONE, vec![]));
}

#[test]
fn one_address_gets_no_more_connections_than_it_may_have() {
    let broker = Broker::start_with(&["max.connections.per.ip=2"]);
    // The connection by which the start was noticed may not have been seen to close yet.
    let mut open: Vec<Client> = (0..2).map(|_| connect_when_there_is_room(&broker)).collect();
    let mut third = broker.connect();
    third.expect_closed();
    open.pop();
    connect_when_there_is_room(&broker);
}

fn connect_when_there_is_room(broker: &Broker) -> Client {
    let deadline = Instant::now() + LONG;
    loop {
        let mut client = broker.connect();
        let asked = client.send(0, &ApiVersionsRequest::default());
        if let Answer::Frame(_) = client.receive(LONG) {
            return client;
        }
        assert!(Instant::now() < deadline, "no room for request {asked}");
    }
}

#[test]
fn clients_are_told_the_address_at_which_they_reached_the_broker_or_the_advertised_one() {
    let address = |broker: &Broker| {
        let mut response = broker.connect().request(12, &MetadataRequest::default().with_topics(Some(vec![])));
        let node = response.brokers.remove(0);
        (node.host.to_string(), node.port)
    };
    let broker = Broker::start();
    assert_eq!(address(&broker), ("127.0.0.1".to_string(), i32::from(broker.address().port())));
    let broker = Broker::start_with(&["advertised.listeners=PLAINTEXT://broker.example:19092"]);
    assert_eq!(address(&broker), ("broker.example".to_string(), 19092));
}
