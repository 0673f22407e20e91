//! The group coordinator: classic consumer groups and committed offsets, stored in `__consumer_offsets` as Kafka stores
//! them (`GroupCoordinatorService`).

mod admin;
mod classic;
mod commits;
mod join;
mod member;
mod offsets;
mod rebalance;
pub mod records;
mod retention;
mod session;
mod shard;
mod sync;

use std::sync::Arc;

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::OffsetDeleteResponseTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseTopics;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::journal::{Journal, PartitionJournal};
use super::runtime::Runtime;
use super::state_machine::Now;
use crate::config::Groups;
use crate::metadata::{CONSUMER_OFFSETS, Change, ChangeError, Metadata};
use crate::partition::Registry;
use crate::protocol::ErrorCode;
use crate::types::TopicId;
use join::join_error;
pub use member::Caller;
use shard::GroupShard;
use sync::sync_error;

/// A generated member id is the client's or the instance's name, a dash and a UUID.
const MEMBER_ID_SUFFIX_BYTES: usize = 37;
/// Longest text that a group's record holds.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

#[derive(Debug)]
pub struct GroupCoordinator<J: Journal = PartitionJournal> {
    runtime: Runtime<GroupShard, J>,
}

impl GroupCoordinator {
    /// Starts empty; `load` replays what is stored.
    pub fn new(config: Groups, metadata: Arc<Metadata>, partitions: Arc<Registry>) -> Arc<GroupCoordinator> {
        let journal = PartitionJournal::new(CONSUMER_OFFSETS, metadata, partitions);
        Arc::new(GroupCoordinator { runtime: Runtime::new(config, journal) })
    }

