//! The coordinator as its callers see it, under tokio's paused clock.

use std::sync::Arc;

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, TopicName,
};

use super::*;
use crate::coordinator::group::GroupCoordinator;
use crate::metadata::CONSUMER_OFFSETS;
use crate::types::TopicId;

type Coordinator = Arc<GroupCoordinator<MemoryJournal>>;

fn coordinator(journal: &MemoryJournal) -> Coordinator {
    let coordinator = GroupCoordinator { runtime: Runtime::new(config(), journal.clone()) };
    coordinator.load();
    Arc::new(coordinator)
}

async fn join(coordinator: &Coordinator, request: JoinGroupRequest) -> JoinGroupResponse {
    coordinator.join(&caller(9), request).await
}

async fn new_id(coordinator: &Coordinator) -> StrBytes {
    join(coordinator, join_request(&StrBytes::new())).await.member_id
}

async fn commit(coordinator: &Coordinator, offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic =
        OffsetCommitRequestTopic::default().with_name(TopicName(text("topic"))).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(vec![topic]);
    let response = coordinator.commit(9, &request, |_, _| Some(TopicId::ZERO)).await;
    response.topics[0].partitions[0].error_code
}

fn fetch(coordinator: &Coordinator) -> Result<Vec<i64>, ErrorCode> {
    let request = OffsetFetchRequestGroup::default().with_group_id(GroupId(text(GROUP))).with_topics(None);
    let topics = coordinator.fetch(&request, true, |_| None)?;
    Ok(topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| partition.committed_offset)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_parked_join_is_answered_when_the_timers_end_the_rebalance() {
    let coordinator = coordinator(&MemoryJournal::new(50));
    let timers = tokio::spawn(coordinator.clone().run());
    let first = new_id(&coordinator).await;
    assert_eq!(join(&coordinator, join_request(&first)).await.generation_id, 1);
    let second = new_id(&coordinator).await;
    // The first never joins again; its session ends it long before the rebalance timeout.
    let started = Instant::now();
    let response = join(&coordinator, join_request(&second)).await;
    assert_eq!((response.generation_id, response.members.len()), (2, 1));
    assert_eq!(started.elapsed().as_secs(), SESSION_MS as u64 / 1000);
    timers.abort();
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_answers_everybody_who_waits_and_whoever_comes_later() {
    let coordinator = coordinator(&MemoryJournal::new(50));
    let first = new_id(&coordinator).await;
    join(&coordinator, join_request(&first)).await;
    let second = new_id(&coordinator).await;
    let joining = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { join(&coordinator, join_request(&second)).await.error_code }
    });
    tokio::task::yield_now().await;
    coordinator.shut_down();
    let gone = code(ErrorCode::NotCoordinator);
    assert_eq!(joining.await.unwrap(), gone);
    assert_eq!(join(&coordinator, join_request(&first)).await.error_code, gone);
    assert_eq!(coordinator.sync(sync_request(&first, 1)).await.error_code, gone);
    assert_eq!(commit(&coordinator, 5).await, gone);
    assert_eq!(fetch(&coordinator), Err(ErrorCode::NotCoordinator));
    assert_eq!(coordinator.describe(&GroupId(text(GROUP)), 6).error_code, gone);
    assert_eq!(coordinator.delete(&GroupId(text(GROUP))), Err(ErrorCode::NotCoordinator));
    assert_eq!(coordinator.list(&ListGroupsRequest::default()).groups.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_sync_is_answered_at_a_shut_down() {
    let coordinator = coordinator(&MemoryJournal::new(1));
    let first = new_id(&coordinator).await;
    join(&coordinator, join_request(&first)).await;
    let second = new_id(&coordinator).await;
    let (_, leader) = tokio::join!(join(&coordinator, join_request(&second)), join(&coordinator, join_request(&first)));
    assert_eq!(leader.generation_id, 2);
    let waiting = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { coordinator.sync(sync_request(&second, 2)).await.error_code }
    });
    tokio::task::yield_now().await;
    coordinator.shut_down();
    assert_eq!(waiting.await.unwrap(), code(ErrorCode::NotCoordinator));
}

