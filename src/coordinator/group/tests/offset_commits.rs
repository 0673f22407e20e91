use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{OffsetCommitRequest, TopicName};

use super::*;
use crate::protocol::builder::BatchBuilder;
use crate::protocol::records::EndTxnMarker;
use crate::types::{ProducerEpoch, ProducerId, TopicId};

const DAY_MS: i32 = 24 * 3600 * 1000;

fn topic_id(topic: &str) -> TopicId {
    TopicId(uuid::Uuid::from_u128(topic.bytes().fold(1, |id, byte| id * 31 + u128::from(byte))))
}

/// Topics whose names start with "topic" exist, with three partitions.
pub(super) fn existing(topic: &str, partition: i32) -> Option<TopicId> {
    (topic.starts_with("topic") && partition < 3).then(|| topic_id(topic))
}

fn commit_of(topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(7)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
    OffsetCommitRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(vec![topic])
}

fn of_member(request: OffsetCommitRequest, id: &StrBytes, generation: i32) -> OffsetCommitRequest {
    request.with_member_id(id.clone()).with_generation_id_or_member_epoch(generation)
}

impl Fixture {
    /// The error of the request's first partition.
    pub(super) fn commit_as(&self, version: i16, request: &OffsetCommitRequest) -> i16 {
        self.shard(|session| {
            let (write, response) = session.state.commit(version, request, existing, self.now);
            match session.write(write) {
                Ok(()) => response.topics[0].partitions[0].error_code,
                Err(error) => error.code(),
            }
        })
    }

    pub(super) fn commit(&self, topic: &str, partition: i32, offset: i64) -> i16 {
        self.commit_as(9, &commit_of(topic, partition, offset))
    }

    fn fetch(&self, request: &OffsetFetchRequestGroup, require_stable: bool) -> Vec<(String, i32, i64, i16)> {
        let current = |topic: &str| existing(topic, 0);
        let topics = self.shard(|session| session.state.fetch(request, require_stable, current));
        let rows = topics.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |partition| {
                (topic.name.to_string(), partition.partition_index, partition.committed_offset, partition.error_code)
            })
        });
        rows.collect()
    }

    pub(super) fn all_offsets(&self) -> Vec<(String, i32, i64)> {
        let all = OffsetFetchRequestGroup::default().with_group_id(GroupId(text(GROUP))).with_topics(None);
        self.fetch(&all, false).into_iter().map(|(topic, partition, offset, _)| (topic, partition, offset)).collect()
    }
}

pub(super) fn row(topic: &str, partition: i32, offset: i64) -> (String, i32, i64) {
    (topic.to_owned(), partition, offset)
}

#[test]
fn a_simple_consumer_commits_and_fetches_without_ever_joining() {
    let fixture = Fixture::new();
    assert_eq!(fixture.commit("topic", 0, 5), OK);
    assert_eq!(fixture.commit("topic", 0, 6), OK);
    assert_eq!(fixture.commit("topic-2", 2, 7), OK);
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 6), row("topic-2", 2, 7)]);
    assert_eq!(fixture.state(), Some(State::Empty));
}

#[test]
fn a_fetch_gives_what_was_committed_and_minus_one_where_nothing_was() {
    let fixture = Fixture::new();
    fixture.commit("topic", 1, 5);
    let topic = |name, partitions: &[i32]| {
        OffsetFetchRequestTopics::default().with_name(TopicName(text(name))).with_partition_indexes(partitions.to_vec())
    };
    let request = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(GROUP)))
        .with_topics(Some(vec![topic("topic", &[0, 1]), topic("unheard-of", &[9])]));
    let topics = fixture.shard(|session| session.state.fetch(&request, false, |_| None));
    let partition = &topics[0].partitions[1];
    assert_eq!((partition.committed_offset, partition.committed_leader_epoch), (5, 7));
    assert_eq!(partition.metadata, Some(text("note")));
    for missing in [&topics[0].partitions[0], &topics[1].partitions[0]] {
        assert_eq!((missing.error_code, missing.committed_offset, missing.committed_leader_epoch), (OK, -1, -1));
        assert_eq!(missing.metadata, Some(text("")));
    }
}

#[test]
fn a_request_commits_no_more_than_fits_and_says_what_did_not() {
    let fixture = Fixture::new();
    let mut request = commit_of("topic", 0, 5);
    let metadata = Some(text(&"x".repeat(4096)));
    let partition = request.topics[0].partitions[0].clone().with_committed_metadata(metadata);
    request.topics[0].partitions = vec![partition; 5000];
    let (write, response) = fixture.shard(|session| session.state.commit(9, &request, existing, fixture.now));
    let bytes: usize = write.records.iter().map(|record| record.size()).sum();
    assert!((15 << 20..=16 << 20).contains(&bytes), "{bytes}");
    let errors: Vec<i16> = response.topics[0].partitions.iter().map(|partition| partition.error_code).collect();
    let (stored, refused) = errors.split_at(write.records.len());
    assert!(stored.iter().all(|error| *error == OK));
    assert!(!refused.is_empty() && refused.iter().all(|error| *error == code(ErrorCode::InvalidCommitOffsetSize)));
    fixture.shard(|session| session.write(write)).unwrap();
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
}

