//! The Fetch response, written around file slices.
//!
//! The generated encoder would copy every record into a buffer; here the records of a partition are a [`FileSlice`]
//! that stands between two runs of encoded bytes. Versions 4 to 18 (`FetchResponse.json`).

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use super::ErrorCode;
use super::response::{Piece, Response};
use crate::sys::FileSlice;
use crate::types::{Offset, ProducerId, TopicId};

const FLEXIBLE_SINCE: i16 = 12;
const TOPIC_IDS_SINCE: i16 = 13;

/// How a Fetch names a topic: by name up to version 12, by id from 13 on (KIP-516).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Name(StrBytes),
    Id(TopicId),
}

/// A whole response.
#[derive(Debug, Default)]
pub struct FetchAnswer {
    pub error: Option<ErrorCode>,
    /// 0 where there is no session (KIP-227).
    pub session_id: i32,
    /// In order; partitions of one topic that stand together are written under one topic.
    pub partitions: Vec<PartitionAnswer>,
}

#[derive(Debug)]
pub struct PartitionAnswer {
    pub topic: TopicKey,
    pub index: i32,
    pub error: Option<ErrorCode>,
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub log_start: Offset,
    /// `None` for read_uncommitted, which sees up to the high watermark.
    pub aborted: Option<Vec<(ProducerId, Offset)>>,
    pub records: Option<FileSlice>,
}

impl PartitionAnswer {
    pub const UNKNOWN_OFFSET: Offset = Offset(-1);

    /// A partition that answers with an error; offsets are unknown (`FetchResponse.partitionResponse`).
    pub fn error(topic: TopicKey, index: i32, error: ErrorCode) -> PartitionAnswer {
        PartitionAnswer {
            topic,
            index,
            error: Some(error),
            high_watermark: Self::UNKNOWN_OFFSET,
            last_stable: Self::UNKNOWN_OFFSET,
            log_start: Self::UNKNOWN_OFFSET,
            aborted: None,
            records: None,
        }
    }

    /// Whether a reader at `offset` has all that it may see.
    pub fn leaves_nothing_at(&self, offset: Offset) -> bool {
        let visible = if self.aborted.is_some() { self.last_stable } else { self.high_watermark };
        self.error.is_none() && self.records_len() == 0 && offset >= visible
    }

    /// Bytes of records.
    pub fn records_len(&self) -> u32 {
        self.records.as_ref().map_or(0, |slice| slice.length)
    }
}

/// Encodes the response frame, length prefix included.
pub fn encode(answer: FetchAnswer, version: i16, correlation_id: i32) -> Response {
    let mut out =
        Writer { version, bytes: BytesMut::with_capacity(64 + 96 * answer.partitions.len()), pieces: Vec::new() };
    out.bytes.put_i32(0); // the frame's length, known at the end
    out.bytes.put_i32(correlation_id);
    out.tags();
    out.bytes.put_i32(0); // throttle time
    if version >= 7 {
        out.error(answer.error);
        out.bytes.put_i32(answer.session_id);
    }
    let topics: Vec<usize> = answer.partitions.chunk_by(|a, b| a.topic == b.topic).map(<[_]>::len).collect();
    out.array_len(topics.len());
    let mut partitions = answer.partitions.into_iter();
    for count in topics {
        for (nth, partition) in partitions.by_ref().take(count).enumerate() {
            if nth == 0 {
                out.topic(&partition.topic);
                out.array_len(count);
            }
            out.partition(partition);
        }
        out.tags();
    }
    out.tags();
    out.finish()
}

struct Writer {
    version: i16,
    /// What has been encoded since the last slice.
    bytes: BytesMut,
    pieces: Vec<Piece>,
}

impl Writer {
    fn flexible(&self) -> bool {
        self.version >= FLEXIBLE_SINCE
    }

    /// An empty section of tagged fields.
    fn tags(&mut self) {
        if self.flexible() {
            self.bytes.put_u8(0);
        }
    }

    fn error(&mut self, error: Option<ErrorCode>) {
        self.bytes.put_i16(error.map_or(0, |error| error.code()));
    }

    fn array_len(&mut self, len: usize) {
        self.len(len, |bytes, len| bytes.put_i32(len as i32));
    }