#[tokio::test]
async fn what_a_join_must_not_say_is_refused_before_it_makes_a_group() {
    let coordinator = coordinator(&MemoryJournal::new(1));
    let request = || join_request(&StrBytes::new());
    let long = "x".repeat(40_000);
    for (request, error) in [
        (request().with_group_id(GroupId(StrBytes::new())), ErrorCode::InvalidGroupId),
        (request().with_group_id(GroupId(text(&long))), ErrorCode::InvalidGroupId),
        (request().with_session_timeout_ms(5_999), ErrorCode::InvalidSessionTimeout),
        (request().with_session_timeout_ms(1_800_001), ErrorCode::InvalidSessionTimeout),
        (request().with_session_timeout_ms(-1), ErrorCode::InvalidSessionTimeout),
        (request().with_group_instance_id(Some(text(&long))), ErrorCode::InvalidRequest),
        (request().with_protocol_type(text(&long)), ErrorCode::InvalidRequest),
        (request().with_protocols(protocols(&[&long], &[])), ErrorCode::InvalidRequest),
    ] {
        assert_eq!(join(&coordinator, request).await.error_code, code(error));
    }
    assert_eq!(coordinator.list(&ListGroupsRequest::default()).groups.len(), 0);
    for timeout in [6_000, 1_800_000] {
        let request = request().with_session_timeout_ms(timeout);
        assert_eq!(join(&coordinator, request).await.error_code, code(ErrorCode::MemberIdRequired));
    }
}

#[tokio::test]
async fn a_join_of_the_oldest_version_rebalances_within_its_session_timeout() {
    let coordinator = coordinator(&MemoryJournal::new(1));
    let request = join_request(&StrBytes::new()).with_rebalance_timeout_ms(-1);
    assert_eq!(coordinator.join(&caller(0), request).await.generation_id, 1);
    let timeout = coordinator
        .runtime
        .on(GROUP, Now::read(), |session| session.state.group(&text(GROUP)).unwrap().rebalance_timeout_ms());
    assert_eq!(timeout, Ok(SESSION_MS));
}

#[tokio::test]
async fn an_empty_group_id_is_good_for_offsets_alone() {
    let coordinator = coordinator(&MemoryJournal::new(1));
    let empty = || GroupId(StrBytes::new());
    let invalid = ErrorCode::InvalidGroupId;
    assert_eq!(coordinator.heartbeat(&HeartbeatRequest::default().with_group_id(empty())), Err(invalid));
    assert_eq!(coordinator.leave(&LeaveGroupRequest::default().with_group_id(empty())).await, Err(invalid));
    let sync = coordinator.sync(SyncGroupRequest::default().with_group_id(empty())).await;
    assert_eq!(sync.error_code, code(invalid));
    let request = OffsetDeleteRequest::default().with_group_id(empty());
    assert_eq!(coordinator.delete_offsets(&request, |_, _| true).await, Err(invalid));
    let request = OffsetCommitRequest::default().with_group_id(empty());
    assert_eq!(coordinator.commit(9, &request, |_, _| None).await.topics.len(), 0);
    let request = OffsetFetchRequestGroup::default().with_group_id(empty());
    assert_eq!(coordinator.fetch(&request, false, |_| None), Ok(vec![]));
}

#[tokio::test]
async fn a_commit_under_a_name_that_no_record_holds_is_refused_instead_of_stored_under_another() {
    let coordinator = coordinator(&MemoryJournal::new(1));
    let topic = OffsetCommitRequestTopic::default().with_partitions(vec![OffsetCommitRequestPartition::default()]);
    let group = GroupId(text(&"g".repeat(i16::MAX as usize + 1)));
    let request = OffsetCommitRequest::default()
        .with_group_id(group)
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response = coordinator.commit(9, &request, |_, _| Some(TopicId::ZERO)).await;
    assert_eq!(response.topics[0].partitions[0].error_code, code(ErrorCode::InvalidGroupId));
    assert_eq!(coordinator.list(&ListGroupsRequest::default()).groups.len(), 0);
}

