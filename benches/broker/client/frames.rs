//! Requests as bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, FetchRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use ottla::protocol::batch::Batch;
use ottla::protocol::builder::BatchBuilder;
use ottla::types::Timestamp;

pub const PRODUCE_VERSION: i16 = 9;
pub const FETCH_VERSION: i16 = 12;
pub const ACKS_ALL: i16 = -1;
/// What clients ask of one partition by default (`max.partition.fetch.bytes`).
pub const PARTITION_FETCH_BYTES: i32 = 1 << 20;
/// What clients ask for in all by default (`fetch.max.bytes`).
const FETCH_BYTES: i32 = 50 << 20;
const FETCH_WAIT_MS: i32 = 500;

/// The length before a frame, and the error code before it ends: what stands around a batch's records.
const BATCH_HEADER_BYTES: usize = 61;
/// Of a record without key and headers, at most: lengths, deltas, attributes.
const RECORD_FRAMING_BYTES: usize = 12;
const RECORD_BYTES: usize = 1 << 10;

/// How the batches look that are written: records of 1 KiB, or one smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub record_bytes: usize,
    pub records: usize,
}

impl Shape {
    /// As many records as go into a batch of this size.
    pub fn of_batch(bytes: usize) -> Shape {
        let room = bytes - BATCH_HEADER_BYTES;
        let record_bytes = RECORD_BYTES.min(room.saturating_sub(RECORD_FRAMING_BYTES)).max(1);
        Shape { record_bytes, records: (room / (record_bytes + RECORD_FRAMING_BYTES)).max(1) }
    }

    pub fn batch(self) -> Batch {
        let value = vec![0x5a; self.record_bytes];
        let empty = BatchBuilder::new(Timestamp::now());
        (0..self.records).fold(empty, |batch, _| batch.record(None, Some(&value))).build().unwrap()
    }
}

/// A Produce of one batch to one partition.
pub fn produce(topic: &str, partition: i32, batch: &Batch) -> Bytes {
    produce_to(topic, [partition], batch)
}

/// A Produce of the same batch to several partitions.
pub fn produce_to(topic: &str, partitions: impl IntoIterator<Item = i32>, batch: &Batch) -> Bytes {
    let data = partitions
        .into_iter()
        .map(|index| PartitionProduceData::default().with_index(index).with_records(Some(batch.bytes.clone())));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(data.collect());
    let request = ProduceRequest::default().with_acks(ACKS_ALL).with_timeout_ms(30_000).with_topic_data(vec![topic]);
    frame(ApiKey::Produce, PRODUCE_VERSION, &request)
}

/// Where the error code stands in the answer to [`produce`], behind its length: after the correlation id, empty tags, one
/// topic with its name, and one partition with its index.
pub fn produce_error_at(topic: &str) -> usize {
    4 + 1 + 1 + (1 + topic.len()) + 1 + 4
}

/// What is asked of one partition.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
    pub bytes_max: i32,
}

impl Position {
    pub fn new(partition: i32, offset: i64) -> Position {
        Position { partition, offset, bytes_max: PARTITION_FETCH_BYTES }
    }
}

/// A fetch session as KIP-227 has it.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    pub id: i32,
    pub epoch: i32,
}

impl Session {
    pub const NONE: Session = Session { id: 0, epoch: -1 };
    /// Asks for a new one.
    pub const NEW: Session = Session { id: 0, epoch: 0 };
}

pub fn fetch(topic: &str, session: Session, positions: &[Position]) -> Bytes {
    let partition = |position: &Position| {
        FetchPartition::default()
            .with_partition(position.partition)
            .with_fetch_offset(position.offset)
            .with_partition_max_bytes(position.bytes_max)
    };
    let topic =
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(positions.iter().map(partition).collect());
    let request = FetchRequest::default()
        .with_max_wait_ms(FETCH_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES)
        .with_session_id(session.id)
        .with_session_epoch(session.epoch)
        .with_topics(if positions.is_empty() { vec![] } else { vec![topic] });
    frame(ApiKey::Fetch, FETCH_VERSION, &request)
}

pub fn topic_name(name: &str) -> TopicName {
    StrBytes::from_string(name.to_owned()).into()
}

/// The length, the header, the body.
pub fn frame(api: ApiKey, version: i16, request: &impl Encodable) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut body = BytesMut::new();
    header.encode(&mut body, api.request_header_version(version)).unwrap();
    request.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::from(&(body.len() as i32).to_be_bytes()[..]);
    frame.unsplit(body);
    frame.freeze()
}

pub fn decode<R: Decodable>(mut frame: Bytes, api: ApiKey, version: i16) -> R {
    ResponseHeader::decode(&mut frame, api.response_header_version(version)).unwrap();
    R::decode(&mut frame, version).unwrap()
}
