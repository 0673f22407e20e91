//! The record batch of magic 2 (KIP-98): the unit that is produced, stored and fetched.
//!
//! ```text
//! base_offset i64 | batch_length i32 | partition_leader_epoch i32 | magic i8 | crc u32 | attributes i16 |
//! last_offset_delta i32 | base_timestamp i64 | max_timestamp i64 | producer_id i64 | producer_epoch i16 |
//! base_sequence i32 | records_count i32 | records…
//! ```
//!
//! `batch_length` counts the bytes after itself. The CRC-32C covers everything from `attributes` on, so that the base
//! offset and the leader epoch can be set by the broker without touching it.

use bytes::{Buf, BufMut, Bytes};

pub use crate::types::TimestampType;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes of a batch before its records.
pub const HEADER_LEN: usize = 61;
/// Bytes of a batch that `batch_length` does not count: the base offset and the length itself.
pub const LENGTH_PREFIX_LEN: usize = 12;
/// Where the bytes that the CRC covers start.
pub const CRC_START: usize = 21;
/// The one record format that is stored and served (KIP-724 removed the older ones).
pub const MAGIC: i8 = 2;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("{have} bytes where a batch needs {need}")]
    Truncated { have: usize, need: usize },
    #[error("batch length {0} is below the header's")]
    BadLength(i32),
    #[error("magic {0} where only 2 is known")]
    BadMagic(i8),
    #[error("CRC {stored:#010x} stored, {computed:#010x} computed")]
    BadCrc { stored: u32, computed: u32 },
}

/// The attributes of a batch: codec in bits 0–2, timestamp type 3, transactional 4, control 5, delete horizon 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    pub const TRANSACTIONAL: i16 = 1 << 4;
    pub const CONTROL: i16 = 1 << 5;
    const CODEC_MASK: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// The raw codec id; `compression::Codec::from_id` names it.
    pub fn codec_id(self) -> i16 {
        self.0 & Self::CODEC_MASK
    }

    pub fn with_codec_id(self, id: i16) -> Attributes {
        Attributes(self.0 & !Self::CODEC_MASK | id)
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub fn with_log_append_time(self) -> Attributes {
        Attributes(self.0 | Self::LOG_APPEND_TIME)
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// The base timestamp is a delete horizon (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub fn with_delete_horizon(self) -> Attributes {
        Attributes(self.0 | Self::DELETE_HORIZON)
    }

    /// Of a batch without records: neither compressed nor with a delete horizon.
    pub fn of_empty(self) -> Attributes {
        Attributes(self.0 & !(Self::CODEC_MASK | Self::DELETE_HORIZON))
    }
}

/// The fixed part of a batch, decoded. Only its structure has been checked, not its CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after this field; at least `HEADER_LEN - LENGTH_PREFIX_LEN`.
    pub batch_length: i32,
    pub partition_leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: Timestamp,
    pub max_timestamp: Timestamp,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header that `bytes` starts with; `bytes` may end right after it.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(mut buf) = bytes.get(..HEADER_LEN) else {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_LEN });
        };
        let header = BatchHeader {
            base_offset: Offset(buf.get_i64()),
            batch_length: buf.get_i32(),
            partition_leader_epoch: LeaderEpoch(buf.get_i32()),
            magic: buf.get_i8(),
            crc: buf.get_u32(),
            attributes: Attributes(buf.get_i16()),
            last_offset_delta: buf.get_i32(),
            base_timestamp: Timestamp(buf.get_i64()),
            max_timestamp: Timestamp(buf.get_i64()),
            producer_id: ProducerId(buf.get_i64()),
            producer_epoch: ProducerEpoch(buf.get_i16()),
            base_sequence: buf.get_i32(),
            records_count: buf.get_i32(),
        };
        if header.magic != MAGIC {
            return Err(BatchError::BadMagic(header.magic));
        }
        if header.batch_length < (HEADER_LEN - LENGTH_PREFIX_LEN) as i32 {
            return Err(BatchError::BadLength(header.batch_length));
        }
        Ok(header)
    }

    /// The wire form; the CRC is written as it stands.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut buf = bytes.as_mut_slice();
        buf.put_i64(self.base_offset.0);
        buf.put_i32(self.batch_length);
        buf.put_i32(self.partition_leader_epoch.0);
        buf.put_i8(self.magic);
        buf.put_u32(self.crc);
        buf.put_i16(self.attributes.0);
        buf.put_i32(self.last_offset_delta);
        buf.put_i64(self.base_timestamp.0);
        buf.put_i64(self.max_timestamp.0);
        buf.put_i64(self.producer_id.0);
        buf.put_i16(self.producer_epoch.0);
        buf.put_i32(self.base_sequence);
        buf.put_i32(self.records_count);
        bytes
    }

    /// The CRC-32C that this header should carry in front of `records` (the bytes after the header).
    pub fn compute_crc(&self, records: &[u8]) -> u32 {
        let encoded = self.encode();
        crc32c::crc32c_append(crc32c::crc32c(encoded.get(CRC_START..).unwrap_or_default()), records)
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        // `parse` refuses a negative length.
        LENGTH_PREFIX_LEN + self.batch_length.max(0) as usize
    }

    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset after this batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// The sequence of the last record; sequences wrap from `i32::MAX` to 0 (`DefaultRecordBatch.incrementSequence`).
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) & i64::from(i32::MAX)) as i32
    }

    /// From when on compaction may take the batch's tombstones, or its marker (KIP-534).
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id != ProducerId::NONE
    }
}

/// One whole batch in memory. The header may be changed (offset, epoch, append time) before it is written: the writer
/// takes the first 61 bytes from `header` and the rest from `bytes`.
#[derive(Debug, Clone)]
pub struct Batch {
    pub header: BatchHeader,
    /// All of the batch as it came, header included.
    pub bytes: Bytes,
}

impl Batch {
    /// A batch of these records, compressed as the header's attributes say; its length and CRC are filled in. `None` where it
    /// would be longer than a batch can be.
    pub fn assemble(mut header: BatchHeader, records: &[u8]) -> Option<Batch> {
        header.batch_length = i32::try_from(HEADER_LEN - LENGTH_PREFIX_LEN + records.len()).ok()?;
        header.crc = header.compute_crc(records);
        Some(Batch { header, bytes: Bytes::from([&header.encode(), records].concat()) })
    }

    /// Reads the batch that `bytes` starts with, and leaves `bytes` behind it.
    pub fn split_from(bytes: &mut Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        if bytes.len() < header.size() {
            return Err(BatchError::Truncated { have: bytes.len(), need: header.size() });
        }
        Ok(Batch { header, bytes: bytes.split_to(header.size()) })
    }

    /// The records: compressed, if the attributes say so.
    pub fn records(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(self.bytes.get(CRC_START..).unwrap_or_default());
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::BadCrc { stored: self.header.crc, computed })
    }
}
