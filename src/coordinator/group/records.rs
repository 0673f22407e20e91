//! The records of `__consumer_offsets`, byte for byte as Kafka writes them (`OffsetCommitKey`, `OffsetCommitValue`,
//! `GroupMetadataKey`, `GroupMetadataValue`).
//!
//! ```text
//! key     version i16 | 0, 1: group, topic string, partition i32 | 2: group string
//! offset  version i16 | offset i64 | [3+] leader_epoch i32 | metadata string | commit_timestamp i64 |
//!         [1] expire_timestamp i64 | [4+] tagged fields: 0 = topic_id uuid
//! group   version i16 | protocol_type string | generation i32 | protocol, leader nullable string |
//!         [2+] current_state_timestamp i64 | members: [ member_id string | [3+] group_instance_id nullable string |
//!         client_id, client_host string | [1+] rebalance_timeout i32 | session_timeout i32 |
//!         subscription, assignment bytes ]
//! ```
//!
//! From version 4 on, strings, bytes and arrays are compact and structures end with tagged fields (KIP-482). Written are
//! offsets in version 4, or 1 where an expiry was asked for, and groups in version 3, as Kafka 4.3 does.

mod consumer_protocol;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::coordinator::state_machine::Record;
use crate::protocol::wire::{Input, Output, WireError};
use crate::types::{LeaderEpoch, Offset, Timestamp, TopicId};
pub use consumer_protocol::{Assignment, Subscription, TopicPartitions};

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("{what}: {source}")]
    Wire { what: &'static str, source: WireError },
    #[error("{what}: version {version} is not known")]
    UnknownVersion { what: &'static str, version: i16 },
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Offset(OffsetKey),
    Group(StrBytes),
    /// A record of another kind of group (KIP-848, KIP-932, KIP-1071) or of a later version.
    Other(i16),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    pub group: StrBytes,
    pub topic: StrBytes,
    pub partition: i32,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetValue {
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: StrBytes,
    pub commit_timestamp: Timestamp,
    /// Set by clients of OffsetCommit v2–v4 only.
    pub expire_timestamp: Option<Timestamp>,
    pub topic_id: TopicId,
}

/// A group at the end of a rebalance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// Empty where the group has never had a member.
    pub protocol_type: StrBytes,
    pub generation: i32,
    pub protocol: Option<StrBytes>,
    pub leader: Option<StrBytes>,
    pub current_state_timestamp: Option<Timestamp>,
    pub members: Vec<MemberValue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    pub member_id: StrBytes,
    pub group_instance_id: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

const KEY_OFFSET_LEGACY: i16 = 0;
const KEY_OFFSET: i16 = 1;
const KEY_GROUP: i16 = 2;
const OFFSET_WITH_EXPIRY: i16 = 1;
const OFFSET_VERSION: i16 = 4;
const GROUP_VERSION: i16 = 3;
/// First version of both values with compact fields.
const FIRST_FLEXIBLE: i16 = 4;
/// The tag of `OffsetCommitValue.topicId`.
const TAG_TOPIC_ID: u32 = 0;

impl Key {
    pub fn decode(bytes: &[u8]) -> Result<Key, RecordError> {
        read("key", bytes, |input| {
            Ok(match input.i16()? {
                KEY_OFFSET_LEGACY | KEY_OFFSET => Key::Offset(OffsetKey {
                    group: input.string(false)?,
                    topic: input.string(false)?,
                    partition: input.i32()?,
                }),
                KEY_GROUP => Key::Group(input.string(false)?),
                other => Key::Other(other),
            })
        })
    }
}

impl OffsetKey {
    pub(super) fn record(&self, value: Option<&OffsetValue>) -> Record {
        let mut key = BytesMut::new();
        key.put_i16(KEY_OFFSET);
        key.put_string(&self.group);
        key.put_string(&self.topic);
        key.put_i32(self.partition);
        Record { key: key.freeze(), value: value.map(OffsetValue::encode) }
    }
}

/// The record of a group; without a value, its tombstone.
pub(super) fn group_record(group: &StrBytes, value: Option<&GroupValue>) -> Record {
    let mut key = BytesMut::new();
    key.put_i16(KEY_GROUP);
    key.put_string(group);
    Record { key: key.freeze(), value: value.map(GroupValue::encode) }
}

impl OffsetValue {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self.expire_timestamp {
            Some(expire) => self.put_v1(&mut out, expire),
            None => self.put_v4(&mut out),
        }
        out.freeze()
    }

    fn put_v1(&self, out: &mut BytesMut, expire: Timestamp) {
        out.put_i16(OFFSET_WITH_EXPIRY);
        out.put_i64(self.offset.0);
        out.put_string(&self.metadata);
        out.put_i64(self.commit_timestamp.0);
        out.put_i64(expire.0);
    }

    fn put_v4(&self, out: &mut BytesMut) {
        out.put_i16(OFFSET_VERSION);
        out.put_i64(self.offset.0);
        out.put_i32(self.leader_epoch.0);
        out.put_compact_string(&self.metadata);
        out.put_i64(self.commit_timestamp.0);
        if self.topic_id == TopicId::ZERO {
            out.put_tags(&[]);
        } else {
            out.put_tags(&[(TAG_TOPIC_ID, self.topic_id.0.as_bytes())]);
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<OffsetValue, RecordError> {
        let version = version_of("offset", bytes, OFFSET_VERSION)?;
        let flexible = version >= FIRST_FLEXIBLE;
        read("offset", bytes, |input| {
            input.i16()?;
            let offset = Offset(input.i64()?);
            let leader_epoch = if version >= 3 { LeaderEpoch(input.i32()?) } else { LeaderEpoch::NONE };
            let metadata = input.string(flexible)?;
            let commit_timestamp = Timestamp(input.i64()?);
            let expire_timestamp =
                if version == OFFSET_WITH_EXPIRY { Timestamp(input.i64()?) } else { Timestamp::NONE };
            let mut topic_id = TopicId::ZERO;
            if flexible {
                input.tags(|tag, value| {
                    if tag == TAG_TOPIC_ID {
                        topic_id = TopicId(Uuid::from_slice(value).map_err(|_| WireError::BadTag(tag))?);
                    }
                    Ok(())
                })?;
            }
            let expire_timestamp = Some(expire_timestamp).filter(|expire| *expire != Timestamp::NONE);
            Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp, topic_id })
        })
    }
}

impl GroupValue {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(GROUP_VERSION);
        out.put_string(&self.protocol_type);
        out.put_i32(self.generation);
        out.put_nullable_string(self.protocol.as_ref());
        out.put_nullable_string(self.leader.as_ref());
        out.put_i64(self.current_state_timestamp.unwrap_or(Timestamp::NONE).0);
        // As many members as an i32 counts do not fit into one batch.
        out.put_i32(self.members.len() as i32);
        for member in &self.members {
            member.put(&mut out);
        }
        out.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<GroupValue, RecordError> {
        let version = version_of("group", bytes, FIRST_FLEXIBLE)?;
        let flexible = version >= FIRST_FLEXIBLE;
        read("group", bytes, |input| {
            input.i16()?;
            let protocol_type = input.string(flexible)?;
            let generation = input.i32()?;
            let protocol = input.nullable_string(flexible)?;
            let leader = input.nullable_string(flexible)?;
            let timestamp = if version >= 2 { Timestamp(input.i64()?) } else { Timestamp::NONE };
            // Not collected into a capacity from the disk: each member read is paid for in bytes.
            let mut members = Vec::new();
            for _ in 0..input.array_len(flexible)? {
                members.push(MemberValue::read(input, version)?);
            }
            if flexible {
                input.tags(|_, _| Ok(()))?;
            }
            let current_state_timestamp = Some(timestamp).filter(|timestamp| *timestamp != Timestamp::NONE);
            Ok(GroupValue { protocol_type, generation, protocol, leader, current_state_timestamp, members })
        })
    }
}

impl MemberValue {
    fn put(&self, out: &mut BytesMut) {
        out.put_string(&self.member_id);
        out.put_nullable_string(self.group_instance_id.as_ref());
        out.put_string(&self.client_id);
        out.put_string(&self.client_host);
        out.put_i32(self.rebalance_timeout_ms);
        out.put_i32(self.session_timeout_ms);
        out.put_bytes_field(&self.subscription);
        out.put_bytes_field(&self.assignment);
    }

    fn read(input: &mut Input<'_>, version: i16) -> Result<MemberValue, WireError> {
        let flexible = version >= FIRST_FLEXIBLE;
        let member_id = input.string(flexible)?;
        let group_instance_id = if version >= 3 { input.nullable_string(flexible)? } else { None };
        let client_id = input.string(flexible)?;
        let client_host = input.string(flexible)?;
        let rebalance_timeout_ms = if version >= 1 { Some(input.i32()?) } else { None };
        let session_timeout_ms = input.i32()?;
        let subscription = input.bytes(flexible)?;
        let assignment = input.bytes(flexible)?;
        if flexible {
            input.tags(|_, _| Ok(()))?;
        }
        Ok(MemberValue {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            // Groups of the first version rebalanced within the session timeout.
            rebalance_timeout_ms: rebalance_timeout_ms.filter(|timeout| *timeout != -1).unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}

/// The topics in a consumer's subscription, read as version 0, which every later version starts with
/// (`ClassicGroup.computeSubscribedTopics`); `None` where it does not comply.
pub(super) fn subscribed_topics(subscription: &[u8]) -> Option<Vec<StrBytes>> {
    let topics = read("subscription", subscription, |input| {
        input.i16()?;
        let mut topics = Vec::new();
        for _ in 0..input.array_len(false)? {
            topics.push(input.string(false)?);
        }
        Ok(topics)
    });
    topics.ok()
}

fn version_of(what: &'static str, bytes: &[u8], max: i16) -> Result<i16, RecordError> {
    let version = read(what, bytes, |input| input.i16())?;
    if (0..=max).contains(&version) { Ok(version) } else { Err(RecordError::UnknownVersion { what, version }) }
}

fn read<T>(
    what: &'static str,
    bytes: &[u8],
    fields: impl FnOnce(&mut Input<'_>) -> Result<T, WireError>,
) -> Result<T, RecordError> {
    fields(&mut Input(bytes)).map_err(|source| RecordError::Wire { what, source })
}

#[cfg(test)]
mod tests;
