//! What a client may append to one partition: Kafka's rules of `ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`, read off the batch's header.
//!
//! Records are walked only where the topic's config asks something of each of them: a key under compaction, an age
//! under `message.timestamp.before.max.ms`, another codec by `compression.type`. Otherwise the header's max timestamp stands for all of them, where Kafka
//! reads each one; the two differ only for a client whose header contradicts its records.

mod recompress;

use bytes::Bytes;

use super::ErrorCode;
use super::batch::{Batch, BatchError, BatchHeader, TimestampType};
use super::compression::{Codec, CompressionError};
use super::records::{BatchRecords, RecordError};
use crate::config::Compression;
use crate::types::{Offset, ProducerEpoch, ProducerId, Timestamp};

/// The topic's and the request's part of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRules {
    /// API version of the Produce request.
    pub produce_version: i16,
    /// `max.message.bytes`.
    pub message_bytes_max: usize,
    /// `segment.bytes`.
    pub segment_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; `i64::MAX` for any age.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` contains `compact`.
    pub compacted: bool,
    /// `compression.type` and the levels.
    pub compression: Compression,
    /// What a batch may expand to when its records are walked.
    pub decompressed_bytes_max: usize,
}

/// An uncompressed batch of up to this many bytes is compressed in a millisecond or so.
const COMPRESSED_AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// The answer names no more records than this, whatever the batch holds.
const RECORD_ERRORS_MAX: usize = 100;

/// A refused append: nothing of it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub code: ErrorCode,
    pub message: String,
    /// Index in the batch, and what is wrong with that record.
    pub record_errors: Vec<(i32, String)>,
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Rejected {
        Rejected { code, message: code.to_string(), record_errors: Vec::new() }
    }
}

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    #[error("a partition of a Produce request needs a record batch")]
    NoBatch,
    #[error("a partition of a Produce request takes exactly one record batch; {0} bytes follow the first")]
    MoreThanOneBatch(usize),
    #[error(transparent)]
    Malformed(BatchError),
    #[error("zstd needs Produce version 7 or later; this is version {0}")]
    ZstdBeforeVersion7(i16),
    #[error(transparent)]
    Compression(CompressionError),
    #[error("the base offset of an appended batch must be 0; it is {0}")]
    BaseOffset(Offset),
    #[error("the batch is {size} bytes long; max.message.bytes is {max}")]
    BatchTooLarge { size: usize, max: usize },
    #[error("the batch is {size} bytes long; segment.bytes is {max}")]
    LargerThanSegment { size: usize, max: usize },
    #[error("the batch announces {count} records and a last offset delta of {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("clients may not write control batches")]
    ControlBatch,
    #[error("producer id {id}, epoch {epoch} and sequence {sequence} do not go together", id = .0.0, epoch = .1.0, sequence = .2)]
    Producer(ProducerId, ProducerEpoch, i32),
    #[error("a transactional batch needs a producer id")]
    TransactionalWithoutProducer,
    #[error("producers may not set the timestamp type to LogAppendTime")]
    LogAppendTimeFromClient,
    #[error(transparent)]
    Record(RecordError),
    #[error("one or more records have an invalid timestamp")]
    Timestamps(Vec<(i32, String)>),
    #[error("{} records were rejected", .0.len())]
    Records(Vec<(i32, String)>),
}

impl ProduceError {
    pub fn code(&self) -> ErrorCode {
        match self {
            ProduceError::Malformed(BatchError::BadCrc { .. }) => ErrorCode::CorruptMessage,
            ProduceError::BatchTooLarge { .. } | ProduceError::Compression(CompressionError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            ProduceError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            ProduceError::ZstdBeforeVersion7(_) | ProduceError::Compression(CompressionError::UnknownCodec(_)) => {
                ErrorCode::UnsupportedCompressionType
            }
            ProduceError::LogAppendTimeFromClient | ProduceError::Timestamps(_) => ErrorCode::InvalidTimestamp,
            ProduceError::NoBatch
            | ProduceError::MoreThanOneBatch(_)
            | ProduceError::Malformed(
                BatchError::Truncated { .. } | BatchError::BadLength(_) | BatchError::BadMagic(_),
            )
            | ProduceError::Compression(
                CompressionError::Corrupt { .. } | CompressionError::BadLevel { .. } | CompressionError::Failed { .. },
            )
            | ProduceError::BaseOffset(_)
            | ProduceError::Count { .. }
            | ProduceError::ControlBatch
            | ProduceError::Producer(..)
            | ProduceError::TransactionalWithoutProducer
            | ProduceError::Record(_)
            | ProduceError::Records(_) => ErrorCode::InvalidRecord,
        }
    }
}

impl From<ProduceError> for Rejected {
    fn from(error: ProduceError) -> Rejected {
        let (code, message) = (error.code(), error.to_string());
        let record_errors = match error {
            ProduceError::Timestamps(errors) | ProduceError::Records(errors) => errors,
            ProduceError::Record(error) => vec![(error.index, error.to_string())],
            _ => Vec::new(),
        };
        Rejected { code, message, record_errors }
    }
}

/// Checks what a client sent for one partition. The batch comes back ready to append, compressed as the topic wants it,
/// its header rewritten if the topic wants the append time; offsets, leader epoch and the producer's sequence are the
/// log's business.
pub fn validate(records: Bytes, rules: &ProduceRules, now: Timestamp) -> Result<Batch, Rejected> {
    let mut batch = single_batch(records)?;
    let codec = check_codec(&batch, rules)?;
    check_size_and_crc(&batch, rules)?;
    check_header(&batch)?;
    let range = TimestampRange::of(rules, now);
    match recompress::target(codec, rules.compression) {
        Some(target) => batch = recompress::recompress(&batch, target, rules, range)?,
        None => check_records(&batch, rules, range)?,
    }
    check_segment_size(&batch, rules)?;
    if rules.timestamp_type == TimestampType::LogAppendTime {
        stamp(&mut batch, now);
    }
    Ok(batch)
}

/// Whether `validate` may be long at work: its records have to be compressed, or expanded, which their length says
/// nothing of.
pub fn may_take_long(records: &[u8], rules: &ProduceRules, now: Timestamp) -> bool {
    let Ok(header) = BatchHeader::parse(records) else { return false };
    let Ok(codec) = Codec::from_id(header.attributes.codec_id()) else { return false };
    let is_recompressed = recompress::target(codec, rules.compression).is_some();
    match codec {
        Codec::None => is_recompressed && records.len() > COMPRESSED_AT_ONCE_BYTES_MAX,
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
            is_recompressed || is_walked(&header, rules, TimestampRange::of(rules, now))
        }
    }
}

/// Stricter than Kafka in one thing: it drops bytes that follow the batch and are too few for another one.
fn single_batch(mut records: Bytes) -> Result<Batch, ProduceError> {
    if records.is_empty() {
        return Err(ProduceError::NoBatch);
    }
    let batch = Batch::split_from(&mut records).map_err(ProduceError::Malformed)?;
    if !records.is_empty() {
        return Err(ProduceError::MoreThanOneBatch(records.len()));
    }
    Ok(batch)
}

fn check_codec(batch: &Batch, rules: &ProduceRules) -> Result<Codec, ProduceError> {
    let codec = Codec::from_id(batch.header.attributes.codec_id()).map_err(ProduceError::Compression)?;
    if codec == Codec::Zstd && rules.produce_version < 7 {
        return Err(ProduceError::ZstdBeforeVersion7(rules.produce_version));
    }
    Ok(codec)
}

fn check_size_and_crc(batch: &Batch, rules: &ProduceRules) -> Result<(), ProduceError> {
    if batch.header.base_offset != Offset::ZERO {
        return Err(ProduceError::BaseOffset(batch.header.base_offset));
    }
    check_size(batch.bytes.len(), rules)?;
    batch.check_crc().map_err(ProduceError::Malformed)
}

fn check_size(size: usize, rules: &ProduceRules) -> Result<(), ProduceError> {
    if size > rules.message_bytes_max {
        return Err(ProduceError::BatchTooLarge { size, max: rules.message_bytes_max });
    }
    Ok(())
}

/// Of the batch as it is to be stored (`UnifiedLog.append`).
fn check_segment_size(batch: &Batch, rules: &ProduceRules) -> Result<(), ProduceError> {
    let size = batch.bytes.len();
    if size > rules.segment_bytes {
        return Err(ProduceError::LargerThanSegment { size, max: rules.segment_bytes });
    }
    Ok(())
}

fn check_header(batch: &Batch) -> Result<(), ProduceError> {
    let header = &batch.header;
    let (count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if count <= 0 || count - 1 != last_offset_delta {
        return Err(ProduceError::Count { count, last_offset_delta });
    }
    if header.attributes.is_control() {
        return Err(ProduceError::ControlBatch);
    }
    let idempotent = header.producer_id.0 >= 0 && header.producer_epoch.0 >= 0 && header.base_sequence >= 0;
    if header.has_producer_id() && !idempotent {
        return Err(ProduceError::Producer(header.producer_id, header.producer_epoch, header.base_sequence));
    }
    if header.attributes.is_transactional() && !header.has_producer_id() {
        return Err(ProduceError::TransactionalWithoutProducer);
    }
    // Kafka lets this pass, and clears the bit, where the topic keeps create times; no client sends it.
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(ProduceError::LogAppendTimeFromClient);
    }
    Ok(())
}

/// The range of create times that the topic takes, as of one moment.
#[derive(Clone, Copy)]
struct TimestampRange {
    first: i64,
    last: i64,
}

impl TimestampRange {
    fn of(rules: &ProduceRules, now: Timestamp) -> TimestampRange {
        match rules.timestamp_type {
            TimestampType::LogAppendTime => TimestampRange { first: i64::MIN, last: i64::MAX },
            TimestampType::CreateTime => TimestampRange {
                first: now.0.saturating_sub(rules.timestamp_before_max_ms),
                last: now.0.saturating_add(rules.timestamp_after_max_ms),
            },
        }
    }

    fn admits(self, timestamp: Timestamp) -> bool {
        timestamp == Timestamp::NONE || (self.first..=self.last).contains(&timestamp.0)
    }

    fn explain(self, timestamp: Timestamp) -> String {
        format!("timestamp {} is outside [{}, {}]", timestamp.0, self.first, self.last)
    }
}

/// Whether something is asked of each record; of one whose header has a time that is not admitted, which ones they are.
fn is_walked(header: &BatchHeader, rules: &ProduceRules, range: TimestampRange) -> bool {
    let age_matters = rules.timestamp_type == TimestampType::CreateTime && rules.timestamp_before_max_ms != i64::MAX;
    rules.compacted || age_matters || !range.admits(header.max_timestamp)
}

fn check_records(batch: &Batch, rules: &ProduceRules, range: TimestampRange) -> Result<(), ProduceError> {
    let header = &batch.header;
    if !is_walked(header, rules, range) {
        return Ok(());
    }
    let records = BatchRecords::open(batch, rules.decompressed_bytes_max).map_err(ProduceError::Compression)?;
    walk_records(&records, rules, range)?;
    if range.admits(header.max_timestamp) {
        return Ok(());
    }
    Err(ProduceError::Timestamps(vec![(header.last_offset_delta, range.explain(header.max_timestamp))]))
}

/// What a walk over a batch's records tells beside that they pass.
struct Walked {
    max_timestamp: Timestamp,
    /// The offset deltas run from 0.
    dense: bool,
}

/// Names the records at fault, as the answer to the client does.
fn walk_records(records: &BatchRecords, rules: &ProduceRules, range: TimestampRange) -> Result<Walked, ProduceError> {
    let mut walked = Walked { max_timestamp: Timestamp::NONE, dense: true };
    let mut errors = Vec::new();
    let mut bad_timestamp = false;
    for (index, record) in (0i32..).zip(records) {
        let record = record.map_err(ProduceError::Record)?;
        let timestamp = records.timestamp(&record);
        walked.max_timestamp = walked.max_timestamp.max(timestamp);
        walked.dense &= record.offset_delta == index;
        if rules.compacted && record.key.is_none() {
            errors.push((index, "a compacted topic takes no record without a key".to_owned()));
        } else if !range.admits(timestamp) {
            bad_timestamp = true;
            errors.push((index, range.explain(timestamp)));
        }
        if errors.len() == RECORD_ERRORS_MAX {
            break;
        }
    }
    match (errors.is_empty(), bad_timestamp) {
        (true, _) => Ok(walked),
        (false, true) => Err(ProduceError::Timestamps(errors)),
        (false, false) => Err(ProduceError::Records(errors)),
    }
}

/// `MutableRecordBatch.setMaxTimestamp`: the records keep their own times, the header overrules them.
fn stamp(batch: &mut Batch, now: Timestamp) {
    batch.header.attributes = batch.header.attributes.with_log_append_time();
    batch.header.max_timestamp = now;
    batch.header.crc = batch.header.compute_crc(batch.records());
}

#[cfg(test)]
mod tests;
