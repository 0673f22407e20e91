use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::metadata::{Change, change};
use crate::types::TopicId;

fn image() -> Image {
    let mut image = Image::default();
    for (name, partitions) in [("b", 3), ("a", 2), ("c", 4)] {
        let (id, configs) = (TopicId::random(), Default::default());
        change::apply(&mut image, &Change::CreateTopic { name: name.into(), id, partitions, configs }).unwrap();
    }
    image
}

fn request(names: &[&'static str], limit: i32, cursor: Option<(&'static str, i32)>) -> DescribeTopicPartitionsRequest {
    let name = |name| TopicName(StrBytes::from_static_str(name));
    let cursor = cursor.map(|(topic, index)| {
        describe_topic_partitions_request::Cursor::default().with_topic_name(name(topic)).with_partition_index(index)
    });
    DescribeTopicPartitionsRequest::default()
        .with_topics(names.iter().map(|topic| TopicRequest::default().with_name(name(topic))).collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor)
}

/// Topics with their first partition and number of partitions, or error; and the next cursor.
type Seen = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn seen(request: DescribeTopicPartitionsRequest) -> Seen {
    let response = describe(&image(), NodeId(1), &|_, _| false, 2000, request);
    response.encode(&mut bytes::BytesMut::new(), 0).unwrap();
    let topic = |topic: DescribeTopicPartitionsResponseTopic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name.unwrap().to_string(), topic.error_code, partitions)
    };
    let next = response.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    (response.topics.into_iter().map(topic).collect(), next)
}

fn topic(name: &str, partitions: Range<i32>) -> (String, i16, Vec<i32>) {
    (name.to_owned(), 0, partitions.collect())
}

#[test]
fn all_topics_come_by_name_and_page_by_page() {
    let all = vec![topic("a", 0..2), topic("b", 0..3), topic("c", 0..4)];
    assert_eq!(seen(request(&[], 2000, None)), (all, None));
    let next = |name: &str, index| Some((name.to_owned(), index));
    assert_eq!(seen(request(&[], 3, None)), (vec![topic("a", 0..2), topic("b", 0..1)], next("b", 1)));
    assert_eq!(seen(request(&[], 2, Some(("b", 1)))), (vec![topic("b", 1..3)], next("c", 0)));
    assert_eq!(seen(request(&[], 9, Some(("c", 0)))), (vec![topic("c", 0..4)], None));
}

#[test]
fn every_partition_is_seen_once_whatever_the_page() {
    for limit in (-1..=10).chain([i32::MIN]) {
        let (mut partitions, mut cursor) = (Vec::new(), None);
        loop {
            let (topics, next) = seen(request(&[], limit, cursor));
            partitions.extend(
                topics
                    .into_iter()
                    .flat_map(|(name, _, indexes)| indexes.into_iter().map(move |index| format!("{name}-{index}"))),
            );
            let Some((name, index)) = next else { break };
            cursor = Some((["a", "b", "c"].into_iter().find(|known| *known == name).unwrap(), index));
        }
        assert_eq!(partitions, ["a-0", "a-1", "b-0", "b-1", "b-2", "c-0", "c-1", "c-2", "c-3"], "limit {limit}");
    }
}

#[test]
fn named_topics_come_by_name_each_once_and_missing_ones_say_so() {
    let (topics, next) = seen(request(&["c", "gone", "a b", "c", "a"], 2000, None));
    let codes = [ErrorCode::InvalidTopicException.code(), ErrorCode::UnknownTopicOrPartition.code()];
    let expected = [
        topic("a", 0..2),
        ("a b".to_owned(), codes[0], vec![]),
        topic("c", 0..4),
        ("gone".to_owned(), codes[1], vec![]),
    ];
    assert_eq!((topics, next), (expected.to_vec(), None));
}

#[test]
fn a_cursor_off_the_topics_asked_for_is_refused() {
    for cursor in [("b", 0), ("a", -1)] {
        let (topics, _) = seen(request(&["a"], 2000, Some(cursor)));
        assert_eq!(topics, [("a".to_owned(), ErrorCode::InvalidRequest.code(), vec![])]);
    }
}

#[test]
fn a_cursor_past_the_last_partition_goes_on_with_the_next_topic() {
    assert_eq!(seen(request(&[], 1, Some(("b", i32::MAX)))).0, [topic("b", 0..0), topic("c", 0..1)]);
}

#[test]
fn eligible_leader_replicas_are_empty_and_never_null() {
    let response = describe(&image(), NodeId(1), &|_, _| false, 2000, request(&["a"], 2000, None));
    let partition = &response.topics[0].partitions[0];
    assert_eq!((&partition.eligible_leader_replicas, &partition.last_known_elr), (&Some(vec![]), &Some(vec![])));
    assert_eq!((partition.leader_id, &partition.isr_nodes), (BrokerId(1), &vec![BrokerId(1)]));
}

#[test]
fn a_partition_that_is_offline_has_no_leader_and_a_replica_that_would_lead_again() {
    let is_offline = |topic: &Topic, index| topic.name.as_ref() == "a" && index == 1;
    let response = describe(&image(), NodeId(7), &is_offline, 2000, request(&["a"], 2000, None));
    let ids = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    for partition in &response.topics[0].partitions {
        let seen = (partition.leader_id.0, ids(&partition.isr_nodes), ids(&partition.offline_replicas));
        let eligible = ids(partition.eligible_leader_replicas.as_deref().unwrap());
        match partition.partition_index {
            1 => assert_eq!((seen, eligible), ((-1, vec![], vec![7]), vec![7])),
            _ => assert_eq!((seen, eligible), ((7, vec![7], vec![]), vec![])),
        }
        assert_eq!((partition.error_code, ids(&partition.replica_nodes)), (0, vec![7]));
    }
    assert!(response.topics[0].partitions.len() > 1);
}
