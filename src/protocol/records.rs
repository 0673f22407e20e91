//! The records inside a batch, read in place.
//!
//! ```text
//! length varint | attributes i8 | timestamp_delta varlong | offset_delta varint |
//! key_length varint, key | value_length varint, value | headers_count varint, headers…
//! header: key_length varint, key | value_length varint, value
//! ```
//!
//! Lengths of -1 are null. Stored headers may repeat a key, and a key need not be UTF-8: nothing here assumes otherwise.

use bytes::{Buf, Bytes};

use super::batch::{Batch, BatchHeader, TimestampType};
use super::compression::{self, Codec, CompressionError};
use crate::types::{Offset, Timestamp};

const VARLONG_LEN_MAX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordErrorKind {
    #[error("ends early")]
    Truncated,
    #[error("holds a varint of more than its {0} bits")]
    BadVarint(u32),
    #[error("has the length {0}")]
    BadLength(i32),
    #[error("has {0} headers")]
    BadHeadersCount(i32),
    #[error("has a header with a null key")]
    NullHeaderKey,
    #[error("has bytes left over")]
    TrailingBytes,
}

/// What is wrong with a record, and its place in the batch; the place after the last one stands for what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {index} {kind}")]
pub struct RecordError {
    pub index: i32,
    pub kind: RecordErrorKind,
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers_count: i32,
    headers: &'a [u8],
    /// Key, value and headers with their lengths, as they stand in the batch.
    pub(super) contents: &'a [u8],
    /// All of it as it is stored, the length before it included.
    stored: &'a [u8],
    /// From the offset delta on.
    after_timestamp: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Adds the record to `out` byte for byte.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.stored);
    }

    /// As [`RecordView::copy_to`], with another timestamp delta.
    pub fn copy_with_timestamp_delta(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        let mut start = Vec::with_capacity(VARLONG_LEN_MAX + 1);
        start.push(self.attributes as u8);
        put_varlong(&mut start, timestamp_delta);
        put_varlong(out, (start.len() + self.after_timestamp.len()) as i64);
        out.extend_from_slice(&start);
        out.extend_from_slice(self.after_timestamp);
    }

    /// The headers in order, duplicates included.
    pub fn headers(&self) -> impl Iterator<Item = HeaderView<'a>> + use<'a> {
        let mut rest = self.headers;
        // They were walked when the record was parsed: reading them again does not fail.
        (0..self.headers_count).map_while(move |_| read_header(&mut rest).ok())
    }

    /// Reads the body of a record, all of `body`; `stored` is the body with its length before it.
    fn parse(mut body: &'a [u8], stored: &'a [u8]) -> Result<RecordView<'a>, RecordErrorKind> {
        let attributes = body.try_get_i8().map_err(|_| RecordErrorKind::Truncated)?;
        let timestamp_delta = read_varlong(&mut body)?;
        let after_timestamp = body;
        let offset_delta = read_varint(&mut body)?;
        let contents = body;
        let key = read_nullable(&mut body)?;
        let value = read_nullable(&mut body)?;
        let headers_count = read_varint(&mut body)?;
        // A header has two bytes at least; this bounds the walk by the bytes there are.
        if headers_count < 0 || headers_count as usize > body.len() / 2 {
            return Err(RecordErrorKind::BadHeadersCount(headers_count));
        }
        let headers = body;
        for _ in 0..headers_count {
            read_header(&mut body)?;
        }
        if !body.is_empty() {
            return Err(RecordErrorKind::TrailingBytes);
        }
        Ok(RecordView {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers_count,
            headers,
            contents,
            stored,
            after_timestamp,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// The records of one batch, uncompressed.
#[derive(Debug, Clone)]
pub struct BatchRecords {
    header: BatchHeader,
    payload: Bytes,
}

impl BatchRecords {
    /// Opens a batch: nothing is copied if it is not compressed, and it never expands past `limit_bytes`.
    pub fn open(batch: &Batch, limit_bytes: usize) -> Result<BatchRecords, CompressionError> {
        let codec = Codec::from_id(batch.header.attributes.codec_id())?;
        let payload = match codec {
            Codec::None => batch.bytes.slice_ref(batch.records()),
            Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => {
                compression::decompress(codec, batch.records(), limit_bytes)?
            }
        };
        Ok(BatchRecords { header: batch.header, payload })
    }

    /// All records with their lengths, uncompressed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub fn iter(&self) -> Records<'_> {
        Records::new(&self.payload, self.header.records_count)
    }

    pub fn offset(&self, record: &RecordView<'_>) -> Offset {
        self.header.base_offset.plus(i64::from(record.offset_delta))
    }

    /// Under LogAppendTime all records carry the batch's maximum; else the delta counts from the base, even where the
    /// base is a delete horizon.
    pub fn timestamp(&self, record: &RecordView<'_>) -> Timestamp {
        match self.header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => Timestamp(self.header.base_timestamp.0.saturating_add(record.timestamp_delta)),
        }
    }
}