#[test]
fn members_commit_in_their_generation_only() {
    let fixture = Fixture::new();
    let (first, _) = fixture.stable_pair();
    let commit = |id: &StrBytes, generation| fixture.commit_as(9, &of_member(commit_of("topic", 0, 5), id, generation));
    assert_eq!(commit(&first, 2), OK);
    assert_eq!(commit(&first, 1), code(ErrorCode::IllegalGeneration));
    assert_eq!(commit(&text("stranger"), 2), code(ErrorCode::UnknownMemberId));
    // Nobody commits from outside while there are members.
    assert_eq!(fixture.commit("topic", 0, 9), code(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
}

#[test]
fn a_commit_before_the_assignment_is_known_is_told_of_the_rebalance() {
    let fixture = Fixture::new();
    let (id, join) = fixture.enter();
    join.answer();
    let request = of_member(commit_of("topic", 0, 5), &id, 1);
    assert_eq!(fixture.commit_as(9, &request), code(ErrorCode::RebalanceInProgress));
}

#[test]
fn members_may_still_commit_while_the_others_join() {
    let fixture = Fixture::new();
    let (first, _) = fixture.stable_pair();
    let (_third, _join) = fixture.enter();
    assert_eq!(fixture.state(), Some(State::PreparingRebalance));
    assert_eq!(fixture.commit_as(9, &of_member(commit_of("topic", 0, 5), &first, 2)), OK);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    for offset in 0..5 {
        fixture.advance(9_000);
        assert_eq!(fixture.commit_as(9, &of_member(commit_of("topic", 0, offset), &first, 2)), OK);
        let _ = fixture.heartbeat(&second, 2);
    }
    assert_eq!(fixture.heartbeat(&first, 2), Ok(()));
}

#[test]
fn a_member_of_a_group_that_is_gone_is_told_so_as_its_version_knows_it() {
    let fixture = Fixture::new();
    let request = of_member(commit_of("topic", 0, 5), &text("m"), 3);
    assert_eq!(fixture.commit_as(9, &request), code(ErrorCode::GroupIdNotFound));
    assert_eq!(fixture.commit_as(8, &request), code(ErrorCode::IllegalGeneration));
}

#[test]
fn unknown_partitions_and_too_much_metadata_are_refused_and_the_rest_is_stored() {
    let fixture = Fixture::with(Groups { offset_metadata_bytes_max: 4, ..config() });
    let mut request = commit_of("topic", 0, 5);
    request.topics.extend(commit_of("unheard-of", 0, 5).topics);
    request.topics.extend(commit_of("topic", 3, 5).topics);
    let mut long = commit_of("topic-2", 0, 5).topics;
    long[0].partitions[0].committed_metadata = Some(text("notes"));
    request.topics.extend(long);
    let errors: Vec<i16> = fixture.shard(|session| {
        let (write, response) = session.state.commit(9, &request, existing, fixture.now);
        session.write(write).unwrap();
        response.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
    });
    let unknown = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(errors, [OK, unknown, unknown, code(ErrorCode::OffsetMetadataTooLarge)]);
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
}

#[test]
fn a_commit_that_cannot_be_stored_did_not_happen() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    fixture.journal.fail_with(Some(ErrorCode::KafkaStorageError));
    assert_eq!(fixture.commit("topic", 0, 6), code(ErrorCode::NotCoordinator));
    assert_eq!(fixture.commit("topic", 1, 6), code(ErrorCode::NotCoordinator));
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
}

#[test]
fn offsets_of_a_topic_made_anew_under_the_same_name_are_not_its() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    let all = OffsetFetchRequestGroup::default().with_group_id(GroupId(text(GROUP))).with_topics(None);
    let topics = fixture.shard(|session| session.state.fetch(&all, false, |_| Some(TopicId::random())));
    assert_eq!(topics[0].partitions[0].committed_offset, -1);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    fixture.commit("topic-2", 0, 6);
    fixture.shard(|session| {
        let tombstones = session.state.topic_deleted(&text("topic"));
        session.write(tombstones).unwrap();
    });
    assert_eq!(fixture.all_offsets(), [row("topic-2", 0, 6)]);
    assert_eq!(fixture.restarted().all_offsets(), [row("topic-2", 0, 6)]);
}

#[test]
fn expired_offsets_of_a_simple_group_go_and_with_the_last_of_them_the_group() {
    let mut fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    fixture.advance(4 * DAY_MS);
    fixture.commit("topic", 1, 6);
    fixture.advance(4 * DAY_MS);
    assert_eq!(fixture.all_offsets(), [row("topic", 1, 6)]);
    assert_eq!(fixture.state(), Some(State::Empty));
    fixture.advance(4 * DAY_MS);
    assert_eq!((fixture.all_offsets(), fixture.state()), (vec![], None));
    assert_eq!(fixture.restarted().state(), None);
}