    /// Makes `__consumer_offsets` if it does not exist yet.
    pub async fn create_topic(&self) -> Result<(), ChangeError> {
        if self.runtime.journal().shards().is_some() {
            return Ok(());
        }
        let change = Change::create_consumer_offsets(self.runtime.config());
        match self.runtime.journal().metadata().commit(vec![change]).await {
            // Another client was first.
            Ok(_) | Err(ChangeError::TopicExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The life of the coordinator.
impl<J: Journal> GroupCoordinator<J> {
    /// Replays `__consumer_offsets`. Called once before the broker serves; costs nothing where the topic does not
    /// exist. Blocking file I/O. A partition that is damaged is reported and its groups are refused with
    /// COORDINATOR_NOT_AVAILABLE; the others are served.
    pub fn load(&self) {
        self.runtime.load(Now::read());
    }

    /// Runs the coordinator's timers (sessions, rebalances, offset expiry) until dropped.
    pub async fn run(self: Arc<Self>) {
        self.runtime.run().await;
    }

    /// The broker stops: waiting joins and syncs are answered NOT_COORDINATOR so that connections can finish.
    pub fn shut_down(&self) {
        self.runtime.shut_down();
    }

    /// A log dir has failed: groups whose log is in it are not served any more, and their clients look for the coordinator
    /// again.
    pub fn log_dir_failed(&self) {
        self.runtime.log_dir_failed();
    }

    /// Whether there is no coordinator for a group until a restart.
    pub fn is_offline(&self, group: &str) -> bool {
        self.runtime.is_offline(group)
    }

    /// A topic was deleted: no group has offsets of it any more. Call after the deletion was committed.
    pub fn topic_deleted(&self, topic: &str) {
        if topic == CONSUMER_OFFSETS {
            return self.runtime.topic_deleted();
        }
        let topic = StrBytes::from_string(topic.to_owned());
        self.runtime.on_all(Now::read(), |session| {
            let tombstones = session.state.topic_deleted(&topic);
            if let Err(error) = session.write(tombstones) {
                tracing::error!(%topic, %error, "offsets of a deleted topic could not be removed");
            }
        });
    }
}

/// The group protocol.
impl<J: Journal> GroupCoordinator<J> {
    /// Waits until the group's members have joined, or longer clients' patience.
    pub async fn join(&self, caller: &Caller, mut request: JoinGroupRequest) -> JoinGroupResponse {
        if let Err(error) = self.validate_join(caller, &request) {
            return join_error(&request.member_id, error);
        }
        // Before v1 there was one timeout for both.
        if caller.version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let (reply, answer) = oneshot::channel();
        let now = Now::read();
        let joined = self.runtime.on(&request.group_id, now, |session| {
            let create = session.state.create_for(&request, now);
            session.write(create)?;
            let write = session.state.join(caller, &request, reply, now);
            // Whoever waits for what is written here has been answered with the outcome.
            let _ = session.write(write);
            Ok(())
        });
        if let Err(error) = joined.flatten() {
            return join_error(&request.member_id, error);
        }
        // Dropped without an answer where a later call of the same member took its place.
        let response = answer.await.unwrap_or_else(|_| join_error(&request.member_id, ErrorCode::NotCoordinator));
        match self.runtime.committed(&request.group_id).await {
            Ok(()) => response,
            Err(error) => join_error(&request.member_id, error),
        }
    }

    fn validate_join(&self, caller: &Caller, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        validate_group_id(&request.group_id)?;
        let config = self.runtime.config();
        let range = config.session_timeout_min.as_millis()..=config.session_timeout_max.as_millis();
        if !u128::try_from(request.session_timeout_ms).is_ok_and(|timeout_ms| range.contains(&timeout_ms)) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        let names = request.protocols.iter().map(|protocol| &protocol.name).chain([&request.protocol_type]);
        let bases = request.group_instance_id.iter().chain([&caller.client_id]);
        let storable = names.map(|name| name.len()).chain(bases.map(|base| base.len() + MEMBER_ID_SUFFIX_BYTES));
        if storable.into_iter().all(|bytes| bytes <= TEXT_BYTES_MAX) { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
    }

    /// Waits until the leader has assigned.
    pub async fn sync(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        if let Err(error) = validate_group_id(&request.group_id) {
            return sync_error(error);
        }
        let (reply, answer) = oneshot::channel();
        let now = Now::read();
        let synced = self.runtime.on(&request.group_id, now, |session| {
            let write = session.state.sync(&request, reply, now);
            // Whoever waits for what is written here has been answered with the outcome.
            let _ = session.write(write);
        });
        if let Err(error) = synced {
            return sync_error(error);
        }
        let response = answer.await.unwrap_or_else(|_| sync_error(ErrorCode::NotCoordinator));
        self.runtime.committed(&request.group_id).await.map_or_else(sync_error, |()| response)
    }

    pub fn heartbeat(&self, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        validate_group_id(&request.group_id)?;
        let now = Now::read();
        self.runtime.on(&request.group_id, now, |session| session.state.heartbeat(request, now)).flatten()
    }

    /// One answer for each of the request's members.
    pub async fn leave(&self, request: &LeaveGroupRequest) -> Result<Vec<MemberResponse>, ErrorCode> {
        validate_group_id(&request.group_id)?;
        let now = Now::read();
        let outcomes = self.runtime.on(&request.group_id, now, |session| {
            let (write, outcomes) = session.state.leave(&request.group_id, &request.members, now);
            // The members are gone in any case.
            let _ = session.write(write);
            outcomes
        })?;
        self.runtime.committed(&request.group_id).await?;
        let responses = request.members.iter().zip(outcomes).map(|(identity, outcome)| {
            MemberResponse::default()
                .with_member_id(identity.member_id.clone())
                .with_group_instance_id(identity.group_instance_id.clone())
                .with_error_code(outcome.err().map_or(0, |error| error.code()))
        });
        Ok(responses.collect())
    }
}

/// Offsets.
impl<J: Journal> GroupCoordinator<J> {
    /// `topic_id` gives the topic's id where the partition exists.
    pub async fn commit(
        &self,
        version: i16,
        request: &OffsetCommitRequest,
        topic_id: impl Fn(&str, i32) -> Option<TopicId>,
    ) -> OffsetCommitResponse {
        if request.group_id.len() > TEXT_BYTES_MAX {
            return refused(request, ErrorCode::InvalidGroupId);
        }
        let now = Now::read();
        let committed = self.runtime.on(&request.group_id, now, |session| {
            let (write, response) = session.state.commit(version, request, &topic_id, now);
            (session.write(write), response)
        });
        match committed {
            Ok((Ok(()), response)) => match self.runtime.committed(&request.group_id).await {
                Ok(()) => response,
                Err(error) => failed(response, error),
            },
            Ok((Err(error), response)) => failed(response, error),
            Err(error) => refused(request, error),
        }
    }

    /// `topic_id` gives the id of the topic that has the name now.
    pub fn fetch(
        &self,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
        topic_id: impl Fn(&str) -> Option<TopicId>,
    ) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
        self.runtime
            .on(&request.group_id, Now::read(), |session| session.state.fetch(request, require_stable, topic_id))
    }

    /// `exists` tells of each partition whether there is one.
    pub async fn delete_offsets(
        &self,
        request: &OffsetDeleteRequest,
        exists: impl Fn(&str, i32) -> bool,
    ) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
        validate_group_id(&request.group_id)?;
        let deleted = self.runtime.on(&request.group_id, Now::read(), |session| {
            let (tombstones, topics) = session.state.delete_offsets(request, exists)?;
            session.write(tombstones)?;
            Ok(topics)
        });
        let topics = deleted.flatten()?;
        self.runtime.committed(&request.group_id).await?;
        Ok(topics)
    }
}

/// Administration.
impl<J: Journal> GroupCoordinator<J> {
    pub fn describe(&self, group: &GroupId, version: i16) -> DescribedGroup {
        let described = self.runtime.on(group, Now::read(), |session| session.state.describe(group, version));
        described.unwrap_or_else(|error| {
            DescribedGroup::default().with_group_id(group.clone()).with_error_code(error.code())
        })
    }

    /// Groups of shards that cannot be served are left out, as Kafka leaves out those of other brokers.
    pub fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let groups = self.runtime.on_all(Now::read(), |session| session.state.list(request));
        ListGroupsResponse::default().with_groups(groups.into_iter().flatten().collect())
    }

    /// To be answered once the deletion is [`GroupCoordinator::committed`].
    pub fn delete(&self, group: &GroupId) -> Result<(), ErrorCode> {
        let deleted = self.runtime.on(group, Now::read(), |session| {
            let tombstones = session.state.delete(group)?;
            session.write(tombstones)
        });
        deleted.flatten()
    }

    /// Waits until everything that was stored of the group so far is committed.
    pub async fn committed(&self, group: &GroupId) -> Result<(), ErrorCode> {
        self.runtime.committed(group).await
    }
}

/// The empty id is kept for offsets alone, which old clients commit under it.
fn validate_group_id(group: &GroupId) -> Result<(), ErrorCode> {
    if group.is_empty() || group.len() > TEXT_BYTES_MAX { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

/// A commit that reached no shard.
fn refused(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index));
        OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    failed(OffsetCommitResponse::default().with_topics(topics.collect()), error)
}

/// What would have succeeded has failed.
fn failed(mut response: OffsetCommitResponse, error: ErrorCode) -> OffsetCommitResponse {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code == 0) {
        partition.error_code = error.code();
    }
    response
}

#[cfg(test)]
mod tests;
