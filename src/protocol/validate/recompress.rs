//! `compression.type` other than `producer`: a batch in another codec is stored in the topic's
//! (`LogValidator.buildRecordsAndAssignOffsets`).
//!
//! The records are compressed as the bytes that they came as; Kafka reads them and writes them anew, which gives the same
//! bytes for all but odd encodings of them. The producer's id, epoch and sequence and whether it is in a transaction stay.

use bytes::BufMut;

use super::{ProduceError, ProduceRules, TimestampRange, check_size, walk_records};
use crate::config::Compression;
use crate::protocol::batch::{Batch, BatchHeader, HEADER_LEN};
use crate::protocol::compression::{self, Codec};
use crate::protocol::records::BatchRecords;
use crate::protocol::records::put_varlong;

/// What a batch is to be compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    codec: Codec,
    level: Option<i32>,
}

/// `None` for a batch that stays as it is: a topic's level is not for what comes in its codec already.
pub(super) fn target(source: Codec, wanted: Compression) -> Option<Target> {
    let (codec, level) = match wanted {
        Compression::Producer => return None,
        Compression::Uncompressed => (Codec::None, None),
        Compression::Gzip { level } => (Codec::Gzip, level),
        Compression::Snappy => (Codec::Snappy, None),
        Compression::Lz4 => (Codec::Lz4, None),
        Compression::Zstd { level } => (Codec::Zstd, Some(level)),
    };
    (codec != source).then_some(Target { codec, level })
}

/// The batch with its records, each of them checked, compressed anew.
pub(super) fn recompress(
    batch: &Batch,
    target: Target,
    rules: &ProduceRules,
    range: TimestampRange,
) -> Result<Batch, ProduceError> {
    let records = BatchRecords::open(batch, expanded_bytes_max(target, rules)).map_err(ProduceError::Compression)?;
    let walked = walk_records(&records, rules, range)?;
    let compress = |payload: &[u8]| compression::compress(target.codec, target.level, payload);
    let payload = if walked.dense { compress(records.payload()) } else { compress(&renumbered(&records)) };
    let payload = payload.map_err(ProduceError::Compression)?;
    let size = HEADER_LEN + payload.len();
    check_size(size, rules)?;
    let header = BatchHeader {
        attributes: batch.header.attributes.with_codec_id(target.codec.id()),
        max_timestamp: walked.max_timestamp,
        ..batch.header
    };
    Batch::assemble(header, &payload).ok_or(ProduceError::BatchTooLarge { size, max: rules.message_bytes_max })
}

/// What is stored uncompressed need not be expanded further than it may be long.
fn expanded_bytes_max(target: Target, rules: &ProduceRules) -> usize {
    match target.codec {
        Codec::None => rules.message_bytes_max.min(rules.decompressed_bytes_max),
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => rules.decompressed_bytes_max,
    }
}

/// The records of a client that counted their offsets otherwise, counted from 0; they have been walked without an error.
fn renumbered(records: &BatchRecords) -> Vec<u8> {
    let (mut payload, mut body) = (Vec::new(), Vec::new());
    for (offset_delta, record) in (0..).zip(records.iter().flatten()) {
        body.clear();
        body.put_i8(record.attributes);
        put_varlong(&mut body, record.timestamp_delta);
        put_varlong(&mut body, offset_delta);
        body.extend_from_slice(record.contents);
        put_varlong(&mut payload, body.len() as i64);
        payload.extend_from_slice(&body);
    }
    payload
}

#[cfg(test)]
mod tests;
