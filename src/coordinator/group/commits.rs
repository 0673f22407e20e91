//! Committing, fetching and deleting offsets (Kafka's `OffsetMetadataManager`, its request half).

use std::collections::BTreeSet;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::classic::State;
use super::member::owned;
use super::records::{OffsetKey, OffsetValue};
use super::shard::{GroupShard, Write, tombstones};
use crate::coordinator::state_machine::Now;
use crate::protocol::ErrorCode;
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId};

/// First version of OffsetCommit that knows GROUP_ID_NOT_FOUND (KIP-848).
const GROUP_ID_NOT_FOUND_SINCE: i16 = 9;
/// Bytes of records that one request may commit. Each carries the group's name: without a limit, a request that names
/// one partition over and over would grow by hundreds of times. Kafka's limit is the topic's `max.message.bytes`.
const COMMIT_BYTES_MAX: usize = 16 << 20;
/// "As long as the broker keeps offsets", in OffsetCommit v2–v4.
const DEFAULT_RETENTION_MS: i64 = -1;
/// "Nothing committed", in OffsetFetch.
const INVALID_OFFSET: i64 = -1;

impl GroupShard {
    /// What to write, and the answer if that succeeds. `topic_id` tells of each partition whether it exists.
    pub(super) fn commit(
        &mut self,
        version: i16,
        request: &OffsetCommitRequest,
        topic_id: impl Fn(&str, i32) -> Option<TopicId>,
        now: Now,
    ) -> (Write, OffsetCommitResponse) {
        let valid = self.validate_commit(version, request);
        if valid.is_ok() {
            self.renew_session(&request.group_id, &request.member_id, now);
        }
        let mut records = Vec::new();
        let mut bytes_left = COMMIT_BYTES_MAX;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut commit_one = |partition: &OffsetCommitRequestPartition| {
                let id = topic_id(&topic.name, partition.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
                valid?;
                let value = self.committed_value(partition, request.retention_time_ms, id, now)?;
                let group = request.group_id.0.clone();
                let key = OffsetKey { group, topic: topic.name.0.clone(), partition: partition.partition_index };
                let record = key.record(Some(&value));
                bytes_left = bytes_left.checked_sub(record.size()).ok_or(ErrorCode::InvalidCommitOffsetSize)?;
                records.push(record);
                Ok(())
            };
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let outcome: Result<(), ErrorCode> = commit_one(partition);
                let response = OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
                partitions.push(response.with_error_code(outcome.err().map_or(0, |error| error.code())));
            }
            let response = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
            topics.push(response.with_partitions(partitions));
        }
        (Write::replayed(records), OffsetCommitResponse::default().with_topics(topics))
    }

    fn validate_commit(&self, version: i16, request: &OffsetCommitRequest) -> Result<(), ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        match self.group(&request.group_id) {
            Some(group) => {
                group.validate_offset_commit(&request.member_id, request.group_instance_id.as_ref(), generation)
            }
            // A simple consumer: its offsets make the group.
            None if generation < 0 => Ok(()),
            None if version >= GROUP_ID_NOT_FOUND_SINCE => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    fn committed_value(
        &self,
        partition: &OffsetCommitRequestPartition,
        retention_ms: i64,
        topic_id: TopicId,
        now: Now,
    ) -> Result<OffsetValue, ErrorCode> {
        let metadata = partition.committed_metadata.as_ref().map(owned).unwrap_or_default();
        // Kafka's limit counts Java's characters.
        if metadata.encode_utf16().count() > self.config().offset_metadata_bytes_max {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let expire_timestamp =
            (retention_ms != DEFAULT_RETENTION_MS).then(|| Timestamp(now.wall.0.saturating_add(retention_ms)));
        Ok(OffsetValue {
            offset: Offset(partition.committed_offset),
            leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
            metadata,
            commit_timestamp: now.wall,
            expire_timestamp,
            topic_id,
        })
    }

    /// The committed offsets asked for, all of the group's where no topics are named. An unknown group has none.
    /// `topic_id` is the id that a topic of that name has now: offsets of an earlier topic of the name are not its.
    pub(super) fn fetch(
        &self,
        request: &OffsetFetchRequestGroup,
        require_stable: bool,
        topic_id: impl Fn(&str) -> Option<TopicId>,
    ) -> Vec<OffsetFetchResponseTopics> {
        let group = &request.group_id;
        let fetch_topic = |name: &TopicName, partitions: &mut dyn Iterator<Item = i32>| {
            let current = topic_id(name);
            let partitions =
                partitions.map(|partition| self.fetch_one(group, name, partition, current, require_stable));
            OffsetFetchResponseTopics::default().with_name(name.clone()).with_partitions(partitions.collect())
        };
        match &request.topics {
            Some(topics) => topics
                .iter()
                .map(|topic| fetch_topic(&topic.name, &mut topic.partition_indexes.iter().copied()))
                .collect(),
            None => self
                .offsets()
                .topics_of(group)
                .map(|(topic, mut partitions)| fetch_topic(&TopicName(topic.clone()), &mut partitions))
                .collect(),
        }
    }

    fn fetch_one(
        &self,
        group: &StrBytes,
        topic: &StrBytes,
        partition: i32,
        current: Option<TopicId>,
        require_stable: bool,
    ) -> OffsetFetchResponsePartitions {
        let response = OffsetFetchResponsePartitions::default()
            .with_partition_index(partition)
            .with_committed_offset(INVALID_OFFSET)
            .with_committed_leader_epoch(LeaderEpoch::NONE.0)
            .with_metadata(Some(StrBytes::new()));
        // A transaction that is still open may commit another offset (KIP-447).
        if require_stable && self.offsets().has_pending(group, topic, partition) {
            return response.with_error_code(ErrorCode::UnstableOffsetCommit.code());
        }
        let is_of = |id: TopicId| id == TopicId::ZERO || current.is_none_or(|current| current == id);
        match self.offsets().get(group, topic, partition).filter(|value| is_of(value.topic_id)) {
            None => response,
            Some(value) => response
                .with_committed_offset(value.offset.0)
                .with_committed_leader_epoch(value.leader_epoch.0)
                .with_metadata(Some(value.metadata.clone())),
        }
    }

    /// What to write, and the answer if that succeeds. An offset that is not there is as good as deleted.
    pub(super) fn delete_offsets(
        &self,
        request: &OffsetDeleteRequest,
        exists: impl Fn(&str, i32) -> bool,
    ) -> Result<(Write, Vec<OffsetDeleteResponseTopic>), ErrorCode> {
        let group = self.group(&request.group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        // Only of consumers is it known what they are subscribed to (`ClassicGroup.validateOffsetDelete`).
        if group.state != State::Empty && !group.uses_consumer_protocol() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut deleted = BTreeSet::new();
        let mut delete_one = |topic: &TopicName, partition: i32| {
            if !exists(topic, partition) {
                return Err(ErrorCode::UnknownTopicOrPartition);
            }
            if group.is_subscribed_to(topic) {
                return Err(ErrorCode::GroupSubscribedToTopic);
            }
            deleted.insert(OffsetKey { group: group.id.clone(), topic: topic.0.clone(), partition });
            Ok(())
        };
        let mut respond = |topic: &OffsetDeleteRequestTopic| {
            let partition = |partition: &OffsetDeleteRequestPartition| {
                let outcome = delete_one(&topic.name, partition.partition_index);
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(outcome.err().map_or(0, |error| error.code()))
            };
            let partitions = topic.partitions.iter().map(partition).collect();
            OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
        };
        let topics = request.topics.iter().map(&mut respond).collect();
        deleted.retain(|key| self.offsets().holds(key));
        Ok((Write::replayed(tombstones(deleted)), topics))
    }
}
