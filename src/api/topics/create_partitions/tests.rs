use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsAssignment;
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::metadata::LocalStore;
use crate::types::TopicId;

fn fixture() -> (Metadata, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::load(Box::new(LocalStore::open(dir.path()).unwrap())).unwrap();
    let mut edit = metadata.edit();
    for name in ["a", "b"] {
        let id = TopicId::random();
        edit.apply(Change::CreateTopic { name: name.into(), id, partitions: 3, configs: Default::default() }).unwrap();
    }
    edit.commit().unwrap();
    drop(edit);
    (metadata, dir)
}

fn asked(name: &'static str, count: i32) -> CreatePartitionsTopic {
    let name = TopicName(StrBytes::from_static_str(name));
    CreatePartitionsTopic::default().with_name(name).with_count(count).with_assignments(None)
}

fn assigned(topic: CreatePartitionsTopic, brokers: &[i32]) -> CreatePartitionsTopic {
    let assignment = |&id: &i32| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(id)]);
    topic.with_assignments(Some(brokers.iter().map(assignment).collect()))
}

fn grow(metadata: &Metadata, topics: Vec<CreatePartitionsTopic>) -> Vec<(ErrorCode, Option<String>)> {
    let results = grow_topics(metadata, NodeId(1), CreatePartitionsRequest::default().with_topics(topics));
    let outcome = |result: CreatePartitionsTopicResult| {
        let code = ErrorCode::try_from_code(result.error_code).unwrap_or(ErrorCode::UnknownServerError);
        (code, result.error_message.map(|text| text.to_string()))
    };
    results.into_iter().filter(|result| result.error_code != 0).map(outcome).collect()
}

#[test]
fn topics_grow_and_those_that_cannot_say_why() {
    let (metadata, _dir) = fixture();
    let refusals = grow(&metadata, vec![asked("a", 5), asked("b", 2), asked("gone", 9)]);
    let no_increase = "The topic b currently has 3 partition(s); 2 would not be an increase.".to_owned();
    assert_eq!(
        refusals,
        [(ErrorCode::InvalidPartitions, Some(no_increase)), (ErrorCode::UnknownTopicOrPartition, None)]
    );
    assert_eq!(metadata.image().topic("a").unwrap().partitions, 5);
    let refusals = grow(&metadata, vec![asked("a", 5), asked("b", 4), asked("b", 5)]);
    assert_eq!(refusals[0], (ErrorCode::InvalidPartitions, Some("Topic already has 5 partition(s).".to_owned())));
    assert_eq!(refusals[1], (ErrorCode::InvalidRequest, Some("Duplicate topic name.".to_owned())));
    assert_eq!(metadata.image().topic("b").unwrap().partitions, 3);
}

#[test]
fn validate_only_grows_nothing() {
    let (metadata, _dir) = fixture();
    let request = CreatePartitionsRequest::default().with_topics(vec![asked("a", 5)]).with_validate_only(true);
    assert_eq!(grow_topics(&metadata, NodeId(1), request)[0].error_code, 0);
    assert_eq!(metadata.image().topic("a").unwrap().partitions, 3);
}

#[test]
fn assignments_are_as_many_as_new_partitions_and_name_this_broker() {
    let (metadata, _dir) = fixture();
    let (code, text) = grow(&metadata, vec![assigned(asked("a", 5), &[1])]).remove(0);
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment);
    let expected = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.";
    assert_eq!(text.as_deref(), Some(expected));
    assert_eq!(grow(&metadata, vec![assigned(asked("a", 5), &[1, 2])])[0].0, ErrorCode::InvalidReplicaAssignment);
    assert_eq!(grow(&metadata, vec![assigned(asked("a", 2), &[2])])[0].0, ErrorCode::InvalidPartitions);
    assert_eq!(grow(&metadata, vec![assigned(asked("a", 5), &[1, 1])]), []);
}

#[test]
fn more_than_a_request_may_ask_for_is_refused() {
    let (metadata, _dir) = fixture();
    for count in [10_004, i32::MAX] {
        assert_eq!(grow(&metadata, vec![asked("a", count)])[0].0, ErrorCode::PolicyViolation);
    }
    assert_eq!(grow(&metadata, vec![asked("a", 10_003)]), []);
}
