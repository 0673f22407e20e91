//! One record of the cluster metadata (`MetadataRecordSerde`, and the schemas of `common/metadata`).
//!
//! ```text
//! frame version varint (1) | type varint | version varint | the record's fields, all flexible (KIP-482)
//!
//!  2 Topic            name string | topic_id uuid
//!  3 Partition        partition_id i32 | topic_id uuid | replicas, isr, removing, adding [i32] | leader i32 |
//!                     leader_epoch, partition_epoch i32 | [1+] directories [uuid]
//!  4 Config           resource_type i8 | resource_name, name string | value nullable string
//!  5 PartitionChange  partition_id i32 | topic_id uuid | tagged fields: 1 = leader i32
//!  9 RemoveTopic      topic_id uuid
//! 15 ProducerIds      broker_id i32 | broker_epoch i64 | next_producer_id i64
//! 23 BeginTransaction · 24 EndTransaction · 25 AbortTransaction (KIP-868)
//! ```

use kafka_protocol::protocol::StrBytes;

use crate::protocol::wire::{Input, WireError};
use crate::types::{LeaderEpoch, TopicId};

const FRAME_VERSION: u32 = 1;
/// The tag of `PartitionChangeRecord.leader`, and the value that stands for no change.
const TAG_LEADER: u32 = 1;
const NO_LEADER_CHANGE: i32 = -2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("frame version {0}; only {FRAME_VERSION} is known")]
    FrameVersion(u32),
    #[error("{kind} of version {version}; known are 0 to {max}")]
    Version { kind: &'static str, version: u32, max: u32 },
    #[error("type {0} is not known")]
    Type(u32),
    #[error("{0} bytes are left over")]
    TrailingBytes(usize),
    #[error(transparent)]
    Wire(#[from] WireError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MetadataRecord {
    Topic {
        id: TopicId,
        name: StrBytes,
    },
    Partition {
        topic: TopicId,
        partition: i32,
        leader_epoch: LeaderEpoch,
    },
    /// The partition got another leader, or lost it: its leader epoch rises by one (`PartitionRegistration.merge`).
    LeaderChange {
        topic: TopicId,
        partition: i32,
    },
    /// A value of `None` takes the key away.
    Config {
        resource: Resource,
        key: StrBytes,
        value: Option<StrBytes>,
    },
    RemoveTopic {
        id: TopicId,
    },
    ProducerIds {
        next: i64,
    },
    BeginTransaction,
    EndTransaction,
    AbortTransaction,
    /// Something that a user made and that is not taken over.
    NotTakenOver(&'static str),
    /// Of use to Kafka's own brokers and controllers only.
    Internal,
}

/// What a configuration belongs to (`ConfigResource`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resource {
    pub(super) kind: i8,
    pub(super) name: StrBytes,
}

impl MetadataRecord {
    pub(super) fn decode(value: &[u8]) -> Result<MetadataRecord, RecordError> {
        let mut input = Input(value);
        let frame_version = input.varint()?;
        if frame_version != FRAME_VERSION {
            return Err(RecordError::FrameVersion(frame_version));
        }
        let (kind, version) = (input.varint()?, input.varint()?);
        let (kind, max, fields): (_, _, Fields) = match kind {
            2 => ("Topic", 0, topic),
            3 => ("Partition", 2, partition),
            4 => ("Config", 0, config),
            5 => ("PartitionChange", 2, partition_change),
            9 => ("RemoveTopic", 0, remove_topic),
            15 => ("ProducerIds", 0, producer_ids),
            other => return without_fields(other),
        };
        if version > max {
            return Err(RecordError::Version { kind, version, max });
        }
        let record = fields(&mut input, version)?;
        if !input.0.is_empty() {
            return Err(RecordError::TrailingBytes(input.0.len()));
        }
        Ok(record)
    }
}

/// Reads a record's fields in the version given.
type Fields = fn(&mut Input<'_>, u32) -> Result<MetadataRecord, WireError>;

/// Records of which no field is needed.
fn without_fields(kind: u32) -> Result<MetadataRecord, RecordError> {
    Ok(match kind {
        // RegisterBroker, UnregisterBroker, FenceBroker, UnfenceBroker, FeatureLevel, BrokerRegistrationChange, NoOp,
        // ZkMigrationState, RegisterController, ClearElr.
        0 | 1 | 7 | 8 | 12 | 17 | 20 | 21 | 27 | 28 => MetadataRecord::Internal,
        // RemoveAccessControlEntry, RemoveUserScramCredential, RemoveDelegationToken.
        19 | 22 | 26 => MetadataRecord::Internal,
        10 => MetadataRecord::NotTakenOver("delegation tokens"),
        11 => MetadataRecord::NotTakenOver("SCRAM credentials"),
        14 => MetadataRecord::NotTakenOver("client quotas"),
        18 => MetadataRecord::NotTakenOver("ACLs"),
        23 => MetadataRecord::BeginTransaction,
        24 => MetadataRecord::EndTransaction,
        25 => MetadataRecord::AbortTransaction,
        other => return Err(RecordError::Type(other)),
    })
}

fn topic(input: &mut Input<'_>, _version: u32) -> Result<MetadataRecord, WireError> {
    let name = input.string(true)?;
    let id = TopicId(input.uuid()?);
    no_tags(input)?;
    Ok(MetadataRecord::Topic { id, name })
}

fn partition(input: &mut Input<'_>, version: u32) -> Result<MetadataRecord, WireError> {
    let partition = input.i32()?;
    let topic = TopicId(input.uuid()?);
    for _replicas_isr_removing_adding in 0..4 {
        skip_array(input, |input| input.i32().map(drop))?;
    }
    let _leader = input.i32()?;
    let leader_epoch = LeaderEpoch(input.i32()?);
    let _partition_epoch = input.i32()?;
    if version >= 1 {
        skip_array(input, |input| input.uuid().map(drop))?;
    }
    no_tags(input)?;
    Ok(MetadataRecord::Partition { topic, partition, leader_epoch })
}

fn config(input: &mut Input<'_>, _version: u32) -> Result<MetadataRecord, WireError> {
    let resource = Resource { kind: input.i8()?, name: input.string(true)? };
    let key = input.string(true)?;
    let value = input.nullable_string(true)?;
    no_tags(input)?;
    Ok(MetadataRecord::Config { resource, key, value })
}

fn partition_change(input: &mut Input<'_>, _version: u32) -> Result<MetadataRecord, WireError> {
    let partition = input.i32()?;
    let topic = TopicId(input.uuid()?);
    let mut leader = NO_LEADER_CHANGE;
    input.tags(|tag, value| {
        if tag == TAG_LEADER {
            leader = Input(value).i32()?;
        }
        Ok(())
    })?;
    Ok(match leader {
        NO_LEADER_CHANGE => MetadataRecord::Internal,
        _ => MetadataRecord::LeaderChange { topic, partition },
    })
}

fn remove_topic(input: &mut Input<'_>, _version: u32) -> Result<MetadataRecord, WireError> {
    let id = TopicId(input.uuid()?);
    no_tags(input)?;
    Ok(MetadataRecord::RemoveTopic { id })
}

fn producer_ids(input: &mut Input<'_>, _version: u32) -> Result<MetadataRecord, WireError> {
    let (_broker_id, _broker_epoch) = (input.i32()?, input.i64()?);
    let next = input.i64()?;
    no_tags(input)?;
    Ok(MetadataRecord::ProducerIds { next })
}

/// Walks an array without keeping it: a count is believed only as far as there are bytes.
fn skip_array(
    input: &mut Input<'_>,
    mut element: impl FnMut(&mut Input<'_>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    for _ in 0..input.array_len(true)? {
        element(input)?;
    }
    Ok(())
}

fn no_tags(input: &mut Input<'_>) -> Result<(), WireError> {
    input.tags(|_, _| Ok(()))
}