    /// A length: one more than itself as a varint where the version is flexible, else by `fixed`.
    fn len(&mut self, len: usize, fixed: impl FnOnce(&mut BytesMut, usize)) {
        if !self.flexible() {
            return fixed(&mut self.bytes, len);
        }
        let mut rest = len as u32 + 1;
        while rest >= 0x80 {
            self.bytes.put_u8(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.put_u8(rest as u8);
    }

    fn topic(&mut self, topic: &TopicKey) {
        match topic {
            TopicKey::Id(id) => {
                debug_assert!(self.version >= TOPIC_IDS_SINCE);
                self.bytes.put_slice(id.0.as_bytes());
            }
            TopicKey::Name(name) => {
                self.len(name.len(), |bytes, len| bytes.put_i16(len as i16));
                self.bytes.put_slice(name.as_bytes());
            }
        }
    }

    fn partition(&mut self, partition: PartitionAnswer) {
        self.bytes.put_i32(partition.index);
        self.error(partition.error);
        self.bytes.put_i64(partition.high_watermark.0);
        self.bytes.put_i64(partition.last_stable.0);
        if self.version >= 5 {
            self.bytes.put_i64(partition.log_start.0);
        }
        self.aborted(partition.aborted.as_deref());
        if self.version >= 11 {
            self.bytes.put_i32(-1); // preferred read replica: there is no other
        }
        let length = partition.records_len();
        self.len(length as usize, |bytes, len| bytes.put_i32(len as i32));
        if let Some(slice) = partition.records {
            self.flush();
            self.pieces.push(Piece::File(slice));
        }
        self.tags();
    }

    fn aborted(&mut self, aborted: Option<&[(ProducerId, Offset)]>) {
        let Some(aborted) = aborted else {
            // The null array.
            return if self.flexible() { self.bytes.put_u8(0) } else { self.bytes.put_i32(-1) };
        };
        self.array_len(aborted.len());
        for (producer_id, first_offset) in aborted {
            self.bytes.put_i64(producer_id.0);
            self.bytes.put_i64(first_offset.0);
            self.tags();
        }
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.pieces.push(Piece::Bytes(self.bytes.split().freeze()));
        }
    }

    fn finish(mut self) -> Response {
        self.flush();
        let length: usize = self.pieces.iter().map(Piece::len).sum();
        if let Some(Piece::Bytes(first)) = self.pieces.first_mut() {
            *first = with_length(first, length);
        }
        Response { pieces: self.pieces }
    }
}

/// Puts the length of the frame (which does not count itself) at the front of its first run of bytes.
fn with_length(first: &mut Bytes, frame_len: usize) -> Bytes {
    let mut bytes = BytesMut::from(std::mem::take(first));
    let length = (frame_len - size_of::<i32>()) as i32;
    if let Some(prefix) = bytes.get_mut(..size_of::<i32>()) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Buf;
    use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::{FetchResponse, ResponseHeader};
    use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

    use super::*;

    const RECORDS: &[u8] = b"0123456789 the records";

    fn answer(version: i16) -> FetchAnswer {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, RECORDS).unwrap();
        let file = Arc::new(file);
        let topic = |n: u8| match version >= TOPIC_IDS_SINCE {
            true => TopicKey::Id(TopicId(uuid::Uuid::from_bytes([n; 16]))),
            false => TopicKey::Name(StrBytes::from_string(format!("topic-{n}"))),
        };
        let full = |n: u8, index| PartitionAnswer {
            topic: topic(n),
            index,
            error: None,
            high_watermark: Offset(12),
            last_stable: Offset(11),
            log_start: Offset(3),
            aborted: Some(vec![(ProducerId(7), Offset(5)), (ProducerId(8), Offset(6))]),
            records: Some(FileSlice { file: file.clone(), position: 2, length: 20 }),
        };
        FetchAnswer {
            error: None,
            session_id: if version >= 7 { 99 } else { 0 },
            partitions: vec![
                full(1, 0),
                PartitionAnswer::error(topic(1), 1, ErrorCode::OffsetOutOfRange),
                PartitionAnswer { aborted: None, records: None, ..full(2, 4) },
            ],
        }
    }

    /// The frame as a client receives it.
    fn flatten(response: Response) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in response.pieces {
            match piece {
                Piece::Bytes(run) => bytes.extend_from_slice(&run),
                Piece::File(slice) => {
                    let start = bytes.len();
                    bytes.resize(start + slice.length as usize, 0);
                    crate::sys::pread_exact(&slice.file, &mut bytes[start..], slice.position).unwrap();
                }
            }
        }
        bytes
    }

    fn expected(version: i16) -> FetchResponse {
        let mut response = FetchResponse::default();
        if version >= 7 {
            response.session_id = 99;
        }
        for partition in answer(version).partitions {
            let data = PartitionData::default()
                .with_partition_index(partition.index)
                .with_error_code(partition.error.map_or(0, |error| error.code()))
                .with_high_watermark(partition.high_watermark.0)
                .with_last_stable_offset(partition.last_stable.0)
                .with_log_start_offset(if version >= 5 { partition.log_start.0 } else { -1 })
                .with_aborted_transactions(partition.aborted.map(|aborted| {
                    let transaction = |(producer, first): (ProducerId, Offset)| {
                        AbortedTransaction::default().with_producer_id(producer.0.into()).with_first_offset(first.0)
                    };
                    aborted.into_iter().map(transaction).collect()
                }))
                .with_records(Some(Bytes::copy_from_slice(&RECORDS[2..][..partition.records.map_or(0, |_| 20)])));
            let (name, id) = match partition.topic {
                TopicKey::Name(name) => (name, uuid::Uuid::nil()),
                TopicKey::Id(id) => (StrBytes::default(), id.0),
            };
            match response.responses.last_mut() {
                Some(topic) if topic.topic.0 == name && topic.topic_id == id => topic.partitions.push(data),
                _ => response.responses.push(
                    FetchableTopicResponse::default()
                        .with_topic(name.into())
                        .with_topic_id(id)
                        .with_partitions(vec![data]),
                ),
            }
        }
        response
    }

    #[test]
    fn every_version_is_byte_for_byte_what_the_generated_encoder_writes() {
        for version in 4..=18 {
            let mut generated = BytesMut::new();
            let header = ResponseHeader::default().with_correlation_id(5);
            header.encode(&mut generated, FetchResponse::header_version(version)).unwrap();
            expected(version).encode(&mut generated, version).unwrap();
            let frame = flatten(encode(answer(version), version, 5));
            assert_eq!(frame[..4], (generated.len() as i32).to_be_bytes(), "version {version}");
            assert_eq!(frame[4..], generated[..], "version {version}");
        }
    }

    #[test]
    fn a_top_level_error_reads_back() {
        let answer = FetchAnswer { error: Some(ErrorCode::FetchSessionIdNotFound), ..FetchAnswer::default() };
        let mut frame = Bytes::from(flatten(encode(answer, 16, 5)));
        frame.advance(9);
        let response = FetchResponse::decode(&mut frame, 16).unwrap();
        assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code());
        assert!(frame.is_empty());
    }
}
