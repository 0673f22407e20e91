//! What a consumer puts into its member's `subscription` and its leader into `assignment` (`ConsumerProtocolSubscription`,
//! `ConsumerProtocolAssignment`). Only a client's business: here they are read to be shown.
//!
//! ```text
//! subscription  version i16 | topics: [ string ] | user_data nullable bytes |
//!               [1+] owned_partitions: [ topic string | partitions: [ i32 ] ] | [2+] generation i32 |
//!               [3+] rack_id nullable string
//! assignment    version i16 | partitions: [ topic string | partitions: [ i32 ] ] | user_data nullable bytes
//! ```

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;

use super::{RecordError, read};
use crate::protocol::wire::{Input, WireError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub topics: Vec<StrBytes>,
    pub user_data: Option<Bytes>,
    /// `None` in a version that does not know it; so too what follows.
    pub owned_partitions: Option<Vec<TopicPartitions>>,
    pub generation: Option<i32>,
    pub rack_id: Option<Option<StrBytes>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub partitions: Vec<TopicPartitions>,
    pub user_data: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPartitions {
    pub topic: StrBytes,
    pub partitions: Vec<i32>,
}

impl Subscription {
    pub fn decode(bytes: &[u8]) -> Result<Subscription, RecordError> {
        read("subscription", bytes, |input| {
            let version = input.i16()?;
            Ok(Subscription {
                topics: array(input, |input| input.string(false))?,
                user_data: input.nullable_bytes()?,
                owned_partitions: if version >= 1 { Some(array(input, TopicPartitions::read)?) } else { None },
                generation: if version >= 2 { Some(input.i32()?) } else { None },
                rack_id: if version >= 3 { Some(input.nullable_string(false)?) } else { None },
            })
        })
    }
}

impl Assignment {
    pub fn decode(bytes: &[u8]) -> Result<Assignment, RecordError> {
        read("assignment", bytes, |input| {
            input.i16()?;
            Ok(Assignment { partitions: array(input, TopicPartitions::read)?, user_data: input.nullable_bytes()? })
        })
    }
}

impl TopicPartitions {
    fn read(input: &mut Input<'_>) -> Result<TopicPartitions, WireError> {
        Ok(TopicPartitions { topic: input.string(false)?, partitions: array(input, |input| input.i32())? })
    }
}

/// Not collected into a capacity from the disk: each element read is paid for in bytes.
fn array<T>(
    input: &mut Input<'_>,
    element: impl Fn(&mut Input<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut elements = Vec::new();
    for _ in 0..input.array_len(false)? {
        elements.push(element(input)?);
    }
    Ok(elements)
}