#[tokio::test]
async fn a_group_that_cannot_be_stored_is_refused_and_the_member_may_try_again() {
    let journal = MemoryJournal::new(1);
    let coordinator = coordinator(&journal);
    journal.fail_with(Some(ErrorCode::UnknownTopicOrPartition));
    let refused = join(&coordinator, join_request(&StrBytes::new())).await;
    assert_eq!(refused.error_code, code(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(commit(&coordinator, 5).await, code(ErrorCode::CoordinatorNotAvailable));
    journal.fail_with(None);
    assert_eq!(commit(&coordinator, 6).await, OK);
    assert_eq!(fetch(&coordinator), Ok(vec![6]));
}

#[tokio::test]
async fn offsets_are_found_again_after_a_restart_and_gone_with_their_topic() {
    let journal = MemoryJournal::new(50);
    assert_eq!(commit(&coordinator(&journal), 42).await, OK);
    let restarted = coordinator(&journal);
    assert_eq!(fetch(&restarted), Ok(vec![42]));
    restarted.topic_deleted("another");
    assert_eq!(fetch(&restarted), Ok(vec![42]));
    restarted.topic_deleted("topic");
    assert_eq!(fetch(&restarted), Ok(vec![]));
    assert_eq!(fetch(&coordinator(&journal)), Ok(vec![]));
}

#[tokio::test]
async fn without_the_topic_of_offsets_nothing_is_coordinated() {
    let journal = MemoryJournal::new(1);
    let coordinator = coordinator(&journal);
    commit(&coordinator, 5).await;
    let empty = MemoryJournal::without_topic();
    let without = GroupCoordinator { runtime: Runtime::new(config(), empty) };
    without.load();
    assert_eq!(fetch(&Arc::new(without)), Err(ErrorCode::NotCoordinator));
    // Deleted, it takes everything along.
    coordinator.topic_deleted(CONSUMER_OFFSETS);
    assert_eq!(fetch(&coordinator), Ok(vec![]));
}

#[tokio::test]
async fn a_damaged_shard_is_not_available_and_not_listed() {
    let journal = MemoryJournal::new(1);
    journal.damage(0);
    let coordinator = coordinator(&journal);
    let error = ErrorCode::CoordinatorNotAvailable;
    assert_eq!(join(&coordinator, join_request(&StrBytes::new())).await.error_code, code(error));
    assert_eq!(commit(&coordinator, 5).await, code(error));
    assert_eq!(fetch(&coordinator), Err(error));
    assert_eq!(coordinator.list(&ListGroupsRequest::default()).groups.len(), 0);
}

/// The two outcomes that a commit may have, and what clients are told.
fn outcomes() -> [(Result<(), ErrorCode>, i16); 2] {
    [(Ok(()), OK), (Err(ErrorCode::KafkaStorageError), code(ErrorCode::NotCoordinator))]
}

#[tokio::test]
async fn a_commit_is_answered_when_it_is_committed_and_told_when_it_cannot_be() {
    let journal = MemoryJournal::new(1);
    let coordinator = coordinator(&journal);
    for (outcome, told) in outcomes() {
        let held = journal.hold_commits();
        let mut committing = std::pin::pin!(commit(&coordinator, 5));
        assert!(futures_util::poll!(&mut committing).is_pending());
        held.send_replace(Some(outcome));
        assert_eq!(committing.await, told);
    }
}

#[tokio::test]
async fn an_assignment_goes_out_when_it_is_committed() {
    let journal = MemoryJournal::new(1);
    let coordinator = coordinator(&journal);
    let member = new_id(&coordinator).await;
    join(&coordinator, join_request(&member)).await;
    for (outcome, told) in outcomes() {
        let held = journal.hold_commits();
        let mut syncing = std::pin::pin!(coordinator.sync(sync_request(&member, 1)));
        assert!(futures_util::poll!(&mut syncing).is_pending());
        held.send_replace(Some(outcome));
        assert_eq!(syncing.await.error_code, told);
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_log_dir_of_a_shard_fails_its_groups_are_told_to_look_elsewhere_and_others_go_on() {
    let journal = MemoryJournal::new(2);
    let coordinator = coordinator(&journal);
    let first = new_id(&coordinator).await;
    join(&coordinator, join_request(&first)).await;
    let second = new_id(&coordinator).await;
    let joining = tokio::spawn({
        let coordinator = coordinator.clone();
        async move { join(&coordinator, join_request(&second)).await.error_code }
    });
    tokio::task::yield_now().await;
    let shard = crate::coordinator::runtime::partition_for(GROUP, 2) as i32;
    journal.take_offline(1 - shard);
    coordinator.log_dir_failed();
    assert!(!coordinator.is_offline(GROUP));
    assert_eq!(commit(&coordinator, 5).await, code(ErrorCode::UnknownMemberId), "it is served");
    journal.take_offline(shard);
    coordinator.log_dir_failed();
    assert!(coordinator.is_offline(GROUP));
    assert_eq!(joining.await.unwrap(), code(ErrorCode::NotCoordinator));
    assert_eq!(fetch(&coordinator), Err(ErrorCode::NotCoordinator));
}
