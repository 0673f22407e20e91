//! A record batch from a client or a disk: header, CRC, the rules of Produce, the records, and what they expand to.

use bytes::Bytes;
use ottla::config::Compression;
use ottla::protocol::batch::{Batch, BatchHeader, HEADER_LEN};
use ottla::protocol::records::{BatchRecords, EndTxnMarker};
use ottla::protocol::validate::{ProduceRules, may_take_long, validate};
use ottla::types::{Offset, Timestamp, TimestampType};

use super::builder::{NOW, seal};
use super::input::Input;

const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// Bits of the first byte.
pub(crate) const SEALED: u8 = 1;
const COMPACTED: u8 = 2;
const LOG_APPEND_TIME: u8 = 4;
const AGE_LIMITED: u8 = 8;
const OLD_VERSION: u8 = 128;
/// In the place of `compression.type`.
pub(crate) const AS_PRODUCED: u8 = 0x70;

/// A byte that says how, and the bytes of batches.
pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let how = input.u8();
    let mut bytes = input.0.to_vec();
    if how & SEALED != 0 {
        seal(&mut bytes);
    }
    let bytes = Bytes::from(bytes);
    header_goes_both_ways(&bytes);
    accepted_batch_is_consistent(bytes.clone(), &rules(how));
    let mut rest = bytes;
    while let Ok(batch) = Batch::split_from(&mut rest) {
        assert_eq!(batch.bytes.len(), batch.header.size());
        records_are_within_bounds(&batch);
    }
}

fn rules(how: u8) -> ProduceRules {
    ProduceRules {
        produce_version: if how & OLD_VERSION == 0 { 13 } else { 3 },
        message_bytes_max: 1 << 20,
        segment_bytes: 1 << 20,
        timestamp_type: match how & LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: if how & AGE_LIMITED == 0 { i64::MAX } else { 1000 },
        timestamp_after_max_ms: if how & AGE_LIMITED == 0 { i64::MAX } else { 1000 },
        compacted: how & COMPACTED != 0,
        compression: match how >> 4 & 7 {
            0 => Compression::Uncompressed,
            1 => Compression::Gzip { level: None },
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd { level: 1 },
            _ => Compression::Producer,
        },
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
    }
}

fn header_goes_both_ways(bytes: &[u8]) {
    let Ok(header) = BatchHeader::parse(bytes) else { return };
    assert_eq!(header.encode(), bytes[..HEADER_LEN]);
    let _ = (header.next_offset(), header.last_sequence());
}

fn accepted_batch_is_consistent(bytes: Bytes, rules: &ProduceRules) {
    let _ = may_take_long(&bytes, rules, NOW);
    let Ok(batch) = validate(bytes, rules, NOW) else { return };
    let header = &batch.header;
    assert_eq!((header.base_offset, header.size()), (Offset::ZERO, batch.bytes.len()));
    assert_eq!(header.crc, header.compute_crc(batch.records()));
    assert!(header.records_count > 0 && header.last_offset_delta == header.records_count - 1);
    assert!(!header.attributes.is_control());
    if rules.timestamp_type == TimestampType::LogAppendTime {
        assert_eq!(header.max_timestamp, NOW);
    }
    if rules.compacted {
        let records = BatchRecords::open(&batch, DECOMPRESSED_BYTES_MAX).expect("they were walked");
        assert!(records.iter().all(|record| record.expect("they were walked").key.is_some()));
    }
}

fn records_are_within_bounds(batch: &Batch) {
    let _ = (batch.check_crc(), EndTxnMarker::of(batch, DECOMPRESSED_BYTES_MAX));
    let Ok(records) = BatchRecords::open(batch, DECOMPRESSED_BYTES_MAX) else { return };
    let mut walked_bytes = 0;
    for record in &records {
        let Ok(record) = record else { return };
        let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = record.headers().map(|header| header.key.len() + of(header.value) + 2);
        walked_bytes += of(record.key) + of(record.value) + headers.sum::<usize>() + 1;
        let _: (Offset, Timestamp) = (records.offset(&record), records.timestamp(&record));
    }
    let payload_bytes = DECOMPRESSED_BYTES_MAX.max(batch.bytes.len());
    assert!(walked_bytes <= payload_bytes, "{walked_bytes} bytes of records in {payload_bytes}");
}
