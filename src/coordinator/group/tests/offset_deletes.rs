use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, TopicName};

use super::offset_commits::{existing, in_transaction, row};
use super::*;

fn delete_request(partitions: &[(&str, i32)]) -> OffsetDeleteRequest {
    let topic = |(topic, partition): &(&str, i32)| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(*partition);
        OffsetDeleteRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition])
    };
    let topics = partitions.iter().map(topic).collect();
    OffsetDeleteRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(topics)
}

/// The error of each partition, or of the group.
fn delete(fixture: &Fixture, partitions: &[(&str, i32)]) -> Result<Vec<i16>, ErrorCode> {
    fixture.shard(|session| {
        let exists = |topic: &str, partition| existing(topic, partition).is_some();
        let (tombstones, topics) = session.state.delete_offsets(&delete_request(partitions), exists)?;
        session.write(tombstones)?;
        Ok(topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect())
    })
}

/// A group of one member that is no consumer, and its offset of "topic".
fn group_of_another_protocol_type(fixture: &Fixture) -> StrBytes {
    fixture.commit("topic", 0, 5);
    let request = |id: &StrBytes| join_request(id).with_protocol_type(text("connect"));
    let id = fixture.join(9, &request(&StrBytes::new())).answer().member_id;
    assert_eq!(fixture.join(9, &request(&id)).answer().error_code, OK);
    id
}

#[test]
fn offsets_are_deleted_one_by_one_and_for_good() {
    let fixture = Fixture::new();
    for partition in 0..3 {
        fixture.commit("topic", partition, 5);
    }
    let asked = [("topic", 0), ("topic", 0), ("topic", 2), ("topic-2", 0)];
    assert_eq!(delete(&fixture, &asked), Ok(vec![OK; 4]), "nothing to delete is no error");
    for fixture in [&fixture, &fixture.restarted()] {
        assert_eq!(fixture.all_offsets(), [row("topic", 1, 5)]);
    }
}

#[test]
fn what_is_deleted_is_what_there_is() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    let batches = fixture.journal.batches(0).len();
    delete(&fixture, &[("topic", 1)]).unwrap();
    assert_eq!(fixture.journal.batches(0).len(), batches, "no tombstone for nothing");
    delete(&fixture, &[("topic", 0), ("topic", 0)]).unwrap();
    let written = fixture.journal.batches(0);
    assert_eq!(written.last().map(|batch| batch.header.records_count), Some(1), "one tombstone an offset");
}

#[test]
fn partitions_that_do_not_exist_are_refused_by_themselves() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(delete(&fixture, &[("gone", 0), ("topic", 3), ("topic", 0)]), Ok(vec![unknown, unknown, OK]));
    assert_eq!(fixture.all_offsets(), []);
}

#[test]
fn offsets_of_subscribed_topics_stay_while_others_of_the_group_go() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    fixture.commit("topic-2", 0, 6);
    let (first, second) = fixture.stable_pair();
    let subscribed = code(ErrorCode::GroupSubscribedToTopic);
    assert_eq!(delete(&fixture, &[("topic", 0), ("topic-2", 0)]), Ok(vec![subscribed, OK]));
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
    fixture.leave(&[leaving(&first), leaving(&second)]);
    assert_eq!(delete(&fixture, &[("topic", 0)]), Ok(vec![OK]));
    assert_eq!(fixture.all_offsets(), []);
}

#[test]
fn of_members_that_are_no_consumers_nothing_is_known_and_nothing_deleted() {
    let fixture = Fixture::new();
    let member = group_of_another_protocol_type(&fixture);
    assert_eq!(delete(&fixture, &[("topic", 0)]), Err(ErrorCode::NonEmptyGroup));
    fixture.leave(&[leaving(&member)]);
    assert_eq!(delete(&fixture, &[("topic", 0)]), Ok(vec![OK]));
}

#[test]
fn an_unknown_group_has_nothing_to_delete() {
    assert_eq!(delete(&Fixture::new(), &[("topic", 0)]), Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn an_offset_of_an_open_transaction_is_deleted_too() {
    let fixture = Fixture::new();
    in_transaction(&fixture, 6, None);
    let restarted = fixture.restarted();
    assert_eq!(delete(&restarted, &[("topic", 0)]), Ok(vec![OK]));
    restarted.shard(|session| assert!(!session.state.offsets().has_pending(&text(GROUP), &text("topic"), 0)));
}

#[test]
fn what_could_not_be_stored_is_an_error_of_the_group_and_still_there() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    fixture.journal.fail_with(Some(ErrorCode::KafkaStorageError));
    assert_eq!(delete(&fixture, &[("topic", 0)]), Err(ErrorCode::NotCoordinator));
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
}
