//! Incremental fetch sessions over a real socket: what a session has seen nothing in is looked at again when it has news.

mod support;

use std::time::Duration;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest, FetchResponse};
use kafka_protocol::protocol::StrBytes;
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;
use support::topics::{create_topic, produce};
use support::{Answer, Broker, Client};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// The last one that names topics: a topic deleted and made anew is the same to it.
const VERSION: i16 = 12;
const LONG_MS: i32 = 30_000;

struct Session {
    client: Client,
    id: i32,
    epoch: i32,
}

/// Topic, error and bytes of records of each partition in the answer.
fn told(response: &FetchResponse) -> Vec<(String, i16, bool)> {
    let partitions = response.responses.iter().map(|topic| {
        let partition = &topic.partitions[0];
        let has_records = partition.records.as_ref().is_some_and(|records| !records.is_empty());
        (topic.topic.to_string(), partition.error_code, has_records)
    });
    partitions.collect()
}

fn wanted(topic: &'static str, offset: i64) -> FetchTopic {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
        .with_current_leader_epoch(-1);
    FetchTopic::default().with_topic(StrBytes::from_static_str(topic).into()).with_partitions(vec![partition])
}

impl Session {
    /// Of all topics, from their beginnings on.
    fn begin(mut client: Client) -> Session {
        let topics = TOPICS.iter().map(|topic| wanted(topic, 0)).collect();
        let request = FetchRequest::default().with_session_epoch(0).with_max_bytes(1 << 20).with_topics(topics);
        let response = client.request(VERSION, &request);
        assert_eq!(response.responses.len(), TOPICS.len());
        assert_ne!(response.session_id, 0);
        Session { client, id: response.session_id, epoch: 0 }
    }

    /// Asks for what is new, and changes what is wanted of some topics.
    fn ask(&mut self, changes: Vec<FetchTopic>, max_wait_ms: i32) -> i32 {
        self.epoch += 1;
        let request = FetchRequest::default()
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_topics(changes);
        self.client.send(VERSION, &request)
    }

    fn answer(&mut self, asked: i32) -> Vec<(String, i16, bool)> {
        told(&self.client.response::<FetchRequest>(VERSION, asked))
    }

    fn is_waiting(&mut self) {
        assert_eq!(self.client.receive(Duration::from_millis(200)), Answer::Silence);
    }
}

fn started() -> (Broker, Client, Session) {
    let broker = Broker::start();
    let mut producer = broker.connect();
    TOPICS.iter().for_each(|topic| create_topic(&mut producer, topic));
    let session = Session::begin(broker.connect());
    (broker, producer, session)
}

fn append(producer: &mut Client, topic: &'static str) {
    let records = BatchBuilder::new(Timestamp::now()).record(None, Some(b"news")).build().unwrap().bytes;
    assert_eq!(produce(producer, topic, records).error_code, 0);
}

fn news(topic: &str) -> (String, i16, bool) {
    (topic.to_owned(), 0, true)
}

#[test]
fn an_append_to_a_quiet_partition_wakes_the_fetch_that_waits_and_is_all_it_hears_of() {
    let (_broker, mut producer, mut session) = started();
    let asked = session.ask(vec![], LONG_MS);
    session.is_waiting();
    append(&mut producer, "b");
    assert_eq!(session.answer(asked), [news("b")]);
    let asked = session.ask(vec![wanted("b", 1)], LONG_MS);
    session.is_waiting();
    append(&mut producer, "c");
    assert_eq!(session.answer(asked), [news("c")]);
}

#[test]
fn an_append_between_two_fetches_is_not_missed() {
    let (_broker, mut producer, mut session) = started();
    append(&mut producer, "c");
    append(&mut producer, "a");
    let asked = session.ask(vec![], LONG_MS);
    assert_eq!(session.answer(asked), [news("a"), news("c")]);
    // Who does not say that it has read on is told again.
    let asked = session.ask(vec![wanted("a", 1)], LONG_MS);
    assert_eq!(session.answer(asked), [news("c")]);
    let asked = session.ask(vec![wanted("a", 0), wanted("c", 1)], LONG_MS);
    assert_eq!(session.answer(asked), [news("a")]);
}

#[test]
fn an_append_to_each_of_the_partitions_in_turn_is_seen_many_times() {
    let (_broker, mut producer, mut session) = started();
    let mut changes = Vec::new();
    for round in 0..60 {
        let topic = TOPICS[round % TOPICS.len()];
        let asked = session.ask(std::mem::take(&mut changes), LONG_MS);
        append(&mut producer, topic);
        assert_eq!(session.answer(asked), [news(topic)], "round {round}");
        changes.push(wanted(topic, (round / TOPICS.len()) as i64 + 1));
    }
}

#[test]
fn a_quiet_topic_that_is_deleted_and_made_anew_is_heard_of_again() {
    let (_broker, mut producer, mut session) = started();
    let asked = session.ask(vec![], LONG_MS);
    session.is_waiting();
    let topic = DeleteTopicState::default().with_name(Some(StrBytes::from_static_str("b").into()));
    producer.request(6, &DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000));
    assert_eq!(session.answer(asked), [("b".to_owned(), UNKNOWN_TOPIC_OR_PARTITION, false)]);
    create_topic(&mut producer, "b");
    // Told once that it is there; from then on it is quiet.
    let asked = session.ask(vec![], 0);
    assert_eq!(session.answer(asked), [("b".to_owned(), 0, false)]);
    let asked = session.ask(vec![], LONG_MS);
    session.is_waiting();
    append(&mut producer, "b");
    assert_eq!(session.answer(asked), [news("b")]);
}