impl<'a> IntoIterator for &'a BatchRecords {
    type Item = Result<RecordView<'a>, RecordError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// Walks an uncompressed payload. Ends after the announced number of records, or after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    index: i32,
    count: i32,
}

impl<'a> Records<'a> {
    /// `count` is the header's `records_count`; it is believed only as far as the bytes bear it out.
    pub fn new(payload: &'a [u8], count: i32) -> Records<'a> {
        Records { rest: payload, index: 0, count }
    }

    fn read(&mut self) -> Result<RecordView<'a>, RecordErrorKind> {
        let before = self.rest;
        let length = read_varint(&mut self.rest)?;
        let body = take(&mut self.rest, length)?;
        let stored = before.get(..before.len() - self.rest.len()).unwrap_or_default();
        RecordView::parse(body, stored)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        let result = if index < self.count {
            self.read()
        } else if self.rest.is_empty() {
            return None;
        } else {
            Err(RecordErrorKind::TrailingBytes)
        };
        self.index = index.saturating_add(1);
        if result.is_err() {
            *self = Records::new(&[], 0);
        }
        Some(result.map_err(|kind| RecordError { index, kind }))
    }
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Result<HeaderView<'a>, RecordErrorKind> {
    let key = read_nullable(rest)?.ok_or(RecordErrorKind::NullHeaderKey)?;
    let value = read_nullable(rest)?;
    Ok(HeaderView { key, value })
}

/// Any negative length is null, as Kafka's `DefaultRecord` reads it.
fn read_nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordErrorKind> {
    match read_varint(rest)? {
        length if length < 0 => Ok(None),
        length => take(rest, length).map(Some),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: i32) -> Result<&'a [u8], RecordErrorKind> {
    let length_bytes = usize::try_from(length).map_err(|_| RecordErrorKind::BadLength(length))?;
    let (taken, after) = rest.split_at_checked(length_bytes).ok_or(RecordErrorKind::Truncated)?;
    *rest = after;
    Ok(taken)
}

/// A zigzag varint of at most 5 bytes.
pub fn read_varint(rest: &mut &[u8]) -> Result<i32, RecordErrorKind> {
    let raw = read_unsigned(rest, i32::BITS)?;
    // `read_unsigned` keeps it below 2^32.
    let raw = raw as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// A zigzag varint of at most 10 bytes.
pub fn read_varlong(rest: &mut &[u8]) -> Result<i64, RecordErrorKind> {
    let raw = read_unsigned(rest, i64::BITS)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// A zigzag varint. One of 32 bits has the same bytes as one of 64.
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn read_unsigned(rest: &mut &[u8], bits: u32) -> Result<u64, RecordErrorKind> {
    let mut value = 0u64;
    let mut shift = 0;
    while shift < bits {
        let byte = rest.try_get_u8().map_err(|_| RecordErrorKind::Truncated)?;
        let low = u64::from(byte & 0x7f);
        if bits - shift < 7 && low >> (bits - shift) != 0 {
            return Err(RecordErrorKind::BadVarint(bits));
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
    Err(RecordErrorKind::BadVarint(bits))
}

/// What a control record says (`ControlRecordType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
    /// KRaft's own, or of a later version: not for a partition of ours.
    Other(i16),
}

impl ControlType {
    /// Reads a control record's key: version i16, type i16. `None` where that is not what it holds.
    pub fn parse(mut key: &[u8]) -> Option<ControlType> {
        let version = key.try_get_i16().ok()?;
        let id = key.try_get_i16().ok()?;
        if version < 0 {
            return None;
        }
        Some(match id {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            other => ControlType::Other(other),
        })
    }

    pub fn id(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::Other(id) => id,
        }
    }
}

/// How a transaction ended in this partition (`EndTransactionMarker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    pub committed: bool,
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker in a control batch; `None` where it holds another control record, or none (the cleaner emptied it).
    pub fn of(batch: &Batch, limit_bytes: usize) -> Option<EndTxnMarker> {
        let records = BatchRecords::open(batch, limit_bytes).ok()?;
        EndTxnMarker::of_record(&records.iter().next()?.ok()?)
    }

    /// As [`EndTxnMarker::of`], of a control batch's record.
    pub fn of_record(record: &RecordView<'_>) -> Option<EndTxnMarker> {
        let committed = match ControlType::parse(record.key?)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            ControlType::Other(_) => return None,
        };
        let mut value = record.value?;
        let version = value.try_get_i16().ok()?;
        let coordinator_epoch = value.try_get_i32().ok()?;
        (version >= 0).then_some(EndTxnMarker { committed, coordinator_epoch })
    }
}

#[cfg(test)]
mod tests;