#[test]
fn offsets_of_a_group_that_had_members_expire_after_it_became_empty() {
    let mut fixture = Fixture::new();
    let (first, second) = fixture.stable_pair();
    fixture.commit_as(9, &of_member(commit_of("topic", 0, 5), &first, 2));
    for _ in 0..8 * 24 * 60 * 60 / 8 {
        fixture.advance(8_000);
        let _ = fixture.heartbeat(&first, 2);
        let _ = fixture.heartbeat(&second, 2);
    }
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
    fixture.leave(&[leaving(&first), leaving(&second)]);
    fixture.advance(6 * DAY_MS);
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
    fixture.advance(2 * DAY_MS);
    assert_eq!((fixture.all_offsets(), fixture.state()), (vec![], None));
}

#[test]
fn a_stable_groups_offsets_of_topics_it_no_longer_subscribes_to_expire() {
    let config = Groups { offsets_retention: Duration::from_secs(60), ..config() };
    let mut fixture = Fixture::with(Groups { offsets_retention_check_interval: Duration::from_secs(30), ..config });
    let (first, second) = fixture.stable_pair();
    fixture.commit_as(9, &of_member(commit_of("topic", 0, 5), &first, 2));
    fixture.commit_as(9, &of_member(commit_of("topic-2", 0, 6), &first, 2));
    for _ in 0..12 {
        fixture.advance(8_000);
        let _ = fixture.heartbeat(&first, 2);
        let _ = fixture.heartbeat(&second, 2);
    }
    assert_eq!(fixture.all_offsets(), [row("topic", 0, 5)]);
}

#[test]
fn an_expiry_that_a_client_asked_for_holds_instead_of_the_retention() {
    let mut fixture = Fixture::new();
    fixture.commit_as(4, &commit_of("topic", 0, 5).with_retention_time_ms(3_600_000));
    fixture.commit_as(4, &commit_of("topic", 1, 6));
    fixture.advance(DAY_MS);
    assert_eq!(fixture.all_offsets(), [row("topic", 1, 6)]);
}

/// Appends a commit of a transaction, and then its end.
pub(super) fn in_transaction(fixture: &Fixture, offset: i64, end: Option<bool>) {
    let producer = ProducerId(9);
    let (write, _) =
        fixture.shard(|session| session.state.commit(9, &commit_of("topic", 0, offset), existing, fixture.now));
    let mut batch = BatchBuilder::new(fixture.now.wall).producer(producer, ProducerEpoch(0), 0).transactional();
    for record in write.records {
        batch = batch.record(Some(&record.key), record.value.as_deref());
    }
    let mut batches = vec![batch.build().unwrap()];
    if let Some(committed) = end {
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let marker = BatchBuilder::end_txn_marker(fixture.now.wall, producer, ProducerEpoch(0), marker);
        batches.push(marker.build().unwrap());
    }
    for batch in batches {
        use crate::coordinator::Journal;
        fixture.journal.append(0, batch).unwrap();
    }
}

#[test]
fn offsets_of_a_committed_transaction_are_loaded_and_of_an_aborted_one_are_not() {
    let fixture = Fixture::new();
    in_transaction(&fixture, 5, Some(true));
    in_transaction(&fixture, 6, Some(false));
    assert_eq!(fixture.restarted().all_offsets(), [row("topic", 0, 5)]);
}

#[test]
fn offsets_of_an_open_transaction_are_waited_for_by_those_who_ask_for_stable_ones() {
    let fixture = Fixture::new();
    fixture.commit("topic", 0, 5);
    in_transaction(&fixture, 6, None);
    let restarted = fixture.restarted();
    assert_eq!(restarted.all_offsets(), [row("topic", 0, 5)]);
    let all = OffsetFetchRequestGroup::default().with_group_id(GroupId(text(GROUP))).with_topics(None);
    let unstable = code(ErrorCode::UnstableOffsetCommit);
    assert_eq!(restarted.fetch(&all, true), [("topic".to_owned(), 0, -1, unstable)]);
    assert_eq!(restarted.fetch(&all, false), [("topic".to_owned(), 0, 5, OK)]);
}

#[test]
fn a_commit_after_that_of_a_transaction_stands_although_the_transaction_ends_later() {
    let fixture = Fixture::new();
    in_transaction(&fixture, 6, None);
    fixture.commit("topic", 0, 7);
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    let marker = BatchBuilder::end_txn_marker(fixture.now.wall, ProducerId(9), ProducerEpoch(0), marker);
    fixture.journal.push(0, marker.build().unwrap());
    assert_eq!(fixture.restarted().all_offsets(), [row("topic", 0, 7)]);
}
