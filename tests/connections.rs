//! Connections that do not behave: what they hold, for how long, and what they cannot keep others from.

mod support;

use std::time::{Duration, Instant};

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, FindCoordinatorRequest, JoinGroupRequest, JoinGroupResponse, MetadataRequest, ProduceRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;
use support::topics::{create_topic, fetch, produce};
use support::{Answer, Broker, Client, encoded, framed, request_frame};

const TOPIC: &str = "t";
const MIB: usize = 1 << 20;
const NONE: i16 = 0;
const NOT_COORDINATOR: i16 = 16;
const MEMBER_ID_REQUIRED: i16 = 79;

/// Makes a topic of about 16 MiB, asks for it again and again, and reads none of it: more than the kernel's buffers hold.
fn ask_and_never_read(client: &mut Client) {
    create_topic(client, TOPIC);
    let records =
        BatchBuilder::new(Timestamp::now()).record(None, Some(&vec![b'v'; MIB - 1024])).build().unwrap().bytes;
    for _ in 0..16 {
        assert_eq!(produce(client, TOPIC, records.clone()).error_code, NONE);
    }
    let mut everything = fetch(TOPIC, 0).with_max_bytes(i32::MAX);
    everything.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    for _ in 0..8 {
        client.send(12, &everything);
    }
}

fn join_request(member_id: StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
    JoinGroupRequest::default()
        .with_group_id(StrBytes::from_static_str("g").into())
        .with_member_id(member_id)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocols(vec![protocol])
}

/// Joins as a new member, waiting for the answer.
fn join(client: &mut Client) -> JoinGroupResponse {
    let id = new_member_id(client);
    client.request(5, &join_request(id))
}

fn new_member_id(client: &mut Client) -> StrBytes {
    // Makes the topic that groups are kept in, where it is not there yet.
    client.request(2, &FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("g")));
    let refused = client.request(5, &join_request(StrBytes::default()));
    assert_eq!(refused.error_code, MEMBER_ID_REQUIRED);
    refused.member_id
}

#[test]
fn a_stop_is_over_in_time_whatever_the_clients_do() {
    let broker = Broker::start();
    let mut deaf = broker.connect();
    ask_and_never_read(&mut deaf);
    let mut half = broker.connect();
    half.send_raw(&framed(&[0; 1000])[..500]);
    let (mut first, mut parked) = (broker.connect(), broker.connect());
    assert_eq!(join(&mut first).error_code, NONE);
    let member = new_member_id(&mut parked);
    let joining = parked.send(5, &join_request(member));
    assert_eq!(parked.receive(Duration::from_millis(200)), Answer::Silence);

    let (data, asked) = (broker.data().clone(), Instant::now());
    assert!(broker.stop().success());
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(data.path().join(".kafka_cleanshutdown").exists());
    assert_eq!(parked.response::<JoinGroupRequest>(5, joining).error_code, NOT_COORDINATOR);
}

#[test]
fn a_join_that_waits_leaves_the_memory_of_requests_to_those_it_waits_for() {
    let broker = Broker::start_with(&["socket.request.max.bytes=1024", "queued.max.request.bytes=1024"]);
    let (mut first, mut second) = (broker.connect(), broker.connect());
    let first_id = join(&mut first).member_id;
    let second_id = new_member_id(&mut second);
    let joining = second.send(5, &join_request(second_id));
    assert_eq!(second.receive(Duration::from_millis(200)), Answer::Silence);
    assert_eq!(first.request(5, &join_request(first_id)).error_code, NONE);
    assert_eq!(second.response::<JoinGroupRequest>(5, joining).error_code, NONE);
}

#[test]
fn at_the_limit_a_connection_waits_until_another_one_ends() {
    let broker = Broker::start_with(&["max.connections=1"]);
    let mut first = broker.connect();
    first.request(0, &ApiVersionsRequest::default());
    let mut second = broker.connect();
    let asked = second.send(0, &ApiVersionsRequest::default());
    assert_eq!(second.receive(Duration::from_millis(200)), Answer::Silence);
    drop(first);
    assert_eq!(second.response::<ApiVersionsRequest>(0, asked).error_code, NONE);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_as_idle_as_one_that_says_nothing() {
    let broker = Broker::start_with(&["connections.max.idle.ms=500", "max.connections=1"]);
    let mut deaf = broker.connect();
    ask_and_never_read(&mut deaf);
    // There is room for another client when the broker has given this one up.
    let mut next = broker.connect();
    assert_eq!(next.request(0, &ApiVersionsRequest::default()).error_code, NONE);
}

#[test]
fn requests_without_an_answer_keep_no_answer_back() {
    let broker = Broker::start();
    let mut client = broker.connect();
    let silent = ProduceRequest::default().with_acks(0).with_timeout_ms(5000);
    let silent = framed(&request_frame(ProduceRequest::KEY, 9, 2, &encoded(&silent, 9)));
    let asked = framed(&request_frame(ApiVersionsRequest::KEY, 0, 1, &encoded(&ApiVersionsRequest::default(), 0)));
    // As many as the broker does not come to the end of in one turn, and then nobody is there any more.
    client.send_raw(&[asked, silent.repeat(2000)].concat());
    client.finish_sending();
    assert_eq!(client.response::<ApiVersionsRequest>(0, 1).error_code, NONE);
}

#[test]
fn large_answers_that_nobody_reads_do_not_pile_up() {
    let broker = Broker::start();
    let mut deaf = broker.connect();
    let topic = |number| {
        let name = StrBytes::from_string(format!("{number:030000}"));
        MetadataRequestTopic::default().with_name(Some(name.into()))
    };
    let topics = (0..2 * MIB / 30_000).map(topic).collect();
    let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false);
    assert!(encoded(&deaf.request(4, &request), 4).len() > MIB);
    let frame = framed(&request_frame(MetadataRequest::KEY, 4, 1, &encoded(&request, 4)));
    let resident_before = broker.resident_bytes();
    // The sender is held up as well once the broker reads no more.
    let sending = std::thread::spawn(move || (0..64).for_each(|_| deaf.send_raw(&frame)));
    std::thread::sleep(Duration::from_secs(2));
    let grown = broker.resident_bytes().saturating_sub(resident_before);
    assert!(grown < 24 * MIB as u64, "grown by {grown} bytes");
    broker.kill();
    sending.join().unwrap();
}
